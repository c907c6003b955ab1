#!/usr/bin/env bash
# Ray 2.60.0, a submitted job that runs at a worker on the head's own host.
#
# Common guess: `GET /api/jobs/ID/logs`, which `ray job logs` asks, gives what the job has printed, wherever its
# entrypoint ran: the answer of `GET /api/jobs/ID` names the node.
#
# Seen: where head and worker share a host and have folders of their own (`--temp-dir`), it gives the file of that name
# of the other node: one line of Ray, and nothing that was printed, with HTTP 200 and the job succeeded. The state API
# gives the right one by node and file: `GET /api/v0/logs/file?node_id=NODE&filename=job-driver-ID.log&lines=-1`.
# Ray's own line "Running entrypoint" stands in it before what the entrypoint printed, or behind.
#
# Ours: results came back empty. `services/hypha/head.py` asks by node and file, and takes Ray's lines out wherever they
# stand; `tests/services/hypha/test_head.py` has `test_what_a_job_printed_is_without_rays_own_lines_wherever_they_stand`.
set -euo pipefail

folder=$(mktemp -d /tmp/f-XXXXXX)
export HOME=$folder RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
started=()
at_end() {
    # Each leads a session of its own; all of Ray's processes of it are below that.
    for each in "${started[@]}"; do pkill -KILL -s "$each" || true; done
    rm -rf "$folder"
}
trap at_end EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[default]==2.60.0"
export PATH=$folder/venv/bin:$PATH

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

# Starts a node in a folder of its own; words are options.
start_node() {
    local name=$1
    shift
    setsid ray start --block --disable-usage-stats --object-store-memory=80000000 --temp-dir="$folder/$name" "$@" \
        >"$folder/$name.log" 2>&1 &
    started+=($!)
    disown
}

port=$(free_port) dashboard=$(free_port)
start_node head --head --num-cpus=0 --port="$port" --ray-client-server-port="$(free_port)" \
    --dashboard-agent-listen-port=0 --include-dashboard=true --dashboard-host=127.0.0.1 --dashboard-port="$dashboard"
until grep -q "Ray runtime started" "$folder/head.log"; do sleep 0.5; done
address=$(sed -n "s/.*--address='\([^']*\)'.*/\1/p" "$folder/head.log" | head -n 1)
start_node worker --address="$address" --num-cpus=1

ray --version
python3 - "$dashboard" <<'PYTHON'
import json, sys, time, urllib.error, urllib.request

base = f"http://127.0.0.1:{sys.argv[1]}"


def ask(path, body=None):
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(base + path, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(asked, timeout=90) as answer:
        return answer.read().decode()


job = {"entrypoint": "echo printed by the job", "submission_id": "one", "entrypoint_num_cpus": 1}
for _ in range(90):
    try:
        ask("/api/jobs/", job)
        break
    except OSError:
        # No agent in the head's first seconds.
        time.sleep(1)
for _ in range(180):
    seen = json.loads(ask("/api/jobs/one"))
    if seen["status"] in ("SUCCEEDED", "FAILED"):
        break
    time.sleep(1)
logs = json.loads(ask("/api/jobs/one/logs"))["logs"]
file = ask(f"/api/v0/logs/file?node_id={seen['driver_node_id']}&filename=job-driver-one.log&lines=-1")
print(f"{seen['status']}; by the job's logs: {logs!r}; by node and file: {file!r}")
assert seen["status"] == "SUCCEEDED"
assert "printed by the job" not in logs
assert "printed by the job\n" in file.splitlines(keepends=True)
PYTHON
