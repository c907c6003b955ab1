#!/usr/bin/env bash
# A scheduler of opengris-scaler with its object storage, in the foreground, for systemd or a terminal.
set -euo pipefail

: "${SCALER_SETUP:=}"              # as of the workers: the same package and the same Python
: "${SCALER_ADDRESS:=tcp://$(hostname -I | cut -d' ' -f1):2345}"   # as nodes reach it, a number and no name
: "${SCALER_POLICY:=allocate=even_load; scaling=vanilla}"

# shellcheck disable=SC1090
[[ -z $SCALER_SETUP ]] || { set +u; source "$SCALER_SETUP"; set -u; }   # modules and conda use variables that are not set
port=${SCALER_ADDRESS##*:}
storage=${SCALER_ADDRESS%:*}:$((port + 1))

# Each in a process group of its own: the scheduler of 1.15 is a child of its command, which would outlive it.
set -m
scaler_object_storage_server "$storage" &
stored=$!
at_end() { for each in "$stored" "${scheduler:-$stored}"; do kill "$1" -- "-$each" 2>/dev/null || true; done; }
trap 'at_end -KILL' EXIT
# The scheduler of 1.15 ends where its storage is not there yet.
host=${SCALER_ADDRESS#tcp://}
is_there() { (: <"/dev/tcp/${host%:*}/$((port + 1))") 2>/dev/null; }
for _ in $(seq 100); do is_there && break; sleep 0.1; done
is_there || { echo "the object storage does not answer at $storage" >&2; exit 1; }
scaler_scheduler "$SCALER_ADDRESS" --object-storage-address "$storage" --policy-content "$SCALER_POLICY" "$@" &
scheduler=$!
ended=
trap 'ended=1; at_end -TERM' TERM INT
# Neither is of use without the other.
wait -n "$stored" "$scheduler" && code=0 || code=$?
at_end -TERM
wait "$scheduler" "$stored" 2>/dev/null || true
[[ -n $ended ]] && exit 0
echo "the scheduler or its object storage has ended with $code" >&2
exit 1
