#!/usr/bin/env bash
# Prefect 3.9.1, its own server with PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED=false, on SQLite.
#
# Common guess: automations look at the events that the server has stored. One that stores none triggers none, and least of
# all can it notice that something has not happened.
#
# Seen: no event is stored, and both kinds of automation act: one that waits for a flow run that is completed, and one that
# waits for an event that does not come within twelve seconds. They hear events on their way, not from the table. What is
# gone is the feed of events alone.
#
# Ours: six sevenths of what a turn leaves on its server are events; `docs/data.md` says how to go without them and what
# that costs, `tests/benchmarks/turn_prices_elsewhere.py` measures it, and the alerts of `ebbflow up --alerts` go on.
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "prefect==3.9.1" "sqlalchemy==2.0.58"

cd "$folder"
cat > automations.py <<'PYTHON'
import asyncio
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.events.actions import DoNothing, PauseAutomation
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture
from prefect.settings import PREFECT_HOME

MOST_SECONDS = 90


@flow
def nothing() -> int:
    return 1


def trigger(event: str, posture: Posture, seconds: int = 0) -> EventTrigger:
    return EventTrigger(expect={event}, posture=posture, threshold=1, within=timedelta(seconds=seconds))


async def main() -> None:
    async with get_client() as client:
        # What an automation of each kind does is to pause one that would never act by itself.
        targets = {}
        for name, asked in {
            "what happened": trigger("prefect.flow-run.Completed", Posture.Reactive),
            "what did not": trigger("somebody.elses", Posture.Proactive, 12),
        }.items():
            never = AutomationCore(name=f"target: {name}", trigger=trigger("never", Posture.Reactive), actions=[DoNothing()])
            targets[name] = await client.create_automation(never)
            pause = PauseAutomation(source="selected", automation_id=targets[name])
            await client.create_automation(AutomationCore(name=name, trigger=asked, actions=[pause]))
        await asyncio.to_thread(nothing)
        acted: dict[str, bool] = {}
        until = time.monotonic() + MOST_SECONDS
        while time.monotonic() < until and not (acted and all(acted.values())):
            await asyncio.sleep(1)
            acted = {name: not (await client.read_automation(target)).enabled for name, target in targets.items()}
    with sqlite3.connect(Path(PREFECT_HOME.value()) / "prefect.db") as database:
        (events,) = database.execute("SELECT COUNT(*) FROM events").fetchone()
    print(f"  events stored: {events}")
    for name, did in acted.items():
        print(f"  the automation for {name}: {'acted' if did else 'did nothing'}")
    if events or not all(acted.values()):
        raise SystemExit("this has changed")


asyncio.run(main())
PYTHON

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PREFECT_HOME="$folder/home" PREFECT_API_URL="http://127.0.0.1:$port/api" PREFECT_LOGGING_LEVEL=ERROR
export DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED=false
prefect="$folder/venv/bin/prefect"
"$prefect" server start --host 127.0.0.1 --port "$port" > server.log 2>&1 &
server=$!
for _ in $(seq 240); do
    python3 -c "import urllib.request as u; u.urlopen('$PREFECT_API_URL/health', timeout=2)" 2>/dev/null && break
    sleep 0.5
done
"$prefect" version 2>/dev/null | head -1
"$folder/venv/bin/python" automations.py
