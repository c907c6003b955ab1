"""What is remembered of a launch script beside its folder's own files.

====================  =========================================================================================
`exited.json`         its processes on this host have ended
`exit-code.json`      how, where the launching process lived to see it
`verdict.json`        what its output was found to say. Said once: nothing printed or waited for later changes it
`stop-result.json`    what came of the stop script; its output is in `stop.log`, its lock is `stop.lock`
`since-<step>.json`   when a step of its ending began, so that any later call goes on with it
====================  =========================================================================================
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.listing import Place
from ebbflow.adapters.providers.host.records import WorkerFolder
from ebbflow.core.errors import ProviderUnavailable


@dataclass(frozen=True, slots=True)
class ExitCode:
    """How a script has ended; negative: by that signal."""

    code: int


@dataclass(frozen=True, slots=True)
class Since:
    """When something began, by a time that nobody steps."""

    boot: str
    seconds: float

    @classmethod
    def now(cls) -> "Since":
        """This moment."""
        return cls(processes.boot(), processes.seconds_after_boot())

    @property
    def elapsed_seconds(self) -> float:
        """Endless after a reboot: nothing that was waited for is there any more."""
        if self.boot != processes.boot():
            return float("inf")
        return processes.seconds_after_boot() - self.seconds


def elapsed_since(folder: WorkerFolder, step: str) -> float:
    """How long a step has been going on; begins it if it has not begun.

    Raises:
        OSError: it cannot be remembered.
        ProviderUnavailable: it cannot be read.
    """
    name = f"since-{step}.json"
    begun = folder.load(Since, name)
    if begun is None:
        begun = Since.now()
        folder.write(name, begun, replace=False)
    return begun.elapsed_seconds


@dataclass(frozen=True, slots=True)
class AddressHolder:
    """Which worker announced an address."""

    fleet: str
    worker_id: str


class Addresses:
    """Which worker of a provider has which address, over all fleets: one worker per address.

    Args:
        place: of the provider; the notes are in a folder of its state that no fleet's name can be.
    """

    def __init__(self, place: Place) -> None:
        self._folder = place.state_folder / "_addresses"
        self._label = place.label

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep everybody else from taking or giving up an address; for an instant.

        Raises:
            OSError: the folder cannot be written.
        """
        self._notes.make()
        descriptor = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def holder(self, url: str) -> AddressHolder | None:
        """Who announced it last."""
        with suppress(ProviderUnavailable):
            return self._notes.load(AddressHolder, _name(url))
        return None

    def take(self, url: str, holder: AddressHolder) -> None:
        """Note who has it now. Only while `held`.

        Raises:
            OSError: it cannot be written.
        """
        self._notes.write(_name(url), holder, sync=False)

    def give_up(self, url: str, holder: AddressHolder) -> None:
        """Forget the address of a worker that has ended. Only while `held`."""
        if self.holder(url) == holder:
            with suppress(OSError):
                (self._folder / _name(url)).unlink(missing_ok=True)

    @property
    def _notes(self) -> WorkerFolder:
        return WorkerFolder(self._folder, self._label, self._folder.parent)


def _name(url: str) -> str:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    plain = f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"
    return f"{hashlib.sha256(plain.encode()).hexdigest()[:32]}.json"
