"""Adds up what fleets have cost, from records that come the newest first. Reads through the ledger alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta, tzinfo

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import Spare
from ebbflow.core.ports import Ledger
from ebbflow.core.worker import Worker
from ebbflow.decision.spending import usd_spent
from ebbflow.turn.chain_walk import NEW_CHAIN, ChainWalk, Step, newest_readable, walk
from ebbflow.turn.cost_facts import Spares, at, exists, gpus, interval_seconds, known_usd, max_workers
from ebbflow.turn.costs import By, Cost, Costs, Gap, Tally
from ebbflow.turn.standing import MISSED

NOT_RECORDED = "not recorded"
"""The row of what a gap is known to have cost, where nobody knows for whom."""


async def read_costs(
    ledger: Ledger, fleets: Sequence[str], *, seconds: float, by: By = By.FLEET, zone: tzinfo | None = None
) -> Costs:
    """What fleets have cost, from their records.

    Args:
        ledger: that keeps the records.
        fleets: their names.
        seconds: so far back.
        by: what each row is of.
        zone: of the days; None: the time zone of this host.
    """
    now = await ledger.now()
    since, sums, walks = now - seconds, [], []
    for fleet in fleets:
        newest, lost = await newest_readable(ledger, fleet)
        summed = FleetSum(fleet, since, now, by, zone)
        sums.append(summed)
        walks.append(ChainWalk(ledger, fleet, newest, since, summed.take, lost))
    await walk(ledger, walks, since=since)
    for summed, walked in zip(sums, walks, strict=True):
        summed.end(walked.lost)
    return _costs(sums, since, now, by, zone)


@dataclass
class FleetSum:
    """Adds up one fleet."""

    fleet: str
    since: float
    now: float
    by: By
    zone: tzinfo | None
    tallies: dict[str, Tally] = field(default_factory=dict)
    """By the name of the row."""
    aside: Tally = field(default_factory=Tally)
    """What is of no row: the fixed fleet, where rows are of parts of a fleet."""
    gaps: list[Gap] = field(default_factory=list)
    _later: Step | None = None
    _spares: Spares = field(default_factory=Spares)

    def take(self, step: Step) -> None:
        """Add the time between this record and the one taken before, which is later."""
        if self._later is None:
            self._after_all(step)
        else:
            self._between(step, self._later)
        self._later = step

    def end(self, lost: str) -> None:
        """No more records come.

        Args:
            lost: why not; empty, or that a chain begins: there were none before.
        """
        until = self.now if self._later is None else at(self._later)
        if lost and lost != NEW_CHAIN and until > self.since:
            self._gap(self.since, until, lost)
        self.gaps.reverse()

    def _after_all(self, last: Step) -> None:
        """What is known of the time since the last record."""
        ended = at(last)
        is_late = self.now - ended > MISSED * interval_seconds(last)
        if last.lost:
            self._gap(ended, self.now, last.lost)
        elif is_late and (exists(last) or last.record.plan.storage_usd_per_hour):
            self._gap(ended, self.now, "no turn was taken since")

    def _between(self, before: Step, after: Step) -> None:
        began, ended, turn = at(before), at(after), after.record.turn
        if before.lost == NEW_CHAIN and not exists(before):
            return
        if before.lost or turn.clock_back_seconds:
            back = f"the clock was set back by {turn.clock_back_seconds:.0f} s"
            self._gap(began, ended, before.lost or back, known_usd(before, after))
            return
        spares, seconds = self._spares.between(before, after), turn.elapsed_seconds + turn.look_seconds
        self._count(before, spares, ended - seconds, ended)
        if not (exists(before) or spares):
            # Without a record nothing is launched: all of that time is known.
            self._count(before, spares, began, ended - seconds)
        elif ended - began > MISSED * interval_seconds(before):
            counted = f"of what existed before it, {seconds:.0f} s are counted"
            # Nothing is what it comes to where no price is known.
            usd = usd_spent(seconds, before.record.memory.workers, spares) or None
            self.gaps.append(Gap(self.fleet, began, ended, f"no turn was taken: {counted}", usd, is_whole=False))

    def _gap(self, began: float, ended: float, why: str, known: tuple[float, bool] | None = None) -> None:
        usd, is_whole = known if known is not None and began >= self.since else (None, False)
        self.gaps.append(Gap(self.fleet, max(began, self.since), max(began, ended), why, usd, is_whole))
        if usd is not None:
            name = _day(ended, self.zone)[0] if self.by is By.DAY else NOT_RECORDED
            tally = self._tally(self.fleet if self.by is By.FLEET else name)
            tally.gap_usd, tally.has_gap_usd = tally.gap_usd + usd, True

    def _tally(self, name: str) -> Tally:
        return self.tallies.setdefault(name, Tally())

    def _count(self, before: Step, spares: Sequence[Spare], began: float, ended: float) -> None:
        """Add a time by the state at its beginning, each day for itself."""
        gpus_of, most, began = gpus(before), max_workers(before), max(began, self.since)
        while began < ended:
            day, tomorrow = _day(began, self.zone)
            seconds = min(ended, tomorrow) - began
            began = min(ended, tomorrow)
            for worker in before.record.memory.workers:
                if worker.may_exist:
                    name = self._name(day, worker.worker_id, worker.provider)
                    _add_worker(self._tally(name), worker, seconds, gpus_of.get(worker.provider))
            for spare in spares:
                _add_spare(self._tally(self._name(day, spare.worker_id, spare.provider)), spare, seconds)
            fixed = self._tally(self._name(day, "", "")) if self.by in (By.FLEET, By.DAY) else self.aside
            fixed.known += seconds
            fixed.fixed += (most or 0.0) * seconds
            fixed.is_fixed_unknown |= most is None

    def _name(self, day: str, worker_id: str, provider: str) -> str:
        return {By.FLEET: self.fleet, By.WORKER: worker_id, By.PROVIDER: provider or "-", By.DAY: day}[self.by]


def _add_worker(tally: Tally, worker: Worker, seconds: float, gpus: float | None) -> None:
    tally.known += seconds
    tally.worker += seconds
    tally.gpu += (gpus or 0.0) * seconds
    tally.unknown_gpu += seconds if gpus is None else 0.0
    if worker.state is WorkerState.READY:
        tally.ready += seconds
        tally.idle += seconds if worker.busy is False else 0.0
        tally.unknown_busy += seconds if worker.busy is None else 0.0
    if worker.usd_per_hour is None:
        tally.unpriced += seconds
        return
    usd = usd_spent(seconds, [worker], ())
    tally.priced += seconds
    tally.workers_usd += usd
    if worker.state is not WorkerState.WISHED:
        tally.ran += seconds
        tally.ran_usd += usd


def _add_spare(tally: Tally, spare: Spare, seconds: float) -> None:
    tally.known += seconds
    tally.warm += seconds
    if spare.usd_per_hour is None:
        tally.unpriced += seconds
        return
    tally.warm_priced += seconds
    tally.storage_usd += usd_spent(seconds, (), [spare])


def _day(at: float, zone: tzinfo | None) -> tuple[str, float]:
    """The day of an instant, and when it ends."""
    day = datetime.fromtimestamp(at, zone).date()
    ends = datetime.combine(day + timedelta(days=1), time(), tzinfo=zone).timestamp()
    return day.isoformat(), max(ends, at + 1.0)


def _costs(sums: Sequence[FleetSum], since: float, now: float, by: By, zone: tzinfo | None) -> Costs:
    rows: list[Cost] = []
    everything, fixed_usd, is_fixed_known = Tally(), 0.0, True
    for summed in sums:
        whole = Tally()
        for tally in (summed.aside, *summed.tallies.values()):
            whole.add(tally)
        everything.add(whole)
        mean = whole.mean_usd_per_hour
        is_fixed_known &= mean is not None or not whole.fixed
        fixed_usd += whole.fixed_usd(mean) or 0.0
        is_part = by in (By.WORKER, By.PROVIDER)
        if by is By.FLEET:
            summed.tallies.setdefault(summed.fleet, Tally())
        rows += [
            tally.cost(summed.fleet, name, fixed_usd=tally.fixed_usd(mean), is_part=is_part)
            for name, tally in sorted(summed.tallies.items())
        ]
    gaps = tuple(gap for summed in sums for gap in summed.gaps)
    only = sums[0].fleet if len(sums) == 1 else ""
    return Costs(
        by=by.value,
        since_at=since,
        until_at=now,
        time_zone=datetime.fromtimestamp(now, zone).astimezone(zone).strftime("%Z %z"),
        rows=tuple(rows),
        sum=everything.cost(only, "", fixed_usd=fixed_usd if is_fixed_known else None),
        gaps=gaps,
        is_complete=not gaps,
    )
