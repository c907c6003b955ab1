#!/usr/bin/env bash
# opengris-scaler 2.9.0, a receive with a time limit on a connector socket.
#
# Common guess: a receive whose time is over has taken nothing, so that a loop of short receives sees each message, as with
# the sockets of the release before.
#
# Seen: a receive that was given up still takes the next message, and nobody gets it. Of what a monitor says in 20 seconds, a
# loop of receives of half a second each saw 2 messages, and one of receives of three seconds 41.
#
# Ours: `adapters/masters/scaler/helpers/ask_2_9.py` receives with what is left of its whole time, and ends after one that
# came to nothing; `tests/adapters/masters/scaler/test_real_scheduler.py` asks the real scheduler by it.
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

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check opengris-scaler==2.9.0
export PATH=$folder/venv/bin:$PATH

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

# How many messages of the monitor come in 20 seconds, with receives of so long.
count() {
    timeout 60 python3 - "$port" "$1" <<'PYTHON'
import sys, time
from scaler.io.ymq import ConnectorSocket, IOContext

socket = ConnectorSocket.connect(IOContext(1), f"count-{sys.argv[2]}", f"tcp://127.0.0.1:{int(sys.argv[1]) + 2}")
until, found = time.monotonic() + 20, 0
while time.monotonic() < until:
    try:
        found += socket.recv_message_sync(timeout=float(sys.argv[2])).payload.data is not None
    except TimeoutError:
        pass
print(found)
socket.shutdown()
PYTHON
}
short=$(count 0.5 | tail -1) long=$(count 3 | tail -1)
pip freeze | grep -i opengris
echo "messages in 20 s: $short with receives of 0.5 s, $long with receives of 3 s"
[ "$long" -ge 10 ] && [ "$short" -le $((long / 3)) ]
