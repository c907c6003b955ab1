"""What the run history says: the demo counts turns and workers from Ebbflow's own runs and records, never by itself."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import FlowRunSort

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.plan import Result, Verb
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.turn.chain_reader import ChainEntry, ChainReader

FLOWS = ("autoscale", "scale-up", "scale-down")
BEGUN = [state for state in StateType if state not in (StateType.SCHEDULED, StateType.PENDING)]


@dataclass(frozen=True, slots=True)
class FlowRun:
    """One run of a fleet's flow."""

    run_id: str
    name: str
    state: str
    """`Acted`, `Held`, `Skipped`, `Running`, `Failed`, ..."""
    is_over: bool


def done(entry: ChainEntry, *verbs: Verb) -> set[str]:
    """The workers for which one of these was done in one turn."""
    return {each.worker_id for each in entry.outcomes if each.verb in verbs and each.result is Result.DONE}


def states_after(entry: ChainEntry) -> dict[str, WorkerState]:
    """The fleet's workers after one turn: as it saw them, and what it did since."""
    states = {worker.worker_id: worker.state for worker in entry.record.memory.workers}
    states |= dict.fromkeys(done(entry, Verb.LAUNCH) & states.keys(), WorkerState.STARTING)
    states |= dict.fromkeys(done(entry, Verb.REGISTER) & states.keys(), WorkerState.READY)
    states |= dict.fromkeys(done(entry, Verb.TEAR_DOWN, Verb.TERMINATE), WorkerState.GONE)
    return {worker_id: state for worker_id, state in states.items() if state is not WorkerState.GONE}


@dataclass(frozen=True, slots=True)
class History:
    """Everything up to one instant, oldest first."""

    turns: Sequence[FlowRun] = ()
    entries: Sequence[ChainEntry] = ()

    @property
    def states(self) -> dict[str, WorkerState]:
        """The fleet's workers now."""
        return states_after(self.entries[-1]) if self.entries else {}

    @property
    def sizes(self) -> list[int]:
        """How many workers served after each turn."""
        return [sum(state is WorkerState.READY for state in states_after(entry).values()) for entry in self.entries]

    def done(self, *verbs: Verb) -> set[str]:
        """All workers for which one of these was ever done."""
        return {worker_id for entry in self.entries for worker_id in done(entry, *verbs)}

    def turns_by_state(self) -> Counter[str]:
        """How many runs ended, or are, in each state."""
        return Counter(turn.state for turn in self.turns)


@dataclass(frozen=True, slots=True)
class HistoryReader:
    """Reads the history again and again, as it is on a Prefect server by then."""

    client: PrefectClient
    fleet: str

    async def read(self) -> History:
        """The history as it is now."""
        return History(await self._turns(), await ChainReader(PrefectLedger(self.client)).history(self.fleet))

    async def _turns(self) -> list[FlowRun]:
        runs = await self.client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=list(FLOWS))),
            flow_run_filter=FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=BEGUN))),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,
        )
        return [
            FlowRun(str(run.id), run.name, run.state.name or run.state.type.value, run.state.is_final())
            for run in runs
            if run.state is not None
        ]


def went_up_and_down(sizes: Iterable[int], *, least: int, several: int) -> bool:
    """Whether a fleet went from its minimum to several workers and came back to its minimum."""
    wanted = [lambda size: size == least, lambda size: size >= several, lambda size: size == least]
    for size in sizes:
        if wanted and wanted[0](size):
            wanted.pop(0)
    return not wanted
