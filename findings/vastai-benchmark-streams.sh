#!/usr/bin/env bash
# vastai 1.9.1, the benchmark by which a worker measures its own performance, on a route that streams.
#
# Common guess: it sends its requests, reads the answers, and divides the work by the time that they took.
#
# Seen: an answer counts as done when its headers are there. A model server that streams 100 tokens a second is measured
# at thousands; the same one that answers all at once is measured at 100. What routes by that figure sends it too much.
#
# Ours: `deployments/vast-model-server/worker.py` asks for an answer that is not streamed, and its page says why;
# `tests/gateway/test_vendor.py` has `test_workers_measure_themselves_and_clients_are_shared_out_by_speed`.
set -euo pipefail

folder=$(mktemp -d)
started=()
at_end() {
    kill "${started[@]}" 2>/dev/null || true
    rm -rf "$folder"
}
trap at_end EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check vastai==1.9.1

cat >model.py <<'PYTHON'
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if asked["stream"]:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for _ in range(asked["max_tokens"]):
                time.sleep(0.01)
                self.wfile.write(b"7\r\ndata: 1\r\n")
            self.wfile.write(b"0\r\n\r\n")
            return
        time.sleep(0.01 * asked["max_tokens"])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PYTHON

# Where the worker asks for its public key and reports; it prints what the reports say of the performance.
cat >reports.py <<'PYTHON'
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
pem = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(pem)

    def do_POST(self):
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"{}")
        if said.get("max_perf"):
            print(said["max_perf"], flush=True)

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
PYTHON

cat >worker.py <<'PYTHON'
import os, sys
from vastai.serverless.server.worker import BenchmarkConfig, HandlerConfig, LogActionConfig, Worker, WorkerConfig

payload = {"prompt": "x", "max_tokens": 100, "stream": sys.argv[1] == "streamed"}
Worker(WorkerConfig(
    model_server_url="http://127.0.0.1", model_server_port=int(sys.argv[2]), model_log_file="model.log",
    model_healthcheck_url="/health",
    handlers=[HandlerConfig(
        route="/generate", workload_calculator=lambda asked: asked["max_tokens"],
        benchmark_config=BenchmarkConfig(dataset=[payload], runs=2, concurrency=1, do_warmup=False),
    )],
    log_action_config=LogActionConfig(on_load=["loaded"]),
)).run(host="127.0.0.1")
PYTHON

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
model=$(free_port) reports=$(free_port)
venv/bin/python model.py "$model" & started+=($!)
venv/bin/python reports.py "$reports" >>measured & started+=($!)
echo loaded >model.log

measure() {
    local port; port=$(free_port)
    : >measured; rm -f .has_benchmark
    env "VAST_TCP_PORT_$port=$port" WORKER_PORT="$port" WORKER_HTTP_PORT="$(free_port)" CONTAINER_ID=1 \
        PUBLIC_IPADDR=127.0.0.1 REPORT_ADDR="http://127.0.0.1:$reports" MASTER_TOKEN=token USE_SSL=false \
        venv/bin/python worker.py "$1" "$model" >"worker-$1.log" 2>&1 &
    local worker=$!; started+=("$worker")
    for _ in $(seq 60); do [ -s measured ] && break; sleep 1; done
    kill "$worker"
    tail -1 measured | cut -d. -f1
}
whole=$(measure whole) streamed=$(measure streamed)
echo "vastai 1.9.1, a model of 100 tokens a second: measured $whole when it answers at once, $streamed when it streams"
[ "$whole" -le 110 ] && [ "$whole" -ge 50 ] && [ "$streamed" -ge 1000 ]
