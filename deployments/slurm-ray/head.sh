#!/usr/bin/env bash
# The Ray head: it holds the queue and works on nothing itself. Runs in the foreground, for systemd or a terminal.
set -euo pipefail

: "${RAY_SETUP:=}"                    # as of the workers: the same Ray and the same Python
: "${RAY_PORT:=6379}"                 # workers join here, on this node's own address
: "${RAY_DASHBOARD:=127.0.0.1:8265}"  # flows and `ray job submit` ask here
: "${RAY_AUTH_TOKEN_PATH:=$HOME/.ray/auth_token}"

# shellcheck disable=SC1090
[[ -z $RAY_SETUP ]] || { set +u; source "$RAY_SETUP"; set -u; }   # modules and conda use variables that are not set
# Whoever reaches the dashboard can run code on the cluster: the token is made once, and workers find it in the same HOME.
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH
if ! [[ -s $RAY_AUTH_TOKEN_PATH ]]; then
    mkdir -p -- "$(dirname -- "$RAY_AUTH_TOKEN_PATH")"
    (umask 077 && head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' >"$RAY_AUTH_TOKEN_PATH")
fi
# An agent's port of its own: beside another head of this host, jobs and drains would else never begin, and nothing says so.
exec ray start --head --block --num-cpus=0 --num-gpus=0 --disable-usage-stats --port="$RAY_PORT" \
    --dashboard-agent-listen-port=0 \
    --include-dashboard=true --dashboard-host="${RAY_DASHBOARD%:*}" --dashboard-port="${RAY_DASHBOARD##*:}" "$@"
