"""The pages of docs/reference/ that are written from the code say what it says."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from ebbflow import blocks
from ebbflow.cli.main import app
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import ours

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "write_reference.py"))
PAGES: dict[str, Callable[[], str]] = SCRIPT["pages"]()


@pytest.mark.parametrize("name", PAGES)
def test_a_stored_page_is_the_one_that_the_code_gives(name: str) -> None:
    stored = DOCS / "reference" / name
    if not stored.exists() or stored.read_text(encoding="utf-8") != PAGES[name]():
        pytest.fail(f"docs/reference/{name} is stale; renew it with `python docs/write_reference.py`", pytrace=False)


def test_every_command_has_a_section_with_all_of_its_options() -> None:
    page = PAGES["command.md"]()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # a group has them
        _, _, section = page.partition(f"## `ebbflow {name}")
        told = section.partition("\n## ")[0]
        assert told, name
        for parameter in command.params:
            assert [word for word in parameter.opts if word.startswith("-") and word not in told] == [], name


def test_every_block_of_a_provider_or_a_master_has_a_section_with_all_of_its_fields() -> None:
    page = PAGES["blocks.md"]()
    for name in set(blocks.__all__) - {"ApiSessions"}:
        block = getattr(blocks, name)
        _, _, section = page.partition(f"### `{block._block_type_slug}`\n")
        told = section.partition("\n### ")[0]
        assert [field for field in block.model_fields if f"| `{field}` | " not in told] == []


def test_every_section_of_a_fleet_and_every_policy_is_told() -> None:
    page = PAGES["fleet.md"]()
    for field in Fleet.model_fields:
        assert f"| `{field}` | " in page
    assert [kind for kind in ours() if f"### `{kind}`\n" not in page] == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://<node>:<port>", "http://&lt;node>:&lt;port>"),
        ("2 of [a-z]", "2 of \\[a-z\\]"),
        ("say `a*b<c>` or a*b", "say `a*b<c>` or a\\*b"),
        ("two\n  lines", "two lines"),
    ],
)
def test_words_of_the_code_are_no_markup(text: str, shown: str) -> None:
    assert SCRIPT["escaped"](text) == shown
