"""What runs as a worker of this host: the port between the host's adapter and its programs."""

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Protocol

from ebbflow.adapters.providers.host.listing import DetachedListing, Place
from ebbflow.adapters.providers.host.settings import HostSettings
from ebbflow.adapters.providers.host.workers import Command, DetachedWorkers
from ebbflow.core.instance import Instance, LaunchRequest


class HostProgram(Protocol):
    """What is started for a worker, what is seen of it, and how it ends. All else is the same for every program."""

    kind: ClassVar[str]
    """Begins the fingerprint."""
    label: ClassVar[str]
    """What the provider is called in errors."""

    @property
    def settings(self) -> HostSettings:
        """The operator's."""
        ...

    @property
    def call_seconds(self) -> float:
        """What one call may take."""
        ...

    @property
    def directory(self) -> Path | None:
        """Where it runs; None: in the folder of its worker."""
        ...

    def command(self, request: LaunchRequest) -> Command:
        """What is started for one worker."""
        ...

    def listing(self, place: Place, *, clock: Callable[[], float]) -> DetachedListing:
        """Looks at its workers."""
        ...

    async def end(self, instance: Instance, workers: DetachedWorkers) -> None:
        """End a worker, or go on with it. Already gone is success.

        Raises:
            TerminationRefused: something survived SIGKILL, or the worker is being started at this moment.
            ProviderUnavailable: temporary.
        """
        ...
