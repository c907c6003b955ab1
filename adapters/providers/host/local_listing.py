"""What the local provider sees: a worker is its processes, and its state follows from them and from what it printed."""

from collections.abc import Sequence
from contextlib import suppress

from ebbflow.adapters.launch_output import Failed, Refused, Said, Url
from ebbflow.adapters.providers.host import processes
from ebbflow.adapters.providers.host.listing import DetachedListing, HostLook
from ebbflow.adapters.providers.host.logs import STDERR, cut, last_words
from ebbflow.adapters.providers.host.output_verdict import note_result, noted_result
from ebbflow.adapters.providers.host.processes import ProcessId
from ebbflow.adapters.providers.host.records import Moment, WorkerFolder, WorkerRecord
from ebbflow.core.instance import Failure, Instance, InstanceState


class LocalListing(DetachedListing):
    """Looks at one host's workers of one provider."""

    def describe_started(self, look: HostLook) -> Instance:
        """A worker that was started, as others shall see it; the first look at its end notes it."""
        record, live = look.record, look.live
        if not live and record.ended is None:
            if look.folder.is_locked():
                detail = "no process shows this worker's id, but one holds its lock"
                return self.instance(look, InstanceState.UNKNOWN, detail=detail)
            with suppress(OSError):
                look.folder.write("ended.json", Moment(self._clock()), replace=False)
        first = processes.leader(live)
        said = self._said(look.folder, live, first)
        state, failure, detail = judge(record, said, is_alive=bool(live))
        if state is InstanceState.FAILED and (words := last_words(look.folder.path / STDERR)):
            detail = f"{detail}; last line of stderr: {words}"
        url = said.result if isinstance(said.result, Url) else None
        return self.instance(look, state, url=url, failure=failure, detail=detail, first=first)

    def _said(self, folder: WorkerFolder, live: Sequence[ProcessId], first: ProcessId | None) -> Said:
        noted = noted_result(folder)
        said = Said(noted) if noted else folder.output(ended=not live, pid=first.pid if first else None)
        if live and not noted and said.result is not None and folder.path.exists():
            # Its output may be cut by us, or rotated by others, and what it announced stands at its beginning.
            said = Said(note_result(folder, said.result))
        if live:
            cut(folder.path)
        return said


def judge(record: WorkerRecord, said: Said, *, is_alive: bool) -> tuple[InstanceState, Failure | None, str]:
    """The state of a worker that was started, with the reason, from what is recorded and what it printed."""
    if is_alive and (record.is_terminating or (record.ended is not None and record.ended.by_us)):
        return InstanceState.TERMINATING, None, "asked to end"
    if not is_alive and record.ended is not None and record.ended.by_us:
        return InstanceState.GONE, None, "terminated"
    match said.result:
        case Refused(reason):
            return InstanceState.FAILED, Failure.CAPACITY, f"declared failed: {reason or 'no reason given'}"
        case Failed(kind, detail):
            return InstanceState.FAILED, Failure.OUTPUT, f"{kind.value}: {detail}"
        case Url() if not is_alive:
            return InstanceState.GONE, None, "the process ended"
        case Url(_, retries):
            return InstanceState.RUNNING, None, "" if retries is None else f"asks for {retries} retries"
        case None:
            return InstanceState.STARTING, None, said.ignored
