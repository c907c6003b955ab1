#!/usr/bin/env bash
# Prefect 3.9.1, its own server: a run that somebody has asked for ahead of its time, of a deployment that is then paused and changed.
#
# Common guess: who pauses a deployment, or deploys it anew, has nothing more to come of the old one.
#
# Seen: the runs that its schedule has planned are deleted at once. One that was asked for (`create_flow_run_from_deployment`
# with a later time, or "Run later" of the UI) stays, is handed out to whoever polls the work pool when it is due, and has
# the parameters of the time at which it was asked for.
#
# Ours: a turn that asks for another one marks it by a tag, and such a run is skipped where its deployment was stopped or
# changed since: `flows/following.py`, `tests/flows/test_following.py`
# (`test_work_that_waits_brings_turn_after_turn_of_the_same_deployment_until_a_person_stops_its_schedule`).
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "prefect==3.9.1" "fastapi==0.150.0" "sqlalchemy==2.0.58"

cd "$folder"
cat > asked.py <<'PYTHON'
import asyncio
from datetime import UTC, datetime, timedelta

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate, WorkPoolCreate
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.schedules import IntervalSchedule
from prefect.states import Scheduled

MINUTE = timedelta(minutes=1)


@flow
async def report(count: int) -> None: ...


async def main() -> None:
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="pool", type="process"))
        every = DeploymentScheduleCreate(schedule=IntervalSchedule(interval=10 * MINUTE), active=True)
        deployment = await client.create_deployment(
            await client.create_flow(report), "daily", parameters={"count": 1}, schedules=[every], work_pool_name="pool"
        )
        await client.request("POST", "/deployments/{id}/schedule", path_params={"id": deployment}, json={})
        soon = datetime.now(UTC) + MINUTE
        asked = await client.create_flow_run_from_deployment(deployment, state=Scheduled(scheduled_time=soon))

        async def to_come() -> list[str]:
            of_it = DeploymentFilter(id=DeploymentFilterId(any_=[deployment]))
            runs = await client.read_flow_runs(deployment_filter=of_it)
            return sorted("asked for" if run.id == asked.id else "planned" for run in runs)

        before = await to_come()
        await client.pause_deployment(deployment)
        await client.update_deployment(deployment, DeploymentUpdate(parameters={"count": 2}))
        after = await to_come()
        handed = await client.get_scheduled_flow_runs_for_work_pool("pool", scheduled_before=soon + MINUTE)
        print(f"  to come before: {before.count('planned')} planned, {before.count('asked for')} asked for")
        print(f"  to come once it is paused and changed: {', '.join(after) or 'none'}")
        print(f"  handed out: {[response.flow_run.parameters for response in handed]}")
        is_known = before.count("planned") > 1 and after == ["asked for"]
        if not is_known or [response.flow_run.parameters for response in handed] != [{"count": 1}]:
            raise SystemExit("this has changed")


asyncio.run(main())
PYTHON

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PREFECT_HOME="$folder/home" PREFECT_API_URL="http://127.0.0.1:$port/api" PREFECT_LOGGING_LEVEL=ERROR
export DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false
prefect="$folder/venv/bin/prefect"
"$prefect" server start --host 127.0.0.1 --port "$port" > server.log 2>&1 &
server=$!
for _ in $(seq 240); do
    python3 -c "import urllib.request as u; u.urlopen('$PREFECT_API_URL/health', timeout=2)" 2>/dev/null && break
    sleep 0.5
done
"$prefect" version 2>/dev/null | sed -n 1p
"$folder/venv/bin/python" asked.py
