#!/usr/bin/env bash
# One SwarmUI worker on this host. host.md says how to use it.
here=$(dirname -- "$(readlink -f -- "$0")")
source "$here/common.sh"
export ADVERTISE_HOST=${ADVERTISE_HOST:-127.0.0.1}
: "${BIND_ADDRESS:=127.0.0.1}"

undo() {
    [[ -n ${pid:-} ]] || return 0
    kill -TERM -- "$pid" 2>/dev/null || true
    for _ in {1..50}; do
        is_running || return 0
        sleep 0.1
    done
    kill -KILL -- "$pid" 2>/dev/null || true
}

is_running() { kill -0 -- "$pid" 2>/dev/null; }

begin
bash "$here/worker.sh" "$work/data" "$work/address" "$SWARMUI_FOLDER" "$REQUIRE_CONTROL_WITHIN" "$PORTS" \
    "$BIND_ADDRESS" >"$work/worker.log" 2>&1 3>&- &
pid=$!
wait_until "worker process" is_running test -s "$work/address"
announce "http://$(<"$work/address")" is_running
# The script lives as long as its worker, so that the end of one is the end of the other.
wait "$pid" || true
pid=
