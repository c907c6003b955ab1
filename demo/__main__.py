"""`make demo`: a fleet on one machine, under a real Prefect server, from nothing to nothing in about three minutes."""

import argparse
import os
import sys
from collections.abc import Sequence

from ebbflow.demo.interruption import Interruption
from ebbflow.demo.place import make_place

LOAD_SECONDS = 75.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if all went as it must, 1 if not, 130 if it was interrupted."""
    interruption = Interruption()
    interruption.install()
    parser = argparse.ArgumentParser(prog="python -m ebbflow.demo", description=__doc__)
    parser.add_argument("--seconds", type=float, default=LOAD_SECONDS, help="how long requests arrive (default: 75)")
    parser.add_argument(
        "--provider",
        default="local",
        choices=("local", "launch-script"),
        help="what starts the workers: an argument list, or a launch script (default: local)",
    )
    chosen = parser.parse_args(arguments)
    place = make_place()
    environment = place.environment(os.environ)
    # Before Prefect is imported: that is when it reads its settings, and they must not be the user's.
    os.environ.clear()
    os.environ.update(environment)
    from ebbflow.demo.runner import run
    from ebbflow.demo.show import Options

    keep_server = os.environ.get("KEEP", "") not in ("", "0")
    return run(place, environment, Options(chosen.seconds, keep_server, chosen.provider), interruption)


if __name__ == "__main__":
    sys.exit(main())
