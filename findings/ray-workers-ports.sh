#!/usr/bin/env bash
# Ray 2.60.0, a head without any CPU or GPU, so without workers of its own, at a port that nobody listens on.
#
# Common guess: any free port will do, as for other servers; one that is taken is found out when it is bound.
#
# Seen: `ray start --head --port=17001` ends with "Ray component worker_ports is trying to use a port number 17001 that
# is used by other components": 10,002 to 19,999 are set aside for workers, whether there are any or not, and neither
# the head nor its dashboard may have one of them.
#
# Ours: heads of tests did not start once their ports were drawn from 15,000 on. `standins/process.py` and
# `cli/init.py` draw from 20,000 on (`tests/standins/test_free_ports.py`), and `deployments/slurm-ray/README.md` names
# the ports that a head cannot have.
set -euo pipefail

folder=$(mktemp -d /tmp/f-XXXXXX)
export HOME=$folder RAY_USAGE_STATS_ENABLED=0 RAY_AUTH_MODE=disabled
trap 'rm -rf "$folder"' EXIT

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "ray[default]==2.60.0"
export PATH=$folder/venv/bin:$PATH

ray --version
for words in "--port=17001 --dashboard-port=26101" "--port=26102 --dashboard-port=17002"; do
    # shellcheck disable=SC2086
    said=$(ray start --head --block --disable-usage-stats --num-cpus=0 --num-gpus=0 --object-store-memory=80000000 \
        --temp-dir="$folder/ray" --ray-client-server-port=26103 $words 2>&1) && code=0 || code=$?
    grep -o "Ray component worker_ports .*" <<<"$said"
    [[ $code != 0 ]]
    grep -q "'worker_ports': '9998 ports from 10002 to 19999'" <<<"$said"
done
