#!/usr/bin/env bash
# kubernetes 37.0.1, the official Python client, on CPython 3.11.
#
# Common guess: Python's import lock makes it safe to import a module from several threads, so each thread of a pool may
# say `from kubernetes.client import ApiClient` when it needs it.
#
# Seen: where the package's first import in a process is made by several threads at once, it fails in all of them
# (an import deadlock is detected, or a name cannot be imported from a partly initialised module), and every later import
# of that process fails as well: the package imports in a circle, `kubernetes` → `kubernetes.config` →
# `kubernetes.client` → `kubernetes`. It is a matter of hundredths of a second: a thread that comes later is safe.
#
# Ours: a fleet with two Kubernetes providers opens both at once, in threads; the first import has a lock of ours in
# `adapters/providers/kubernetes/client.py`, and
# `tests/adapters/providers/kubernetes/test_adapter.py` tries it in
# `test_regression_two_clusters_in_one_fleet_could_not_import_their_client_in_a_new_process`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "kubernetes==37.0.1"

cat > "$folder/threads.py" <<'PYTHON'
import sys
import threading
import time

count, failed = int(sys.argv[1]), []


def use(number):
    time.sleep(number * 0.01)
    try:
        from kubernetes.client import ApiClient, Configuration  # noqa: F401
    except (ImportError, RuntimeError) as error:
        failed.append(type(error).__name__)


threads = [threading.Thread(target=use, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
try:
    from kubernetes.client import ApiClient  # noqa: F401

    later = "works"
except ImportError:
    later = "fails"
print(f"{len(failed)} of {count} threads failed, a later import {later}")
PYTHON

echo "kubernetes 37.0.1, $("$folder/venv/bin/python" --version)"
for threads in 1 8; do
    for _ in $(seq 10); do "$folder/venv/bin/python" "$folder/threads.py" "$threads"; done > "$folder/$threads"
    echo "with $threads, a hundredth of a second apart, of 10 processes:"
    sort "$folder/$threads" | uniq -c
done
! grep -q "fails" "$folder/1" && grep -q "8 of 8 threads failed, a later import fails" "$folder/8" \
    || { echo "the behaviour has changed" >&2; exit 1; }
