"""A fleet's alerts: automations of the Prefect server that `ebbflow up --alerts` makes and `ebbflow down` removes.

Each is owned by a resource that names the fleet and what it is for, which stays whatever a person renames or edits.
What it waits for is ours, and is kept right; what it then does, its name, its description, its times and whether it is
on are a person's. By itself it does nothing but stand in the event feed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.exceptions import PrefectHTTPStatusError

from ebbflow.fleet.model import Fleet
from ebbflow.flows.unended import NOT_ENDED
from ebbflow.turn.standing import MISSED

PURPOSES = ("failed", "silent", "stuck")
LEAST_SILENT_SECONDS = 10.0
"""What Prefect takes for something that does not happen."""
AGAIN_SECONDS = 3600.0
"""So long an alert that was given is not given again."""
TRIES, TURNS_FOR_THEM = 3, 4
"""So many turns in which a worker could not be ended, and within how many; one alone may be the weather."""
TURNS = ("prefect.flow-run.Acted", "prefect.flow-run.Held")
FAILURES = ("prefect.flow-run.Crashed", "prefect.flow-run.Failed", "prefect.flow-run.TimedOut")
OURS = ("type", "posture", "expect", "after", "match", "match_related", "for_each")
"""Of a trigger; how often and within what time is a person's."""
WRITTEN = ("name", "description", "enabled", "tags", "trigger", "actions", "actions_on_trigger", "actions_on_resolve")
"""What the server takes back of an automation; one of another release may lack some."""
YOURS = (
    "Made by `ebbflow up --alerts`, removed by `ebbflow down`. It does nothing yet: add an action that tells you. "
    "Actions, name, description, times and whether it is on are yours, and stay; what it waits for is kept as it is."
)

# Any: an automation is JSON of the server's, with actions of whatever kinds a person has added.
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Alert:
    """One automation of a fleet, as it is to be."""

    owner: str
    """The resource that owns it."""
    name: str
    description: str
    trigger: Mapping[str, Any]

    def new(self) -> Json:
        """What the server is given to make it."""
        return {
            "name": self.name,
            "description": f"{self.description} {YOURS}",
            "enabled": True,
            "trigger": dict(self.trigger),
            "actions": [{"type": "do-nothing"}],
            "owner_resource": self.owner,
        }


def owner_of(fleet: str, purpose: str) -> str:
    """The resource that owns an alert of a fleet."""
    return f"ebbflow.alert.{fleet}.{purpose}"


def alerts_of(fleet: Fleet, deployment_id: UUID) -> tuple[Alert, ...]:
    """The alerts that a fleet is to have.

    Args:
        fleet: it.
        deployment_id: of the deployment that runs its turns.
    """
    runs = {"prefect.resource.id": "prefect.flow-run.*"}
    its_deployment = {
        "prefect.resource.id": f"prefect.deployment.{deployment_id}",
        "prefect.resource.role": "deployment",
    }
    its_fleet = {"prefect.resource.id": f"ebbflow.fleet.{fleet.name}", "prefect.resource.role": "fleet"}
    silent_seconds = max(MISSED * fleet.interval_seconds, LEAST_SILENT_SECONDS)
    return (
        Alert(
            owner_of(fleet.name, "failed"),
            f"ebbflow {fleet.name}: turns fail",
            f"A turn of fleet {fleet.name} failed or crashed; its workers live on. `ebbflow status {fleet.name}` says "
            "why.",
            _reactive(expect=FAILURES, match=runs, match_related=its_deployment, within=AGAIN_SECONDS),
        ),
        Alert(
            owner_of(fleet.name, "silent"),
            f"ebbflow {fleet.name}: no turn comes",
            f"After a turn of fleet {fleet.name} no other one came to its end for {MISSED} intervals: nothing is "
            "launched, nobody leaves, and workers end themselves in time. `ebbflow doctor` says what is missing.",
            {
                "type": "event",
                "posture": "Proactive",
                "after": list(TURNS),
                "expect": list(TURNS),
                "match": runs,
                "match_related": its_deployment,
                "for_each": [],
                "threshold": 1,
                "within": silent_seconds,
            },
        ),
        Alert(
            owner_of(fleet.name, "stuck"),
            f"ebbflow {fleet.name}: a worker cannot be ended",
            f"The provider of a worker of fleet {fleet.name} refused to end it, or has not ended it for long: it may "
            f"cost money. `ebbflow why {fleet.name} --worker ID` tells its life.",
            _reactive(
                expect=(NOT_ENDED,),
                match={"prefect.resource.id": "ebbflow.worker.*"},
                match_related=its_fleet,
                for_each=("prefect.resource.id",),
                threshold=TRIES,
                within=max(AGAIN_SECONDS, TURNS_FOR_THEM * fleet.interval_seconds),
            ),
        ),
    )


def _reactive(
    *,
    expect: Sequence[str],
    match: Mapping[str, str],
    match_related: Mapping[str, str],
    within: float,
    for_each: Sequence[str] = (),
    threshold: int = 1,
) -> Json:
    return {
        "type": "event",
        "posture": "Reactive",
        "after": [],
        "expect": list(expect),
        "match": dict(match),
        "match_related": dict(match_related),
        "for_each": list(for_each),
        "threshold": threshold,
        "within": within,
    }


async def make_alerts(client: PrefectClient, fleet: Fleet, deployment_id: UUID, *, create: bool) -> tuple[str, ...]:
    """Make a fleet's alerts, and put right what those that are there wait for; what was done, a sentence each.

    Args:
        client: of the server.
        fleet: it.
        deployment_id: of the deployment that runs its turns.
        create: also make those that are not there.
    """
    said = []
    for alert in alerts_of(fleet, deployment_id):
        found = await _owned(client, alert.owner)
        if not found:
            if create:
                await client.request("POST", "/automations/", json=alert.new())
                said.append(f"alert {alert.name!r} is made")
            continue
        ours, *twins = found
        for twin in twins:
            # Two commands made them at once.
            await _delete(client, twin)
        said.append(await _put_right(client, alert, ours))
    return tuple(said)


async def remove_alerts(client: PrefectClient, fleet: str) -> tuple[str, ...]:
    """Remove a fleet's alerts, whatever a person has made of them; their names."""
    removed = []
    for purpose in PURPOSES:
        for automation in await _owned(client, owner_of(fleet, purpose)):
            await _delete(client, automation)
            removed.append(str(automation["name"]))
    return tuple(removed)


async def _owned(client: PrefectClient, owner: str) -> Sequence[Json]:
    """The automations that a resource owns, the oldest first."""
    path = {"resource_id": owner}
    try:
        answer = await client.request("GET", "/automations/related-to/{resource_id}", path_params=path)
    except PrefectHTTPStatusError as error:
        # A server without automations has none.
        if error.response.status_code != 404:
            raise
        return ()
    found: list[Json] = answer.json()
    return sorted(found, key=lambda each: (str(each.get("created")), str(each["id"])))


async def _delete(client: PrefectClient, automation: Json) -> None:
    await client.delete_automation(UUID(automation["id"]))


async def _put_right(client: PrefectClient, alert: Alert, found: Json) -> str:
    name, trigger = found["name"], found["trigger"]
    if trigger.get("type") != alert.trigger["type"]:
        return f"alert {name!r} has a trigger of somebody's own, and stays as it is"
    wanted = renewed(alert.trigger, trigger)
    if _plain(wanted) == _plain(trigger):
        return f"alert {name!r} is there"
    body = {key: found[key] for key in WRITTEN if key in found} | {"trigger": wanted}
    await client.request("PUT", "/automations/{id}", path_params={"id": found["id"]}, json=body)
    return f"alert {name!r} waits again for what it is to wait for"


def renewed(ours: Mapping[str, Any], found: Mapping[str, Any]) -> Json:
    """A trigger with what is ours of it; its times stay, where what is not to happen is given time enough."""
    kept = {name: found[name] for name in ("threshold", "within") if name in found}
    if ours["posture"] == "Proactive":
        kept = {"threshold": ours["threshold"], "within": max(float(kept.get("within", 0.0)), float(ours["within"]))}
    return {**ours, **kept}


def _plain(trigger: Mapping[str, Any]) -> Json:
    """A trigger as it can be compared: sets in order, one word as a list of one."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: sorted(each) if isinstance(each, list) else [each] for key, each in value.items()}
        if isinstance(value, list):
            return sorted(value) if all(isinstance(each, str) for each in value) else [plain(each) for each in value]
        return float(value) if isinstance(value, int | float) else value

    return {name: plain(trigger.get(name)) for name in (*OURS, "threshold", "within")}
