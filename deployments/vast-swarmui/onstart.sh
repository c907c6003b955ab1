# Starts one SwarmUI worker in a Vast instance, and destroys the instance when nobody wants the worker any more.
# Vast runs it at each start, also when a stopped instance is started again: its disk still holds SwarmUI and the models.
# POSIX shell, and short: Vast takes 4,096 characters.
set -eu
: "${SWARMUI_FOLDER:=/workspace/SwarmUI}"
: "${SWARMUI_SOURCE:=https://github.com/mcmonkeyprojects/SwarmUI}"
: "${WORKER_PORT:=7801}"          # the block's port; Vast maps it to a public one
: "${GRACE_SECONDS:=300}"         # between the worker's end and the instance's: Ebbflow stops or destroys it by then
: "${VAST_API:=https://console.vast.ai}"

# A stop of the instance ends this script, and must not destroy what it keeps.
trap 'exit 0' TERM INT

# The instance's own key can start, stop and destroy this instance, and nothing else. It comes on stdin, so that no list
# of processes shows it.
destroy() {
    printf 'header = "Authorization: Bearer %s"\n' "$CONTAINER_API_KEY" |
        curl --silent --show-error --fail --max-time 30 --config - --request DELETE \
            --header 'Content-Type: application/json' --data '{}' "$VAST_API/api/v0/instances/$CONTAINER_ID/"
}

if [ ! -x "$SWARMUI_FOLDER/launch-linux.sh" ]; then
    git clone --depth 1 "$SWARMUI_SOURCE" "$SWARMUI_FOLDER"
fi
cd "$SWARMUI_FOLDER"

# Ebbflow quotes them for a shell: --require_control_within, after which a worker that nobody controls ends by itself.
eval "set -- ${EBBFLOW_ARGUMENTS:-}"
# The gate, where the master has a waiting room: one more backend, which loads until this worker's own runs at the master.
if [ -n "${EBBFLOW_GATE:-}" ]; then
    mkdir -p Data
    # The disk may hold that of an earlier worker.
    awk '/^[^ \t]/ { old = /^7860:/ } !old' Data/Backends.fds >Data/Backends.new 2>/dev/null || true
    printf '\n7860:\n\ttype: swarmswarmbackend\n\ttitle: gate\n\tenabled: true\n\tsettings:\n' >>Data/Backends.new
    printf '\t\tAddress: %s\n\t\tAllowIdle: false\n' "$EBBFLOW_GATE" >>Data/Backends.new
    mv Data/Backends.new Data/Backends.fds
fi
./launch-linux.sh --launch_mode none --host 0.0.0.0 --port "$WORKER_PORT" --no_persist true --lock_settings true "$@" ||
    echo "SwarmUI ended with $?"

echo "no worker any more: instance $CONTAINER_ID is destroyed in $GRACE_SECONDS s unless it is stopped before"
sleep "$GRACE_SECONDS" &
wait $!
until destroy; do
    sleep 30 &
    wait $!
done
