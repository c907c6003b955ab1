#!/usr/bin/env bash
# One worker of opengris-scaler in a Slurm job. Ebbflow's slurm-provider runs this as the job's command; the master's
# arguments (the scheduler's address, the worker's name, its capabilities) come as ours.
set -euo pipefail

: "${SCALER_SETUP:=}"   # in the block's environment: a file that is sourced first, `module load ...`, `source .../activate`

# shellcheck disable=SC1090
[[ -z $SCALER_SETUP ]] || { set +u; source "$SCALER_SETUP"; set -u; }   # modules and conda use variables that are not set
python=$(command -v python3) || { echo "no python3 on $(hostname): set SCALER_SETUP in the block's environment" >&2; exit 1; }

# Tasks come pickled: where the versions are not the client's, they fail one by one, and this is where a person finds both.
echo "${EBBFLOW_WORKER_ID:-a worker} on $(hostname): $("$python" --version)," \
    "opengris-scaler $("$python" -c 'from importlib.metadata import version; print(version("opengris-scaler"))')"

# The job's own process is the vendor's command, so that the TERM of an ended job lets it hand its tasks back.
case " $* " in
    *" --worker-names="*) exec "$python" "$(dirname -- "$0")/work_1_15.py" "$@" ;;
    *) exec scaler_worker_manager baremetal_native "$@" ;;
esac
