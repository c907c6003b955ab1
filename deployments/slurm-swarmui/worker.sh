#!/usr/bin/env bash
# Starts one SwarmUI worker in a Slurm job, says where it is once it answers, and ends with it.
# Ebbflow's slurm-provider runs this as the job's command; the master's arguments (--require_control_within) come as ours,
# and in EBBFLOW_ARGUMENTS, for a wrapper such as `bash -c` that does not pass them on.
# Protocol: SwarmUI docs/Features/AutoScalingBackend.md, "Configure a launch script".
set -euo pipefail

# Set them in the block's environment.
: "${SWARMUI_FOLDER:=$HOME/SwarmUI}"           # with launch-linux.sh; the nodes must see it under this path
: "${DATA_FOLDER:=${TMPDIR:-/tmp}/swarmui}"    # on the node's own disk; one folder per worker below it
: "${DATA_TEMPLATE:=}"                          # a data folder set up once by hand; each worker gets a copy of it
: "${PORTS:=7810-7999}"                        # one of them is taken
: "${BIND_ADDRESS:=0.0.0.0}"                   # the node's address in the cluster's network, if it has several
: "${ADVERTISE_HOST:=${SLURMD_NODENAME:-$(hostname)}}"    # what the master reaches this node by
: "${START_SECONDS:=600}"                      # until it answers

worker=${EBBFLOW_WORKER_ID:-${SLURM_JOB_ID:-$$}}
data=$DATA_FOLDER/$worker

say() { printf '[SwarmAutoScaleBackend]%s: %s[/SwarmAutoScaleBackend]\n' "$1" "$2"; }
# A reason in the fleet's record is worth more than a failed job: the provider rests, and the next one is tried.
fail() {
    say DeclareFailed "$1"
    exit 0
}

is_free() { ! (exec 9<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Several workers may share a node. What loses the race for a port ends at once, and is tried again with another.
pick_port() {
    local candidate
    for _ in {1..50}; do
        candidate=$((${PORTS%-*} + RANDOM % (${PORTS#*-} - ${PORTS%-*} + 1)))
        is_free "$candidate" && { port=$candidate; return; }
    done
    fail "no free port in $PORTS on $ADVERTISE_HOST"
}

answers() {
    curl --silent --fail --noproxy '*' --max-time 5 --header 'Content-Type: application/json' --data '{}' \
        "http://127.0.0.1:$port/API/GetNewSession" | grep --quiet '"session_id"'
}

swarmui=
# TERM comes from scancel, and before the time limit where the site was asked for it.
trap '[[ -z $swarmui ]] || kill -TERM "$swarmui" 2>/dev/null || true' TERM INT
trap 'rm -rf -- "$data"' EXIT

[[ -x $SWARMUI_FOLDER/launch-linux.sh ]] || fail "no $SWARMUI_FOLDER/launch-linux.sh on $ADVERTISE_HOST"
mkdir -p -- "$data" 2>/dev/null || fail "$data cannot be made on $ADVERTISE_HOST"
if [[ -n $DATA_TEMPLATE ]]; then
    cp -a -- "$DATA_TEMPLATE/." "$data/" || fail "$DATA_TEMPLATE cannot be copied on $ADVERTISE_HOST"
fi
# The gate, where the master has a waiting room: one more backend, which loads until this worker's own runs at the master.
if [[ -n ${EBBFLOW_GATE:-} ]]; then
    set -- "$@" --backends_file "$data/Backends.fds"
    printf '\n7860:\n\ttype: swarmswarmbackend\n\ttitle: gate\n\tenabled: true\n\tsettings:\n' >>"$data/Backends.fds"
    printf '\t\tAddress: %s\n\t\tAllowIdle: false\n' "$EBBFLOW_GATE" >>"$data/Backends.fds"
fi
cd -- "$SWARMUI_FOLDER"

for try in 1 2 3; do
    pick_port
    # Own data: two workers must not write each other's settings. stdout is the protocol's alone.
    ./launch-linux.sh --launch_mode none --host "$BIND_ADDRESS" --port "$port" --data_dir "$data" \
        --no_persist true --lock_settings true "$@" >&2 &
    swarmui=$!
    deadline=$((SECONDS + START_SECONDS))
    until answers; do
        kill -0 "$swarmui" 2>/dev/null || continue 2
        ((SECONDS < deadline)) || fail "SwarmUI did not answer on $ADVERTISE_HOST:$port within $START_SECONDS s"
        sleep 1
    done
    say NewURL "http://$ADVERTISE_HOST:$port"
    # A signal ends the first wait; the worker then ends by itself, and its end is ours.
    while kill -0 "$swarmui" 2>/dev/null; do wait "$swarmui" || true; done
    exit 0
done
fail "SwarmUI ended while it started, $try times; see the job's output"
