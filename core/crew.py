"""The workers of one observation, counted once: every rule of a decision asks for the same few numbers."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, overload

from ebbflow.core.lifecycle import SUPPLY, WorkerState
from ebbflow.core.worker import Worker


@dataclass(frozen=True, slots=True)
class Counts:
    """How many workers there are of each standing."""

    supply: int
    """Serve or start, and are neither marked nor retiring: what policies count."""
    ready: int
    """Of the supply, those that serve."""
    idle: int
    """Serve, and have no work."""
    existing: int
    """May exist: what limits count."""
    retiring: int
    at: Mapping[str, int]
    """Those that may exist, by provider; who has none is left out."""
    held: Mapping[str, int]
    """Those that serve or start and are not marked, retiring ones with them, by provider."""


class Alike(NamedTuple):
    """What workers have in common that are the same to whoever chooses among them."""

    provider: str
    model: str | None
    capabilities: tuple[str, ...]
    is_measured: bool
    is_priced: bool


def alike(workers: Iterable[Worker]) -> Counter[Alike]:
    """How many there are of each kind."""
    return Counter(
        Alike(
            worker.provider,
            worker.model,
            worker.capabilities,
            bool(worker.units_per_second),
            bool(worker.usd_per_hour),
        )
        for worker in workers
    )


class Crew(Sequence[Worker]):
    """Workers in their order, equal to any other sequence of the same ones."""

    __slots__ = ("_counts", "_everyone")

    is_crew: ClassVar[bool] = True
    """Faster to ask for than the class of what is a sequence."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._everyone: tuple[Worker, ...] | None = tuple(workers)
        self._counts: Counts | None = None

    @property
    def everyone(self) -> tuple[Worker, ...]:
        """All of them."""
        if self._everyone is None:
            self._everyone = self._made()
        return self._everyone

    @property
    def counts(self) -> Counts:
        """What is counted of them."""
        if self._counts is None:
            self._counts = self._counted()
        return self._counts

    @property
    def supply(self) -> int:
        """How many serve or start, and are neither marked nor retiring."""
        return self.counts.supply

    @property
    def serving(self) -> int:
        """Of the supply, how many serve."""
        return self.counts.ready

    @property
    def idle(self) -> int:
        """How many serve and have no work."""
        return self.counts.idle

    @property
    def existing(self) -> int:
        """How many may exist."""
        return self.counts.existing

    @property
    def retiring(self) -> int:
        """How many shall be elsewhere."""
        return self.counts.retiring

    @property
    def joining(self) -> tuple[Worker, ...]:
        """Those of the supply that do not serve yet."""
        ready = WorkerState.READY
        return tuple([worker for worker in self.everyone if worker.state is not ready and worker.is_supply])

    @property
    def joining_seconds(self) -> list[float]:
        """For how long those have been on their way."""
        return [worker.joining_seconds for worker in self.joining]

    def fresh(self, seconds: float) -> int:
        """How many of the supply have begun to serve within this time."""
        ready = WorkerState.READY
        return sum(
            worker.state is ready and worker.is_supply and worker.state_seconds < seconds for worker in self.everyone
        )

    def rested(self, seconds: float) -> int:
        """How many of the supply serve and have been idle for so long at least."""
        ready = WorkerState.READY
        return sum(
            worker.busy is False
            and worker.idle_seconds is not None
            and worker.idle_seconds >= seconds
            and worker.state is ready
            and worker.is_supply
            for worker in self.everyone
        )

    @property
    def free(self) -> tuple[Worker, ...]:
        """Those of the supply that do no work: who is pending, and who serves and is known to be idle."""
        states = (WorkerState.PENDING, WorkerState.READY)
        return tuple(
            [
                worker
                for worker in self.everyone
                if worker.state in states
                and worker.is_supply
                and (worker.busy is False or worker.state is WorkerState.PENDING)
            ]
        )

    @property
    def alike(self) -> Mapping[Alike, int]:
        """The supply, by what tells workers apart beside their work."""
        return alike(worker for worker in self.everyone if worker.is_supply)

    @property
    def is_alike(self) -> bool:
        """Whether nothing but its rest tells one from another; False where nobody has looked."""
        return False

    def longest_idle(self, count: int, seconds: float) -> list[tuple[str, float]]:
        """Id and idle seconds of so many at most that have been idle for so long at least, the longest first."""
        rested = [
            (worker.worker_id, worker.idle_seconds)
            for worker in self.everyone
            if worker.state is WorkerState.READY
            and worker.is_supply
            and worker.busy is False
            and worker.idle_seconds is not None
            and worker.idle_seconds >= seconds
        ]
        rested.sort(key=lambda found: (-found[1], found[0]))
        return rested[: max(0, count)]

    def eased(self, seconds: float) -> int:
        """How many serve and have gone idle within this time, by having worked before."""
        ready = WorkerState.READY
        return sum(
            worker.busy is False
            and worker.idle_seconds is not None
            and worker.idle_seconds < seconds
            # Who has not worked yet has been idle since it serves.
            and worker.idle_seconds < worker.state_seconds
            and worker.state is ready
            for worker in self.everyone
        )

    def _made(self) -> tuple[Worker, ...]:
        raise NotImplementedError("a crew that is made without its workers makes them here")

    def _counted(self) -> Counts:
        supply = ready = idle = existing = retiring = 0
        at: dict[str, int] = {}
        held: dict[str, int] = {}
        for worker in self.everyone:
            state, provider = worker.state, worker.provider
            if worker.may_exist:
                existing += 1
                at[provider] = at.get(provider, 0) + 1
            if state is WorkerState.READY and worker.busy is False:
                idle += 1
            retiring += worker.is_retiring
            if worker.mark is None and state in SUPPLY:
                held[provider] = held.get(provider, 0) + 1
                if not worker.is_retiring:
                    supply += 1
                    ready += state is WorkerState.READY
        return Counts(supply, ready, idle, existing, retiring, at, held)

    def __len__(self) -> int:
        """How many there are."""
        return len(self.everyone)

    def __iter__(self) -> Iterator[Worker]:
        """One after the other."""
        return iter(self.everyone)

    @overload
    def __getitem__(self, place: int) -> Worker: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Worker, ...]: ...
    def __getitem__(self, place: int | slice) -> Worker | tuple[Worker, ...]:
        """One, or several."""
        return self.everyone[place]

    def __eq__(self, other: object) -> bool:
        """Whether another crew, or a tuple, is of the same workers."""
        if isinstance(other, Crew):
            return self is other or self.everyone == other.everyone
        return self.everyone == other if isinstance(other, tuple) else NotImplemented

    def __repr__(self) -> str:
        """As a tuple of them."""
        return repr(self.everyone)
