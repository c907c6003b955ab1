"""What the run history says: the demo counts turns and workers from Ebbflow's own runs and records, never by itself."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterType,
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import Artifact, StateType
from prefect.client.schemas.sorting import FlowRunSort

from ebbflow.core.canonical import decode
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.plan import Outcome, Result, Verb
from ebbflow.core.record import Record, parse_record
from ebbflow.flows import ledger

FLOWS = ("autoscale", "scale-up", "scale-down")
BEGUN = [state for state in StateType if state not in (StateType.SCHEDULED, StateType.PENDING)]


@dataclass(frozen=True, slots=True)
class Turn:
    """One flow run."""

    run_id: str
    name: str
    state: str
    """`Acted`, `Held`, `Skipped`, `Running`, `Failed`, ..."""
    is_over: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One claimed record with the note on its claim."""

    record: Record
    outcomes: tuple[Outcome, ...]
    stored_at: datetime
    noted_at: datetime

    def done(self, *verbs: Verb) -> set[str]:
        """The workers for which one of these was done."""
        return {each.worker_id for each in self.outcomes if each.verb in verbs and each.result is Result.DONE}

    def states(self) -> dict[str, WorkerState]:
        """The fleet's workers after this turn: as it saw them, and what it did since."""
        states = {worker.worker_id: worker.state for worker in self.record.memory.workers}
        states |= dict.fromkeys(self.done(Verb.LAUNCH) & states.keys(), WorkerState.STARTING)
        states |= dict.fromkeys(self.done(Verb.REGISTER) & states.keys(), WorkerState.READY)
        states |= dict.fromkeys(self.done(Verb.TEAR_DOWN, Verb.TERMINATE), WorkerState.GONE)
        return {worker_id: state for worker_id, state in states.items() if state is not WorkerState.GONE}


@dataclass(frozen=True, slots=True)
class History:
    """Everything up to one instant, oldest first."""

    turns: Sequence[Turn] = ()
    entries: Sequence[Entry] = ()

    @property
    def states(self) -> dict[str, WorkerState]:
        """The fleet's workers now."""
        return self.entries[-1].states() if self.entries else {}

    @property
    def sizes(self) -> list[int]:
        """How many workers served after each turn."""
        return [sum(state is WorkerState.READY for state in entry.states().values()) for entry in self.entries]

    def done(self, *verbs: Verb) -> set[str]:
        """All workers for which one of these was ever done."""
        return {worker_id for entry in self.entries for worker_id in entry.done(*verbs)}

    def gpu_seconds(self) -> float:
        """From the record that launched each worker to the note of its end, or to the last note."""
        begun: dict[str, datetime] = {}
        ended: dict[str, datetime] = {}
        for entry in self.entries:
            for worker_id in entry.done(Verb.LAUNCH):
                begun.setdefault(worker_id, entry.stored_at)
            for worker_id in entry.done(Verb.TEAR_DOWN, Verb.TERMINATE):
                ended.setdefault(worker_id, entry.noted_at)
        last = self.entries[-1].noted_at if self.entries else None
        return sum(((ended.get(worker_id) or last or at) - at).total_seconds() for worker_id, at in begun.items())

    def turns_by_state(self) -> Counter[str]:
        """How many runs ended, or are, in each state."""
        return Counter(turn.state for turn in self.turns)


@dataclass(slots=True)
class HistoryReader:
    """Reads the history again and again, and records that can no longer change only once."""

    client: PrefectClient
    fleet: str
    _known: dict[str, Entry] = field(default_factory=dict)

    async def read(self) -> History:
        """The history as it is now."""
        return History(await self._turns(), await self._entries())

    async def _turns(self) -> list[Turn]:
        runs = await self.client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOWS))),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=BEGUN))),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        )
        return [
            Turn(str(run.id), run.name, run.state.name or run.state.type.value, run.state.is_final())
            for run in runs
            if run.state is not None
        ]

    async def _entries(self) -> list[Entry]:
        """The chain of claimed records, from its head back to the first."""
        head = await ledger.read_head(self.client, self.fleet)
        if head is None:
            return []
        wanted = ArtifactFilter(type=ArtifactFilterType(any_=[ledger.RECORD_TYPE]))
        stored = {str(artifact.id): artifact for artifact in await self.client.read_artifacts(artifact_filter=wanted)}
        chain: list[Entry] = []
        artifact_id = head.claim.artifact_id
        while artifact_id in stored:
            entry = self._entry(stored[artifact_id])
            chain.append(entry)
            artifact_id = entry.record.previous.artifact_id if entry.record.previous else ""
        return chain[::-1]

    def _entry(self, artifact: Artifact) -> Entry:
        key = str(artifact.id)
        if key in self._known:
            return self._known[key]
        data = artifact.data if isinstance(artifact.data, dict) else {}
        record = parse_record(str(data.get("record")))
        outcomes = decode(tuple[Outcome, ...], data.get("outcomes", []), where="outcomes")
        stored_at, noted_at = _moments(artifact)
        entry = Entry(record, outcomes, stored_at, noted_at)
        if outcomes or record.plan.holds:
            self._known[key] = entry
        return entry


def went_up_and_down(sizes: Iterable[int], *, least: int, several: int) -> bool:
    """Whether a fleet went from its minimum to several workers and came back to its minimum."""
    wanted = [lambda size: size == least, lambda size: size >= several, lambda size: size == least]
    for size in sizes:
        if wanted and wanted[0](size):
            wanted.pop(0)
    return not wanted


def _moments(artifact: Artifact) -> tuple[datetime, datetime]:
    if artifact.created is None or artifact.updated is None:
        raise ValueError(f"artifact {artifact.id} has no timestamps")
    return artifact.created, artifact.updated
