"""The pictures of boxes and arrows are what their script draws, show what the code obeys, and need no network."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "draw_pictures.py"))
IMAGES: dict[str, Callable[[], str]] = SCRIPT["images"]()


def words(picture: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", picture)


@pytest.mark.parametrize("name", IMAGES)
def test_a_stored_picture_is_the_one_that_is_drawn(name: str) -> None:
    stored = DOCS / "images" / name
    if not stored.exists() or stored.read_text(encoding="utf-8") != IMAGES[name]():
        pytest.fail(f"docs/images/{name} is stale; renew it with `python docs/draw_pictures.py`", pytrace=False)


@pytest.mark.parametrize("name", IMAGES)
def test_a_page_shows_each_picture_with_words_for_who_cannot_see_it(name: str) -> None:
    pages = " ".join(page.read_text(encoding="utf-8") for page in DOCS.glob("*.md"))
    assert re.search(rf"!\[[^\]]{{10,}}\]\(images/{re.escape(name)}\)", pages)


@pytest.mark.parametrize("name", IMAGES)
def test_a_picture_is_whole_without_a_network(name: str) -> None:
    addresses = set(re.findall(r"https?://[^\s\"<]+", IMAGES[name]())) - {"http://www.w3.org/2000/svg"}
    assert (addresses, "<script" in IMAGES[name]()) == (set(), False)


def test_the_life_of_a_worker_has_every_state_and_an_arrow_for_each_that_the_page_tells() -> None:
    drawn: list[str] = runpy.run_path(str(DOCS / "draw_lifecycle.py"))["arrows"]()
    pairs = [each.split(" --> ") for each in drawn if "[*]" not in each]
    back = {start for start, _ in pairs if start in ("gone", "lost")}
    picture = IMAGES["life-of-a-worker.svg"]()
    assert picture.count("<path d=") - 1 == sum(start not in back for start, _ in pairs) + len(back)
    assert {end for _, end in pairs} <= set(words(picture))


def test_the_rooms_have_a_box_each_and_none_lies_on_another() -> None:
    picture = IMAGES["rooms.svg"]()
    arrows = runpy.run_path(str(DOCS / "draw_architecture.py"))["least_arrows"]()
    assert sorted(words(picture)) == sorted({f"{room}/" for arrow in arrows for room in arrow})
    middles = re.findall(r'<text x="([\d.]+)" y="([\d.]+)"', picture)
    assert len(set(middles)) == len(middles)
