#!/usr/bin/env bash
# Stop script for both Slurm variants. Arguments: worker id, URL. Exit code 0 says that no job of that name is left.
set -euo pipefail
user=$(id -un)
scancel --name "$1" --user "$user"
for _ in {1..50}; do
    left=$(squeue --noheader --name "$1" --user "$user" --format %i)
    [[ -n $left ]] || exit 0
    sleep 1
done
echo "job of $1 is still there: $left"
exit 1
