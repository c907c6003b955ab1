"""Workers as processes of this host that outlive the flow run which started them: started once, ended whole.

Exactly once: whoever starts a worker holds the lock of its folder, and the worker inherits that lock with its first
breath, before it even runs its own program. So a lock that cannot be had means that somebody alive has this id; and
where it can be had, either a live process carries the id in its environment, or the records say that one did (the id
is used up), or nobody ever started it. A launcher may be killed between any two lines of this.
"""

import errno
import hashlib
import logging
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
from anyio.to_thread import run_sync

from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.listing import DetachedListing, HostLook, Place
from ebbflow.adapters.providers.host.logs import tail
from ebbflow.adapters.providers.host.processes import ProcessId, is_alive
from ebbflow.adapters.providers.host.records import (
    WORKER_ID_PATTERN,
    Intent,
    Moment,
    WorkerFolder,
    WorkerRecord,
    prune,
    worker_folders,
)
from ebbflow.adapters.providers.host.starting import environment_of, refusal
from ebbflow.core.errors import ConfigError, LaunchRejected, ProviderUnavailable, TerminationRefused
from ebbflow.core.ids import check_fleet_name
from ebbflow.core.instance import LOG_BYTES, Instance, InstanceState, LaunchRequest

log = logging.getLogger(__name__)

KILL_WAIT_SECONDS = 2.0
"""How long a process may take to vanish after SIGKILL, which only a stuck disk or driver delays."""
PRUNE_SECONDS = 3600.0
"""One object looks for what is old no oftener: it reads every record."""
LOCK_WAIT_SECONDS = 0.25
"""A listing's look at a lock takes it for an instant."""

_OPERATOR_ERRNOS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG})

Start = Callable[[Sequence[str], Mapping[str, str], Path, int], int]
"""Starts a command with an environment, with its logs in a folder and with one inherited descriptor; gives its pid."""


@dataclass(frozen=True, slots=True)
class Command:
    """What one worker is started as."""

    words: Sequence[str]
    environment: Mapping[str, str]
    """What the settings give it; the request's and our own names are added."""
    called: str
    """What the settings call it, for the reason of a refusal."""
    warning: str = ""
    """What a person should change about it."""


def fingerprint_of(kind: str, state_folder: Path) -> str:
    """Names one provider's workers on one host."""
    place = f"{processes.host_name()}\n{state_folder.resolve()}"
    return f"{kind}-{hashlib.sha256(os.fsencode(place)).hexdigest()[:12]}"


class DetachedWorkers:
    """Launches and ends the workers that a listing finds again.

    Args:
        place: which provider's they are.
        listing: looks at them.
        clock: epoch seconds; says only when records are old enough to go.
        start: starts a process and returns its pid.
    """

    def __init__(self, place: Place, listing: DetachedListing, *, clock: Callable[[], float], start: Start) -> None:
        self.place = place
        self._listing = listing
        self._clock = clock
        self._start = start
        self._pruned_at: dict[str, float] = {}

    def launch(self, request: LaunchRequest, command: Command) -> Instance:
        """Start one worker, or adopt the process that has its id. An id that was used up is shown as it ended.

        Raises:
            CapacityUnavailable: the host has no room for one more process.
            LaunchRejected: the program cannot be started; says why.
            ConfigError: the state folder cannot be written.
            ProviderUnavailable: temporary.
        """
        if not WORKER_ID_PATTERN.fullmatch(request.worker_id):
            raise LaunchRejected(f"{self.place.label} could not start {request.worker_id!a}: not a worker id")
        folder = self.place.folder(check_fleet_name(request.fleet), request.worker_id)
        with self.storage_errors(f"start {request.worker_id}"):
            self._prune(request.fleet)
            started = self._start_unless_known(request, command, folder)
        if started is not None:
            return started
        look = self._listing.look(request.fleet, request.worker_id)
        pending = self._listing.instance(
            look, InstanceState.PENDING, home=request.home, capabilities=request.capabilities
        )
        with self.storage_errors(f"show {request.worker_id}"):
            return self._listing.describe(look) or pending

    def _prune(self, fleet: str) -> None:
        if self._clock() - self._pruned_at.get(fleet, 0.0) < PRUNE_SECONDS:
            return
        self._pruned_at[fleet] = self._clock()
        alive = {carrier.worker_id for carrier in self._listing.carriers()}
        folders = worker_folders(self.place.state_folder, fleet, self.place.label)
        prune((folder for folder in folders if folder.path.name not in alive), now=self._clock())

    def _start_unless_known(self, request: LaunchRequest, command: Command, folder: WorkerFolder) -> Instance | None:
        """The worker that was started now; None where there is one already, or was."""
        deadline = time.monotonic() + LOCK_WAIT_SECONDS
        while True:
            with folder.lock() as lock:
                if lock is not None:
                    return self._start_locked(request, command, folder, lock)
            if time.monotonic() > deadline or folder.read().process is not None:
                return None
            time.sleep(0.02)

    def _start_locked(
        self, request: LaunchRequest, command: Command, folder: WorkerFolder, lock: int
    ) -> Instance | None:
        # Only now: what was started before we had the lock carries its id by now, or still holds the lock.
        look = self._listing.look(request.fleet, request.worker_id)
        tried = f"{self.place.label} could not start {request.worker_id}"
        if look.record.intent is not None and look.record.intent.provider != self.place.fingerprint:
            raise ConfigError(
                f"{tried}: {folder.path} belongs to another host or was moved; give each host a state folder of its own"
            )
        if look.live or look.record.was_started:
            if look.record.process is None and (found := processes.leader(look.live)):
                folder.write("process.json", found)
            return None
        capabilities = request.capabilities or self.place.capabilities
        intent = Intent(request.worker_id, request.fleet, request.home, self.place.fingerprint, capabilities)
        folder.write("intent.json", intent)
        environment = environment_of(command.environment, request, self.place.fingerprint)
        try:
            pid = self._start(command.words, environment, folder.path, lock)
        except (OSError, ValueError) as error:
            folder.remove()
            raise refusal(tried, command.called, command.words[0], environment, error) from error
        log.debug("started worker=%s pid=%s command=%r", request.worker_id, pid, command.words)
        started = processes.of_child(pid)
        if started is not None:
            # Without this file it is found by its environment, while it lives.
            with suppress(OSError):
                folder.write("process.json", started)
        look = replace(look, record=WorkerRecord(intent=intent, process=started))
        return replace(self._listing.instance(look, InstanceState.STARTING), warning=command.warning)

    def look_to_end(self, instance: Instance) -> HostLook:
        """One worker; unreadable records are no reason to let it run, as its environment and its id name it too."""
        if not WORKER_ID_PATTERN.fullmatch(instance.worker_id):
            raise TerminationRefused(f"{self.place.label} could not end {instance.worker_id!a}: not a worker id")
        folder = self.place.folder(check_fleet_name(instance.fleet), instance.worker_id)
        carriers = tuple(self._listing.carriers(instance.worker_id))
        record = WorkerRecord()
        with suppress(ProviderUnavailable):
            record = folder.read()
        if record.process is None:
            pid = instance.instance_id.partition(":")[0]
            found = processes.find(int(pid)) if pid.isdecimal() else None
            if found is not None and str(found) == instance.instance_id:
                record = replace(record, process=found)
        look = HostLook(instance.worker_id, instance.fleet, folder, record, carriers)
        return self._listing.second_look([look])[0] if look.has_unexplained_end else look

    def ask_to_end(self, instance: Instance, number: signal.Signals, known: Sequence[ProcessId]) -> list[ProcessId]:
        """Signal all that is proven to be this worker now, and return it.

        A recorded pid alone proves nothing: the process must carry the worker's id, or hold its lock or its logs.

        Raises:
            TerminationRefused: of what is recorded nothing is proven, and something lives.
        """
        look = self.look_to_end(instance)
        live = {process.pid: process for process in [*look.live, *(each for each in known if is_alive(each))]}
        carrying = {carrier.process.pid for carrier in look.carriers} | {each.pid for each in known}
        unique = [
            each for pid, each in live.items() if pid in carrying or processes.holds_files_of(pid, look.folder.path)
        ]
        if not unique and live:
            pids = ", ".join(map(str, sorted(live)))
            raise TerminationRefused(
                f"{self.place.label} could not end {instance.worker_id}: process {pids} of its record carries another "
                "id or none and holds none of its files, so nothing was signalled; if it is the worker, end it by "
                "hand, else remove its process.json"
            )
        if not unique:
            return []
        with suppress(OSError):
            self.note_terminating(instance, look)
        groups, targets = processes.with_groups(unique, look.record.process)
        processes.send(number, targets, groups)
        log.debug("sent %s worker=%s processes=%s", number.name, instance.worker_id, [each.pid for each in targets])
        return targets

    def note_terminating(self, instance: Instance, look: HostLook) -> None:
        """Remember that its end is our doing, and whose it is where the records were lost.

        Raises:
            OSError: the folder cannot be written.
        """
        look.folder.make()
        if look.record.intent is None:
            names = (instance.worker_id, instance.fleet, instance.home)
            intent = Intent(*names, self.place.fingerprint, instance.capabilities)
            look.folder.write("intent.json", intent, replace=False)
        if not look.record.is_terminating:
            look.folder.write("terminating.json", Moment(self._clock(), by_us=True), replace=False)

    def note_terminated(self, instance: Instance, asked: Sequence[ProcessId]) -> None:
        """Remember that it has ended, once everything that was asked to has.

        Raises:
            TerminationRefused: something survived SIGKILL, or the worker is being started at this moment.
        """
        look = self.look_to_end(instance)
        tried = f"{self.place.label} could not end {instance.worker_id}"
        if left := [process.pid for process in [*look.live, *asked] if is_alive(process)]:
            raise TerminationRefused(f"{tried}: sent SIGKILL, still running: {sorted(set(left))}")
        if not asked and not look.folder.path.exists():
            return
        with self.storage_errors(f"note the end of {instance.worker_id}"):
            if asked or look.record.was_started:
                look.folder.write("ended.json", Moment(self._clock(), by_us=True))
                return
            # Never started: the lock keeps a launcher from doing so in this moment.
            with look.folder.lock() as lock:
                if lock is None:
                    raise TerminationRefused(f"{tried}: it is just starting")
                look.folder.write("ended.json", Moment(self._clock(), by_us=True))

    def logs(self, instance: Instance) -> dict[str, str]:
        """The end of what a worker printed.

        Raises:
            ConfigError: the state folder cannot be read; a person must act.
            ProviderUnavailable: it may be better later.
        """
        folder = self.place.folder(instance.fleet, instance.worker_id)
        with self.storage_errors(f"read the logs of {instance.worker_id}"):
            tails = {name: tail(folder.path / f"{name}.log", LOG_BYTES) for name in ("stdout", "stderr")}
        return {name: text for name, text in tails.items() if text}

    @contextmanager
    def storage_errors(self, tried: str) -> Iterator[None]:
        """Say what was tried when the state folder cannot be used.

        Raises:
            ConfigError: a person must act.
            ProviderUnavailable: it may be better later.
        """
        try:
            yield
        except OSError as error:
            message = f"{self.place.label} could not {tried}: state folder {self.place.state_folder}: {error}"
            if error.errno in _OPERATOR_ERRNOS:
                raise ConfigError(message) from error
            raise ProviderUnavailable(message) from error


async def wait_for_end(known: Sequence[ProcessId], seconds: float) -> None:
    """Wait in short looks, so that many workers can be ended at once without holding a thread each."""
    deadline = anyio.current_time() + seconds
    pause = 0.02
    while await run_sync(_any_alive, known) and (left := deadline - anyio.current_time()) > 0:
        await anyio.sleep(min(pause, left))
        pause = min(2 * pause, 0.25)


def _any_alive(known: Sequence[ProcessId]) -> bool:
    return any(is_alive(process) for process in known)
