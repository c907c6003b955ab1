#!/usr/bin/env bash
# Prefect 3.8.8, `prefect deploy` against its own server, with `enforce_parameter_schema` as it is by default.
#
# Common guess: a deployment whose parameters do not fit the flow's signature is refused when it is deployed, whatever is
# wrong with them; and `{{ $NAME }}` of the environment may stand for a number, as it may in most tools that read YAML.
#
# Seen: values that are there are checked, required ones that are missing are not. `parameters: {}` of a flow that needs
# one deploys with exit code 0, and every run of it is refused when it is created. `"{{ $COUNT }}"` is always a text, so
# that an integer parameter is refused at the deployment; `"{{ prefect.variables.count }}"` keeps the number that the
# Prefect variable holds, and is taken.
#
# Ours: people deployed fleets that could not run, or were refused inside 94 kB of schema; `fleet/deployed.py` reads a
# prefect.yaml and names deployment and field (`tests/fleet/test_deployed.py`), and README tells Prefect variables.
set -euo pipefail

folder=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; wait 2>/dev/null; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
    "prefect==3.8.8" "fastapi==0.150.0" "sqlalchemy==2.0.58"

cd "$folder"
cat > counting.py <<'PYTHON'
from prefect import flow


@flow
async def counting(count: int) -> int:
    return count
PYTHON

deployment() {
    printf 'deployments:\n  - name: %s\n    entrypoint: counting.py:counting\n    parameters: %s\n    work_pool: {name: pool}\n' \
        "$1" "$2" > prefect.yaml
}

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export PREFECT_HOME="$folder/home" PREFECT_API_URL="http://127.0.0.1:$port/api" PREFECT_LOGGING_LEVEL=ERROR
export DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false COUNT=3
prefect="$folder/venv/bin/prefect"
"$prefect" server start --host 127.0.0.1 --port "$port" > server.log 2>&1 &
server=$!
for _ in $(seq 120); do
    python3 -c "import urllib.request as u; u.urlopen('$PREFECT_API_URL/health', timeout=2)" 2>/dev/null && break
    sleep 0.5
done
"$prefect" --no-prompt work-pool create pool --type process > /dev/null
"$prefect" --no-prompt variable set count 3 > /dev/null

seen() { if "$@" > said.log 2>&1; then echo taken; else echo refused; fi; }

deployment empty '{}'
empty=$(seen "$prefect" --no-prompt deploy --all)
run=$(seen "$prefect" --no-prompt deployment run counting/empty)
deployment text '{count: "{{ $COUNT }}"}'
text=$(seen "$prefect" --no-prompt deploy --all)
deployment variable '{count: "{{ prefect.variables.count }}"}'
variable=$(seen "$prefect" --no-prompt deploy --all)

"$prefect" version 2>/dev/null | head -1
echo "  parameters: {} deployed:                    $empty"
echo "  a run of it:                                $run"
echo "  count: {{ \$COUNT }} deployed:               $text"
echo "  count: {{ prefect.variables.count }}:       $variable"
[ "$empty $run $text $variable" = "taken refused refused taken" ] || { echo "this has changed"; exit 1; }
