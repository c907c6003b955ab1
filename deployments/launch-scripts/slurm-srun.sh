#!/usr/bin/env bash
# One SwarmUI worker as a Slurm job, with srun in the foreground. slurm-srun.md says how to use it.
here=$(dirname -- "$(readlink -f -- "$0")")
source "$here/common.sh"
source "$here/slurm-common.sh"

undo() {
    [[ -n ${pid:-} ]] || return 0
    cancel || true
    kill -TERM -- "$pid" 2>/dev/null || true
}

is_running() { kill -0 -- "$pid" 2>/dev/null; }

begin
rm -f -- "$work/address"
readarray -d '' -t words < <(worker_words)
# --immediate: run now or not at all. A job that starts late is waste, since the master has asked for another by then.
"${without_slurm[@]}" srun --job-name "$worker" --immediate="$START_SECONDS" --quit-on-interrupt \
    "${options[@]}" "${words[@]}" >"$work/worker.log" 2>&1 </dev/null 3>&- &
pid=$!
wait_until "srun" is_running test -s "$work/address"
announce "http://$(<"$work/address")" is_running
# srun ends with the worker, and the job with srun.
wait "$pid" || true
pid=
