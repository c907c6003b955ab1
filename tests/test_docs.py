"""What the pages say is tried: fleets validate, Python runs, commands and links exist."""

import ast
import re
import shlex
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml
from typer import Context
from typer.main import get_command

from ebbflow.blocks import LocalProvider, SwarmUIMaster
from ebbflow.blocks.from_file import blocks_of
from ebbflow.cli.main import app
from ebbflow.fleet.deployed import check_file
from ebbflow.fleet.model import Fleet

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pages in (ROOT.glob("*.md"), *((ROOT / name).rglob("*.md") for name in ("docs", "deployments", "findings")))
    for path in pages
    if ".venv" not in path.parts
)
ROOMS = sorted({init.parent.name for init in ROOT.glob("*/__init__.py")} | {"docs", "tests"})
FENCE = re.compile(r"^( *)```(\w+)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def snippets(page: Path, language: str) -> list[str]:
    """What stands on a page in one language, in a list of steps too."""
    return [dedent(body) for _, kind, body in FENCE.findall(page.read_text()) if kind == language]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_of_ours_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(rf"`((?:{'|'.join(ROOMS)})/[\w./-]*)`", page.read_text())
    # `x` stands for what a contributor adds.
    missing = [path for path in named if not (ROOT / path).exists() and not re.search(r"[/_]x(?:[/.]|$)", path)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_make_target_that_a_page_names_exists(page: Path) -> None:
    said = [*re.findall(r"`([^`\n]+)`", page.read_text()), *snippets(page, "sh")]
    named = {word for text in said for word in re.findall(r"^(?:\w+=\S+ )*make ([a-z-]+)", text, re.MULTILINE)}
    assert named - make_targets() == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_fleet_on_a_page_is_one(page: Path) -> None:
    for body in snippets(page, "yaml"):
        content: dict[str, Any] = yaml.safe_load(body)
        for name, fleet in (content.get("definitions") or {}).items():
            if name.startswith("fleet"):
                Fleet.model_validate(fleet)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_python_snippet_parses(page: Path) -> None:
    for body in snippets(page, "python"):
        ast.parse(body)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_names_a_folder_of_the_machine_it_was_written_on(page: Path) -> None:
    assert re.findall(r"(?<![\w.])/(?:root|work)/\S*", page.read_text()) == []


def test_the_readmes_folder_holds_a_fleet_that_checks_and_the_blocks_that_it_names(tmp_path: Path) -> None:
    blocks, fleet = snippets(ROOT / "README.md", "yaml")
    written = blocks_of(blocks, tmp_path, environment={})
    assert [type(each.block) for each in written] == [SwarmUIMaster, LocalProvider]
    assert isinstance(written[1].block, LocalProvider)
    assert written[1].block.get_provider().caps.idempotent_launch
    checked = check_file(fleet, environment={}, variables={})
    assert checked.problems == ()
    assert [each.deployment for each in checked.fleets] == [
        f"{flow}/sdxl" for flow in ("autoscale", "scale-up", "scale-down", "override", "backtest", "advise")
    ]
    named = {checked.fleets[0].fleet.master, *(entry.block for entry in checked.fleets[0].fleet.providers)}
    assert named == {each.reference for each in written}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_ours_on_a_page_is_understood(page: Path) -> None:
    group = get_command(app)
    for body in snippets(page, "sh"):
        for line in body.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["ebbflow"]:
                name, command, rest = group.resolve_command(Context(group), words[1:])  # type: ignore[attr-defined]
                assert command is not None, line
                # Whatever is not understood raises, as it would end the command with 2.
                command.make_context(name, list(rest))


def test_the_readmes_scale_up_fits_its_own_limits() -> None:
    _, body = snippets(ROOT / "README.md", "yaml")
    fleet = Fleet.model_validate(yaml.safe_load(body)["definitions"]["fleet"])
    (asked,) = re.findall(r"^ebbflow scale \+(\d+)", "\n".join(snippets(ROOT / "README.md", "sh")), re.MULTILINE)
    assert fleet.limits.min_workers + int(asked) <= fleet.limits.max_workers


def test_the_test_command_of_the_readme_is_the_one_that_ci_runs() -> None:
    commands = {line for body in snippets(ROOT / "README.md", "sh") for line in body.splitlines()}
    assert {"make demo", "make test"} <= commands
    assert "make test" in (ROOT / ".ci" / "run").read_text()
