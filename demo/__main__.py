"""`make demo`: a fleet on one machine, under a real Prefect server, from nothing to nothing in about three minutes."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from ebbflow.demo.interruption import Interruption
from ebbflow.demo.place import kept_place, make_place

LOAD_SECONDS = 75.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if all went as it must, 1 if not, 130 if it was interrupted."""
    interruption = Interruption()
    interruption.install()
    parser = argparse.ArgumentParser(prog="python -m ebbflow.demo", description=__doc__)
    parser.add_argument(
        "what",
        nargs="?",
        default="swarmui",
        choices=("swarmui", "gateway"),
        help="a fleet of SwarmUI workers, or one of model servers behind a gateway (default: swarmui)",
    )
    parser.add_argument("--seconds", type=float, default=LOAD_SECONDS, help="how long requests arrive (default: 75)")
    parser.add_argument(
        "--provider",
        default="local",
        choices=("local", "launch-script"),
        help="what starts the workers: an argument list, or a launch script (default: local)",
    )
    parser.add_argument("--end", type=Path, metavar="FOLDER", help="end the demo that was left alive in this folder")
    chosen = parser.parse_args(arguments)
    try:
        place, provider = kept_place(chosen.end) if chosen.end else (make_place(), chosen.provider)
    except ValueError as error:
        parser.error(str(error))
    environment = place.environment(os.environ)
    # Before Prefect is imported: that is when it reads its settings, and they must not be the user's.
    os.environ.clear()
    os.environ.update(environment)
    if chosen.what == "gateway":
        from ebbflow.demo import models

        return models.run(place, environment, interruption)
    from ebbflow.demo.runner import end_kept, run
    from ebbflow.demo.show import Options

    if chosen.end:
        return end_kept(place, environment, provider)
    keep = os.environ.get("KEEP", "") not in ("", "0")
    return run(place, environment, Options(chosen.seconds, keep, provider), interruption)


if __name__ == "__main__":
    sys.exit(main())
