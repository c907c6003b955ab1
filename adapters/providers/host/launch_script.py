"""Provider `launch_script`: any script that speaks SwarmUI's launch-script protocol, unchanged, starts the workers.

A script starts one worker somewhere and says where::

    [SwarmAutoScaleBackend]NewURL: http://10.0.0.7:7801[/SwarmAutoScaleBackend]

It runs as a process of this host that outlives the flow run, so the flows must run on a host that does so too (a
process work pool, not a pod per run). Source: SwarmUI docs/Features/AutoScalingBackend.md, "Configure a launch script".
"""

import time
from collections.abc import Callable, Mapping
from functools import cached_property, partial

import anyio
from anyio.to_thread import run_sync

from ebbflow.adapters.providers.ends_for_good import EndsForGood
from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.launch_script_ending import Ending
from ebbflow.adapters.providers.host.launch_script_listing import LaunchScriptListing
from ebbflow.adapters.providers.host.launch_script_settings import LaunchScriptSettings
from ebbflow.adapters.providers.host.listing import Place
from ebbflow.adapters.providers.host.workers import DetachedWorkers, Program, Start, fingerprint_of
from ebbflow.core.ids import check_fleet_name
from ebbflow.core.instance import Instance, InstanceList, LaunchRequest, ProviderCaps

__all__ = ["LaunchScriptProvider", "LaunchScriptSettings"]

CALL_SECONDS = 5.0
TERMINATE_WAIT_SECONDS = 2.0
"""How long one call stays with an ending; what takes longer is gone on with by the next call."""


class LaunchScriptProvider(EndsForGood):
    """Runs a launch script per worker, reads what it announces, and ends it.

    Args:
        settings: which script, and how its worker is ended.
        clock: epoch seconds; says only when records are old enough to go.
        start: starts the script and returns its pid; its own working directory is the start's affair.
    """

    def __init__(
        self, settings: LaunchScriptSettings, *, clock: Callable[[], float] = time.time, start: Start | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._start = start or partial(processes.start_detached, directory=settings.script.parent)

    @cached_property
    def caps(self) -> ProviderCaps:
        """What it can do. The script is no part of the fingerprint: workers of an older one are still ours."""
        return ProviderCaps(
            fingerprint=fingerprint_of("launch-script", self._settings.state_folder),
            idempotent_launch=True,
            settle_seconds=0.0,
            relist_seconds=0.5,
            absence_is_gone=False,
            cancels_pending=False,
            call_seconds=CALL_SECONDS,
            usd_per_hour=self._settings.usd_per_hour,
            keeps_logs=True,
            capabilities=tuple(self._settings.capabilities),
        )

    @cached_property
    def _place(self) -> Place:
        return Place(
            "launch script provider",
            self._settings.state_folder,
            self.caps.fingerprint,
            tuple(self._settings.capabilities),
            self._settings.usd_per_hour,
        )

    @cached_property
    def _listing(self) -> LaunchScriptListing:
        return LaunchScriptListing(self._settings, self._place, clock=self._clock)

    @cached_property
    def _workers(self) -> DetachedWorkers:
        return DetachedWorkers(self._place, self._listing, clock=self._clock, start=self._start)

    @cached_property
    def _ending(self) -> Ending:
        stop = self._settings.stop_script
        start = partial(
            processes.start_detached, directory=stop.parent if stop else None, logs=("stop.log", "stop.log")
        )
        return Ending(self._settings, self._place, self._listing, self._workers, start=start)

    async def launch(self, request: LaunchRequest) -> Instance:
        """Start the script for one worker, or adopt the one that has its id. A used id is shown as it ended.

        The protocol has no arguments, so those of the join spec are the script's own to give.

        Raises:
            CapacityUnavailable: the host has no room for one more process.
            LaunchRejected: the script cannot be started; says why.
            ConfigError: the state folder cannot be written.
            ProviderUnavailable: temporary.
        """
        program = Program([str(self._settings.script)], self._settings.environment, "script")
        return await run_sync(self._workers.launch, request, program)

    async def list_instances(self, fleet: str) -> InstanceList:
        """The fleet's workers: what their scripts announced, and whether those still run; whatever their home."""
        return await run_sync(self._listing.list_instances, check_fleet_name(fleet))

    async def terminate(self, instance: Instance) -> None:
        """Go on ending a worker for a few seconds. Accepted is success; only a listing says gone.

        Call it again until then, as every turn does: the waits are longer than a call.

        Raises:
            TerminationRefused: something survived SIGKILL, the stop script failed, or it is just being started.
            ProviderUnavailable: temporary.
        """
        deadline = anyio.current_time() + TERMINATE_WAIT_SECONDS
        pause = 0.02
        while not await run_sync(self._ending.advance, instance):
            if anyio.current_time() + pause > deadline:
                return
            await anyio.sleep(pause)
            pause = min(2 * pause, 0.25)

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """The end of its `stdout` and `stderr`, without the values of variables that are named like secrets."""
        return await run_sync(self._workers.logs, instance, self._settings.environment)

    async def aclose(self) -> None:
        """Nothing is open."""
