#!/usr/bin/env bash
# One SwarmUI worker as a Slurm batch job; the script ends, the job stays. slurm-sbatch.md says how to use it.
here=$(dirname -- "$(readlink -f -- "$0")")
source "$here/common.sh"
source "$here/slurm-common.sh"

undo() { [[ $outcome == announced ]] || cancel; }

# A controller that does not answer says nothing about the job; only "no such job" and an end state do.
is_running() {
    local state
    state=$("${without_slurm[@]}" squeue --noheader --name "$worker" --user "$(id -un)" --format %T) || return 0
    [[ $state =~ ^(PENDING|CONFIGURING|RUNNING)$ ]]
}

begin
rm -f -- "$work/address"
readarray -d '' -t words < <(worker_words)
# Never requeued: a worker that comes back later is waste. The worker is the batch script, so its end is the job's end.
job=$("${without_slurm[@]}" sbatch --parsable --no-requeue --job-name "$worker" --output "$work/worker.log" \
    "${options[@]}" "${words[@]}" 2>"$work/sbatch.log") || fail "sbatch refused: $(tail -n 1 "$work/sbatch.log")"
echo "submitted job $job"
wait_until "job $job" is_running test -s "$work/address"
announce "http://$(<"$work/address")" is_running
