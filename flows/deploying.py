"""What makes a fleet live on a Prefect server: its work pool, and whether the schedules of its deployments are on."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import DeploymentSchedule
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound, PrefectHTTPStatusError

from ebbflow.fleet.deployed import schedule_key


async def make_pool(client: PrefectClient, pool: str) -> bool:
    """Make sure that a work pool is there, for runs as processes; whether it was made now."""
    try:
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
    except ObjectAlreadyExists:
        return False
    return True


async def active_schedules(client: PrefectClient, names: Iterable[str]) -> dict[str, frozenset[str]]:
    """The schedules of these deployments that start runs now, by `schedule_key`; none where one is paused or new."""
    found = {}
    for name in names:
        try:
            deployment = await client.read_deployment_by_name(name)
        except ObjectNotFound:
            found[name] = frozenset[str]()
            continue
        on = frozenset(_key_of(schedule) for schedule in deployment.schedules if schedule.active)
        found[name] = frozenset[str]() if deployment.paused else on
    return found


async def switch_schedules(client: PrefectClient, wanted: Mapping[str, Iterable[str]]) -> None:
    """Switch schedules on, and all others of these deployments off; a deployment that is not there has none.

    The next runs of one that was off are planned at once.

    Args:
        client: of the server.
        wanted: the schedules that are to be on, by deployment and `schedule_key`.
    """
    for name, keys in wanted.items():
        on = frozenset(keys)
        try:
            deployment = await client.read_deployment_by_name(name)
        except ObjectNotFound:
            continue
        begins = on and deployment.paused
        for schedule in deployment.schedules:
            if schedule.active is not (_key_of(schedule) in on):
                await client.update_deployment_schedule(deployment.id, schedule.id, active=_key_of(schedule) in on)
                begins = begins or _key_of(schedule) in on
        if on and deployment.paused:
            await client.resume_deployment(deployment.id)
        if begins:
            await _plan(client, deployment.id)


async def _plan(client: PrefectClient, deployment: UUID) -> None:
    """Let the server plan the next runs now; by itself it does once a minute, sooner only what was just deployed."""
    # Where that is refused, they come within the minute.
    with suppress(PrefectHTTPStatusError):
        await client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment}, json={})


def _key_of(schedule: DeploymentSchedule) -> str:
    plain = schedule.schedule.model_dump()
    interval = plain.get("interval")
    if isinstance(interval, timedelta):
        plain["interval"] = interval.total_seconds()
    return schedule_key(plain)
