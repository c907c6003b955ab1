"""Who has which machine: one file per machine that is lent, in a folder.

Everything here blocks, and is called in a thread.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, ValidationError

from ebbflow.core.errors import CapacityUnavailable, ProviderUnavailable

LOCK_SECONDS = 3.0
"""How long a caller waits for another one. Whoever has the lock writes one small file."""

_RETRY_SECONDS = 0.02


class Lease(BaseModel):
    """One machine, lent to one worker."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    machine: str
    worker_id: str
    fleet: str
    home: str

    @property
    def instance_id(self) -> str:
        """What is ended. It names the worker as well, so that a late end never hits the machine's next worker."""
        return f"{self.worker_id}@{self.machine}"


class LeaseFolder:
    """The leases of one folder.

    Args:
        folder: must exist.
        lock_seconds: how long to wait for whoever else lends or gives back.
        clock: monotonic seconds.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lock_seconds: float = LOCK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._folder = folder
        self._lock_seconds = lock_seconds
        self._clock = clock
        self._sleep = sleep

    def read(self) -> tuple[Lease, ...]:
        """All leases, of whatever fleet and home. Needs no lock: a lease appears and goes in one step.

        Raises:
            ProviderUnavailable: the folder or a lease in it cannot be read; a part of a list would look like the whole.
        """
        leases = []
        try:
            for path in sorted(self._folder.iterdir()):
                if path.suffix != ".json":
                    continue
                # Given back since the folder was read.
                with suppress(FileNotFoundError):
                    leases.append(Lease.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            raise ProviderUnavailable(f"lease {path} cannot be read: {error.errors()[0]['msg']}") from error
        except OSError as error:
            raise ProviderUnavailable(f"lease folder {self._folder} cannot be read: {error}") from error
        return tuple(leases)

    def lend(self, machines: Sequence[str], *, worker_id: str, fleet: str, home: str) -> Lease:
        """Lend the first free machine, or tell which one this worker has already.

        Raises:
            CapacityUnavailable: none of these machines is free.
            ProviderUnavailable: the folder cannot be used now; nothing was lent.
        """
        with self._locked():
            leases = self.read()
            for lease in leases:
                if (lease.worker_id, lease.fleet, lease.home) == (worker_id, fleet, home):
                    return lease
            taken = {lease.machine for lease in leases}
            free = [machine for machine in machines if machine not in taken]
            if not free:
                raise CapacityUnavailable(f"no machine for {worker_id}: all of {len(machines)} are lent")
            lease = Lease(machine=free[0], worker_id=worker_id, fleet=fleet, home=home)
            self._write(lease)
            return lease

    def give_back(self, instance_id: str) -> None:
        """End a lease. One that is not there is given back already.

        Raises:
            ProviderUnavailable: the folder cannot be used now; nothing was given back.
        """
        with self._locked():
            for lease in self.read():
                if lease.instance_id == instance_id:
                    self._path(lease.machine).unlink(missing_ok=True)

    def _path(self, machine: str) -> Path:
        return self._folder / f"{quote(machine, safe='')}.json"

    def _write(self, lease: Lease) -> None:
        """Whoever is killed here has written either nothing that counts or all of it."""
        unfinished = self._folder / ".unfinished"
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(lease.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(self._path(lease.machine))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One caller at a time, of all processes of this host. The kernel frees the lock of one that was killed."""
        try:
            descriptor = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                self._wait_for_lock(descriptor)
                yield
            finally:
                os.close(descriptor)
        except OSError as error:
            raise ProviderUnavailable(f"lease folder {self._folder} cannot be used: {error}") from error

    def _wait_for_lock(self, descriptor: int) -> None:
        # Not without an end: a thread cannot be cancelled, so the time limit belongs here.
        deadline = self._clock() + self._lock_seconds
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError as error:
                if self._clock() >= deadline:
                    raise ProviderUnavailable(
                        f"lease folder {self._folder}: somebody else has had its lock for {self._lock_seconds:g} s"
                    ) from error
            self._sleep(_RETRY_SECONDS)
