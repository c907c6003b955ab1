#!/usr/bin/env bash
# A scheduler of opengris-scaler with its object storage, in the foreground, for systemd or a terminal.
set -euo pipefail

: "${SCALER_SETUP:=}"              # as of the workers: the same package and the same Python
: "${SCALER_ADDRESS:=tcp://$(hostname -f):2345}"   # as nodes reach it; whoever does can run code on the workers
: "${SCALER_POLICY:=allocate=even_load; scaling=vanilla}"

# shellcheck disable=SC1090
[[ -z $SCALER_SETUP ]] || { set +u; source "$SCALER_SETUP"; set -u; }   # modules and conda use variables that are not set
port=${SCALER_ADDRESS##*:}
storage=${SCALER_ADDRESS%:*}:$((port + 1))

# Each in a process group of its own: the scheduler of 1.15 is a child of its command, which would outlive it.
set -m
scaler_object_storage_server "$storage" &
stored=$!
trap 'kill -TERM -- "-$stored" 2>/dev/null || true' EXIT
# The scheduler of 1.15 ends where its storage is not there yet.
host=${SCALER_ADDRESS#tcp://}
for _ in $(seq 100); do (: <"/dev/tcp/${host%:*}/$((port + 1))") 2>/dev/null && break; sleep 0.1; done
scaler_scheduler "$SCALER_ADDRESS" --object-storage-address "$storage" --policy-content "$SCALER_POLICY" "$@" &
scheduler=$!
trap 'kill -TERM -- "-$scheduler" 2>/dev/null || true' TERM INT
while kill -0 "$scheduler" 2>/dev/null; do wait "$scheduler" && code=0 || code=$?; done
kill -KILL -- "-$scheduler" 2>/dev/null || true
exit "${code:-0}"
