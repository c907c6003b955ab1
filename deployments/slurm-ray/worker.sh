#!/usr/bin/env bash
# One Ray worker in a Slurm job: `ray start --block`, with the CPUs and GPUs of the job. Ebbflow's slurm-provider runs this
# as the job's command; the master's arguments (--address, --labels, --node-name, --block) come as ours.
set -euo pipefail

# Set them in the block's environment.
: "${RAY_SETUP:=}"      # a file that is sourced first: `module load ...`, `source .../bin/activate`
: "${RAY_CPUS:=${SLURM_CPUS_PER_TASK:-${SLURM_CPUS_ON_NODE:-1}}}"
: "${RAY_GPUS:=${SLURM_GPUS_ON_NODE:-0}}"   # said to Ray: without a device file it finds none by itself
: "${RAY_RESOURCES:={\}}"                   # more that tasks ask for, as JSON: {"a100": 1}
: "${RAY_MEMORY_BYTES:=}"         # what tasks may ask for as memory=; Ray's default is that of the node, not of the job
: "${RAY_OBJECT_STORE_BYTES:=}"             # Ray's default is a third of the node's memory, not of the job's

# shellcheck disable=SC1090
[[ -z $RAY_SETUP ]] || { set +u; source "$RAY_SETUP"; set -u; }   # modules and conda use variables that are not set
ray=$(command -v ray) || { echo "no ray on $(hostname): set RAY_SETUP or PATH in the block's environment" >&2; exit 1; }

# A worker joins a head of its own versions only, and is else never seen there: this is where a person finds both.
python=$(sed -n '1s/^#!//p' "$ray")
echo "${EBBFLOW_WORKER_ID:-a worker} on $(hostname): $("$ray" --version), $($python --version), $RAY_CPUS CPUs, $RAY_GPUS GPUs"

# Passed on to `ray start` alone, it drains: what runs is finished. To every process of the job at once it ends them.
# It may come before there is anybody to pass it on to.
started= told=
trap 'told=1; [[ -z $started ]] || kill -TERM "$started" 2>/dev/null || true' TERM INT
"$ray" start "$@" --num-cpus="$RAY_CPUS" --num-gpus="$RAY_GPUS" --resources="$RAY_RESOURCES" --disable-usage-stats \
    ${RAY_MEMORY_BYTES:+--memory="$RAY_MEMORY_BYTES"} \
    ${RAY_OBJECT_STORE_BYTES:+--object-store-memory="$RAY_OBJECT_STORE_BYTES"} &
started=$!
[[ -z $told ]] || kill -TERM "$started" 2>/dev/null || true
while kill -0 "$started" 2>/dev/null; do wait "$started" && code=0 || code=$?; done
# Sockets and logs of this worker alone: why a node did not start stands there.
for word in "$@"; do
    [[ $word == --temp-dir=/*/ray-???????? ]] || continue
    [[ ${code:-0} == 0 ]] || tail -n 5 "${word#*=}"/session_*/logs/raylet*.err 2>/dev/null || true
    rm -rf -- "${word#*=}"
done
exit "${code:-0}"
