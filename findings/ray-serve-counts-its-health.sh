#!/usr/bin/env bash
# Ray Serve 2.60.0, the counter of HTTP requests beside a health check.
#
# Common guess: `ray_serve_num_http_requests_total` counts requests to applications, so that its growth is their traffic, and
# where it falls the server was started anew. The health check at `/-/healthz` is the proxy's own and is no application's.
#
# Seen: each look at `/-/healthz` is counted there, under a route of its own and an empty application. A balancer that
# looks every two seconds sees half a request a second for ever, on a server that nobody uses.
#
# Ours: `gateway/kinds/rayserve.py` leaves routes below `/-/` out; `tests/gateway/kinds/test_rayserve.py` has the series with
# and without them.
set -euo pipefail

folder=$(mktemp -d /tmp/f-XXXXXX)
export HOME=$folder RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
started=
at_end() {
    # It leads a session of its own; all of Ray's processes of it are in that.
    [ -z "$started" ] || pkill -KILL -s "$started" || true
    rm -rf "$folder"
}
trap at_end EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[serve]==2.60.0"

cat >"$folder/server.py" <<'PYTHON'
import sys
import ray
from ray import serve

@serve.deployment
class Square:
    async def __call__(self, request):
        return 4

port, metrics_port, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80_000_000, _temp_dir=folder,
         _metrics_export_port=metrics_port, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": port})
serve.run(Square.bind(), blocking=True)
PYTHON

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
port=$(free_port) metrics=$(free_port)
setsid "$folder/venv/bin/python" "$folder/server.py" "$port" "$metrics" "$folder/t" >"$folder/log" 2>&1 &
started=$!
disown

get() { python3 -c 'import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=5).read().decode())' "$1"; }
for _ in $(seq 90); do get "http://127.0.0.1:$port/" >"$folder/answer" 2>/dev/null && break; sleep 1; done
[ "$(cat "$folder/answer")" = 4 ] || { tail -5 "$folder/log"; echo "Ray Serve did not start"; exit 1; }

for _ in $(seq 10); do get "http://127.0.0.1:$port/-/healthz" >/dev/null; done
seen=0
for _ in $(seq 30); do
    get "http://127.0.0.1:$metrics/metrics" >"$folder/figures"
    seen=$(sed -n 's/^ray_serve_num_http_requests_total{.*route="\/-\/healthz".*} \([0-9]*\).*$/\1/p' "$folder/figures" | head -1)
    # Its figures are up to ten seconds old.
    [ "${seen:-0}" -ge 10 ] && break
    sleep 1
done
sed -n 's/^\(ray_serve_num_http_requests_total\){.*\(application="[^"]*"\).*\(route="[^"]*"\).*} /\1 \2 \3 /p' "$folder/figures"
echo "looks at the health, of ten, that the counter of requests has: ${seen:-0}"
[ "${seen:-0}" -ge 10 ] || { echo "they are not counted: this has changed"; exit 1; }
