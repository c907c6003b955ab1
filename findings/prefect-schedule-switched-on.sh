#!/usr/bin/env bash
# Prefect 3.9.1, its own server: a deployment whose schedule is switched on after it was deployed.
#
# Common guess: a schedule that is switched on is planned at once, as one that is deployed switched on is.
#
# Seen: what was deployed just now is planned within seconds, by a service that looks at recent deployments every five
# seconds. Switching a schedule on makes its deployment no recent one: its first run is planned by the service that looks
# at all deployments, once a minute by default. Here that one looks once an hour, and nothing is planned.
#
# Ours: `ebbflow up` asks the server to plan the next runs as soon as a schedule is on (`flows/deploying.py`,
# `tests/flows/test_deploying.py::test_what_is_switched_on_has_its_next_runs_planned_and_need_not_wait_for_the_servers_own_round`);
# README tells what happens where somebody switches a schedule on in the UI.
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "prefect==3.9.1" "fastapi==0.150.0" "sqlalchemy==2.0.58"

cd "$folder"
cat > ticking.py <<'PYTHON'
from prefect import flow


@flow
async def ticking() -> None: ...
PYTHON
cat > prefect.yaml <<'YAML'
deployments:
  - name: "on"
    entrypoint: ticking.py:ticking
    schedules: [{interval: 30}]
    work_pool: {name: pool}
  - name: late
    entrypoint: ticking.py:ticking
    schedules: [{interval: 30, active: false}]
    work_pool: {name: pool}
YAML

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PREFECT_HOME="$folder/home" PREFECT_API_URL="http://127.0.0.1:$port/api" PREFECT_LOGGING_LEVEL=ERROR
export DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS=3600
prefect="$folder/venv/bin/prefect"
"$prefect" server start --host 127.0.0.1 --port "$port" > server.log 2>&1 &
server=$!
for _ in $(seq 120); do
    python3 -c "import urllib.request as u; u.urlopen('$PREFECT_API_URL/health', timeout=2)" 2>/dev/null && break
    sleep 0.5
done
"$prefect" --no-prompt work-pool create pool --type process > /dev/null
"$prefect" --no-prompt deploy --all > /dev/null 2>&1

cat > ask.py <<'PYTHON'
"""`planned NAME`: whether the server has runs of a deployment; `switch NAME`: its schedule on."""

import json
import os
import sys
import urllib.request


def ask(method: str, path: str, body: object = None) -> object:
    words = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(
        os.environ["PREFECT_API_URL"] + path, words, {"Content-Type": "application/json"}, method=method
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


what, name = sys.argv[1:]
deployment = ask("GET", f"/deployments/name/ticking/{name}")
if what == "switch":
    schedule = deployment["schedules"][0]["id"]
    ask("PATCH", f"/deployments/{deployment['id']}/schedules/{schedule}", {"active": True})
else:
    runs = ask("POST", "/flow_runs/filter", {"deployments": {"id": {"any_": [deployment["id"]]}}})
    print("planned" if runs else "not planned")
PYTHON

sleep 20
on=$(python3 ask.py planned on)
python3 ask.py switch late
sleep 20
late=$(python3 ask.py planned late)

"$prefect" version 2>/dev/null | sed -n 1p
echo "  deployed switched on, 20 s later:           $on"
echo "  switched on after that, 20 s later:         $late"
[ "$on, $late" = "planned, not planned" ] || { echo "this has changed"; exit 1; }
