"""What a person finds on a real Prefect server: a fleet's page, a record's, a worker's runs, what was refused."""

import asyncio
import logging
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateName,
    FlowRunFilterTags,
    LogFilter,
    LogFilterFlowRunId,
)

from ebbflow.contracts.ledger import OUTCOME, record_of
from ebbflow.core.canonical import encode
from ebbflow.core.record import Record
from ebbflow.decision.evaluate import evaluate
from ebbflow.flows.fleet_page import page_key, show_fleet
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.record_artifacts import KIND
from ebbflow.flows.scale_up import scale_up
from ebbflow.standins.process import free_port
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.fleet_page import MOST_BYTES
from tests.e2e.together import together
from tests.e2e.world import PrefectWorld
from tests.making import fleet_of, inputs_of

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect]


async def pages(client: PrefectClient, fleet: str) -> list[dict[str, Any]]:
    """Every artifact of the fleet's key that the server keeps, the oldest first. Any: its JSON."""
    wanted = {"artifacts": {"key": {"any_": [page_key(fleet)]}}, "sort": "CREATED_DESC"}
    found = (await client.request("POST", "/artifacts/filter", json=wanted)).json()
    return list(reversed(found))


async def events(client: PrefectClient, resource: str) -> list[str]:
    """Names of those that a resource stands in, in whatever role."""
    wanted = {"filter": {"any_resource": {"id": [resource]}}, "limit": 50}
    found = (await client.request("POST", "/events/filter", json=wanted)).json()["events"]
    return [str(event["event"]) for event in found]


@together
async def test_a_fleet_has_one_page_that_every_turn_writes_anew_in_its_place(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await world.acted()
    async with get_client() as client:
        (first,) = await pages(client, world.name)
        (worker,) = world.processes()
        assert f"launch {worker}: done, register done" in first["data"]
        held = await world.acted()
        (second,) = await pages(client, world.name)
        assert (second["id"], second["flow_run_id"]) == (first["id"], None), "the page is of no run"
        assert second["description"].startswith(f"{world.name}: hold (queue 0")
        assert f"[this run](/runs/flow-run/{held.run.id})" in second["data"]
        assert f"launch {worker}: done, register done" in second["data"], "the last thing that was done"
        assert len((second["description"] + second["data"]).encode()) <= MOST_BYTES
        (latest,) = (
            await client.request(
                "POST", "/artifacts/latest/filter", json={"artifacts": {"key": {"any_": [page_key(world.name)]}}}
            )
        ).json()
        assert (latest["latest_id"], latest["data"]) == (second["id"], second["data"]), "what the list shows"
        assert await events(client, f"prefect.artifact.{first['id']}") in ([], ["prefect.artifact-collection.created"])


@pytest.mark.soak
@together
async def test_a_page_that_was_deleted_or_is_of_another_type_is_made_anew(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    async with get_client() as client:
        another = {"type": "table", "key": page_key(world.name), "data": '[{"action": "launch"}]'}
        await client.request("POST", "/artifacts/", json=another)
        await world.acted()
        table, page = await pages(client, world.name)
        assert (table["type"], page["type"]) == ("table", "markdown")
        await client.delete_artifact(UUID(page["id"]))
        await world.acted()
        newest = (await pages(client, world.name))[-1]
        assert (newest["type"], newest["id"] != page["id"]) == ("markdown", True)


@pytest.mark.soak
@together
async def test_a_turn_that_was_overtaken_leaves_the_page_of_the_later_one(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await world.acted()
    await world.acted()
    early = await world.record(1)
    async with get_client() as client:
        reader = ChainReader(PrefectLedger(client))
        evaluation = evaluate(await reader.inputs(early), await reader.fleet(early))
        before = await pages(client, world.name)
        await show_fleet(client, early, evaluation, (), "late", logging.getLogger("ebbflow"))
        assert await pages(client, world.name) == before


async def test_regression_a_server_that_was_away_after_a_turn_failed_a_run_that_was_done(
    caplog: pytest.LogCaptureFixture,
) -> None:
    evaluation = evaluate(inputs_of(), fleet_of(("local/a", 2)))
    async with PrefectClient(f"http://127.0.0.1:{free_port()}/api") as away:
        await show_fleet(away, record_of("pages", 1), evaluation, (), "held", logging.getLogger("ebbflow"))
    (said,) = [each.getMessage() for each in caplog.records if each.name == "ebbflow"]
    assert said.startswith("the fleet's page could not be written: ")


@together
async def test_a_record_is_a_page_with_the_record_in_it(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    acted = await world.acted()
    (worker,) = world.processes()
    record = next(each for each in await acted.artifacts() if each.type == "markdown")
    assert record.description == "queue 0, 0 workers"
    shown = str(record.data).partition("**The record itself**")[0]
    assert shown.startswith(f"Record 1 of {world.name}, by `autoscale`, ")
    assert "- demand: 0 queued, 0 running" in shown
    assert f"|launch|{worker}|done, register done|" in shown
    stored = await world.stored()
    assert stored.text == (await world.record()).text()
    assert len(stored.outcomes() or ()) == 2


async def test_records_of_releases_before_are_read_and_other_flows_pages_are_not_taken_for_records(
    prefect_server: str,
) -> None:
    old, new = record_of("pages", 1), record_of("pages", 2)
    async with get_client() as client:
        await client.request("POST", "/artifacts/", json={"type": "markdown", "data": "somebody's page, of no key"})
        ledger = PrefectLedger(client)
        began = await ledger.now() - 5
        written = {"record": old.text(), "outcomes": encode((OUTCOME,))}
        body = {"type": KIND, "data": written, "flow_run_id": old.flow_run_id}
        old_id = str((await client.request("POST", "/artifacts/", json=body)).json()["id"])
        new_id = await ledger.store(new, summary="")
        found = await ledger.stored_since(began)
        assert {name for name, each in found.items() if _is_of(each.text, old, new)} == {old_id, new_id}
        assert all(each.text is not None for each in found.values())
        stored = await ledger.stored(old_id)
        assert stored is not None
        assert (stored.record(), stored.outcomes()) == (old, (OUTCOME,))


def _is_of(text: str | None, *records: Record) -> bool:
    return text in [record.text() for record in records]


@together
async def test_runs_are_found_by_worker_and_by_state_and_a_refused_one_has_no_traceback(
    prefect_world: PrefectWorld,
) -> None:
    world = prefect_world
    acted = await world.acted()
    (worker,) = world.processes()
    held = await world.acted()
    refused = await world.turn(scale_up, after=None, count=9)
    sentence = "above limits.max_workers 4"
    assert (refused.state.name, refused.state.type.value) == ("Refused", "FAILED")
    assert sentence in str(refused.state.message)
    ours = {acted.run.id, held.run.id, refused.run.id}

    async def found(client: PrefectClient, **wanted: Any) -> set[UUID]:
        runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(**wanted), limit=200)
        return ours & {run.id for run in runs}

    async with get_client() as client:
        for turn in (acted, held, refused):
            state = FlowRunFilterState(name=FlowRunFilterStateName(any_=[str(turn.state.name)]))
            assert await found(client, state=state) == {turn.run.id}
        assert await found(client, tags=FlowRunFilterTags(all_=[f"worker:{worker}"])) == {acted.run.id}
        assert await found(client, tags=FlowRunFilterTags(all_=[f"fleet:{world.name}", "held"])) == {held.run.id}
        logs = await client.read_logs(LogFilter(flow_run_id=LogFilterFlowRunId(any_=[refused.run.id])), limit=50)
        assert not [line.message for line in logs if "Traceback" in line.message]


@pytest.mark.soak
@together
async def test_events_are_found_by_worker_and_by_fleet(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await world.acted()
    (worker,) = world.processes()
    wanted = {"ebbflow.worker.launched", "ebbflow.worker.registered"}
    async with get_client() as client:
        for resource in (f"ebbflow.worker.{worker}", f"ebbflow.fleet.{world.name}"):
            # Events travel by themselves, and the server writes them every few seconds.
            for _ in range(150):
                if wanted <= (told := set(await events(client, resource))):
                    break
                await asyncio.sleep(0.2)
            assert wanted <= told, resource
