"""Turns of a fleet, with a stand-in SwarmUI and real workers; where a test looks at Prefect, on a real server."""

import asyncio
import dataclasses
import json
import os
import re
import signal
from contextlib import suppress
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterId
from prefect.flow_engine import run_flow_async
from prefect.states import Scheduled

from ebbflow.adapters.providers.host.workers import fingerprint_of
from ebbflow.core.errors import DryRunViolation
from ebbflow.core.instance import Instance, InstanceState, LaunchRequest
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.plan import Action, Verb
from ebbflow.core.ports import KeepsAlive, PushMaster
from ebbflow.core.worker import Worker
from ebbflow.decision.evaluate import evaluate
from ebbflow.flows.autoscale import autoscale
from ebbflow.flows.scale_down import scale_down
from ebbflow.flows.scale_up import scale_up
from ebbflow.turn.acting import perform
from ebbflow.turn.budget import Budget
from ebbflow.turn.calls import Acting
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.results import Skipped, SkipReason
from ebbflow.turn.surroundings import RunIdentity, Surroundings
from ebbflow.turn.turn import record_and_claim
from tests.e2e.processes import processes_with, start_stand_in, until
from tests.e2e.together import together
from tests.e2e.world import PrefectWorld, PrefectWorlds, World, Worlds, read_lines
from tests.making import inputs_of

pytestmark = pytest.mark.anyio


async def serving(world: World, count: int) -> None:
    """Bring a fleet to that many workers, all of which take work."""
    fleet = world.fleet(limits={"min_workers": count, "max_workers": max(4, count)})
    await world.acted(fleet=fleet)
    await world.acts_until_serving(count, fleet=fleet)
    await world.is_right(count)


async def replayed(world: World, since: int = 0) -> int:
    """Decide every stored record again, and compare; how many there were."""
    numbers = sorted(number for number in await world.claims() if number >= since)
    async with world.house.ledger(world.name) as ledger:
        reader = ChainReader(ledger)
        for number in numbers:
            record = await world.record(number)
            again = evaluate(await reader.inputs(record), await reader.fleet(record))
            assert again.plan == record.plan
            assert again.memory == record.memory
    return len(numbers)


@pytest.mark.oldest_prefect
@together
async def test_a_fleet_goes_to_its_minimum_and_registers_in_the_same_turn(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    turn = await world.acted()
    assert turn.state.name == "Acted"
    assert turn.run.name == f"{world.name}: +1 (queue 0, 0 workers, min_workers)"
    (worker,) = world.processes()
    assert set(turn.run.tags) == {"ebbflow", f"fleet:{world.name}", "acted", f"worker:{worker}"}
    assert await turn.tasks() == [f"launch {worker}", f"register {worker}"]
    (table,) = [artifact for artifact in await turn.artifacts() if artifact.type == "table"]
    rows = json.loads(str(table.data))
    assert [(row["action"], row["worker"], row["result"]) for row in rows] == [
        ("launch", worker, "done, register done")
    ]
    await world.is_right(1)


@pytest.mark.soak
@together
async def test_a_turn_that_holds_makes_no_task_runs_and_says_why(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await serving(world, 1)
    held = await world.acted()
    assert held.state.name == "Held"
    assert await held.tasks() == []
    assert held.run.name.startswith(f"{world.name}: hold (queue 0")
    assert set(held.run.tags) == {"ebbflow", f"fleet:{world.name}", "held"}
    (record,) = await held.artifacts()
    assert (record.type, record.description) == ("markdown", "queue 0 \\< 1"), "and its fleet's page is of no run"
    await world.is_right(1)


@pytest.mark.soak
@together
async def test_demand_raises_a_fleet_and_idleness_lowers_it_over_two_claims(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await serving(world, 1)
    work = world.generate(images=6)
    await world.busy_worker()
    raised = await world.acted()
    assert raised.run.name == f"{world.name}: +1 (queue 6 > 4)"
    await world.is_right(2)
    assert await world.finished(work) == 6
    marking = await world.acted()
    assert marking.run.name.startswith(f"{world.name}: -1 ("), marking.said
    (going,) = await world.members(enabled=False)
    assert len(world.processes()) == 2, "the marking claim ends nobody"
    young = await world.acted(after=35)
    assert len(world.processes()) == 2, f"the marking claim's budget is not over: {young.said}"
    ending = await world.acted()
    await world.is_right(1)
    assert going not in world.processes()
    assert await ending.tasks() == [f"tear_down {going}"]
    assert await replayed(world) == 5


@pytest.mark.soak
@together
async def test_a_run_is_skipped_while_the_head_is_younger_than_half_an_interval(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await world.acted()
    early = await world.turn(after=5)
    assert early.state.name == "Skipped"
    assert "the last turn is younger than 30 s" in early.said
    assert "skipped" in early.run.tags
    assert max(await world.claims()) == 1
    late = await world.turn(after=30)
    assert late.state.name == "Held"


@together
async def test_a_late_run_acts_like_any_other(world: World) -> None:
    await world.acted()
    worker = world.processes().popitem()
    late = await world.acted(after=5_000, fleet=world.fleet(limits={"min_workers": 2}))
    assert late.state.name == "Acted"
    await world.is_right(2)
    assert worker[0] in world.processes()
    record = await world.record()
    assert record.turn.elapsed_seconds == 120.0, "an outage makes nothing older than two intervals"


@pytest.mark.soak
@together
async def test_who_loses_the_claim_ends_as_skipped(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await world.acted()
    for _ in range(4):
        await world.pass_time(60)
        asked = len(await world.master.requests("GetGlobalStatus"))
        await world.master.control("Slow", route="GetGlobalStatus", seconds=4.0, times=1)
        slow = asyncio.ensure_future(world.turn(after=None))
        await world.master.until_asked("GetGlobalStatus", asked + 1)
        quick, loser = await world.turn(after=None), await slow
        # On a busy machine the quick one may be the slower one.
        if quick.state.name == "Held":
            break
    assert quick.state.name == "Held", f"{quick.said}; {loser.said}"
    assert loser.state.name == "Skipped", loser.said
    assert (loser.state.message or "").startswith("another run claimed record "), loser.said
    assert "skipped" in loser.run.tags
    assert await loser.tasks() == []
    await world.is_right(1)


@together
async def test_scale_up_raises_at_once_holds_and_expires(world: World) -> None:
    await serving(world, 1)
    raised = await world.turn(scale_up, after=None, count=2, reason="a demo", hold_seconds=100)
    assert raised.state.name == "Acted", raised.said
    assert raised.run.name.startswith(f"{world.name}: +2 (")
    await world.is_right(3)
    held = await world.acted()
    assert held.state.name == "Held", held.said
    (override,) = (await world.record()).memory.overrides
    assert (override.count, override.reason, override.remaining_seconds <= 45) == (3, "a demo", True)
    expired = await world.acted()
    assert expired.run.name.startswith(f"{world.name}: -2"), expired.said
    assert (await world.record()).memory.overrides == ()
    await world.acted()
    await world.is_right(1)
    assert await replayed(world) >= 5


@pytest.mark.soak
@together
async def test_a_repeated_run_of_scale_up_adds_nothing(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await serving(world, 1)
    first = await world.turn(scale_up, after=None, count=1)
    assert first.state.name == "Acted", first.said
    await world.is_right(2)
    parameters = {"fleet": world.fleet(), "count": 1, "reason": "", "hold_seconds": 3600.0}
    await world.pass_time(60)
    async with get_client() as client:
        await client.set_flow_run_state(first.run.id, Scheduled(name="again"), force=True)
        again = await client.read_flow_run(first.run.id)
        state: Any = await run_flow_async(scale_up, flow_run=again, parameters=parameters, return_type="state")
    assert state.name == "Held", state.message
    assert len((await world.record()).memory.overrides) == 1
    assert [(await world.record(number)).flow for number in (1, 2, 3)] == ["autoscale", "scale_up", "scale_up"]
    await world.is_right(2)


BEYOND_THE_LIMITS: tuple[tuple[Any, dict[str, Any], list[str]], ...] = (
    (scale_up, {"count": 4}, ["5 workers", "above limits.max_workers 4"]),
    (scale_down, {"count": 1}, ["0 workers", "below limits.min_workers 1"]),
    (scale_down, {}, ["give a count, or worker_ids"]),
    (scale_down, {"worker_ids": ["nobody-3f9c-1-0"]}, ["nobody-3f9c-1-0", "not in this fleet"]),
)


@together
async def test_a_request_beyond_the_limits_is_refused_with_the_reason(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await serving(world, 1)
    newest = max(await world.claims())
    for flow, parameters, words in BEYOND_THE_LIMITS:
        refused = await world.turn(flow, after=None, **parameters)
        assert refused.state.is_failed(), refused.said
        assert [word for word in words if word not in str(refused.state.message)] == [], refused.said
        assert max(await world.claims()) == newest
    await world.is_right(1)


@together
async def test_scale_down_by_a_count_ends_that_many(world: World) -> None:
    await serving(world, 3)
    lowered = await world.turn(scale_down, fleet=world.fleet(), count=2)
    assert lowered.run.name.startswith(f"{world.name}: -2 ("), lowered.said
    await world.acted()
    await world.is_right(1)


@together
async def test_scale_down_of_a_named_worker_ends_that_one(worlds: Worlds) -> None:
    world = await worlds(policy={"kind": "no"})
    await serving(world, 3)
    named = sorted(world.processes())[1]
    await world.turn(scale_down, worker_ids=[named])
    assert await world.members(enabled=False) == {named}
    await world.acted()
    await world.is_right(2)
    assert named not in world.processes()


@together
async def test_a_named_worker_that_is_busy_stays_until_it_is_idle_and_nobody_goes_instead(worlds: Worlds) -> None:
    world = await worlds(policy={"kind": "no"})
    await serving(world, 2)
    work = world.generate()
    busy = await world.busy_worker()
    await world.turn(scale_down, worker_ids=[busy])
    await world.acted()
    await world.is_right(2)
    assert await world.members(enabled=True) == set(world.processes()), "nobody is even marked"
    assert await world.finished(work) == 1
    await world.acted()
    assert await world.members(enabled=False) == {busy}
    await world.acted()
    await world.is_right(1)
    assert busy not in world.processes()
    assert (await world.master.control("State"))["lost"] == 0


@together
async def test_force_ends_a_busy_worker_at_the_drain_deadline_and_not_before(worlds: Worlds) -> None:
    world = await worlds(policy={"kind": "no"}, drain={"deadline_seconds": 100})
    await serving(world, 2)
    world.generate()
    busy = await world.busy_worker()
    await world.turn(scale_down, worker_ids=[busy], force=True)
    assert await world.members(enabled=False) == {busy}
    await world.acted()
    assert busy in world.processes(), "60 s after the mark it still has time"
    await world.acted()
    await world.is_right(1)
    assert busy not in world.processes()


@together
async def test_a_dry_run_changes_nothing_anywhere(prefect_worlds: PrefectWorlds) -> None:
    world = await prefect_worlds()
    await serving(world, 1)
    world.generate(images=6)
    await world.busy_worker()
    await world.pass_time(60)

    async def everything() -> dict[str, Any]:
        async with get_client() as client:
            variables = (await client.request("POST", "/variables/filter", json={"limit": 200})).json()
            blocks = await client.read_block_documents(include_secrets=True)
            records = await client.read_artifacts(limit=200)
        listed = await world.master.call("ListBackends", nonreal=False)
        return {
            "variables": {each["name"]: each for each in variables if world.name in each["name"]},
            "home": [each for each in variables if each["name"] == "ebbflow_home"],
            "blocks": {(each.block_type_name, each.name): each.data for each in blocks if world.name in str(each.name)},
            "records": {each.id for each in records if world.name in str(each.data) and "dry-run" not in str(each.key)},
            "processes": world.processes(),
            "starts": world.starts(),
            "entries": {key: (row["title"], row["enabled"], row["settings"]) for key, row in listed.items()},
            "files": sorted(str(path) for path in (world.folder / "state").rglob("*")),
        }

    before, requests = await everything(), await world.master.requests()
    turn = await world.turn(after=None, dry_run=True)
    assert turn.state.name == "DryRun"
    assert turn.run.name.startswith(f"dry run: {world.name}: +1 (queue 6 > 4")
    (artifact,) = await turn.artifacts()
    assert "would launch" in str(artifact.data)
    after = await everything()
    assert after == before
    asked = (await world.master.requests())[len(requests) :]
    checks = {"ebbflow-checks-whether-settings-are-locked", 2**31 - 1}
    changing = [
        each
        for each in asked
        if each["route"] in ("AddNewBackend", "EditBackend", "ToggleBackend", "DeleteBackend", "ShutdownServer")
        and not checks & {each["body"].get("type_id"), each["body"].get("backend_id")}
    ]
    assert changing == []


@together
async def test_a_dry_runs_adapters_refuse_everything_that_changes_anything(world: World) -> None:
    worker = Worker(f"{world.name}-3f9c-1-0", f"local-provider/{world.name}", WorkerState.READY)
    instance = Instance(worker.worker_id, "1:1", InstanceState.RUNNING, world.name, "abcde")
    async with world.house.opened(world.fleet(), "abcde", dry_run=True) as opened:
        master, (provider,) = opened.master, opened.providers.values()
        assert isinstance(master, PushMaster), "its kind is that of the real one"
        assert isinstance(master, KeepsAlive)
        calls: dict[str, Any] = {
            "launch": lambda: provider.launch(LaunchRequest(worker.worker_id, world.name, "abcde")),
            "terminate": lambda: provider.terminate(instance),
            "register": lambda: master.register(worker),
            "drain": lambda: master.drain(worker, 0.0),
            "shut_down": lambda: master.shut_down(worker),
            "deregister": lambda: master.deregister(worker),
            "remove_unfinished": lambda: master.remove_unfinished("0"),
            "keepalive": lambda: master.keepalive([worker]),
        }
        refused = []
        for name, change in calls.items():
            with suppress(DryRunViolation):
                await change()
                continue
            refused.append(name)
        assert refused == list(calls)


@pytest.mark.soak
@together
async def test_two_fleets_on_one_server_do_not_touch_each_other(prefect_worlds: PrefectWorlds) -> None:
    one, two = await prefect_worlds(), await prefect_worlds()
    await asyncio.gather(serving(one, 1), serving(two, 2))
    await asyncio.gather(one.acted(), two.turn(scale_up, count=1))
    await asyncio.gather(one.is_right(1), two.is_right(3))
    assert not set(one.processes()) & set(two.processes())
    assert (await one.record()).memory.overrides == ()


@pytest.mark.soak
@together
async def test_a_fleet_whose_name_begins_with_anothers_has_a_chain_of_its_own(prefect_worlds: PrefectWorlds) -> None:
    one = await prefect_worlds()
    other = World(f"{one.name}-x", one.folder / "other", one.house, one.master, one.changes)
    other.folder.mkdir()
    await other.save(block="")
    try:
        await one.acted()
        await other.acted()
        await one.acted()
        assert sorted(await one.claims()) == [1, 2]
        assert sorted(await other.claims()) == [1]
        await one.is_right(1)
        await other.is_right(1)
    finally:
        await other.close()


@together
async def test_records_are_chained_by_hash_and_every_stored_decision_replays(world: World) -> None:
    await world.acted()
    await world.acted()
    await world.turn(scale_up, count=1)
    await world.acted()
    claims = await world.claims()
    records = {number: await world.record(number) for number in claims}
    assert sorted(records) == [1, 2, 3, 4]
    assert records[1].previous is None
    for number in (2, 3, 4):
        link = records[number].previous
        assert link is not None
        assert link.sha256 == claims[number - 1].sha256
        assert link.artifact_id == claims[number - 1].artifact_id
        assert records[number].chain == records[1].chain
    assert [records[number].flow for number in sorted(records)] == ["autoscale", "autoscale", "scale_up", "autoscale"]
    assert await replayed(world) == 4


async def change_record(world: World, how: str) -> None:
    claims = await world.claims()
    artifact_id = UUID(claims[max(claims)].artifact_id)
    async with get_client() as client:
        if how == "deleted":
            await client.delete_artifact(artifact_id)
            return
        wanted = ArtifactFilter(id=ArtifactFilterId(any_=[artifact_id]))
        (artifact,) = await client.read_artifacts(artifact_filter=wanted)
        edited = str(artifact.data).replace(world.name, "somebody")
        await client.request("PATCH", "/artifacts/{id}", path_params={"id": artifact_id}, json={"data": edited})


@pytest.mark.parametrize("how", ["deleted", "edited"])
@together
async def test_a_record_that_is_lost_starts_a_new_chain_that_adopts_everything(
    prefect_world: PrefectWorld, how: str
) -> None:
    world = prefect_world
    await serving(world, 2)
    world.generate()
    await world.busy_worker()
    before, lost = world.processes(), await world.record()
    await change_record(world, how)
    fleet = world.fleet(limits={"min_workers": 2})
    turn = await world.acted(fleet=fleet)
    record = await world.record()
    assert record.chain != lost.chain
    assert record.number == lost.number + 1
    assert record.previous is not None
    assert how in record.previous.broken
    assert any(reason.rule == "chain.broken" and how in reason.text for reason in record.plan.reasons), turn.said
    await world.acted(fleet=fleet)
    await world.is_right(2)
    assert world.processes() == before, "nothing launched twice, nothing ended"
    assert await replayed(world, since=record.number) == 2


@together
async def test_an_edited_claim_is_a_clear_error_and_nothing_is_lost(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await serving(world, 1)
    before = world.processes()
    async with get_client() as client:
        number = max(await world.claims())
        known = await client.read_variable_by_name(f"ebbflow_{world.name}_{number}")
        assert known is not None
        await client.request(
            "PATCH", "/variables/name/{name}", path_params={"name": known.name}, json={"value": "mine"}
        )
        refused = await world.turn()
        assert refused.state.is_failed()
        assert f"Variable ebbflow_{world.name}_{number} was made or edited by hand" in str(refused.state.message)
        assert "delete it" in str(refused.state.message)
        await client.delete_variable_by_name(known.name)
    await world.acted()
    await world.acted()
    await world.is_right(1)
    assert world.processes() == before


@together
async def test_every_claimed_record_is_a_line_in_the_fleets_folder(world: World) -> None:
    fleet = world.fleet(records_folder=str(world.folder / "records"))
    await world.acted(fleet=fleet)
    await world.acted(fleet=fleet)
    await world.turn(fleet=fleet, after=None)
    lines = read_lines(world.folder / "records" / f"{world.name}.jsonl")
    assert [line["number"] for line in lines] == [1, 2]
    assert [line.get("previous", {}).get("number") for line in lines] == [None, 1]


@pytest.mark.oldest_prefect
@pytest.mark.soak
@together
async def test_more_than_ten_launches_are_one_task_run_per_provider(prefect_worlds: PrefectWorlds) -> None:
    world = await prefect_worlds(limits={"min_workers": 12, "max_workers": 12})
    turn = await world.acted()
    names = await turn.tasks()
    provider = f"local-provider/{world.name}"
    assert names == [f"launch 12 at {provider}", f"register 12 at {provider}"]
    await world.is_right(12)


@together
async def test_another_homes_workers_are_shown_and_never_touched(world: World) -> None:
    await serving(world, 1)
    foreign = f"{world.name}-zzzz-1-0"
    environment = {
        **os.environ,
        "EBBFLOW_WORKER_ID": foreign,
        "EBBFLOW_FLEET": world.name,
        "EBBFLOW_HOME": "other",
        "EBBFLOW_PROVIDER": fingerprint_of("local", world.folder / "state" / world.name),
    }
    process = start_stand_in(["worker"], log=world.folder / "foreign.log", environment=environment)
    try:
        await until(lambda: foreign in world.processes(), "the other home's worker runs")
        added = await world.master.call("AddNewBackend", type_id="swarmswarmbackend")
        title = f"ebbflow/{world.name}/other/{foreign}"
        settings = {"Address": "http://127.0.0.1:1", "AllowIdle": True}
        await world.master.call("EditBackend", backend_id=added["id"], title=title, settings=settings)
        fleet = world.fleet(limits={"min_workers": 2})
        for _ in range(3):
            await world.acted(fleet=fleet)
        record = await world.record()
        shown = [reason.text for reason in record.plan.reasons if reason.rule == "roster.foreign"]
        assert len(shown) == 2, shown
        assert all(foreign in text for text in shown)
        assert all(worker.worker_id != foreign for worker in record.memory.workers)
        assert process.poll() is None
        entry = (await world.master.entries())[title]
        assert entry["enabled"]
        assert len(world.processes()) == 3, "two of ours beside it: it is no supply of ours"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@together
async def test_a_missing_block_lists_those_that_exist(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    wrong = {"providers": [{"block": f"local-provider/{world.name}-typo"}]}
    refused = await world.turn(fleet=world.fleet(**wrong))
    assert refused.state.is_failed()
    said = str(refused.state.message)
    assert f"'local-provider/{world.name}-typo' is not a saved block" in said
    assert re.search(rf"local-provider/{world.name}[,.]", said), "between others, or the last one of the list"
    assert await world.claims() == {}


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(1, id="with room for the new ones"),
        pytest.param(2, id="in a fleet that is full", marks=pytest.mark.soak),
    ],
)
@together
async def test_a_removed_provider_is_replaced_and_drained_and_nothing_busy_is_lost(world: World, count: int) -> None:
    await serving(world, count)
    old = set(world.processes())
    other = await world.save(block=f"{world.name}-b")
    work = world.generate()
    await world.busy_worker()
    fleet = world.fleet(
        providers=[{"block": other, "max_workers": 4}], limits={"min_workers": count, "max_workers": max(2, count)}
    )
    for _ in range(count):
        await world.acted(fleet=fleet)
    assert set(world.processes()) & old, "who works stays"
    assert await world.finished(work) == 1
    await world.acts_until(
        lambda: not set(world.processes()) & old and len(world.processes()) == count, "only new ones", fleet=fleet
    )
    await world.acted(fleet=fleet)
    assert await world.members() == set(world.processes())
    assert {worker.provider for worker in (await world.record()).memory.workers} == {other}
    assert set(world.starts().values()) == {1}
    assert (await world.master.control("State"))["lost"] == 0


@together
async def test_a_worker_that_was_killed_is_replaced_and_its_entry_removed(world: World) -> None:
    await serving(world, 1)
    ((lost, pid),) = world.processes().items()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: lost not in world.processes(), "it is dead")
    await world.acted()
    await world.is_right(1)
    assert lost not in world.processes()


@together
async def test_a_call_that_does_not_fit_into_the_budget_is_not_begun(world: World) -> None:
    await serving(world, 1)
    (identity,) = world.processes()
    async with world.house.opened(world.fleet(), "abcde", dry_run=False) as opened:
        worker = Worker(identity, f"local-provider/{world.name}", WorkerState.READY)
        seen = evaluate(inputs_of(world.name), world.fleet())
        decided = dataclasses.replace(seen, memory=dataclasses.replace(seen.memory, workers=(worker,)))
        acting = Acting(opened, decided, Budget(0.0, lambda: 1.0))
        for verb in (Verb.LAUNCH, Verb.DRAIN, Verb.DEREGISTER):
            with pytest.raises(Exception, match="the turn has"):
                await perform(acting, Action(verb, identity, worker.provider, "late"))
    await world.is_right(1)


@together
async def test_a_look_that_outlasted_the_budget_was_called_the_claim_of_another_run(world: World) -> None:
    await world.acted()
    head = await world.record()
    late = dataclasses.replace(head, number=head.number + 1)
    async with world.house.ledger(world.name) as ledger:
        around = Surroundings(ledger, world.house.opened, RunIdentity("autoscale", head.flow_run_id))
        said = await record_and_claim(world.fleet(), late, around, Budget(0.0, lambda: 1.0), summary="late")
    assert said == Skipped(SkipReason.TOO_LATE, "the look outlasted the turn's budget of 48 s and is too old to act on")
    assert set(await world.claims()) == {head.number}


def test_worker_processes_carry_the_fleet_in_their_environment() -> None:
    assert processes_with("EBBFLOW_FLEET", "no-such-fleet") == {}
    assert autoscale.name == "autoscale"
