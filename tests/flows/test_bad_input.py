"""What a person or a system may do wrong: each with a clear error, and nothing is lost by it."""

import asyncio
import os
import secrets
import signal
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow_async

from ebbflow.core.plan import Reason
from ebbflow.core.record import Record
from ebbflow.flows.autoscale import autoscale
from tests.e2e.processes import until
from tests.e2e.together import together
from tests.e2e.world import PrefectWorld, World, Worlds

pytestmark = pytest.mark.anyio


async def is_refused(world: World, words: list[str], **parameters: Any) -> None:
    """A turn fails with these words; no claim is made, and the workers stay as they are."""
    claims, processes = set(await world.claims()), world.processes()
    refused = await world.turn(after=None, **parameters)
    assert refused.state.is_failed(), refused.said
    said = str(refused.state.message)
    assert [word for word in words if word not in said] == [], said
    assert set(await world.claims()) == claims
    assert world.processes() == processes


async def is_refused_and_kept_alive(world: World, url: str, words: list[str], **parameters: Any) -> None:
    """A turn fails with these words, and its worker had a sign of life; on a loaded machine one may come too late."""
    seen = len((await world.worker_control(url, "State"))["control_times"])
    for _ in range(5):
        await is_refused(world, words, **parameters)
        if len((await world.worker_control(url, "State"))["control_times"]) > seen:
            return
    raise AssertionError("no sign of life in five refused turns")


def reasons_of(record: Record, rule: str) -> list[Reason]:
    return [reason for reason in record.plan.reasons if reason.rule == rule]


BAD_FLEETS: tuple[tuple[dict[str, Any], list[str]], ...] = (
    ({"limits": {"min_workers": 5, "max_workers": 2}}, ["min_workers 5 is above max_workers 2"]),
    ({"policy": {"kind": "vanila"}}, ["vanila", "vanilla"]),
    ({"polcy": {"kind": "no"}}, ["polcy", "not permitted"]),
    ({"name": "My Fleet"}, ["My Fleet", "[a-z0-9-]"]),
    ({"master": "swarmui-master/nobody"}, ["'swarmui-master/nobody' is not a saved block", "saved are:"]),
    ({"providers": [{"block": "local-provider/nobody"}]}, ["'local-provider/nobody' is not a saved block"]),
    ({"limits": {"min_workers": 0}}, ["min_workers is 0", "set min_workers to 1 or more"]),
)


@pytest.mark.soak
@together
async def test_a_bad_fleet_is_refused_with_what_would_be_right(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await world.acted()
    await world.pass_time(60)
    for fleet, words in BAD_FLEETS:
        await is_refused(world, words, fleet=world.fleet_json(**fleet))
    await world.acted(after=None)
    await world.is_right(1)


@pytest.mark.soak
@together
async def test_two_fleets_of_one_name_are_refused_and_the_first_one_goes_on(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    async with get_client() as client:
        flow_id = await client.create_flow(autoscale)
        ids = [
            await client.create_deployment(flow_id, f"{world.name}-{which}", enforce_parameter_schema=False)
            for which in ("one", "two")
        ]

        async def scheduled(which: int) -> Any:
            await world.pass_time(60)
            run = await client.create_flow_run_from_deployment(ids[which])
            return await run_flow_async(
                autoscale, flow_run=run, parameters={"fleet": world.fleet(), "dry_run": False}, return_type="state"
            )

        assert (await scheduled(0)).name == "Acted"
        (first,) = world.processes()
        refused = await scheduled(1)
        assert refused.is_failed()
        assert f"fleet '{world.name}' is already run by another deployment ({world.name}-one" in refused.message
        assert (await scheduled(0)).name == "Held"
        # Taken over after the first one has been silent for three intervals.
        await world.pass_time(120)
        await scheduled(0)
        await world.pass_time(200)
        await world.acted(after=60)
        await world.pass_time(200)
        await world.acted(after=60)
        assert (await scheduled(1)).name in ("Held", "Acted")
    # One that did not answer in time at a single look may have been given company, and keeps its place.
    assert first in world.processes()
    assert set(world.starts().values()) == {1}


BROKEN_WORKERS = {
    "never announces": (("--never_announce",), "never announced a URL"),
    "announces and never answers": (("--announce_url", "http://127.0.0.1:9"), "announced http://127.0.0.1:9"),
    "announces nonsense": (("--announce_url", "mailto:me"), "NewURL 'mailto:me'"),
}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        pytest.param(*row, id=name, marks=() if name == "announces and never answers" else pytest.mark.soak)
        for name, row in BROKEN_WORKERS.items()
    ],
)
@together
async def test_a_worker_that_never_serves_is_given_up_ended_and_its_provider_rests(
    worlds: Worlds, options: tuple[str, ...], words: str
) -> None:
    world = await worlds(*options, interval_seconds=20, limits={"max_workers": 2, "min_seconds_after_failure": 3000},
                         readiness={"launch_timeout_seconds": 30})  # fmt: skip
    await world.acted(after=20)
    for _ in range(4):
        last = await world.acted(after=20)
    assert world.processes() == {}, last.said
    assert len(world.starts()) == 1, "its provider rests after the failure"
    failures = [known for known in (await world.record()).memory.providers if known.failures]
    assert len(failures) == 1
    assert words in failures[0].detail
    await world.save()
    await world.acted(after=20, fleet=world.fleet(limits={"min_seconds_after_failure": 0}))
    await world.is_right(1)


@pytest.mark.soak
@together
async def test_a_worker_that_answers_500_is_registered_once_it_answers_rightly(worlds: Worlds) -> None:
    world = await worlds("--start_seconds", "2", interval_seconds=20)
    turn = asyncio.ensure_future(world.turn(after=None))
    try:
        folder = world.folder / "state" / world.name / world.name
        await until(lambda: any("NewURL" in path.read_text() for path in folder.glob("*/stdout.log")), "it announces")
        (log,) = folder.glob("*/stdout.log")
        url = log.read_text().split("NewURL: ")[1].split("[")[0]
        await world.worker_control(url, "Fail")
        result = await turn
    finally:
        await asyncio.gather(turn, return_exceptions=True)
    assert result.state.name == "Acted"
    registered = await world.members()
    if not registered:
        await world.acted(after=20)
        assert await world.members() == set(), "it still answers 500"
        await world.worker_control(url, "Heal")
        await world.acted(after=20)
    await world.is_right(1)


@together
async def test_a_worker_that_answers_as_the_master_is_never_registered_and_the_master_lives(world: World) -> None:
    await world.save("--announce_url", world.master.url)
    fleet = world.fleet(limits={"min_seconds_after_failure": 3000})
    await world.acted(fleet=fleet)
    assert await world.members() == set()
    for _ in range(3):
        last = await world.acted(fleet=fleet)
    assert len(world.starts()) == 1, "its provider rests after the failure"
    assert world.processes() == {}, last.said
    assert await world.master.requests("ShutdownServer") == []
    assert (await world.master.call("ListBackends")) == {}


@pytest.mark.soak
@together
async def test_a_worker_that_answers_as_another_one_does_not_take_that_one_down(world: World) -> None:
    await world.acted()
    await world.acts_until_serving(1)
    ((right, pid),) = world.processes().items()
    (entry,) = (await world.master.entries()).values()
    url = entry["settings"]["Address"]
    await world.save("--announce_url", url)
    fleet = world.fleet(
        limits={"min_workers": 2, "max_workers": 2, "min_seconds_after_failure": 3000},
        readiness={"launch_timeout_seconds": 70},
        interval_seconds=20,
    )
    for _ in range(6):
        last = await world.acted(after=20, fleet=fleet)
    assert world.processes() == {right: pid}, last.said
    state = await world.worker_control(url, "State")
    assert [each for each in state["requests"] if each["route"] == "ShutdownServer"] == []
    await world.is_right(1)


@together
async def test_a_worker_that_dies_while_it_is_being_registered_is_forgotten_and_replaced(worlds: Worlds) -> None:
    world = await worlds("--load_seconds", "600", interval_seconds=20)
    turn = asyncio.ensure_future(world.turn(after=None))
    await until(world.processes, "it runs")
    ((identity, pid),) = world.processes().items()
    await until(lambda: "NewURL" in "".join(p.read_text() for p in world.folder.rglob("stdout.log")), "it announces")
    os.kill(pid, signal.SIGKILL)
    first = await turn
    assert first.state.name == "Acted"
    rows = await first.rows()
    assert "ended" in str(rows), rows
    await world.save()
    resting = world.fleet(limits={"min_seconds_after_failure": 50})
    await world.acted(after=20, fleet=resting)
    assert world.processes() == {}, "its provider rests after the failure"
    for _ in range(2):
        await world.acted(after=60, fleet=resting)
    assert identity not in world.processes()
    await world.is_right(1)


@together
async def test_a_master_that_is_down_is_unknown_and_min_workers_are_filled_all_the_same(world: World) -> None:
    await world.acted()
    await world.acts_until_serving(1)
    port = int(world.master.url.rsplit(":", 1)[1])
    before = world.processes()
    await world.master.stop()
    held = await world.acted()
    record = await world.record()
    assert "demand unknown" in str(held.run.name)
    assert reasons_of(record, "roster.unknown")
    await world.acted(fleet=world.fleet(limits={"min_workers": 2}))
    assert len(world.processes()) == 2, "an empty minimum is filled without the master"
    assert before.items() <= world.processes().items()
    await world.master.start(port)
    await world.acted(fleet=world.fleet(limits={"min_workers": 2}))
    await world.is_right(2)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("fault", "settings", "detail"),
    [
        ({"kind": "Fail"}, {}, "HTTP 500"),
        ({"kind": "Error", "text": "Something broke"}, {}, "Something broke"),
        ({"kind": "Garbage"}, {}, "is this the address of a SwarmUI?"),
        ({"kind": "Slow", "seconds": 30.0}, {"call_timeout_seconds": 0.3}, "no answer within"),
        ({"kind": "Hang"}, {"call_timeout_seconds": 0.3}, "no answer within"),
    ],
    ids=["500", "an error with status 200", "garbage", "slow", "hangs"],
)
@together
async def test_a_master_in_trouble_is_unknown_and_never_empty(
    world: World, fault: dict[str, Any], settings: dict[str, Any], detail: str
) -> None:
    fleet = world.fleet(limits={"min_workers": 2})
    await world.acted(fleet=fleet)
    await world.acts_until_serving(2, fleet=fleet)
    before = world.processes()
    await world.save(master=settings)
    body = {key: value for key, value in fault.items() if key != "kind"}
    await world.master.control(fault["kind"], **body)
    for _ in range(2):
        held = await world.acted()
        assert held.state.name == "Held", held.said
    record = await world.record()
    assert "demand unknown" in str(held.run.name)
    assert any(detail in reason.text for reason in record.plan.reasons), record.plan.reasons
    assert world.processes() == before, "nobody is ended because the master does not say who works"
    await world.master.control("Heal")
    await world.save()
    for _ in range(3):
        await world.acted()
    await world.is_right(1)


@pytest.mark.soak
@together
async def test_a_master_that_forgets_its_sessions_is_asked_with_new_ones(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await world.acted()
    given = (await world.master.control("State"))["sessions_given"]
    await world.acted()
    assert (await world.master.control("State"))["sessions_given"] == given, "sessions are kept from run to run"
    await world.master.control("ExpireSessions")
    world.master._user_session = None
    assert (await world.acted()).state.name == "Held"
    await world.is_right(1)


@together
async def test_locked_settings_end_the_turn_with_what_to_do_and_workers_are_kept_alive(world: World) -> None:
    await world.acted()
    await world.acts_until_serving(1)
    await world.acted()
    (entry,) = (await world.master.entries()).values()
    url = entry["settings"]["Address"]
    await world.pass_time(60)
    await world.master.control("LockSettings", locked=True)
    await is_refused_and_kept_alive(world, url, ["Settings are locked", "--lock_settings"])
    await world.master.control("LockSettings", locked=False)
    await world.acted(after=None)
    await world.is_right(1)


@together
async def test_a_fleet_that_is_refused_keeps_its_workers_alive(world: World) -> None:
    await world.acted()
    await world.acts_until_serving(1)
    await world.acted()
    (entry,) = (await world.master.entries()).values()
    url = entry["settings"]["Address"]
    await world.pass_time(60)
    fleet = world.fleet(
        providers=[
            {"block": f"local-provider/{world.name}", "max_workers": 4},
            {"block": f"local-provider/x{secrets.token_hex(4)}", "max_workers": 4},
        ]
    )
    await is_refused_and_kept_alive(world, url, ["is not a saved block"], fleet=fleet)


@together
async def test_regression_a_master_that_is_not_saved_ended_the_fleet_by_its_dead_mans_switch(world: World) -> None:
    await world.acted()
    await world.acts_until_serving(1)
    await world.acted()
    (entry,) = (await world.master.entries()).values()
    url = entry["settings"]["Address"]
    await world.pass_time(60)
    fleet = world.fleet(master=f"swarmui-master/x{secrets.token_hex(4)}")
    words = ["is not a saved block", "the 1 worker of record 2 was given its sign of life"]
    await is_refused_and_kept_alive(world, url, words, fleet=fleet)


@together
async def test_an_interval_in_which_a_slow_masters_looks_do_not_fit_is_refused(world: World) -> None:
    await world.save(master={"call_timeout_seconds": 10})
    words = [
        "interval_seconds 20",
        f"a call of 20 s to swarmui-master/{world.name}",
        "use an interval of at least 34 s",
    ]
    await is_refused(world, words, fleet=world.fleet(interval_seconds=20))
