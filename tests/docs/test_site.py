"""The site has every page, leads nowhere that is not there, loads nothing from elsewhere, and tells what is tested."""

import re
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ebbflow.blocks.from_file import blocks_of
from tests.browser import HOW_TO_INSTALL, is_installed, opened_browser

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PORTS = sorted([*(DOCS / "providers").glob("*.md"), *(DOCS / "masters").glob("*.md")])
RELIABILITY = (DOCS / "reliability.md").read_text(encoding="utf-8")
# What a page says of another server than one of ours, in a browser that is asked to go there.
ELSEWHERE = re.compile(r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=\"?(?:https?:)?//[^\s\">]+")


@pytest.fixture(scope="module")
def hooks() -> dict[str, Any]:
    """What mkdocs calls. Any: functions of a script."""
    return runpy.run_path(str(DOCS / "site_pages.py"))


def settings() -> dict[str, Any]:
    """`mkdocs.yml`, without what only mkdocs can make. Any: YAML is what it is."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(re.sub(r"!!python/\S+ (?=\{)", "", text))
    return found


def named(nav: object) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for each in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from named(each)


def test_every_page_has_one_place_in_the_navigation(hooks: dict[str, Any]) -> None:
    found = [str(path.relative_to(ROOT)) for entry in named(settings()["nav"]) for path in ROOT.glob(entry)]
    pages = [name for name in hooks["named"](hooks["PAGES"])]
    assert sorted(found) == sorted(pages), "each page of the site stands in mkdocs.yml, and once"


def test_whatever_a_page_links_to_is_a_page_or_is_shown_as_one(hooks: dict[str, Any]) -> None:
    pages = hooks["named"](hooks["PAGES"])
    shown = hooks["linked"](pages)
    assert {"core/ports.py", "policies/formulas"} <= shown
    assert [name for name in shown if not (ROOT / name).exists() or name in pages] == []


@pytest.mark.parametrize(
    ("page", "written", "led"),
    [
        ("docs/policies.md", "[x](../CONTRIBUTING.md)", "[x](../CONTRIBUTING.md)"),
        ("docs/architecture.md", "[x](../core/ports.py)", "[x](../core/ports.py.md)"),
        ("docs/swarmui.md", "[x](adr) [y](#gates)", "[x](adr/README.md) [y](#gates)"),
        ("README.md", "[x](docs/command.md#how-it-ends)", "[x](docs/command.md#how-it-ends)"),
        ("README.md", "![x](docs/images/turn.png)", "![x](docs/images/turn.png)"),
        ("README.md", "[x](https://semver.org/) `](core/ids.py`", "[x](https://semver.org/) `](core/ids.py`"),
    ],
)
def test_a_link_leads_to_the_same_in_the_repository_and_on_the_site(
    hooks: dict[str, Any], page: str, written: str, led: str
) -> None:
    assert hooks["with_links_of_the_site"](written, page) == led


@pytest.mark.parametrize(
    ("written", "indented"),
    [
        ("1. one\n   more\n2. two", "1. one\n    more\n2. two"),
        (
            "1. one\n\n   ```sh\n   ls\n   ```\n\n   more\n2. two",
            "1. one\n\n    ```sh\n    ls\n    ```\n\n    more\n\n2. two",
        ),
        ("- one\n  more\n\n  again\n- two", "- one\n    more\n\n    again\n\n- two"),
        ("text\n   more", "text\n   more"),
        ("- one\n\ntext\n\n    code", "- one\n\ntext\n\n    code"),
        ("```yaml\n- one\n  two\n```", "```yaml\n- one\n  two\n```"),
    ],
)
def test_lists_are_indented_as_the_sites_markdown_wants_them(
    hooks: dict[str, Any], written: str, indented: str
) -> None:
    assert "\n".join(hooks["indented"](written)) == indented


def test_no_page_has_a_picture_that_a_script_of_elsewhere_would_draw(hooks: dict[str, Any]) -> None:
    pages = hooks["named"](hooks["PAGES"])
    assert [page for page in pages if "```mermaid" in (ROOT / page).read_text(encoding="utf-8")] == []


def test_a_link_or_an_anchor_that_leads_nowhere_fails_the_build() -> None:
    checks = settings()["validation"]
    assert {kind: set(of.values()) for kind, of in checks.items()} == {"nav": {"warn"}, "links": {"warn"}}
    assert "anchors" in checks["links"]
    (built,) = re.findall(r"^docs:.*\n\t(.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert "mkdocs build --strict" in built


@pytest.mark.parametrize("page", PORTS, ids=lambda page: str(page.relative_to(DOCS)))
def test_blocks_on_a_page_of_a_provider_or_a_master_can_be_saved(page: Path, tmp_path: Path) -> None:
    (tmp_path / "onstart.sh").write_text("true\n")
    for body in re.findall(r"^```yaml\n(blocks:.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        environment = dict.fromkeys(re.findall(r"\$(\w+)", body), "secret-" * 6)
        blocks = blocks_of(body, tmp_path, environment=environment)
        assert blocks
        for each in blocks:
            assert f"{each.reference.partition('/')[0]}" in (DOCS / "reference" / "blocks.md").read_text()


ROWS = re.findall(r"^\| (?!what |limit |-)([^|]+) \| ([^|]+) \| (`[^|]+`) \|$", RELIABILITY, re.MULTILINE)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:60])
def test_what_reliability_promises_names_tests_that_are_there(row: tuple[str, str, str]) -> None:
    shown = re.findall(r"`([^`]+)`", row[2])
    assert shown
    assert [path for path in shown if not (ROOT / path).exists()] == []
    assert all(path.startswith(("tests/", "contracts/")) for path in shown)


def test_every_reason_of_reliability_names_its_tests() -> None:
    reasons = re.findall(r"^\*\*[^*]+\*\* .*?\n\n", RELIABILITY, re.MULTILINE | re.DOTALL)
    assert len(reasons) == RELIABILITY.count("\n**") > 6
    assert [reason for reason in reasons if not re.search(r"\(`(?:tests|contracts)/", reason)] == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The whole site, built where nobody on a network answers."""
    place = tmp_path_factory.mktemp("site")
    subprocess.run(["make", "--silent", "typing"], cwd=ROOT, check=True, timeout=60)
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(place)]
    environment = {"PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1", "https_proxy": "http://127.0.0.1:9"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return place


@pytest.mark.soak
def test_the_site_asks_nobody_elsewhere_for_anything(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 100
    assert {found for page in pages for found in ELSEWHERE.findall(page.read_text(encoding="utf-8"))} == set()


@pytest.mark.soak
@pytest.mark.anyio
async def test_a_copy_on_a_disk_is_searched_in_a_browser_without_a_network(site: Path, tmp_path: Path) -> None:
    if not is_installed():
        pytest.skip(HOW_TO_INSTALL)
    async with opened_browser(tmp_path) as page:
        await page.open(f"file://{site}/index.html")
        await page.shows("Quick start")
        await page.evaluate(TYPED)
        await page.shows("matching documents", "Several providers: waterfall, base and burst")


TYPED = """
document.querySelector("#__search").click();
const words = document.querySelector("[data-md-component=search-query]");
words.focus();
words.value = "waterfall";
words.dispatchEvent(new Event("input", {bubbles: true}));
words.dispatchEvent(new Event("keyup", {bubbles: true}));
"""
"""What the keys of a person do."""
