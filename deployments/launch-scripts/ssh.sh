#!/usr/bin/env bash
# One SwarmUI worker on another host, over ssh. ssh.md says how to use it.
here=$(dirname -- "$(readlink -f -- "$0")")
source "$here/common.sh"
: "${SSH_HOST:=}"               # user@host, as in your ssh configuration
: "${SSH_WORKER_HOST:=}"        # what the master calls that host; empty: SSH_HOST without the user
: "${BIND_ADDRESS:=0.0.0.0}"    # what the worker binds to there
: "${REMOTE_SWARMUI_FOLDER:=$SWARMUI_FOLDER}"
: "${REMOTE_WORK_FOLDER:=/tmp/ebbflow-launched}"

# Runs there: the worker in the background, and a reader of stdin that ends with the connection and takes it along.
# Arguments: work folder, SwarmUI's folder, minutes, ports, address to bind, address to tell, the text of worker.sh, the gate.
# shellcheck disable=SC2016
remote='
set -eu
exec 5<&0
mkdir -p -- "$1"
rm -f -- "$1/address"
ADVERTISE_HOST=$6 EBBFLOW_GATE=$8 setsid bash -c "$7" worker.sh "$1/data" "$1/address" "$2" "$3" "$4" "$5" \
    >"$1/worker.log" 2>&1 </dev/null 5<&- &
pid=$!
(
    cat <&5 >/dev/null
    kill -TERM -- "-$pid" || exit 0
    sleep 10
    kill -KILL -- "-$pid" || true
) >/dev/null 2>&1 &
watcher=$!
while kill -0 "$pid" 2>/dev/null && ! [ -s "$1/address" ]; do sleep 0.2; done
[ ! -s "$1/address" ] || cat -- "$1/address"
wait "$pid" || true
kill "$watcher" 2>/dev/null || true
'

undo() {
    # Without a writer the pipe ends, ssh closes the far end, and the reader there ends the worker.
    exec 4>&-
    [[ -n ${pid:-} ]] || return 0
    for _ in {1..120}; do
        is_running || return 0
        sleep 0.1
    done
    kill -TERM -- "$pid" 2>/dev/null || true
}

is_running() { kill -0 -- "$pid" 2>/dev/null; }

begin
[[ -n $SSH_HOST ]] || fail "SSH_HOST is not set"
rm -f -- "$work/stdin"
mkfifo -- "$work/stdin"
exec 4<>"$work/stdin"
command=$(printf '%q ' bash -c "$remote" remote "$REMOTE_WORK_FOLDER/$worker" "$REMOTE_SWARMUI_FOLDER" \
    "$REQUIRE_CONTROL_WITHIN" "$PORTS" "$BIND_ADDRESS" "${SSH_WORKER_HOST:-${SSH_HOST#*@}}" "$(<"$here/worker.sh")" \
    "${EBBFLOW_GATE:-}")
ssh -T -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=15 -o ServerAliveCountMax=4 "$SSH_HOST" "$command" \
    <"$work/stdin" >"$work/address" 2>"$work/ssh.log" 3>&- 4>&- &
pid=$!
wait_until "ssh to $SSH_HOST" is_running test -s "$work/address"
announce "http://$(<"$work/address")" is_running
wait "$pid" || true
pid=
