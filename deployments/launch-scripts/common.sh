# What the launch scripts of this folder share; sourced by them, never run.
# Protocol: SwarmUI docs/Features/AutoScalingBackend.md, "Configure a launch script".
set -euo pipefail

# Settings of all scripts; each script adds its own. Set them in the block's environment, or here.
: "${SWARMUI_FOLDER:=$HOME/SwarmUI}"         # where the worker finds SwarmUI's launch-linux.sh
: "${WORK_FOLDER:=$HOME/.ebbflow/launched}"  # one folder per worker: its data and its logs
: "${REQUIRE_CONTROL_WITHIN:=10}"            # minutes without a master after which a worker ends itself
: "${START_SECONDS:=600}"                    # to get a machine and to have the worker listen on it
: "${RETRIES:=2}"                            # what DoRetries asks the master for
: "${PORTS:=7810-7999}"                      # one of them is taken for the worker

outcome=none

# Begins a launch: names the worker, makes its folder, and keeps stdout for the protocol alone.
begin() {
    # Under Ebbflow the id is given; under SwarmUI itself we make one.
    worker=${EBBFLOW_WORKER_ID:-swarm-$(date +%s)-$$}
    work=$WORK_FOLDER/$worker
    mkdir -p -- "$work"
    # The log takes stderr too: SwarmUI does not read it before NewURL, and 64 KiB there would block us.
    exec 3>&1 >>"$work/launch.log" 2>&1
    deadline=$((SECONDS + START_SECONDS))
    trap 'at_exit $?' EXIT
    trap 'exit 143' TERM
    trap 'exit 130' INT
}

# Each script may define its own: takes back what was started, whether or not it came about.
undo() { :; }

say() { printf '[SwarmAutoScaleBackend]%s: %s[/SwarmAutoScaleBackend]\n' "$1" "$2" >&3; }

# Gives up with a reason, after taking everything back: a worker that nobody knows would cost money unseen.
fail() {
    trap - EXIT
    trap '' TERM INT
    undo || true
    local reason=${1//$'\n'/ }
    [[ $outcome == announced ]] || say DeclareFailed "${reason//\[/(}"
    echo "gave up: $reason"
    exit 0
}

at_exit() {
    # After NewURL the worker is the master's: whoever ends this script then wants the worker ended.
    if [[ $outcome == announced ]]; then
        undo || true
    else
        fail "the launch script ended early with $1; see $work/launch.log"
    fi
}

# Whether a SwarmUI answers at an address; what a master asks first.
answers() {
    curl --silent --fail --noproxy '*' --max-time 5 --header 'Content-Type: application/json' --data '{}' \
        "$1/API/GetNewSession" | grep --quiet '"session_id"'
}

# Waits until a command succeeds: wait_until WHAT ALIVE COMMAND... fails when ALIVE does, or when the time is over.
wait_until() {
    local what=$1 alive=$2
    shift 2
    until "$@"; do
        $alive || fail "$what: it ended; see $work"
        ((SECONDS < deadline)) || fail "$what: not within $START_SECONDS s; see $work"
        sleep "${POLL_SECONDS:-1}"
    done
}

# Waits for the worker at an address, then tells the master.
announce() {
    wait_until "worker at $1" "$2" answers "$1"
    say DoRetries "$RETRIES"
    outcome=announced
    say NewURL "$1"
}
