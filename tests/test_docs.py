"""What the pages say is tried: fleets validate, Python runs, commands and links exist."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ebbflow.blocks import LocalProvider, SwarmUIMaster
from ebbflow.fleet.model import Fleet

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(
    path
    for pages in (ROOT.glob("*.md"), *((ROOT / name).rglob("*.md") for name in ("docs", "deployments", "findings")))
    for path in pages
    if ".venv" not in path.parts
)
ROOMS = sorted({init.parent.name for init in ROOT.glob("*/__init__.py")} | {"docs", "tests"})
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")


def snippets(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text()) if kind == language]


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


def test_the_readme_saves_blocks_that_exist(tmp_path: Path) -> None:
    (body,) = snippets(ROOT / "README.md", "python")
    calls = [line for line in body.splitlines() if ".save(" in line]
    scope = {"SwarmUIMaster": SwarmUIMaster, "LocalProvider": LocalProvider}
    built = [eval(line.split(".save(")[0], dict(scope)) for line in calls]
    assert [type(block) for block in built] == [SwarmUIMaster, LocalProvider]
    assert built[1].get_provider().caps.idempotent_launch


def test_the_readmes_fleet_is_scheduled_by_its_own_interval() -> None:
    (body,) = snippets(ROOT / "README.md", "yaml")
    content = yaml.safe_load(body)
    fleet = content["definitions"]["fleet"]
    assert [schedule["interval"] for schedule in content["deployments"][0]["schedules"]] == [fleet["interval_seconds"]]
    assert {deployment["entrypoint"] for deployment in content["deployments"]} == {
        "ebbflow.flows.autoscale.autoscale",
        "ebbflow.flows.scale_up.scale_up",
        "ebbflow.flows.backtest.backtest",
    }


def test_the_test_command_of_the_readme_is_the_one_that_ci_runs() -> None:
    commands = {line for body in snippets(ROOT / "README.md", "sh") for line in body.splitlines()}
    assert {"make demo", "make test"} <= commands
    assert "make test" in (ROOT / ".ci" / "run").read_text()
