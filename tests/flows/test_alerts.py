"""A fleet's alerts on a real Prefect server: made once, kept right, given, and removed; what persons edit stays."""

import time
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from prefect import flow
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.objects import State
from prefect.flows import Flow
from prefect.states import Completed, Crashed, Running

from ebbflow.core.errors import ConfigError
from ebbflow.core.instance import Instance
from ebbflow.flows.alerts import PURPOSES, alerts_of, make_alerts, owner_of, remove_alerts, renewed
from ebbflow.flows.tasks import carry_out
from ebbflow.flows.unended import NOT_ENDED
from ebbflow.turn.turn import take_turn
from tests.making import changed
from tests.turn.lived import FEWER
from tests.turn.outside import Host, Outside
from tests.turn.test_turn import FLEET

pytestmark = pytest.mark.anyio
ID, OTHER = uuid4(), uuid4()
FAILED, SILENT, STUCK = alerts_of(FLEET, ID)


def test_each_alert_says_in_its_name_whose_it_is_and_what_for_and_does_nothing_by_itself() -> None:
    assert [alert.name for alert in (FAILED, SILENT, STUCK)] == [
        "ebbflow demo: turns fail",
        "ebbflow demo: no turn comes",
        "ebbflow demo: a worker cannot be ended",
    ]
    assert [alert.owner for alert in (FAILED, SILENT, STUCK)] == [owner_of("demo", purpose) for purpose in PURPOSES]
    for alert in (FAILED, SILENT, STUCK):
        assert alert.new()["actions"] == [{"type": "do-nothing"}]
        assert "removed by `ebbflow down`" in alert.new()["description"]


def test_no_turn_is_waited_for_as_long_as_status_does() -> None:
    assert (SILENT.trigger["within"], SILENT.trigger["posture"]) == (90.0, "Proactive")
    slow = alerts_of(changed(FLEET, interval_seconds=3600.0), ID)
    assert (slow[1].trigger["within"], slow[2].trigger["within"]) == (3 * 3600.0, 4 * 3600.0)


def test_of_a_trigger_the_times_are_a_persons_where_turns_have_time_enough() -> None:
    edited = {**FAILED.trigger, "threshold": 5, "within": 60.0, "expect": ["else"]}
    assert renewed(FAILED.trigger, edited) == {**FAILED.trigger, "threshold": 5, "within": 60.0}
    longer, shorter = ({**SILENT.trigger, "within": within} for within in (600.0, 20.0))
    assert renewed(SILENT.trigger, longer)["within"] == 600.0
    assert renewed(SILENT.trigger, shorter)["within"] == 90.0


async def owned(client: PrefectClient, fleet: str) -> list[dict[str, Any]]:
    """Its automations, in the order of the purposes. Any: what the server's JSON holds."""
    found: list[dict[str, Any]] = []
    for purpose in PURPOSES:
        path = {"resource_id": owner_of(fleet, purpose)}
        found += (await client.request("GET", "/automations/related-to/{resource_id}", path_params=path)).json()
    return found


async def put(client: PrefectClient, automation: dict[str, Any], **edited: Any) -> None:
    """As the UI saves it. Any: whatever a person may write."""
    names = ("name", "description", "enabled", "trigger", "actions", "actions_on_trigger", "actions_on_resolve")
    body = {**{name: automation[name] for name in names}, **edited}
    await client.request("PUT", "/automations/{id}", path_params={"id": automation["id"]}, json=body)


@pytest.mark.oldest_prefect
async def test_made_again_there_are_no_twins_and_what_a_person_has_edited_stays(prefect_server: str) -> None:
    fleet = changed(FLEET, name=f"al-{uuid4().hex[:6]}")
    async with get_client() as client:
        assert await make_alerts(client, fleet, ID, create=False) == ()
        assert [said.endswith("is made") for said in await make_alerts(client, fleet, ID, create=True)] == [True] * 3
        assert [said.endswith("is there") for said in await make_alerts(client, fleet, ID, create=True)] == [True] * 3
        failed, silent, stuck = await owned(client, fleet.name)
        mine = {"type": "run-deployment", "source": "inferred", "parameters": {}}
        actions = [*failed["actions"], mine]
        trigger = {**failed["trigger"], "threshold": 2, "expect": ["prefect.flow-run.Crashed"]}
        await put(client, failed, name="wake Ada", actions=actions, enabled=False, trigger=trigger)
        compound = {"type": "compound", "require": "any", "within": 60, "triggers": [stuck["trigger"]]}
        await put(client, stuck, trigger=compound)
        said = await make_alerts(client, changed(fleet, interval_seconds=60.0), OTHER, create=True)
        assert said == (
            "alert 'wake Ada' waits again for what it is to wait for",
            f"alert {silent['name']!r} waits again for what it is to wait for",
            f"alert {stuck['name']!r} has a trigger of somebody's own, and stays as it is",
        )
        edited, silent, own = await owned(client, fleet.name)
        assert (edited["name"], edited["enabled"]) == ("wake Ada", False)
        assert [action["type"] for action in edited["actions"]] == ["do-nothing", "run-deployment"]
        assert (edited["trigger"]["threshold"], len(edited["trigger"]["expect"])) == (2, 3)
        assert edited["trigger"]["match_related"]["prefect.resource.id"] == f"prefect.deployment.{OTHER}"
        assert silent["trigger"]["within"] == 180.0
        assert own["trigger"]["type"] == "compound"
        # Two commands at once.
        await client.request("POST", "/automations/", json=alerts_of(fleet, OTHER)[0].new())
        assert len(await owned(client, fleet.name)) == 4
        await make_alerts(client, fleet, OTHER, create=True)
        assert next(each["name"] for each in await owned(client, fleet.name)) == "wake Ada"
        assert len(await owned(client, fleet.name)) == 3
        removed = await remove_alerts(client, fleet.name)
        assert set(removed) == {"wake Ada", silent["name"], own["name"]}
        assert await owned(client, fleet.name) == []
        assert await remove_alerts(client, fleet.name) == ()


class Refusing(Host):
    """Ends nobody."""

    async def terminate(self, instance: Instance) -> None:
        raise ConfigError("no right to end it")


async def events_of(
    client: PrefectClient, resource: str, *names: str, seconds: float = 60.0
) -> Sequence[dict[str, Any]]:
    """The events of a resource, waited for until there is one. Any: what the server's JSON holds."""
    wanted = {"resource": {"id": [resource]}, "event": {"name": list(names)}}
    until = time.monotonic() + seconds
    while True:
        page = (await client.request("POST", "/events/filter", json={"filter": wanted, "limit": 50})).json()
        if page["events"] or time.monotonic() > until:
            found: list[dict[str, Any]] = page["events"]
            return found
        await anyio.sleep(0.5)


@pytest.mark.oldest_prefect
async def test_a_worker_whose_end_is_refused_is_an_event_of_its_fleet_in_every_turn_that_asks(
    prefect_server: str,
) -> None:
    outside, name = Outside(host=Refusing()), f"un-{uuid4().hex[:6]}"
    fleet, fewer = (changed(each, name=name) for each in (FLEET, FEWER))

    @flow(name="turns")
    async def turns() -> None:
        for place in range(6):
            outside.clock.now += 30.0
            around = outside.surroundings(run=f"run-{place}", carry_out=carry_out)
            await take_turn(fleet if not place else fewer, around)

    await turns()
    async with get_client() as client:
        left = next(each for each in outside.host.launched if outside.queue.entries[each].state.value == "draining")
        found = await events_of(client, f"ebbflow.worker.{left}", NOT_ENDED)
    assert found, "nobody heard of it"
    assert found[0]["payload"]["detail"] == "no right to end it"
    assert (f"ebbflow.fleet.{name}", "fleet") in [
        (each["prefect.resource.id"], each["prefect.resource.role"]) for each in found[0]["related"]
    ]


async def run_of(client: PrefectClient, made: "Flow[Any, Any]", deployment_id: UUID, *states: State[Any]) -> None:
    run = await client.create_flow_run_from_deployment(deployment_id)
    for state in states:
        await client.set_flow_run_state(run.id, state, force=True)


@pytest.mark.soak
@pytest.mark.oldest_prefect
async def test_each_alert_is_given_for_what_it_waits_for_and_for_nothing_else(prefect_server: str) -> None:
    fleet = changed(FLEET, name=f"al-{uuid4().hex[:6]}", interval_seconds=10.0)

    @flow(name="autoscale")
    async def autoscale() -> None:
        return

    async with get_client() as client:
        flow_id = await client.create_flow(autoscale)
        ours = await client.create_deployment(flow_id, fleet.name)
        others = await client.create_deployment(flow_id, f"{fleet.name}-other")
        await make_alerts(client, fleet, ours, create=True)
        failed, silent, stuck = (f"prefect.automation.{each['id']}" for each in await owned(client, fleet.name))
        given = "prefect.automation.triggered"
        # The server hears of new automations a moment later.
        await anyio.sleep(3)
        await run_of(client, autoscale, others, Running(), Crashed())
        for _ in range(3):
            await run_of(client, autoscale, ours, Running(), Completed(name="Held"))
            await anyio.sleep(8)
        assert not await events_of(client, failed, given, seconds=8), "another's turn has crashed"
        assert not await events_of(client, silent, given, seconds=1), "turns came"
        await run_of(client, autoscale, ours, Running(), Crashed())
        assert await events_of(client, failed, given), "a turn has crashed"
        assert await events_of(client, silent, given, seconds=90), "no turn came for thirty seconds"
        await _refused(fleet.name)
        assert await events_of(client, stuck, given), "a worker could not be ended"
        await remove_alerts(client, fleet.name)
        assert await owned(client, fleet.name) == []


async def _refused(name: str) -> None:
    outside = Outside(host=Refusing())
    fleet, fewer = (changed(each, name=name) for each in (FLEET, FEWER))

    @flow(name="turns")
    async def turns() -> None:
        for place in range(8):
            outside.clock.now += 30.0
            around = outside.surroundings(run=f"run-{place}", carry_out=carry_out)
            await take_turn(fleet if not place else fewer, around)

    await turns()
