# Starts one model server and the vendor's worker software in a Vast instance, and destroys the instance when nobody
# wants it any more. Vast runs it at each start, also when a stopped instance is started again.
# POSIX shell, and short: Vast takes 4,096 characters.
set -eu
: "${FOLDER:=/opt/ebbflow}"                  # model_server.py and worker.py, in the image
: "${STATE_FOLDER:=/workspace/ebbflow}"      # its disk: logs, and what was measured
: "${PYTHON:=python3}"
: "${MODEL_COMMAND:=$PYTHON $FOLDER/model_server.py}"
: "${LOOK_SECONDS:=30}"                      # between two questions whether anybody wants this worker
: "${ALONE_LOOKS:=120}"                      # so many in a row without a yes, an hour: then it is destroyed
: "${VAST_API:=https://console.vast.ai}"
export WORKER_PORT="${WORKER_PORT:-3000}"    # the block's port; Vast maps it to a public one

mkdir -p "$STATE_FOLDER"
cd "$STATE_FOLDER"
export MODEL_LOG="$PWD/model.log"

# A stop of the instance ends this script, and must not destroy what it keeps.
trap 'kill ${model:-} ${worker:-} 2>/dev/null || true; exit 0' TERM INT

# Both secrets come on stdin, so that no list of processes shows them. The instance's own key can start, stop and destroy
# this instance, and nothing else.
destroy() {
    printf 'header = "Authorization: Bearer %s"\n' "$CONTAINER_API_KEY" |
        curl --silent --show-error --fail --max-time 30 --config - --request DELETE \
            --header 'Content-Type: application/json' --data '{}' "$VAST_API/api/v0/instances/$CONTAINER_ID/"
}
ask() {
    printf '{"mtoken": "%s"}' "$MASTER_TOKEN" |
        curl --silent --fail --max-time 20 --header 'Content-Type: application/json' --data @- "$REPORT_ADDR/lease/"
}
begin() {
    : >"$MODEL_LOG"
    $MODEL_COMMAND >>"$MODEL_LOG" 2>&1 &
    model=$!
    "$PYTHON" "$FOLDER/worker.py" &
    worker=$!
}

begin
alone=0 again=
while [ "$alone" -lt "$ALONE_LOOKS" ]; do
    sleep "$LOOK_SECONDS" &
    wait $! || true
    said=$(ask) || said=
    case $said in *'"leased":true'*) alone=0 ;; *) alone=$((alone + 1)) ;; esac
    # What its log says, the worker software reads and tells the gateway, which sends it nobody from then on.
    kill -0 "$model" 2>/dev/null || echo "the model server ended" >>"$MODEL_LOG"
    # Once it is started anew; at its next error the fleet replaces it.
    case $said in *'"broken":true'*)
        if [ -z "$again" ]; then
            again=yes
            echo "an error was reported: model server and worker are started anew"
            kill "$model" "$worker" 2>/dev/null || true
            sleep 2 &
            wait $! || true
            kill -9 "$model" "$worker" 2>/dev/null || true
            begin
        fi ;;
    esac
done

kill "$model" "$worker" 2>/dev/null || true
echo "nobody has wanted instance $CONTAINER_ID for $ALONE_LOOKS looks: it is destroyed"
until destroy; do
    sleep 30 &
    wait $!
done
