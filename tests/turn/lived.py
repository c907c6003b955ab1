"""A fleet that has lived in memory: two workers come, one works and rests, more come for a while, and leave."""

from dataclasses import dataclass, field, replace

from ebbflow.core.canonical import digest
from ebbflow.core.chain import Stored
from ebbflow.fleet.model import Fleet
from ebbflow.turn.results import Acted, Held
from tests.making import changed
from tests.turn.outside import Clock, Outside
from tests.turn.test_turn import FLEET, turn

BEGAN = 1_790_000_000.0
FEWER = changed(FLEET, limits=changed(FLEET.limits, min_workers=1))
PAUSE_SECONDS = 600.0


@dataclass
class Lived:
    """What its turns have left."""

    outside: Outside = field(default_factory=lambda: Outside(clock=Clock(BEGAN)))
    turns: int = 0

    async def turn(self, fleet: Fleet = FLEET, *, after: float = 30.0) -> None:
        """One more, by a run of its own."""
        self.turns += 1
        result = await turn(self.outside, fleet, after=after, run=f"run-{self.turns:02}")
        assert isinstance(result, Acted | Held), result

    @property
    def first(self) -> str:
        """The worker that works and stays."""
        return self.outside.host.launched[0]

    @property
    def second(self) -> str:
        """The worker that leaves."""
        return self.outside.host.launched[1]

    def work(self, worker_id: str, *, busy: bool) -> None:
        """From now on it has work, or none."""
        entries = self.outside.queue.entries
        entries[worker_id] = replace(entries[worker_id], busy=busy)

    def keep(self, number: int, text: str | None) -> None:
        """Let its ledger keep another text as one of its records; None: nothing any more."""
        kept = self.outside.ledger.records.pop(artifact(number))
        if text is not None:
            self.outside.ledger.records[artifact(number)] = replace(kept, text=text)

    def stored(self, number: int) -> Stored:
        """One of its records."""
        return self.outside.ledger.records[artifact(number)]

    def edit(self, number: int) -> None:
        """Somebody changes what a record says."""
        text = self.stored(number).text or ""
        assert '"headline":"' in text
        self.keep(number, text.replace('"headline":"', '"headline":"not '))

    def forge(self, before: str, after: str) -> None:
        """Let the newest record say something else, and its claim agree, so that no edit shows."""
        claims = self.outside.ledger.claims[FLEET.name]
        number = max(claims)
        text = self.stored(number).text or ""
        assert before in text
        forged = text.replace(before, after, 1)
        self.keep(number, forged)
        claims[number] = replace(claims[number], sha256=digest(forged))


def artifact(number: int) -> str:
    """Every record of this ledger was claimed, so they are counted alike."""
    return f"artifact-{number}"


async def lived() -> Lived:
    """Eleven turns, of which the sixth comes ten minutes late, and the last five are those of another fleet."""
    life = Lived()
    await life.turn()
    await life.turn()
    life.work(life.first, busy=True)
    await life.turn()
    life.outside.queue.waiting = 40
    await life.turn()
    life.outside.queue.waiting = 0
    life.work(life.first, busy=False)
    await life.turn()
    await life.turn(after=PAUSE_SECONDS)
    for _ in range(5):
        await life.turn(FEWER)
    return life
