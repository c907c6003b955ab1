"""The page about policies shows what they really do."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "draw_policies.py"))
DRAWN: dict[str, str] = SCRIPT["images"]()


@pytest.mark.parametrize("name", DRAWN)
def test_the_plots_are_what_the_policies_answer(name: str) -> None:
    stored = DOCS / "images" / name
    if not stored.exists() or stored.read_text(encoding="utf-8") != DRAWN[name]:
        pytest.fail(f"docs/images/{name} is stale; renew it with `python docs/draw_policies.py`", pytrace=False)


@pytest.mark.parametrize("name", DRAWN)
def test_the_page_shows_each_plot(name: str) -> None:
    assert f"](images/{name})" in (DOCS / "policies.md").read_text(encoding="utf-8")
