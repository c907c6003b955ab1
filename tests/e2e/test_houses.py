"""The house without Prefect says what the one with Prefect says, and its clocks are honest."""

import asyncio
import time
from typing import Any

import pytest

from ebbflow.flows.override import override
from ebbflow.flows.scale_down import scale_down
from ebbflow.flows.scale_up import scale_up
from tests.e2e.plain_house import LONG_SECONDS, PlainHouse, Waits
from tests.e2e.world import PrefectWorld, World

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect]


async def told(world: World) -> list[Any]:
    """What some turns of every kind show, without what is random."""
    await world.acted()
    turns = [
        await world.turn(after=1),
        await world.turn(scale_up, count=1, reason="a demo"),
        await world.turn(scale_up, after=None, count=9),
        await world.turn(scale_up, after=None, count=0),
        await world.turn(dry_run=True),
        await world.turn(scale_down, count=1),
        await world.turn(override, kind="pause", hold_seconds=100),
    ]
    shown: list[Any] = []
    for turn in turns:
        message = str(turn.state.message).removeprefix("Flow run encountered an exception: ")
        message = message.removeprefix("Validation of flow parameters failed with error: ")
        rows = [f"{row['action']}: {row['result']}, {row['reason']}" for row in await turn.rows()]
        name = turn.run.name if not turn.state.is_failed() else ""
        shown.append([text.replace(world.name, "fleet") for text in (str(turn.state.name), message, name, *rows)])
    for number in sorted(await world.claims()):
        request = (await world.record(number)).turn.request
        shown.append(request and (request.kind, request.count, request.reason, request.owner, request.hold_seconds))
    return shown


@pytest.mark.soak
async def test_turns_of_every_kind_say_the_same_with_prefect_and_without(
    world: World, prefect_world: PrefectWorld
) -> None:
    plain, with_prefect = await asyncio.gather(told(world), told(prefect_world))
    assert plain == with_prefect
    assert [each[0] for each in plain[:7]] == ["Skipped", "Acted", "Refused", "Failed", "DryRun", "Acted", "Acted"]


async def test_a_long_wait_is_shortened_and_the_turns_and_the_fleets_time_go_on_as_if_it_were_not() -> None:
    passed: list[float] = []
    waits = Waits(passed.append)
    began, by_turn = time.monotonic(), waits.clock()
    await asyncio.gather(*(waits.sleep(LONG_SECONDS) for _ in range(3)))
    took = time.monotonic() - began
    assert LONG_SECONDS <= waits.clock() - by_turn < LONG_SECONDS + took, "three that wait at once wait once"
    assert sum(passed) == pytest.approx(waits.clock() - by_turn - took, abs=0.1)


async def test_a_fleets_time_goes_on_without_anothers() -> None:
    house = PlainHouse()
    house.pass_time("one", 100)
    async with house.ledger("one") as one, house.ledger("two") as two:
        assert await one.now() - await two.now() == pytest.approx(100, abs=2)
        assert await one.home(create=True) == await two.home(create=True)
