"""What is seen of the workers of this host: their records and their live processes, put together into one view."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from ebbflow.adapters.launch_output import Url
from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.processes import Carrier, ProcessId, is_alive
from ebbflow.adapters.providers.host.records import WORKER_ID_PATTERN, WorkerFolder, WorkerRecord, worker_folders
from ebbflow.core.errors import ProviderUnavailable
from ebbflow.core.instance import Failure, Instance, InstanceList, InstanceState


@dataclass(frozen=True, slots=True)
class Place:
    """Where the workers of one provider are, and what holds for all of them."""

    label: str
    """What the provider is called in errors."""
    state_folder: Path
    fingerprint: str
    """Whose workers are ours to see; others share the host, or the disk."""
    capabilities: tuple[str, ...] = ()
    """Of a worker for which nothing else is recorded."""
    usd_per_hour: float | None = None

    def folder(self, fleet: str, worker_id: str) -> WorkerFolder:
        """The files of one worker, whether there are any or not."""
        return WorkerFolder(self.state_folder / fleet / worker_id, self.label, self.state_folder)


@dataclass(frozen=True, slots=True)
class HostLook:
    """All that is known of one worker at one instant."""

    worker_id: str
    fleet: str
    folder: WorkerFolder
    record: WorkerRecord
    carriers: tuple[Carrier, ...]
    others: tuple[ProcessId, ...] = ()
    """Processes of its own that do not carry its id any more."""

    @property
    def live(self) -> list[ProcessId]:
        """Its processes that run now, the one that it was started as among them if it still does."""
        found = [carrier.process for carrier in self.carriers]
        started = self.record.process
        if started is not None and not any(started.is_same(each) for each in found) and is_alive(started):
            found.append(started)
        return [*found, *(each for each in self.others if not any(each.is_same(one) for one in found))]

    @property
    def has_unexplained_end(self) -> bool:
        """Whether it was started and nothing of it is seen, though nobody has noted its end."""
        record = self.record
        return record.was_started and record.ended is None and not record.has_exited and not self.live


class DetachedListing(ABC):
    """Looks at one provider's workers on this host.

    Args:
        place: which ones.
        clock: epoch seconds, for the note that an end was seen.
    """

    def __init__(self, place: Place, *, clock: Callable[[], float]) -> None:
        self._place = place
        self._clock = clock

    @abstractmethod
    def describe_started(self, look: HostLook) -> Instance:
        """A worker that was started, as others shall see it.

        Raises:
            OSError: a file could not be read or written.
            ProviderUnavailable: a record says nothing that we understand.
        """

    def note_exit(self, folder: WorkerFolder, record: WorkerRecord) -> None:  # noqa: B027 - most have nothing to note
        """Called before anything asks whether a process lives, which would bury a child of ours unseen."""

    def second_look(self, looks: list[HostLook]) -> list[HostLook]:
        """What else is to be known of the workers before they are described."""
        return looks

    def list_instances(self, fleet: str) -> InstanceList:
        """Every worker of the fleet; not complete where a record or the processes could not be read."""
        problems: list[str] = []
        try:
            # Before the records: what starts later has a record, and what ended since is seen to have.
            carriers = self.carriers()
            looks = self._looks(fleet, carriers, problems)
            if any(look.has_unexplained_end for look in looks):
                # An end that nobody has noted yet is believed after a second look: a child may have been forked, or
                # may have been between two programs, during the first.
                seen = [carrier for carrier in carriers if is_alive(carrier.process)]
                looks = self.second_look(self._looks(fleet, [*self.carriers(), *seen], problems))
        except ProviderUnavailable as error:
            return InstanceList(complete=False, detail=str(error))
        instances = []
        for look in looks:
            try:
                instance = self.describe(look)
            except OSError as error:
                problems.append(f"{self._place.label} cannot read {look.folder.path}: {error.strerror}")
                continue
            except ProviderUnavailable as error:
                problems.append(str(error))
                continue
            if instance is not None:
                instances.append(instance)
        return InstanceList(tuple(instances), complete=not problems, detail="; ".join(sorted(set(problems))))

    def _looks(self, fleet: str, carriers: Sequence[Carrier], problems: list[str]) -> list[HostLook]:
        by_worker: dict[str, list[Carrier]] = {}
        for carrier in carriers:
            if carrier.fleet == fleet:
                by_worker.setdefault(carrier.worker_id, []).append(carrier)
        try:
            folders = worker_folders(self._place.state_folder, fleet, self._place.label)
        except OSError as error:
            problems.append(f"{self._place.label} cannot read {self._place.state_folder / fleet}: {error.strerror}")
            folders = []
        looks = []
        for worker_id in sorted({folder.path.name for folder in folders} | by_worker.keys()):
            folder, record = self._place.folder(fleet, worker_id), WorkerRecord()
            try:
                record = folder.read()
                self.note_exit(folder, record)
            except ProviderUnavailable as error:
                problems.append(str(error))
            if record.intent is None or record.intent.provider == self._place.fingerprint:
                looks.append(HostLook(worker_id, fleet, folder, record, tuple(by_worker.get(worker_id, ()))))
        return looks

    def look(self, fleet: str, worker_id: str) -> HostLook:
        """One worker.

        Raises:
            ProviderUnavailable: its records or the host's processes cannot be read.
        """
        carriers = tuple(self.carriers(worker_id))
        folder = self._place.folder(fleet, worker_id)
        record = folder.read()
        self.note_exit(folder, record)
        look = HostLook(worker_id, fleet, folder, record, carriers)
        return self.second_look([look])[0] if look.has_unexplained_end else look

    def carriers(self, worker_id: str = "") -> list[Carrier]:
        """Live processes that are workers of this provider, of any fleet; or of one worker.

        Only those that name it: a Slurm job or a pod of this host carries a worker id too, and is another's to end.

        Raises:
            ProviderUnavailable: the host's processes cannot be read.
        """
        try:
            found = processes.carriers(worker_id)
        except (OSError, psutil.Error) as error:
            raise ProviderUnavailable(f"{self._place.label} cannot look at this host's processes: {error}") from error
        mark = self._place.fingerprint
        return [each for each in found if each.provider == mark and WORKER_ID_PATTERN.fullmatch(each.worker_id)]

    def describe(self, look: HostLook) -> Instance | None:
        """The worker as others shall see it; None where its launcher died before the start, so that it never was."""
        if look.live or look.record.was_started:
            return self.describe_started(look)
        is_starting = look.record.intent is not None and look.folder.is_locked()
        return self.instance(look, InstanceState.PENDING) if is_starting else None

    def instance(
        self,
        look: HostLook,
        state: InstanceState,
        *,
        url: Url | None = None,
        failure: Failure | None = None,
        detail: str = "",
        first: ProcessId | None = None,
        home: str = "",
        capabilities: tuple[str, ...] = (),
    ) -> Instance:
        """The provider's view of a worker; `home` and `capabilities` are for one that nothing is recorded of."""
        intent = look.record.intent
        process = look.record.process or first
        if intent is None and look.carriers:
            home = look.carriers[0].home
        return Instance(
            worker_id=look.worker_id,
            instance_id=str(process) if process else f"intent:{look.worker_id}",
            state=state,
            fleet=look.fleet,
            home=intent.home if intent else home,
            url=url.url if url else None,
            failure=failure,
            detail=detail,
            usd_per_hour=self._place.usd_per_hour,
            capabilities=intent.capabilities if intent else capabilities or self._place.capabilities,
            # What it printed nothing of is the fleet's to say.
            retries=url.retries if url else None,
        )
