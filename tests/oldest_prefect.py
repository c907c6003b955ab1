"""The tests that are marked `oldest_prefect`, with the oldest Prefect of our range: `python -m tests.oldest_prefect`.

All of it runs from an environment of that Prefect (`tests/environments/prefect_3_8.txt`): pytest, and with it whatever
a test starts by its own Python: server, worker, `prefect deploy`, `ebbflow`, runs. Words are handed on to pytest.
"""

import os
import subprocess
import sys
from pathlib import Path

from tests.extra_environment import environment

ROOT = Path(__file__).resolve().parents[1]
LIST = "prefect_3_8"
SELECTED = "oldest_prefect and not endurance"


def main() -> None:
    """Make it, link this checkout into it, and become its pytest."""
    python = environment(LIST) / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--quiet", "--disable-pip-version-check"]
    ours = ["--no-index", "--no-deps", "--no-build-isolation", "--editable", str(ROOT)]
    subprocess.run([*pip, "install", *ours], check=True)
    # What its list forgets of ours, and what of it is outside of our ranges.
    subprocess.run([*pip, "check"], check=True)
    os.execv(python, [str(python), "-m", "pytest", "-m", SELECTED, *sys.argv[1:]])


if __name__ == "__main__":
    main()
