#!/usr/bin/env bash
# vastai 1.9.1, its client with addresses of one's own.
#
# Common guess: told both its addresses (`autoscaler_url`, `webserver_url`), and both plain HTTP on this host, it asks
# nobody else.
#
# Seen: before its first request it fetches the vendor's root certificate from the vendor's website, and fails without
# it: no request of any kind works where that website is not reached, and the certificate is trusted beside all others.
#
# Ours: `deployments/vast-model-server/client.py` trusts what its host trusts; `tests/gateway/test_vendor.py` uses it.
set -euo pipefail

folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check vastai==1.9.1

# Stands for both of its own addresses, and for the vendor's website, which has no certificate just now.
cat >server.py <<'PYTHON'
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        print(self.path.partition("?")[0], flush=True)
        found = not self.path.endswith(".cer")
        self.send_response(200 if found else 503)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b'{"results": []}' if found else b"")

    def log_message(self, *args):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
PYTHON
venv/bin/python server.py >asked &
server=$!
for _ in $(seq 50); do [ -s asked ] && break; sleep 0.2; done
address=http://127.0.0.1:$(head -1 asked)

venv/bin/python - "$address" >said <<'PYTHON'
import asyncio, sys
from vastai import Serverless

address = sys.argv[1]
print("by itself it asks", Serverless.SSL_CERT_URL)
# So that nobody outside of this host is asked here.
Serverless.SSL_CERT_URL = f"{address}/root.cer"

async def main():
    try:
        async with Serverless("a-key", autoscaler_url=address, webserver_url=address) as client:
            print("endpoints:", await client.get_endpoints())
    except Exception as error:
        print("failed:", error)

asyncio.run(main())
PYTHON
echo "vastai 1.9.1: $(tr '\n' ';' <said) it asked $(tail -n +2 asked | tr '\n' ' ')"
grep -q "failed: Failed to fetch SSL cert: 503" said && [ "$(tail -n +2 asked | head -1)" = /root.cer ]
