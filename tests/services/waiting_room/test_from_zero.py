"""A fleet that goes to zero and comes back, with a waiting room and without: what waits is served, or lost."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ebbflow.core.plan import Verb
from ebbflow.standins.process import free_port
from tests.e2e.processes import until
from tests.e2e.world import World, Worlds
from tests.services.waiting_room.places import RunningRoom

pytestmark = pytest.mark.anyio

BURST = 100


async def at_zero(worlds: Worlds[Any], master: dict[str, Any]) -> World[Any]:
    """A fleet that may have nobody, and has nobody."""
    world: World[Any] = await worlds(master=master, limits={"min_workers": 0, "max_workers": 3})
    await world.acted()
    assert not world.processes()
    return world


def asked(world: World[Any], count: int) -> "list[asyncio.Task[dict[str, Any]]]":
    """So many requests at once, each for one image of a tenth of a second."""
    return [world.generate(steps=2) for _ in range(count)]


async def answers(requests: "list[asyncio.Task[dict[str, Any]]]") -> tuple[int, int]:
    """How many were served, and how many lost."""
    came = await asyncio.gather(*requests)
    served = sum(bool(each.get("images")) for each in came)
    return served, len(came) - served


async def up_and_down(world: World[Any], *, burst: int = BURST) -> tuple[int, int]:
    """One cycle: a burst with nobody there, its end, and requests on the way down to nobody."""
    requests = asked(world, burst)
    await asyncio.sleep(0.3)
    await world.acts_until_serving_any()
    served, lost = await answers(requests)
    late: list[asyncio.Task[dict[str, Any]]] = []
    for _ in range(12):
        late += asked(world, 1)
        await world.acted()
        if not world.processes():
            break
    # What came while the last one went waits for the next.
    if any(not each.done() for each in late):
        await world.acts_until_serving_any()
    more_served, more_lost = await answers(late)
    for _ in range(12):
        if not world.processes() and not await world.members():
            break
        await world.acted()
    assert not world.processes()
    return served + more_served, lost + more_lost


async def test_nothing_is_lost_from_zero_and_back_with_a_room(worlds: Worlds[Any], room: RunningRoom) -> None:
    world = await at_zero(worlds, {"waiting_room": room.url})
    served, lost = await up_and_down(world)
    assert (served > BURST, lost) == (True, 0), await world.last_words()


async def test_without_a_room_the_same_burst_is_lost(worlds: Worlds[Any]) -> None:
    world = await at_zero(worlds, {"allow_start_from_zero": True})
    assert (await answers(asked(world, BURST)))[1] == BURST


@pytest.mark.parametrize(
    "times", [pytest.param(3, marks=pytest.mark.soak), pytest.param(10, marks=pytest.mark.endurance)]
)
async def test_several_times_to_zero_and_back_lose_nothing(worlds: Worlds[Any], room: RunningRoom, times: int) -> None:
    world = await at_zero(worlds, {"waiting_room": room.url})
    for cycle in range(times):
        served, lost = await up_and_down(world)
        assert (served > BURST, lost) == (True, 0), f"cycle {cycle}: {await world.last_words()}"


async def test_the_rooms_entry_is_no_worker_and_no_orphan(worlds: Worlds[Any], room: RunningRoom) -> None:
    world = await at_zero(worlds, {"waiting_room": room.url})
    (title,) = await world.master.entries()
    assert title.endswith(
        "/waiting-room - not a worker: keeps requests waiting while no worker runs; 'loading' is normal"
    )
    for _ in range(3):
        await world.acted()
        record = await world.record()
        assert (record.memory.workers, record.memory.unfinished, record.plan.actions) == ((), (), ())
        assert (record.plan.existing, record.plan.supply) == (0, 0)


async def test_a_room_that_was_away_is_named_and_put_right_when_it_is_back(
    worlds: Worlds[Any], room: RunningRoom
) -> None:
    world = await at_zero(worlds, {"waiting_room": room.url})
    room.kill()
    await asyncio.sleep(0.5)
    turn = await world.acted()
    assert "waiting room" in turn.said
    reasons = {reason.rule: reason.text for reason in (await world.record()).plan.reasons}
    assert "the waiting room does not answer" in reasons["room.broken"]
    room.start()
    await world.acted()
    requests = asked(world, 5)
    await asyncio.sleep(0.3)
    await world.acts_until_serving_any()
    assert await answers(requests) == (5, 0)


async def test_a_fleet_that_was_there_before_its_room_names_it_and_needs_nothing_once_it_is_up(
    worlds: Worlds[Any], tmp_path: Path
) -> None:
    late = RunningRoom(tmp_path / "late.log", port=free_port())
    world = await at_zero(worlds, {"waiting_room": late.url})
    assert "waiting room" in (await world.acted()).said
    late.start()
    try:
        await world.acted()
        requests = asked(world, 5)
        await world.acts_until_serving_any()
        assert await answers(requests) == (5, 0)
    finally:
        late.kill()


async def test_a_master_that_is_restarted_holds_what_comes_then_by_itself(
    worlds: Worlds[Any], room: RunningRoom
) -> None:
    world = await at_zero(worlds, {"waiting_room": room.url})
    await world.master.control("Restart")
    requests = asked(world, 5)
    await asyncio.sleep(2)
    assert not any(request.done() for request in requests), "its entry loads again without us"
    await world.acts_until_serving_any()
    assert await answers(requests) == (5, 0)


async def test_two_fleets_of_one_master_have_an_entry_each_and_lose_nothing(
    worlds: Worlds[Any], room: RunningRoom
) -> None:
    world = await at_zero(worlds, {"waiting_room": room.url})
    name = f"{world.name}b"
    other = {**world.fleet_json(), "name": name, "policy": {"kind": "no"}}

    async def of_other() -> None:
        world.house.pass_time(name, 60)
        await world.acted(fleet=other)

    await of_other()
    assert len(await world.master.entries()) == 2
    requests = asked(world, 5)
    await world.acts_until_serving_any()
    assert await answers(requests) == (5, 0)
    for _ in range(12):
        # Each switches its own entry alone; who comes last sees what the other has done.
        await of_other()
        await world.acted()
        if not world.processes():
            break
    await of_other()
    statuses = [row["status"] for row in (await world.master.entries()).values()]
    assert (len(statuses), set(statuses) - {"loading", "waiting"}) == (2, set()), await world.last_words()
    held = asked(world, 5)
    await world.acts_until_serving_any()
    assert await answers(held) == (5, 0)


async def test_a_worker_that_joins_and_dies_within_a_second_takes_nothing_along_that_comes_after_the_next_turn(
    worlds: Worlds[Any], room: RunningRoom
) -> None:
    world = await at_zero(worlds, {"waiting_room": room.url})
    requests = asked(world, 20)
    await world.acts_until_serving_any()
    for pid in world.processes().values():
        os.kill(pid, signal.SIGKILL)
    # On a loaded machine its provider would still list it.
    await until(lambda: not world.processes(), "it is dead")
    # Until somebody switches it off the master gives the dead one whatever waits, and that is lost.
    await world.acted()
    served, lost = await answers(requests)
    assert served + lost == 20
    later = asked(world, 5)
    await asyncio.sleep(2)
    await world.acts_until_serving_any()
    assert await answers(later) == (5, 0)


async def test_who_left_while_waiting_is_still_counted_and_served(worlds: Worlds[Any], room: RunningRoom) -> None:
    world = await at_zero(worlds, {"waiting_room": room.url})
    ghosts = asked(world, 3)
    await asyncio.sleep(0.5)
    for ghost in ghosts:
        ghost.cancel()
    await asyncio.sleep(0.5)
    assert (await world.master.control("State"))["status"]["waiting_gens"] == 3
    await world.acts_until_serving_any()
    deadline = time.monotonic() + 30
    while (state := await world.master.control("State"))["served"] < 3:
        assert time.monotonic() < deadline, state
        await asyncio.sleep(0.1)


async def test_the_end_of_a_fleet_whose_room_is_away_ends_its_last_worker_too(
    worlds: Worlds[Any], room: RunningRoom
) -> None:
    from ebbflow.flows.override import override

    world = await at_zero(worlds, {"waiting_room": room.url})
    requests = asked(world, 1)
    await world.acts_until_serving_any()
    assert await answers(requests) == (1, 0)
    room.kill()
    await world.acted(override, kind="wind_down")
    await world.acts_until(lambda: not world.processes(), "nobody is left", turns=12)


async def test_at_the_end_of_the_fleet_the_room_leaves_the_master(worlds: Worlds[Any], room: RunningRoom) -> None:
    from ebbflow.flows.override import override

    world = await at_zero(worlds, {"waiting_room": room.url})
    await world.acted(override, kind="wind_down")
    assert [action.verb for action in (await world.record()).plan.actions] == [Verb.REMOVE_ROOM]
    assert await world.master.entries() == {}
