"""The program of provider `launch_script`: any script that speaks SwarmUI's launch-script protocol, unchanged.

A script starts one worker somewhere and says where::

    [SwarmAutoScaleBackend]NewURL: http://10.0.0.7:7801[/SwarmAutoScaleBackend]

Source: SwarmUI docs/Features/AutoScalingBackend.md, "Configure a launch script".
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import anyio
from anyio.to_thread import run_sync

from ebbflow.adapters.providers.given_environment import whole_environment
from ebbflow.adapters.providers.host.launch_script_ending import LaunchScriptEnding
from ebbflow.adapters.providers.host.launch_script_listing import LaunchScriptListing
from ebbflow.adapters.providers.host.launch_script_settings import LaunchScriptSettings
from ebbflow.adapters.providers.host.launch_script_verdicts import LaunchScriptVerdicts
from ebbflow.adapters.providers.host.listing import Place
from ebbflow.adapters.providers.host.workers import Command, DetachedWorkers
from ebbflow.core.instance import Instance, LaunchRequest

TERMINATE_WAIT_SECONDS = 2.0
"""How long one call stays with an ending; what takes longer is gone on with by the next call."""


@dataclass(frozen=True)
class LaunchScriptProgram:
    """A script is run per worker; what it announces is read, and what it started is ended in steps."""

    kind: ClassVar[str] = "launch-script"
    label: ClassVar[str] = "launch script provider"
    call_seconds: ClassVar[float] = 5.0

    settings: LaunchScriptSettings

    @property
    def directory(self) -> Path:
        """The script's own folder, as SwarmUI has it."""
        return self.settings.script.parent

    def command(self, request: LaunchRequest) -> Command:
        """The script alone: the protocol has no arguments, so those of the join spec are the script's own to give."""
        return Command([str(self.settings.script)], whole_environment(self.settings), "script")

    def listing(self, place: Place, *, clock: Callable[[], float]) -> LaunchScriptListing:
        """What scripts announced, and whether they still run."""
        return LaunchScriptListing(self.settings, place, LaunchScriptVerdicts(self.settings, place), clock=clock)

    async def end(self, instance: Instance, workers: DetachedWorkers) -> None:
        """Go on ending a worker for a few seconds. Accepted is success; only a listing says gone.

        Call it again until then, as every turn does: the waits are longer than a call.

        Raises:
            TerminationRefused: something survived SIGKILL, the stop script failed, or it is just being started.
            ProviderUnavailable: temporary.
        """
        ending = LaunchScriptEnding(self.settings, workers, LaunchScriptVerdicts(self.settings, workers.place))
        deadline = anyio.current_time() + TERMINATE_WAIT_SECONDS
        pause = 0.02
        while not await run_sync(ending.advance, instance):
            if anyio.current_time() + pause > deadline:
                return
            await anyio.sleep(pause)
            pause = min(2 * pause, 0.25)
