#!/usr/bin/env bash
# Ray 2.60.0, two heads on one host.
#
# Common guess: the second head needs a port of its own for GCS, client and dashboard, since it does not start without;
# once it has started and counts resources, it is a whole one.
#
# Seen: the agent of every head listens on 52365 unless told otherwise. The second head starts, says that it runs, and
# refuses every submitted job for as long as it lives, half a minute after it was asked: "No available agent to submit
# job, please try again later". With --dashboard-agent-listen-port=0 it takes them.
#
# Ours: no worker could be drained at such a head, which is done by a job. `deployments/slurm-ray/head.sh` gives the port,
# `adapters/masters/ray/head.py` says it where a job is refused, and `tests/adapters/masters/ray/test_adapter.py` has
# `test_regression_no_drain_ever_began_at_the_second_head_of_a_host`.
set -euo pipefail

folder=$(mktemp -d /tmp/f-XXXXXX)
export HOME=$folder RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
heads=()
at_end() {
    # Each head leads a session of its own; all of Ray's processes of it are below that.
    for head in "${heads[@]}"; do pkill -KILL -s "$head" || true; done
    rm -rf "$folder"
}
trap at_end EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[default]==2.60.0"
export PATH=$folder/venv/bin:$PATH

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Starts a head and prints the port of its dashboard; further words are options.
start_head() {
    local name=$1 dashboard
    shift
    dashboard=$(free_port)
    setsid ray start --head --block --disable-usage-stats --num-cpus=0 --num-gpus=0 --object-store-memory=80000000 \
        --port="$(free_port)" --ray-client-server-port="$(free_port)" --temp-dir="$folder/$name" \
        --include-dashboard=true --dashboard-host=127.0.0.1 --dashboard-port="$dashboard" "$@" \
        >"$folder/$name.log" 2>&1 &
    heads+=($!)
    disown
    port=$dashboard
}

# What a head says to a job: its last answer, or "taken" at once. $2: seconds to go on asking.
ask() {
    python3 - "$1" "$2" <<'PYTHON'
import json, sys, time, urllib.error, urllib.request

port, seconds, said = sys.argv[1], float(sys.argv[2]), ""
began = time.monotonic()
while time.monotonic() < began + seconds:
    body = json.dumps({"entrypoint": "true"}).encode()
    asked = urllib.request.Request(f"http://127.0.0.1:{port}/api/jobs/", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=90):
            said = "taken"
            break
    except urllib.error.HTTPError as error:
        said = "No available agent" if b"No available agent" in error.read() else f"HTTP {error.code}"
    except OSError as error:
        said = type(error).__name__
    time.sleep(1)
print(f"{said} ({time.monotonic() - began:.0f} s)", file=sys.stderr)
print(said)
PYTHON
}

start_head one
first=$(ask "$port" 90)
start_head two
second=$(ask "$port" 60)
start_head three --dashboard-agent-listen-port=0
third=$(ask "$port" 90)

ray --version
echo "first head, a job: $first"
echo "second head, a job, asked for a minute: $second"
echo "third head, with an agent's port of its own: $third"
[ "$first" = taken ] && [ "$second" = "No available agent" ] && [ "$third" = taken ]
