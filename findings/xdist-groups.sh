#!/usr/bin/env bash
# pytest-xdist 3.8.0 with pytest 9.2.0.
#
# Common guess: with `--dist loadgroup`, tests that carry `@pytest.mark.xdist_group("one")` run in one worker, as the
# documentation of xdist says, so that they can share a costly server.
#
# Seen: they are spread over all workers as if they had no mark, and nothing says so. xdist tells the groups by writing
# `item._nodeid`, which pytest 9.2 does not read any more: a node's id is made from its `_id`. With pytest 9.0.2 the same
# files run in one worker.
#
# Ours: four workers started four Prefect servers where one had to do; `tests/sharing.py` has a scheduler of our own that
# tells the groups by the file's name, and `tests/test_sharing.py` holds it in
# `test_files_that_need_a_server_share_few_workers`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

cat > "$folder/test_one_group.py" <<'PYTHON'
import os
import time

import pytest


@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(12))
def test_which_worker(number):
    time.sleep(0.1)
    with open("workers", "a", encoding="utf-8") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
PYTHON

workers() {
    rm -f "$folder/workers"
    "$folder/venv/bin/python" -m pytest -q -p no:cacheprovider -n 3 --dist loadgroup "$folder/test_one_group.py" > /dev/null
    sort -u "$folder/workers" | wc -l
}

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "pytest==9.0.2" "pytest-xdist==3.8.0"
before=$(workers)
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "pytest==9.2.0" "pytest-xdist==3.8.0"
now=$(workers)
echo "pytest-xdist 3.8.0: one group of 12 tests ran in $before worker with pytest 9.0.2, in $now workers with pytest 9.2.0"
[ "$before" = 1 ] && [ "$now" -gt 1 ] || { echo "the behaviour has changed" >&2; exit 1; }
