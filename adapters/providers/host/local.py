"""Provider `local`: workers are processes of this host, and outlive the flow run that started them."""

import signal
import time
from collections.abc import Callable, Mapping
from functools import cached_property

from anyio.to_thread import run_sync

from ebbflow.adapters.providers.ends_for_good import EndsForGood
from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host import workers as detached
from ebbflow.adapters.providers.host.listing import Place
from ebbflow.adapters.providers.host.local_listing import LocalListing
from ebbflow.adapters.providers.host.local_settings import LocalSettings, command_of
from ebbflow.adapters.providers.host.processes import ProcessId
from ebbflow.adapters.providers.host.workers import DetachedWorkers, Program, Start, fingerprint_of, wait_for_end
from ebbflow.core.ids import check_fleet_name
from ebbflow.core.instance import Instance, InstanceList, LaunchRequest, ProviderCaps

__all__ = ["LocalProvider", "LocalSettings"]

KILL_WAIT_SECONDS = detached.KILL_WAIT_SECONDS
CALL_MARGIN_SECONDS = 1.0


class LocalProvider(EndsForGood):
    """Launches workers as processes of this host, finds them again, and ends them.

    Args:
        settings: which program, and where its records live.
        clock: epoch seconds; says only when records are old enough to go.
        start: starts a process and returns its pid.
    """

    def __init__(
        self,
        settings: LocalSettings,
        *,
        clock: Callable[[], float] = time.time,
        start: Start = processes.start_detached,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._start = start

    @cached_property
    def caps(self) -> ProviderCaps:
        """What it can do.

        One absent look is not believed: between `exec` and its first instruction a process shows no environment, so a
        worker whose folder was deleted can be overlooked once.
        """
        return ProviderCaps(
            fingerprint=fingerprint_of("local", self._settings.state_folder),
            idempotent_launch=True,
            settle_seconds=0.0,
            relist_seconds=0.5,
            absence_is_gone=False,
            cancels_pending=False,
            call_seconds=self._settings.stop_grace_seconds + KILL_WAIT_SECONDS + CALL_MARGIN_SECONDS,
            usd_per_hour=self._settings.usd_per_hour,
            keeps_logs=True,
            capabilities=tuple(self._settings.capabilities),
        )

    @cached_property
    def _place(self) -> Place:
        return Place(
            "local provider",
            self._settings.state_folder,
            self.caps.fingerprint,
            tuple(self._settings.capabilities),
            self._settings.usd_per_hour,
        )

    @cached_property
    def _listing(self) -> LocalListing:
        return LocalListing(self._place, clock=self._clock)

    @cached_property
    def _workers(self) -> DetachedWorkers:
        return DetachedWorkers(self._place, self._listing, clock=self._clock, start=self._start)

    async def launch(self, request: LaunchRequest) -> Instance:
        """Start one worker, or adopt the process that has its id. An id that was used up is shown as it ended.

        Raises:
            CapacityUnavailable: the host has no room for one more process.
            LaunchRejected: the command cannot be started; says why.
            ConfigError: the state folder cannot be written.
            ProviderUnavailable: temporary.
        """
        program = Program(command_of(self._settings, request), self._settings.environment, "command[0]")
        return await run_sync(self._workers.launch, request, program)

    async def list_instances(self, fleet: str) -> InstanceList:
        """The fleet's workers, from the records and from the environments of live processes, whatever their home."""
        return await run_sync(self._listing.list_instances, check_fleet_name(fleet))

    async def terminate(self, instance: Instance) -> None:
        """End a worker and everything that carries its id: SIGTERM, the grace, SIGKILL. Already gone is success.

        Raises:
            TerminationRefused: something survived SIGKILL, or the worker is being started at this moment.
            ProviderUnavailable: temporary.
        """
        asked: list[ProcessId] = []
        for number, seconds in (
            (signal.SIGTERM, self._settings.stop_grace_seconds),
            (signal.SIGKILL, KILL_WAIT_SECONDS),
        ):
            asked = await run_sync(self._workers.ask_to_end, instance, number, asked) or asked
            await wait_for_end(asked, seconds)
        await run_sync(self._workers.note_terminated, instance, asked)

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """The end of its `stdout` and `stderr`, without the values of variables that are named like secrets."""
        return await run_sync(self._workers.logs, instance, self._settings.environment)

    async def aclose(self) -> None:
        """Nothing is open."""
