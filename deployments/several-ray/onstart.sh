# Starts one Ray worker in a Vast instance, and destroys the instance when the worker has ended. Vast runs it at each start.
# POSIX shell, and short: Vast takes 4,096 characters.
set -eu
: "${RAY_SETUP:=}"                # a file that is sourced first: joins your private network, may set RAY_NODE_ADDRESS
: "${RAY_CPUS:=$(nproc)}"         # as the block's capabilities say
: "${RAY_GPUS:=1}"
: "${RAY_OBJECT_STORE_BYTES:=}"   # Ray's default is a third of the memory
: "${GRACE_SECONDS:=60}"          # between the worker's end and the instance's
: "${VAST_API:=https://console.vast.ai}"

# A stop of the instance lets Ray drain first, and destroys nothing.
started=
trap 'trap - EXIT; [ -z "$started" ] || { kill -TERM "$started" 2>/dev/null && wait "$started"; }; exit 0' TERM INT

# Whatever else ends this script ends the instance. Its own key can start, stop and destroy this instance, and nothing
# else; it comes on stdin, so that no list of processes shows it.
destroy() {
    printf 'header = "Authorization: Bearer %s"\n' "$CONTAINER_API_KEY" |
        curl --silent --show-error --fail --max-time 30 --config - --request DELETE \
            --header 'Content-Type: application/json' --data '{}' "$VAST_API/api/v0/instances/$CONTAINER_ID/"
}
at_end() {
    echo "no worker any more ($?): instance $CONTAINER_ID is destroyed in $GRACE_SECONDS s"
    started=
    set +e
    sleep "$GRACE_SECONDS" &
    wait $!
    until destroy; do
        sleep 30 &
        wait $!
    done
}
trap at_end EXIT

[ -z "$RAY_SETUP" ] || { set +u; . "$RAY_SETUP"; set -u; }
# Ebbflow quotes them for a shell: where the head is, and whose worker this is.
eval "set -- ${EBBFLOW_ARGUMENTS:-}"
echo "worker ${EBBFLOW_WORKER_ID:-}: $(ray --version), $RAY_CPUS CPUs, $RAY_GPUS GPUs"
ray start "$@" --num-cpus="$RAY_CPUS" --num-gpus="$RAY_GPUS" --disable-usage-stats \
    ${RAY_OBJECT_STORE_BYTES:+--object-store-memory="$RAY_OBJECT_STORE_BYTES"} \
    ${RAY_NODE_ADDRESS:+--node-ip-address="$RAY_NODE_ADDRESS"} &
started=$!
wait "$started"
