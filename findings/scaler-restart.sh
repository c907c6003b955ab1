#!/usr/bin/env bash
# opengris-scaler 2.9.0 and 1.15.0, a scheduler that is started anew at its address.
#
# Common guess: workers that live come back to it, as they do in the older release, so a restart costs the queue alone.
#
# Seen: a worker of 1.15.0 is in the new scheduler's account within seconds. One of 2.9.0 ends as soon as the connection to
# its scheduler is closed, though it has a --death-timeout-seconds of 300: a restart ends every worker.
#
# Ours: workers that ended are replaced as any others, and the page of `deployments/scaler-slurm` says it;
# `tests/adapters/masters/scaler/test_real_scheduler.py` restarts both.
set -euo pipefail

folder=$(mktemp -d /tmp/f-XXXXXX)
started=()
at_end() {
    for each in "${started[@]}"; do pkill -KILL -s "$each" || true; done
    rm -rf "$folder"
}
trap at_end EXIT
export HOME=$folder
cd "$folder"

python3 -m venv "$folder/1.15.0"
"$folder/1.15.0/bin/pip" install --quiet --disable-pip-version-check opengris-scaler==1.15.0 ConfigArgParse==1.7.1
python3 -m venv "$folder/2.9.0"
"$folder/2.9.0/bin/pip" install --quiet --disable-pip-version-check opengris-scaler==2.9.0

# A port whose two neighbours, storage and monitor, are as free as it is.
free_port() {
    python3 - <<'PYTHON'
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
}
start() { setsid "$@" >>"$folder/log" 2>&1 & started+=($!); disown; }

cat >"$folder/count-1.15.0.py" <<'PYTHON'
import sys, time, zmq
from scaler.io.utility import deserialize
from scaler.protocol.python.message import StateScheduler

socket = zmq.Context().socket(zmq.SUB)
socket.subscribe(b"")
socket.connect(f"tcp://127.0.0.1:{int(sys.argv[1]) + 2}")
until, found = time.monotonic() + float(sys.argv[2]), 0
while not found and time.monotonic() < until:
    if socket.poll(500):
        state = deserialize(socket.recv())
        found = len(state.worker_manager.workers) if isinstance(state, StateScheduler) else 0
print(found)
PYTHON
cat >"$folder/count-2.9.0.py" <<'PYTHON'
import sys, time
from scaler.io.utility import deserialize
from scaler.io.ymq import ConnectorSocket, IOContext
from scaler.protocol.capnp import StateScheduler

socket = ConnectorSocket.connect(IOContext(1), "count", f"tcp://127.0.0.1:{int(sys.argv[1]) + 2}")
until, found = time.monotonic() + float(sys.argv[2]), 0
while not found and time.monotonic() < until:
    try:
        state = deserialize(socket.recv_message_sync(timeout=until - time.monotonic()).payload.data)
    except TimeoutError:
        break
    found = len(state.workerManager.workers) if isinstance(state, StateScheduler) else 0
print(found)
socket.shutdown()
PYTHON

declare -A back live
for release in 1.15.0 2.9.0; do
    programs=$folder/$release/bin port=$(free_port)
    address=tcp://127.0.0.1:$port storage=tcp://127.0.0.1:$((port + 1))
    scheduler=("$programs/scaler_scheduler" "$address" --object-storage-address "$storage")
    start "$programs/scaler_object_storage_server" "$storage"
    sleep 3
    start "${scheduler[@]}"
    first=${started[-1]}
    sleep 3
    if [ $release = 2.9.0 ]; then
        start "$programs/scaler_worker_manager" baremetal_native "$address" --worker-manager-id=w \
            --object-storage-address="$storage" --mode=fixed --max-task-concurrency=1
    else
        start "$programs/scaler_cluster" "$address" --num-of-workers=1 --object-storage-address="$storage"
    fi
    worker=${started[-1]}
    [ "$("$programs/python" "$folder/count-$release.py" "$port" 60)" = 1 ]
    pkill -KILL -s "$first"
    sleep 1
    start "${scheduler[@]}"
    back[$release]=$("$programs/python" "$folder/count-$release.py" "$port" 40)
    live[$release]=$(pgrep -c -s "$worker" || true)
    echo "$release: ${back[$release]} of 1 worker came back; ${live[$release]} of its processes live"
done
[ "${back[1.15.0]}" = 1 ] && [ "${live[1.15.0]}" -gt 0 ] && [ "${back[2.9.0]}" = 0 ] && [ "${live[2.9.0]}" = 0 ]
