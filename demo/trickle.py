"""A little load for a demo that lives on: an image now and then, and a burst that makes the fleet grow.

`python -m ebbflow.demo.trickle --master http://127.0.0.1:7801`
"""

import argparse
import asyncio
from collections.abc import Sequence

from ebbflow.demo.load import Tally, replay
from ebbflow.simulation.trace import Arrival

ROUND_SECONDS = 120.0
CALM_SECONDS = 10.0
"""Between two images while little goes on."""
BURST = 16
SERVICE_SECONDS = 4.0


def one_round() -> tuple[Arrival, ...]:
    """Two minutes: calm, then as many at once as need several workers, then calm again."""
    calm = [Arrival(at * CALM_SECONDS, SERVICE_SECONDS) for at in range(int(ROUND_SECONDS / CALM_SECONDS))]
    burst = [Arrival(ROUND_SECONDS / 3 + place / 4, SERVICE_SECONDS) for place in range(BURST)]
    return tuple(sorted([*calm, *burst], key=lambda arrival: arrival.at_seconds))


async def go_on(master_url: str) -> None:
    """Ask for images until somebody ends this."""
    while True:
        await replay(master_url, one_round(), Tally())


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the master's address, and go on."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--master", required=True, metavar="URL", help="address of the stand-in master")
    asyncio.run(go_on(parser.parse_args(arguments).master))


if __name__ == "__main__":
    main()
