"""Providers `local` and `launch_script`: workers are processes of this host, and outlive the flow run that starts them.

So the flows must run on a host that does so too (a process work pool, not a pod per run). The two differ in their
program: a command of the operator's (`local.py`), or a script that speaks a protocol (`launch_script.py`).
"""

import time
from collections.abc import Callable, Mapping
from functools import cached_property, partial

from anyio.to_thread import run_sync

from ebbflow.adapters.providers.ends_for_good import EndsForGood
from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.listing import DetachedListing, Place
from ebbflow.adapters.providers.host.program import HostProgram
from ebbflow.adapters.providers.host.workers import DetachedWorkers, Start, fingerprint_of
from ebbflow.core.ids import check_fleet_name
from ebbflow.core.instance import Instance, InstanceList, LaunchRequest, ProviderCaps


class HostAdapter(EndsForGood):
    """Launches workers as processes of this host, finds them again, and ends them.

    Args:
        program: what a worker is.
        clock: epoch seconds; says only when records are old enough to go.
        start: starts a process and returns its pid; its working directory is the start's affair.
    """

    def __init__(
        self, program: HostProgram, *, clock: Callable[[], float] = time.time, start: Start | None = None
    ) -> None:
        self._program = program
        self._settings = program.settings
        self._clock = clock
        self._start = start or partial(processes.start_detached, directory=program.directory)

    @cached_property
    def caps(self) -> ProviderCaps:
        """What it can do. The program is no part of the fingerprint: workers of an older one are still ours.

        One absent look is not believed: between `exec` and its first instruction a process shows no environment, so a
        worker whose folder was deleted can be overlooked once.
        """
        return ProviderCaps(
            fingerprint=fingerprint_of(self._program.kind, self._settings.state_folder),
            idempotent_launch=True,
            settle_seconds=0.0,
            relist_seconds=0.5,
            absence_is_gone=False,
            cancels_pending=False,
            call_seconds=self._program.call_seconds,
            usd_per_hour=self._settings.usd_per_hour,
            keeps_logs=True,
            capabilities=tuple(self._settings.capabilities),
            is_this_host=True,
        )

    @cached_property
    def _place(self) -> Place:
        return Place(
            self._program.label,
            self._settings.state_folder,
            self.caps.fingerprint,
            self.caps.capabilities,
            self._settings.usd_per_hour,
        )

    @cached_property
    def _listing(self) -> DetachedListing:
        return self._program.listing(self._place, clock=self._clock)

    @cached_property
    def _workers(self) -> DetachedWorkers:
        return DetachedWorkers(self._place, self._listing, clock=self._clock, start=self._start)

    async def launch(self, request: LaunchRequest) -> Instance:
        """Start one worker, or adopt the process that has its id. An id that was used up is shown as it ended.

        Raises:
            CapacityUnavailable: the host has no room for one more process.
            LaunchRejected: the program cannot be started; says why.
            ConfigError: the state folder cannot be written.
            ProviderUnavailable: temporary.
        """
        return await run_sync(self._workers.launch, request, self._program.command(request))

    async def list_instances(self, fleet: str) -> InstanceList:
        """The fleet's workers, from the records and from the environments of live processes, whatever their home."""
        return await run_sync(self._listing.list_instances, check_fleet_name(fleet))

    async def terminate(self, instance: Instance) -> None:
        """End a worker and everything that carries its id, as its program wants it. Already gone is success.

        Raises:
            TerminationRefused: something survived SIGKILL, the program's own ending failed, or the worker is being
                started at this moment.
            ProviderUnavailable: temporary.
        """
        await self._program.end(instance, self._workers)

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """The end of its `stdout` and `stderr`."""
        return await run_sync(self._workers.logs, instance)

    async def aclose(self) -> None:
        """Nothing is open."""
