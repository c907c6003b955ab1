#!/usr/bin/env bash
# One SwarmUI worker as a container on this host. docker.md says how to use it.
here=$(dirname -- "$(readlink -f -- "$0")")
source "$here/common.sh"
: "${DOCKER_IMAGE:=swarmui}"
: "${DOCKER_OPTIONS:=--gpus all}"           # blank-separated, for instance --volume /models:/SwarmUI/Models:ro
: "${BIND_ADDRESS:=127.0.0.1}"              # of this host, where the container's port is published

undo() { docker rm --force --volumes "$worker" >/dev/null; }

is_running() { [[ $(docker inspect --format '{{.State.Running}}' "$worker") == true ]]; }

begin
docker image inspect "$DOCKER_IMAGE" >/dev/null || fail "image $DOCKER_IMAGE is not on this host"
# The container's name carries the worker id. --rm: what ended leaves nothing; its data is its own and goes with it.
# shellcheck disable=SC2086
docker run --detach --rm --name "$worker" --publish "$BIND_ADDRESS::7801" $DOCKER_OPTIONS "$DOCKER_IMAGE" \
    --launch_mode none --host 0.0.0.0 --port 7801 --data_dir /tmp/worker --no_persist true --lock_settings true \
    --require_control_within "$REQUIRE_CONTROL_WITHIN" 3>&- || fail "docker run failed: $(tail -n 1 "$work/launch.log")"
published=$(docker port "$worker" 7801/tcp) || fail "the container ended at once"
announce "http://${ADVERTISE_HOST:-$BIND_ADDRESS}:${published##*:}" is_running
# The script stays for as long as the container does. In the background, since bash runs traps only between commands.
docker wait "$worker" 3>&- &
wait $! || true
