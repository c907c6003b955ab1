"""The end of the demo: what was served at what price, and whether it all went as it must."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ebbflow.core.plan import Verb
from ebbflow.core.text import counted
from ebbflow.demo.fixed_fleet import FixedFleet
from ebbflow.demo.history import History, went_up_and_down
from ebbflow.demo.load import Tally
from ebbflow.demo.view import MasterState
from ebbflow.turn.costs import Cost

SEVERAL = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that the demo is judged by."""

    tally: Tally
    master: MasterState
    history: History
    least: int
    """The fleet's minimum."""
    still_alive: int
    """GPU workers that run after the fleet was ended by its own means."""
    seconds: float
    fixed: FixedFleet
    """What the same requests would have had with a fleet that always has its maximum."""
    cost: Cost
    """By the fleet's records, as `ebbflow costs` says it."""
    lives_on: bool = False
    """The fleet was left alive, with a little load."""

    def problems(self) -> Iterator[str]:
        """What is not as it must be; nothing where all is well."""
        if not went_up_and_down(self.history.sizes, least=self.least, several=SEVERAL):
            sizes = ", ".join(map(str, self.history.sizes))
            yield f"the fleet did not go from {self.least} to {SEVERAL} or more and back; it served with {sizes}"
        if self.tally.losses:
            why = "; ".join(sorted(set(self.tally.losses)))
            yield f"{counted(len(self.tally.losses), 'request', 'were')} lost: {why}"
        if unanswered := self.tally.sent - self.tally.served - len(self.tally.losses):
            yield f"{counted(unanswered, 'request', 'were')} sent and never answered"
        if (self.master.served, self.master.lost) != (self.tally.served, len(self.tally.losses)):
            yield f"the master counts {self.master.served} served and {self.master.lost} lost requests"
        if self.still_alive:
            yield f"{self.still_alive} GPU workers were still alive when the fleet had been ended"

    def rows(self) -> Iterator[tuple[str, str]]:
        """The summary's lines: a name and its figures."""
        waits, history = self.tally.wait_seconds, self.history
        launched, registered = history.done(Verb.LAUNCH), history.done(Verb.REGISTER)
        torn_down = history.done(Verb.TEAR_DOWN, Verb.TERMINATE)
        yield "requests", f"{self.tally.served} served, {len(self.tally.losses)} lost"
        yield "wait", f"p50 {percentile(waits, 50):.1f} s, p95 {percentile(waits, 95):.1f} s"
        yield "workers", f"{len(launched)} launched, {len(registered)} registered, {len(torn_down)} torn down"
        if not self.lives_on:
            yield "still alive", str(self.still_alive)
        yield "serving", " → ".join(map(str, _without_repeats(history.sizes)))
        yield "saved", _saved(self.cost, self.fixed.workers)
        yield "for a wait of", _waited(waits, self.fixed)
        yield "turns", _turns(history)
        yield "took", f"{self.seconds:.0f} s"


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` percent of all do not exceed; zero where there is none."""
    if not values:
        return 0.0
    rank = -(-len(values) * share // 100)
    return sorted(values)[max(0, int(rank) - 1)]


def _saved(cost: Cost, workers: int) -> str:
    """The demo's point, in hours and money. A worker has one GPU, whose price is known."""
    theirs = cost.fixed_worker_hours or 0.0
    share = f"{1 - cost.worker_hours / theirs:.0%} of" if theirs else "nothing of"
    return (
        f"{share} the GPU-hours of {workers} that always run: {cost.worker_hours:.2f} in the place of {theirs:.2f}, "
        f"{cost.usd or 0.0:.2f} USD in the place of {cost.fixed_usd or 0.0:.2f}"
    )


def _waited(waits: Sequence[float], fixed: FixedFleet) -> str:
    """What that costs those who wait, by the same requests in the same order."""
    more = [f"p{share} {percentile(waits, share) - percentile(fixed.wait_seconds, share):+.1f} s" for share in (50, 95)]
    return f"{', '.join(more)} against those {fixed.workers}"


def _turns(history: History) -> str:
    by_state = history.turns_by_state()
    text = ", ".join(f"{by_state.pop(state, 0)} {state.lower()}" for state in ("Acted", "Held", "Skipped"))
    others = ", ".join(f"{count} {state.lower()}" for state, count in sorted(by_state.items()))
    return f"{text}; also {others}" if others else text


def _without_repeats(sizes: Sequence[int]) -> list[int]:
    return [size for place, size in enumerate(sizes) if place == 0 or sizes[place - 1] != size]
