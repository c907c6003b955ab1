"""The page about policies shows what they really do."""

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "draw_policies.py"))
IMAGES: dict[str, Callable[[], str]] = SCRIPT["images"]()


@pytest.mark.parametrize("name", IMAGES)
def test_the_plots_are_what_the_policies_answer(name: str) -> None:
    stored = DOCS / "images" / name
    if not stored.exists() or stored.read_text(encoding="utf-8") != IMAGES[name]():
        pytest.fail(f"docs/images/{name} is stale; renew it with `python docs/draw_policies.py`", pytrace=False)


@pytest.mark.parametrize("name", IMAGES)
def test_the_page_shows_each_plot(name: str) -> None:
    assert f"](images/{name})" in (DOCS / "policies.md").read_text(encoding="utf-8")
