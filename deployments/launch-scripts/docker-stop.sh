#!/usr/bin/env bash
# Stop script for docker.sh. Arguments: worker id, URL. Exit code 0 says that there is no such container any more.
set -euo pipefail
docker rm --force --volumes "$1" || true
# A removal that is in progress, as --rm begins one, takes a moment.
for _ in {1..20}; do
    left=$(docker ps --all --quiet --filter "name=^/?$1\$")
    [[ -n $left ]] || exit 0
    sleep 0.5
done
echo "container $1 is still there"
exit 1
