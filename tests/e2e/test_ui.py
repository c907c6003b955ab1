"""What a person sees in a real browser, on a real Prefect server: the fleet, a turn's record, and a form.

`EBBFLOW_RENEW_PICTURES=1` writes the pictures of docs/images anew; alone, so that the server has no other runs.
"""

import os
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client

from ebbflow.flows.fleet_page import page_key
from ebbflow.flows.scale_up import scale_up
from ebbflow.turn.past_hours import BAR_SECONDS, PastHours
from tests.browser import HOW_TO_INSTALL, Page, is_installed, opened_browser
from tests.e2e.world import PrefectWorld, PrefectWorlds

pytestmark = [pytest.mark.anyio, pytest.mark.soak, pytest.mark.oldest_prefect]

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PICTURES = {"fleet": (1280, 900), "turn": (1280, 940), "runs": (1280, 1080), "form": (1280, 900)}
"""Each with its width and height."""
BYTES = range(15_000, 400_000)
NAME = "sdxl"
DAY_WORKERS = (1,) * 9 + (2, 3, 4, 4, 4, 4, 3, 3, 2, 2, 1, 1) + (1,) * 9 + (2, 2, 3, 3, 3, 2, 1, 1, 1, 1)
DAY_DEMAND = (
    0,
    1,
    0,
    2,
    1,
    0,
    0,
    3,
    9,
    24,
    37,
    30,
    22,
    17,
    9,
    6,
    4,
    3,
    2,
    1,
    0,
    0,
    1,
    0,
    0,
    0,
    2,
    1,
    0,
    8,
    14,
    19,
    11,
    7,
)


@pytest.fixture
async def world(prefect_worlds: PrefectWorlds) -> PrefectWorld:
    """A fleet with a name that reads well."""
    return await prefect_worlds(name=NAME)


@pytest.fixture
async def page(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Page]:
    """A browser's page."""
    if not is_installed():
        pytest.skip(HOW_TO_INSTALL)
    (tmp_path / "browser").mkdir()
    async with opened_browser(tmp_path / "browser") as opened:
        yield opened


async def test_a_person_sees_the_fleet_a_turn_and_what_a_form_asks_for(
    world: PrefectWorld, page: Page, prefect_server: str
) -> None:
    root = prefect_server.removesuffix("/api")
    await world.save(usd_per_hour=0.4)
    await world.acted()
    await lived_before(world)
    world.generate(images=6)
    await world.busy_worker()
    acted = await world.acted()
    assert acted.state.name == "Acted", acted.said
    await world.acted()
    await world.turn(scale_up, after=None, count=9)
    (worker,) = (tag.removeprefix("worker:") for tag in acted.run.tags if tag.startswith("worker:"))

    await show(page, "fleet", f"{root}/artifacts/artifact/{(await page_of(world))['latest_id']}")
    seen = await page.shows(f"{NAME}: ", "5 minutes a bar", "Demand", "USD since midnight UTC", "Why", "Last actions")
    assert "2 ready" in seen or "1 ready" in seen
    assert f"launch {worker}: done" in seen
    assert "policy.vanilla" in seen
    await keep(page, "fleet")

    record = next(each for each in await acted.artifacts() if each.type == "markdown")
    await show(page, "turn", f"{root}/artifacts/artifact/{record.id}")
    seen = await page.shows(f"Record 2 of {NAME}, by autoscale", "Seen", "Decided", "Done", worker, "The record itself")
    assert "demand: " in seen
    assert '\\"' not in seen, "no JSON within JSON"
    await keep(page, "turn")

    await show(page, "runs", f"{root}/runs")
    await page.shows(str(acted.run.name), "Acted", "Held", "Refused", f"fleet:{NAME}")
    await keep(page, "runs")

    deployment = await (await scale_up.ato_deployment(name=NAME, parameters={"fleet": NAME})).aapply()
    await show(page, "form", f"{root}/deployments/deployment/{deployment}/run")
    seen = await page.shows(
        "count", "How many workers more than now.", "Why; it stands in the record.", "Which fleet, by its name."
    )
    assert "Interval Seconds" not in seen, "a whole fleet can be changed unseen"
    await keep(page, "form")


async def lived_before(world: PrefectWorld) -> None:
    """Let the fleet's page know of hours before, as turns in them would have left it."""
    latest = await page_of(world)
    now = int((await world.record()).turn.at_seconds // BAR_SECONDS)
    demand = (*DAY_DEMAND, *((0,) * (len(DAY_WORKERS) - len(DAY_DEMAND))))
    past = PastHours(now - len(DAY_WORKERS), DAY_WORKERS, demand)
    async with get_client() as client:
        body = {"metadata_": {**latest["metadata_"], **past.kept()}}
        await client.request("PATCH", "/artifacts/{id}", path_params={"id": latest["latest_id"]}, json=body)


async def page_of(world: PrefectWorld) -> dict[str, Any]:
    """The fleet's page, as the server has it. Any: its JSON."""
    async with get_client() as client:
        wanted = {"artifacts": {"key": {"any_": [page_key(world.name)]}}}
        (found,) = (await client.request("POST", "/artifacts/latest/filter", json=wanted)).json()
        return dict(found)


async def show(page: Page, name: str, url: str) -> None:
    """Open it as large as its picture is."""
    width, height = PICTURES[name]
    await page.open(url, width=width, height=height)


async def keep(page: Page, name: str) -> None:
    """Take a picture of what is seen, and keep it where that was asked for."""
    picture = await page.picture()
    assert size_of(picture) == PICTURES[name]
    assert len(picture) in BYTES, "an empty page is smaller"
    if os.environ.get("EBBFLOW_RENEW_PICTURES"):
        (IMAGES / f"{name}.png").write_bytes(picture)


def size_of(picture: bytes) -> tuple[int, int]:
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", picture[16:24])
    return width, height


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_documentation_is_one_of_these(name: str) -> None:
    picture = (IMAGES / f"{name}.png").read_bytes()
    assert size_of(picture) == PICTURES[name], "EBBFLOW_RENEW_PICTURES=1 renews it"
    assert len(picture) in BYTES
