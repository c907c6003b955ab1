"""The runner: how it starts Prefect's worker and the turn server, and that both can be ended."""

import subprocess
import sys
from pathlib import Path

PYTHON = f"""#!{sys.executable}
import signal, sys, time
if "worker" not in sys.argv:
    time.sleep(60)
print("ignored" if signal.getsignal(signal.SIGINT) is signal.SIG_IGN else "heard")
"""
RUNNER = """
import signal, sys, anyio
signal.signal(signal.SIGINT, signal.SIG_IGN)
from ebbflow.services.runner.runner import run
sys.executable = sys.argv[1]
sys.exit(anyio.run(run, "a-pool", []))
"""


def test_regression_after_nohup_in_a_script_prefects_worker_did_not_hear_that_it_is_to_end(tmp_path: Path) -> None:
    """A shell lets what it starts in the background ignore SIGINT, by which Prefect's worker is ended."""
    python = tmp_path / "python"
    python.write_text(PYTHON)
    python.chmod(0o700)
    done = subprocess.run(
        [sys.executable, "-c", RUNNER, str(python)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.splitlines()) == (0, ["heard"]), done.stderr
