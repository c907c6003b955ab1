"""What `marginal` learns from its fleet: arrivals and their swing, service, boots, and what was needed of late.

Everything is a duration, a count or a rate, so that it rides in the fleet's memory as a few short series of numbers.
Times are counted from the first turn of this memory. Memory of another form is taken for lost; then what exists is held
for a while, until there is something to judge it by.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter, itemgetter
from typing import Any

from ebbflow.core.observation import Counted
from ebbflow.core.plan import PolicyMemory
from ebbflow.policies.formulas.arrivals import Look, flow_since, served_now
from ebbflow.policies.formulas.boot_times import (
    COUNTED_LAUNCHES,
    KEPT_BOOTS,
    KEPT_JOINING,
    Boots,
    gone,
    priced,
)
from ebbflow.policies.formulas.imagined_holds import Imagined
from ebbflow.policies.formulas.marginal_staffing import MOST_SWING
from ebbflow.policies.formulas.peaks import Peaks, highest_since, noted
from ebbflow.policies.formulas.rises import SUDDEN_SECONDS

PRIOR_SERVED = 20.0
"""As many requests as the operator's hint counts for."""
SERVICE_REQUESTS = 400.0
"""The mean service time forgets what is older than about so many requests."""
KEPT_EXCESS = 12
"""Looks within a boot's length whose rates are kept."""
LASTING_SECONDS = 86_400.0
PRIOR_LASTING_SECONDS = 100.0
"""For so long all of a rise is taken to last that chance makes of even arrivals."""
TOLD_SERVICES = 0.5
"""A look sees who runs at one moment: of a turn it tells no more than of so many services."""
LEAST_SERVICE_SECONDS = 1e-3


@dataclass(slots=True)
class Learned:
    """What the policy knows when it decides: made from memory, brought up to date in a turn, written back after it."""

    clock: float = 0.0
    """Seconds since this memory began."""
    rate: float = 0.0
    """Arrivals per second, averaged from 0 on: a first request after a rest is no rate yet."""
    slow_rate: float = 0.0
    """The same over a longer time."""
    sudden_rate: float = 0.0
    """The same over the last seconds."""
    swing: float = 0.0
    """Mean square of how far demand was off the load, in workers."""
    busy_seconds: float = 0.0
    """Worker-seconds of service, forgetting, and what came of them: their ratio is the mean service time."""
    finished: float = 0.0
    arrived: float = -1.0
    """The master's counter at the last look; negative: none."""
    served: float = -1.0
    queued: float = 0.0
    running: float = 0.0
    owed: float = 0.0
    """These three are the last look, as `arrivals.Look` has it."""
    ended: float = 0.0
    """Boots that came to an end, forgetting, and those of them that failed."""
    failed: float = 0.0
    excess_then: float = 0.0
    """Square of what the rate was above that of a longer time, summed over time and forgetting."""
    excess_lasted: float = 0.0
    """That times what was left of it a boot later: over the other, the share of it that lasts."""
    joining: tuple[float, ...] = ()
    """Ages of the workers that were on their way at the last look."""
    boots: tuple[float, ...] = ()
    held: Peaks = ()
    """What was staffed to."""
    demanded: Peaks = ()
    """Requests that waited or ran."""
    lasted: Peaks = ()
    """The same below nothing, so that the highest of these is what was there all the time."""
    excess: tuple[float, ...] = ()
    """Time, rate of a longer time, and what the rate was above it, in turn, of the last boot's length."""
    imagined: Imagined = field(default_factory=Imagined)
    """Fleets that hold longer, and for how long this one does."""
    is_new: bool = True
    """There was no turn before."""
    elapsed: float = 0.0
    at: float = 0.0
    """The clock as it is kept in series."""
    came: float = 0.0
    """Requests since the last look, as far as anybody can tell."""
    done: float | None = None
    """Those finished since; None: nobody counts."""

    @classmethod
    def read(cls, remembered: PolicyMemory) -> "Learned":
        """Take it up from memory; what is not there, or of another form, begins anew."""
        try:
            found: Any = _series(remembered)
        except KeyError:
            return cls()
        if len(found[0]) != NUMBERS or len(found[-1]) % 3:
            return cls()
        return cls(*(*found[0], *found[1:], Imagined.read(remembered), False))

    def go_on(self, elapsed_seconds: float) -> None:
        """Begin a turn, so long after the last one that saw demand."""
        if not self.is_new:
            self.elapsed = max(0.0, elapsed_seconds)
            self.clock += self.elapsed
            self.at = round(self.clock, 1)

    def series(self) -> PolicyMemory:
        """For memory."""
        return {
            "learned": _numbers(self),
            "joining": self.joining,
            "boots": self.boots,
            "held": self.held,
            "demanded": self.demanded,
            "lasted": self.lasted,
            "excess": self.excess,
            **self.imagined.series(),
        }

    def service_seconds(self, hint: float) -> float:
        """Mean of a request: time in service over requests that were finished (Little's law)."""
        return max(LEAST_SERVICE_SECONDS, (self.busy_seconds + PRIOR_SERVED * hint) / (self.finished + PRIOR_SERVED))

    def boot_times(self, hint_seconds: float) -> Boots:
        """What a launch takes and costs."""
        return priced(self.boots, hint_seconds, self.ended, self.failed)

    def learn_arrivals(
        self, seen: Counted, *, service_seconds: float, average_seconds: float, slow_seconds: float
    ) -> None:
        """Bring the rates up to an observation whose demand is known.

        What came is counted by the master, or is what there is more of than before and what was finished besides; where
        nobody counts that either, what work in service finishes at its mean time.
        """
        demand, elapsed = seen.demand, self.elapsed
        if self.is_new:
            # Whatever runs, came at some rate.
            self.rate = self.slow_rate = self.sudden_rate = demand.running / service_seconds
            self.held = noted((), 0.0, seen.supply, 0.0)
            return
        if elapsed <= 0:
            return
        self._look(seen, service_seconds)
        came = self.came / elapsed
        self.rate -= math.expm1(-elapsed / average_seconds) * (came - self.rate)
        self.slow_rate -= math.expm1(-elapsed / slow_seconds) * (came - self.slow_rate)
        self.sudden_rate -= math.expm1(-elapsed / SUDDEN_SECONDS) * (came - self.sudden_rate)

    def _look(self, seen: Counted, service_seconds: float) -> None:
        """What came and was finished since the last look; with what is there now, one tells the other."""
        demand = seen.demand
        more = demand.queued + demand.running - self.queued - self.running
        came, done = _difference(demand.arrived, self.arrived), _difference(demand.served, self.served)
        if came is None and done is None:
            before = Look(self.queued, self.running, self.owed)
            flow = flow_since(before, seen, seconds=self.elapsed, service_seconds=service_seconds)
            self.came, self.done, self.owed = flow.came, None, flow.look.owed
            return
        self.owed = 0.0
        self.came = max(0.0, more + (done or 0.0)) if came is None else came
        self.done = max(0.0, came - more) if done is None and came is not None else done

    def lasting_share(self, average_seconds: float) -> float:
        """How much of a rate above that of a longer time is still there a boot later, as far as was seen."""
        # What chance alone makes of even arrivals, for a while.
        chance = PRIOR_LASTING_SECONDS * (max(0.0, self.slow_rate) + 0.5 / average_seconds) / (2 * average_seconds)
        return min(1.0, max(0.0, (self.excess_lasted + chance) / (self.excess_then + chance)))

    def expected_rate(self, lasting: float, doubt: float) -> float:
        """Arrivals per second when a boot ends: a fall is followed, a rise as far as such lasted.

        Args:
            lasting: share of a rise that is still there a boot later.
            doubt: how much of what does not last is left out.
        """
        rise = self.rate - self.slow_rate
        if rise <= 0:
            return max(0.0, self.rate)
        return max(0.0, self.rate - doubt * (1 - lasting) * rise)

    def learn_boots(self, seen: Counted) -> tuple[float, ...]:
        """Who is on the way now, and how long those took that no longer are. Returns the ages of those on the way."""
        if not self.joining and seen.serving == seen.supply:
            return ()
        now = [round(seconds, 1) for seconds in seen.joining_seconds]
        if self.joining and (left := gone(self.joining, now, self.elapsed)):
            self._note_boots(left, seen)
        self.joining = tuple(now[:KEPT_JOINING])
        return tuple(now)

    def most_held(self, staffed: int, within_seconds: float, kept_seconds: float) -> float:
        """Note what is staffed to, and return the most that was within a time; some more is kept."""
        self.held = noted(self.held, self.at, staffed, self.clock - kept_seconds)
        return highest_since(self.held, self.clock - within_seconds)

    def at_once(self, requests: int, most_seconds: float, least_seconds: float) -> tuple[float, float]:
        """Note how many requests wait or run, and return the most and the fewest of late; 0 before so much time."""
        self.demanded = noted(self.demanded, self.at, requests, self.clock - most_seconds)
        self.lasted = noted(self.lasted, self.at, -requests, self.clock - least_seconds)
        return self.demanded[1], -self.lasted[1] if self.clock >= least_seconds else 0.0

    def learn_after(
        self, seen: Counted, *, service_hint: float, load: float, swing_seconds: float, lag_seconds: float
    ) -> None:
        """Bring up what the next decision is made by: more demand must not make this one want less."""
        demand, elapsed = seen.demand, self.elapsed
        if elapsed > 0:
            self._learn_service(seen, service_hint)
            self._learn_lasting(lag_seconds)
            off = demand.queued + demand.running - load
            most = MOST_SWING * MOST_SWING * (load + 0.25)
            self.swing -= math.expm1(-elapsed / swing_seconds) * (min(off * off, most) - self.swing)
        self.arrived = -1.0 if demand.arrived is None else float(demand.arrived)
        self.served = -1.0 if demand.served is None else float(demand.served)
        self.queued, self.running, self.is_new = float(demand.queued), float(demand.running), False

    def _learn_lasting(self, lag_seconds: float) -> None:
        since, line = self.clock - lag_seconds, self.excess
        while len(line) > 3 and line[3] <= since:
            line = line[3:]
        keeps = math.exp(-self.elapsed / LASTING_SECONDS)
        self.excess_then *= keeps
        self.excess_lasted *= keeps
        if line and line[0] <= since and line[2] > 0:
            self.excess_then += line[2] * line[2] * self.elapsed
            self.excess_lasted += line[2] * (self.rate - line[1]) * self.elapsed
        if not line or self.clock - line[-3] >= lag_seconds / KEPT_EXCESS:
            line = (*line, self.at, round(self.slow_rate, 7), round(self.rate - self.slow_rate, 7))
            line = line[-3 * (KEPT_EXCESS + 2) :]
        self.excess = line

    def _learn_service(self, seen: Counted, hint: float) -> None:
        usual = self.service_seconds(hint)
        if self.done is not None:
            told = min(1.0, TOLD_SERVICES * usual / self.elapsed)
            self._note_finished(told * self.done, told * 0.5 * (seen.demand.running + self.running) * self.elapsed)
            return
        served = served_now(seen, seconds=self.elapsed, service_seconds=usual)
        if served is not None:
            self._note_finished(served[1], served[0])
            # Rates that were guessed by the old time stand for the same work at the new one.
            same_work = usual / self.service_seconds(hint)
            self.rate *= same_work
            self.slow_rate *= same_work
            self.sudden_rate *= same_work

    def _note_finished(self, done: float, busy_seconds: float) -> None:
        keeps = math.exp(-done / SERVICE_REQUESTS)
        self.busy_seconds = self.busy_seconds * keeps + busy_seconds
        self.finished = self.finished * keeps + done

    def _note_boots(self, left: Sequence[float], seen: Counted) -> None:
        # Who failed is noticed last. When in the turn the others became ready nobody knows.
        elapsed = self.elapsed
        failed = max(0, len(left) - seen.fresh(elapsed))
        good = [round(max(1.0, age - elapsed / 2), 1) for age in left[: len(left) - failed]]
        self.boots = (*self.boots, *good)[-KEPT_BOOTS:]
        keeps = min(1.0, COUNTED_LAUNCHES / (self.ended + len(left)))
        self.ended = (self.ended + len(left)) * keeps
        self.failed = (self.failed + failed) * keeps


SERIES = ("joining", "boots", "held", "demanded", "lasted", "excess")
"""Series of a memory, in the order of the fields of `Learned`."""
NUMBERS = 16
"""Single numbers of a memory, the first fields of `Learned`."""
_numbers: Callable[[Learned], tuple[float, ...]] = attrgetter(*Learned.__slots__[:NUMBERS])
_series: Callable[[PolicyMemory], tuple[tuple[float, ...], ...]] = itemgetter("learned", *SERIES)


def _difference(now: int | None, before: float) -> float | None:
    if now is None or before < 0:
        return None
    # A counter that went back began anew.
    return now - before if now >= before else float(now)
