#!/usr/bin/env bash
# Runs one SwarmUI worker in the foreground, on the machine that has the GPUs, and notes where it listens.
# Arguments: its data folder, the file for host:port, SwarmUI's folder, minutes without control, ports, address to bind.
set -euo pipefail
data=$1 noted=$2 swarmui=$3 minutes=$4 ports=$5 address=$6
mkdir -p -- "$data"

is_free() { ! (exec 9<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

port=
for _ in {1..50}; do
    candidate=$((${ports%-*} + RANDOM % (${ports#*-} - ${ports%-*} + 1)))
    if is_free "$candidate"; then
        port=$candidate
        break
    fi
done
[[ -n $port ]] || { echo "no free port in $ports" >&2; exit 1; }

# The gate, where the master has a waiting room: one more backend, which loads until this worker's own runs at the master.
backends=()
if [[ -n ${EBBFLOW_GATE:-} ]]; then
    backends=(--backends_file "$data/Backends.fds")
    printf '\n7860:\n\ttype: swarmswarmbackend\n\ttitle: gate\n\tenabled: true\n\tsettings:\n' >>"${backends[1]}"
    printf '\t\tAddress: %s\n\t\tAllowIdle: false\n' "$EBBFLOW_GATE" >>"${backends[1]}"
fi

# Written aside and renamed, so that nobody reads half of it.
echo "${ADVERTISE_HOST:-$(hostname)}:$port" >"$noted.new"
mv -- "$noted.new" "$noted"

# Own data: two workers must not write each other's settings. No browser. The end of this process is the worker's end.
cd -- "$swarmui"
exec ./launch-linux.sh --launch_mode none --host "$address" --port "$port" --data_dir "$data" \
    --no_persist true --lock_settings true --require_control_within "$minutes" "${backends[@]}"
