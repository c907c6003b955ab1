#!/usr/bin/env bash
# opengris-scaler 2.9.0, addresses with the name of a host.
#
# Common guess: `tcp://localhost:2346`, which the help of its own commands gives as an example, or the name of a login node.
#
# Seen: the object storage and the scheduler end with "Failed to parse IP address"; with 127.0.0.1 they start.
#
# Ours: the block `scaler-master` and `ebbflow init scaler-slurm` take numbers alone and say why;
# `tests/adapters/masters/scaler/test_adapter.py` has `test_an_address_that_is_none_is_refused`.
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

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
scaler_scheduler --help | tr -s ' \n' ' ' | grep -o 'tcp://localhost:[0-9]*' | head -1

for host in localhost 127.0.0.1; do
    setsid scaler_object_storage_server "tcp://$host:$(free_port)" >"$folder/$host" 2>&1 &
    started+=($!)
    sleep 8
    if kill -0 "${started[-1]}" 2>/dev/null && ! grep -q 'Failed to parse IP address' "$folder/$host"; then
        echo "$host: runs"
    else
        echo "$host: $(grep -o 'Failed to parse IP address[^\"]*' "$folder/$host" | head -1)"
    fi
done
grep -q 'Failed to parse IP address' "$folder/localhost" && ! grep -q 'Failed to parse' "$folder/127.0.0.1"
