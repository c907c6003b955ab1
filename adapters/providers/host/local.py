"""The program of provider `local`: a command of the operator's, ended by SIGTERM and after its grace by SIGKILL."""

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from anyio.to_thread import run_sync

from ebbflow.adapters.providers.command_words import loss_of_arguments, with_arguments
from ebbflow.adapters.providers.given_environment import whole_environment
from ebbflow.adapters.providers.host.listing import Place
from ebbflow.adapters.providers.host.local_listing import LocalListing
from ebbflow.adapters.providers.host.local_settings import LocalSettings
from ebbflow.adapters.providers.host.processes import ProcessId
from ebbflow.adapters.providers.host.workers import KILL_WAIT_SECONDS, Command, DetachedWorkers, wait_for_end
from ebbflow.core.instance import Instance, LaunchRequest

CALL_MARGIN_SECONDS = 1.0


@dataclass(frozen=True)
class LocalProgram:
    """A worker is the operator's command, run in its worker's folder."""

    kind: ClassVar[str] = "local"
    label: ClassVar[str] = "local provider"
    directory: ClassVar[Path | None] = None

    settings: LocalSettings

    @property
    def call_seconds(self) -> float:
        """A termination waits for all of its end."""
        return self.settings.stop_grace_seconds + KILL_WAIT_SECONDS + CALL_MARGIN_SECONDS

    def command(self, request: LaunchRequest) -> Command:
        """The operator's words, then what the master needs."""
        warning = loss_of_arguments(self.settings.command, request.join.arguments)
        words = with_arguments(self.settings.command, request)
        return Command(words, whole_environment(self.settings), "command[0]", warning)

    def listing(self, place: Place, *, clock: Callable[[], float]) -> LocalListing:
        """A worker is its processes."""
        return LocalListing(place, clock=clock)

    async def end(self, instance: Instance, workers: DetachedWorkers) -> None:
        """End a worker and everything that carries its id: SIGTERM, the grace, SIGKILL. Already gone is success.

        Raises:
            TerminationRefused: something survived SIGKILL, or the worker is being started at this moment.
            ProviderUnavailable: temporary.
        """
        asked: list[ProcessId] = []
        for number, seconds in (
            (signal.SIGTERM, self.settings.stop_grace_seconds),
            (signal.SIGKILL, KILL_WAIT_SECONDS),
        ):
            asked = await run_sync(workers.ask_to_end, instance, number, asked) or asked
            await wait_for_end(asked, seconds)
        await run_sync(workers.note_terminated, instance, asked)
