#!/usr/bin/env bash
# Ray 2.60.0, several nodes that one host starts at the same moment.
#
# Common guess: `ray start --address=...` may run several times on a host, as when a scheduler starts several jobs with a GPU
# each on one machine: its sockets are numbered, so each node finds a name of its own.
#
# Seen: a number is taken when no such file is there yet, without a lock. Of four that start at once one joins; the others
# end half a minute later with "The current node timed out during startup", which sounds as if the host were too slow.
# With a --temp-dir each, which `ray start` allows for nodes that are no head, all four join.
#
# Ours: `adapters/masters/ray/adapter.py` gives each worker a folder of its own; `tests/adapters/masters/ray/test_adapter.py`
# has `test_regression_of_several_workers_that_one_host_started_at_once_a_single_one_joined`.
set -euo pipefail

folder=$(mktemp -d /tmp/f-XXXXXX)
export HOME=$folder RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
started=()
at_end() {
    # Each leads a session of its own; all of Ray's processes of it are in that.
    for each in "${started[@]}"; do pkill -KILL -s "$each" || true; done
    rm -rf "$folder"
}
trap at_end EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[default]==2.60.0"
export PATH=$folder/venv/bin:$PATH

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
dashboard=$(free_port) gcs=$(free_port)

# Starts a node in the background; its words are options.
start() {
    setsid ray start --block --disable-usage-stats --object-store-memory=80000000 --dashboard-agent-listen-port=0 "$@" \
        >>"$folder/log" 2>&1 &
    started+=($!)
    disown
}

# How many nodes besides the head are alive.
alive() {
    python3 - "$dashboard" <<'PYTHON'
import json, sys, urllib.request

try:
    with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/api/v0/nodes", timeout=10) as answer:
        rows = json.load(answer)["data"]["result"]["result"]
    print(sum(row["state"] == "ALIVE" and not row["is_head_node"] for row in rows))
except OSError:
    print(-1)
PYTHON
}

start --head --num-cpus=0 --port="$gcs" --ray-client-server-port="$(free_port)" --temp-dir="$folder/t" \
    --include-dashboard=true --dashboard-host=127.0.0.1 --dashboard-port="$dashboard"
address() { sed -n "s/.*ray start --address='\([^']*\)'.*/\1/p" "$folder/log" | head -1; }
for _ in $(seq 60); do [ -n "$(address)" ] && [ "$(alive)" = 0 ] && break; sleep 1; done

for _ in 1 2 3 4; do start --address="$(address)" --num-cpus=1; done
sleep 45
shared=$(alive)
for number in 1 2 3 4; do start --address="$(address)" --num-cpus=1 --temp-dir="$folder/$number"; done
sleep 30
own=$(($(alive) - shared))

ray --version
echo "four at once: $shared joined; $(grep -c 'Exception: The current node timed out during startup' "$folder/log") timed out"
echo "four at once, with a folder each: $own joined"
[ "$shared" -lt 4 ] && [ "$own" = 4 ]
