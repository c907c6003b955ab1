"""Save the demo's blocks: `swarmui-master/demo`, and `local-provider/demo` or `launch-script-provider/demo`.

`python -m ebbflow.demo.blocks --master http://127.0.0.1:7801 --folder ~/.ebbflow/demo`
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, get_args

from ebbflow.blocks.masters import SwarmUIMaster
from ebbflow.blocks.providers import LaunchScriptProvider, LocalProvider
from ebbflow.demo.place import PROJECT

ProviderKind = Literal["local", "launch-script"]
PROVIDER_KINDS: tuple[ProviderKind, ...] = get_args(ProviderKind)

NAME = "demo"
CONTROL_MINUTES = 3
"""A stand-in worker ends itself when nobody has called it for this long."""

LAUNCH_SCRIPT = PROJECT / "deployments" / "demo" / "launch-worker.sh"
SECONDS_PER_STEP = 0.05
"""What one step of an image takes a stand-in worker: requests ask for as many steps as their service takes."""

USD_PER_HOUR = 0.4
"""A stand-in's price, about that of a card of 24 GB, so that there is something to count."""

BOOT_SECONDS = 2
"""What a stand-in worker takes to start, on top of its Python."""


def master_block(url: str, *, allow_start_from_zero: bool = False) -> SwarmUIMaster:
    """The master's block."""
    return SwarmUIMaster(
        address=url,
        require_control_within_minutes=CONTROL_MINUTES,
        call_timeout_seconds=2,
        connect_timeout_seconds=5,
        allow_start_from_zero=allow_start_from_zero,
    )


def provider_block(
    kind: ProviderKind, folder: Path, environment: Mapping[str, str] | None = None
) -> LocalProvider | LaunchScriptProvider:
    """The provider's block: its workers are stand-ins of SwarmUI with a GPU.

    Args:
        kind: how they are started: from an argument list, or by a launch script that does the same.
        folder: where it keeps its records.
        environment: what workers get besides.
    """
    if kind == "local":
        worker = [sys.executable, "-m", "ebbflow.standins.swarmui.server", "worker"]
        pace = ["--start_seconds", str(BOOT_SECONDS), "--seconds_per_step", str(SECONDS_PER_STEP)]
        return LocalProvider(
            command=[*worker, *pace],
            state_folder=folder,
            environment=dict(environment or {}),
            stop_grace_seconds=1,
            usd_per_hour=USD_PER_HOUR,
        )
    return LaunchScriptProvider(
        script=LAUNCH_SCRIPT,
        state_folder=folder,
        environment={
            "PYTHON": sys.executable,
            "START_SECONDS": str(BOOT_SECONDS),
            "SECONDS_PER_STEP": str(SECONDS_PER_STEP),
            "REQUIRE_CONTROL_WITHIN": str(CONTROL_MINUTES),
            **(environment or {}),
        },
        lives_while="script",
        shutdown_wait_seconds=2,
        kill_grace_seconds=1,
        usd_per_hour=USD_PER_HOUR,
    )


async def save_blocks(master: SwarmUIMaster, provider: LocalProvider | LaunchScriptProvider) -> None:
    """Save both, in the place of what was saved under their names."""
    await master.asave(NAME, overwrite=True)
    await provider.asave(NAME, overwrite=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Save both blocks on the server that Prefect is set to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--master", required=True, metavar="URL", help="address of the SwarmUI master")
    parser.add_argument("--folder", required=True, type=Path, help="where the provider keeps its records")
    parser.add_argument("--provider", default="local", choices=PROVIDER_KINDS, help="which of the two (default: local)")
    options = parser.parse_args(arguments)
    asyncio.run(save_blocks(master_block(options.master), provider_block(options.provider, options.folder)))
    print(f"saved swarmui-master/{NAME} and {options.provider}-provider/{NAME}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
