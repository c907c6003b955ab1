#!/usr/bin/env bash
# opengris-scaler 1.15.0, `scaler_cluster --worker-names`.
#
# Common guess: the workers of a cluster are called as `--worker-names` ("a comma-separated list of worker names to replace
# default worker names") says, so that whoever started them knows them in the scheduler's account.
#
# Seen: the names are only counted, against `--num-of-workers`. Every worker is `Worker|FIX|<random>|<random>`.
#
# Ours: `adapters/masters/scaler/helpers/work_1_15.py` is that command with the names that it was given;
# `tests/adapters/masters/scaler/test_real_scheduler.py` finds workers of 1.15 by their ids.
set -euo pipefail

folder=$(mktemp -d /tmp/f-XXXXXX)
started=()
at_end() {
    for each in "${started[@]}"; do pkill -KILL -s "$each" || true; done
    rm -rf "$folder"
}
trap at_end EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opengris-scaler==1.15.0 ConfigArgParse==1.7.1
export PATH=$folder/venv/bin:$PATH HOME=$folder
cd "$folder"

# A port whose two neighbours, storage and monitor, are as free as it is.
port=$(python3 - <<'PYTHON'
import socket
while True:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    try:
        for offset in range(3):
            with socket.socket() as free:
                free.bind(("127.0.0.1", port + offset))
    except OSError:
        continue
    print(port)
    break
PYTHON
)
start() { setsid "$@" >>"$folder/log" 2>&1 & started+=($!); disown; }

start scaler_object_storage_server "tcp://127.0.0.1:$((port + 1))"
sleep 3
start scaler_scheduler "tcp://127.0.0.1:$port" --object-storage-address "tcp://127.0.0.1:$((port + 1))"
sleep 3
start scaler_cluster "tcp://127.0.0.1:$port" --num-of-workers 2 --worker-names left,right

seen=$(timeout 60 python3 - "$port" <<'PYTHON'
import sys, zmq
from scaler.io.utility import deserialize
from scaler.protocol.python.message import StateScheduler

socket = zmq.Context().socket(zmq.SUB)
socket.subscribe(b"")
socket.connect(f"tcp://127.0.0.1:{int(sys.argv[1]) + 2}")
while True:
    state = deserialize(socket.recv())
    if isinstance(state, StateScheduler) and len(state.worker_manager.workers) == 2:
        for worker in state.worker_manager.workers:
            print(worker.worker_id.decode().rpartition("|")[0].rpartition("|")[0] or worker.worker_id.decode())
        break
PYTHON
)
pip freeze | grep -i opengris
echo "asked for left and right; the scheduler has:"
echo "$seen"
[ "$(grep -c '^Worker|FIX' <<<"$seen")" = 2 ] && ! grep -q 'left\|right' <<<"$seen"
