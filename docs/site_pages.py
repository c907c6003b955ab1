"""What of the repository is a page of the site: a hook of mkdocs, which reads `mkdocs.yml`.

The site lies as the repository does, so that a link leads to the same place in both. A file that a page links to, and
that is no page itself, such as a module, is shown as one.
"""

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("*.md", "docs/**/*.md", "deployments/*/*.md", "findings/*.md")
BESIDE = ("docs/images/*", "docs/site/*")
LINK = re.compile(r"(?<=\]\()(?!\w+:)([^)#\s]+)(?=[)#])")
FENCE = re.compile(r"^ *```")
LANGUAGES = {".py": "python", ".sh": "bash", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml", ".cs": "csharp"}
SHOWN = """\
---
search: {{exclude: true}}
---
# `{path}`

{body}
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let a pattern in the navigation stand for all pages that it fits."""
    config.nav = _without_patterns(config.nav)
    return config


def _without_patterns(nav: Any) -> Any:  # Any: YAML as a person wrote it; mkdocs checks it afterwards
    if isinstance(nav, dict):
        return {title: _without_patterns(under) for title, under in nav.items()}
    if not isinstance(nav, list):
        return nav
    return [each for entry in nav for each in (_found(entry) if "*" in entry else [_without_patterns(entry)])]


def _found(pattern: str) -> list[str]:
    """In their order, with what introduces a folder first."""
    names = [str(path.relative_to(ROOT)) for path in ROOT.glob(pattern)]
    return sorted(names, key=lambda name: (not name.endswith("/README.md"), name))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Take the pages from all over the repository, by their path in it, and whatever they link to."""
    kept = Files(file for file in files if file.src_dir != config.docs_dir)
    for name in sorted(named(PAGES) | named(BESIDE)):
        kept.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls))
    for name in sorted(linked(named(PAGES))):
        kept.append(File.generated(config, shown_as(name), content=_shown(name), inclusion=InclusionLevel.NOT_IN_NAV))
    return kept


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to the pages that show what they name, and indent lists as this Markdown wants them."""
    return "\n".join(indented(with_links_of_the_site(markdown, page.file.src_uri)))


def with_links_of_the_site(markdown: str, page: str) -> str:
    """The text of a page whose links lead to pages alone.

    Args:
        markdown: as it stands in the repository.
        page: its path there.
    """
    here = posixpath.dirname(page)

    def lead(match: re.Match[str]) -> str:
        return posixpath.relpath(shown_as(posixpath.normpath(posixpath.join(here, match[1]))), here or ".")

    return LINK.sub(lead, markdown)


def linked(pages: set[str]) -> set[str]:
    """What pages link to that is no page itself, by its path in the repository."""
    found = set()
    for page in pages:
        for link in LINK.findall((ROOT / page).read_text(encoding="utf-8")):
            name = posixpath.normpath(posixpath.join(posixpath.dirname(page), link))
            if (ROOT / name).exists() and shown_as(name) not in pages | named(BESIDE):
                found.add(name)
    return found


def shown_as(name: str) -> str:
    """The page that a path of the repository leads to."""
    path = ROOT / name
    if path.is_dir():
        return posixpath.join(name, "README.md")
    return name if path.suffix in (".md", ".svg", ".png") or not path.exists() else f"{name}.md"


def named(patterns: tuple[str, ...]) -> set[str]:
    """The files that patterns fit, by their paths in the repository."""
    return {str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern) if path.is_file()}


def _shown(name: str) -> str:
    path = ROOT / name
    if path.is_dir():
        held = sorted(each.name for each in path.iterdir() if each.is_file())
        return SHOWN.format(path=f"{name}/", body="\n".join(f"- `{each}`" for each in held))
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return text
    return SHOWN.format(path=name, body=f"````{LANGUAGES.get(path.suffix, 'text')}\n{text}\n````")


def indented(markdown: str) -> Iterator[str]:
    """Lines as this Markdown wants lists: what belongs to an entry four columns in, and entries of paragraphs apart."""
    width = 0
    has_paragraphs = is_code = False
    for line in markdown.split("\n"):
        marker = None if is_code else re.match(r"(\d+\. |[-*] )", line)
        if marker and has_paragraphs:
            yield ""
        if not is_code and line and not line.startswith(" "):
            width, has_paragraphs = len(marker[0]) if marker else 0, False
        has_paragraphs |= bool(width) and not line
        if FENCE.match(line):
            is_code = not is_code
        yield " " * (4 - width) + line if 0 < width < 4 and line.startswith(" " * width) else line
