"""What `marginal` learns from the fleet's own records: arrivals, service, boots, and what it lately staffed to.

Everything is a duration, a count or a rate, so that it rides in the fleet's memory as a few short series of numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import Observation

KEPT_BOOTS = 40
"""Boots that are remembered, the last ones."""
PRIOR_BOOTS = 4
"""As many boots as the operator's hint counts for."""
PRIOR_SERVED = 20.0
"""As many requests as the operator's hint counts for."""
SERVICE_REQUESTS = 400.0
"""The mean service time forgets what is older than about so many requests."""
QUIET_LOAD = 0.02
"""In workers: with less than this a fleet has been at rest, and an average begins anew with the next request."""
KEPT_PEAKS = 48

_COUNTERS = ("rate", "weight", "arrived", "served", "busy_seconds", "finished", "owed_seconds")


@dataclass(slots=True)
class Learned:
    """What the policy knows when it decides. Made from memory, brought up to date and written back within one call."""

    rate: float = 0.0
    """Arrivals per second, averaged; to be divided by `weight`."""
    weight: float = 0.0
    """How much of the average's span has been seen since the fleet was at rest."""
    arrived: float = -1.0
    """The master's counter at the last look; negative: none."""
    served: float = -1.0
    busy_seconds: float = 0.0
    """Worker-seconds of service, forgetting, and what came of them: their ratio is the mean service time."""
    finished: float = 0.0
    unseen_seconds: float = 0.0
    """Time in which demand was unknown, so that the counters' next difference spans it."""
    owed_seconds: float = 0.0
    """Waiting that requests have done while there was no worker at all."""
    joining: list[float] = field(default_factory=list)
    """Ages of the workers that were on their way at the last look."""
    boots: list[float] = field(default_factory=list)
    peaks: list[tuple[float, float]] = field(default_factory=list)
    """Age and number: what was staffed to, each above all later ones."""

    @classmethod
    def read(cls, series: Mapping[str, Sequence[float]]) -> "Learned":
        """Take it up from memory; what is not there, or of another shape, begins anew."""
        counters, peaks = series.get("counters", ()), series.get("peaks", ())
        if len(counters) != len(_COUNTERS):
            return cls()
        known = cls(
            joining=list(series.get("joining", ())),
            boots=list(series.get("boots", ())),
            peaks=list(zip(peaks[::2], peaks[1::2], strict=False)),
            unseen_seconds=sum(series.get("unseen_seconds", ())),
        )
        for name, value in zip(_COUNTERS, counters, strict=True):
            setattr(known, name, value)
        return known

    def series(self) -> dict[str, tuple[float, ...]]:
        """For memory."""
        return {
            "counters": tuple(round(getattr(self, name), 7) for name in _COUNTERS),
            "joining": tuple(self.joining),
            "boots": tuple(self.boots),
            "peaks": tuple([value for pair in self.peaks for value in pair]),
            **({"unseen_seconds": (round(self.unseen_seconds, 7),)} if self.unseen_seconds else {}),
        }

    def arrivals_per_second(self, span_seconds: float, least_seconds: float) -> float:
        """Since work came, over at most the span; as if over `least_seconds` where it came later than that."""
        return self.rate / max(self.weight, -math.expm1(-least_seconds / span_seconds))

    def service_seconds(self, hint: float) -> float:
        """Mean of a request: time in service over requests that were finished (Little's law)."""
        return max(1e-3, (self.busy_seconds + PRIOR_SERVED * hint) / (self.finished + PRIOR_SERVED))

    def boot_seconds(self, hint: float) -> float:
        """Mean time from a launch to a worker that serves; a failed launch counts as long as it was waited for."""
        return max(1.0, (sum(self.boots) + PRIOR_BOOTS * hint) / (len(self.boots) + PRIOR_BOOTS))

    def learn(self, observation: Observation, supply: int, *, average_seconds: float, service_hint: float) -> None:
        """Bring it up to an observation whose demand is known."""
        demand, elapsed = observation.demand, observation.elapsed_seconds + self.unseen_seconds
        self.unseen_seconds = 0.0
        self._learn_boots(observation, elapsed)
        if elapsed > 0:
            self.peaks = [(round(age + elapsed, 3), number) for age, number in self.peaks]
            done = _difference(demand.served, self.served)
            if done is not None:
                keeps = math.exp(-done / SERVICE_REQUESTS)
                self.busy_seconds = self.busy_seconds * keeps + demand.running * elapsed
                self.finished = self.finished * keeps + done
            service = self.service_seconds(service_hint)
            came = _difference(demand.arrived, self.arrived)
            # Where the master does not count arrivals, work in service says how much of it comes.
            self._learn_rate(demand.running / service if came is None else came / elapsed, elapsed, average_seconds)
            if self.rate * service < QUIET_LOAD:
                self.weight = 0.0
            owes = supply == 0 and demand.queued > 0
            self.owed_seconds = self.owed_seconds + demand.queued * elapsed if owes else 0.0
        self.arrived = -1.0 if demand.arrived is None else float(demand.arrived)
        self.served = -1.0 if demand.served is None else float(demand.served)

    def hold(self, number: float, within_seconds: float) -> float:
        """Note what is staffed to now and return the highest of late."""
        # What is lower and older than this says nothing any more.
        self.peaks = [pair for pair in self.peaks if pair[1] > number and pair[0] <= within_seconds][-KEPT_PEAKS:]
        self.peaks.append((0.0, number))
        return self.peaks[0][1]

    def _learn_rate(self, rate: float, elapsed: float, average_seconds: float) -> None:
        if self.weight == 0.0:
            if rate == 0.0:
                self.rate *= math.exp(-elapsed / average_seconds)
                return
            self.rate = 0.0
        share = -math.expm1(-elapsed / average_seconds)
        self.rate += share * (rate - self.rate)
        self.weight += share * (1 - self.weight)

    def _learn_boots(self, observation: Observation, elapsed: float) -> None:
        """Who is on the way now, and how long those took that no longer are."""
        ready = WorkerState.READY
        now = [
            round(worker.joining_seconds, 3)
            for worker in observation.workers
            if worker.state is not ready and worker.is_supply
        ]
        if self.joining:
            left = _without(sorted(age + elapsed for age in self.joining), sorted(now))
            if left:
                self._note_boots(left, observation, elapsed)
        self.joining = now

    def _note_boots(self, left: Sequence[float], observation: Observation, elapsed: float) -> None:
        # The oldest on the way became ready first, as far as anybody can tell.
        serving = sorted(
            (
                worker.state_seconds
                for worker in observation.workers
                if worker.state is WorkerState.READY and worker.state_seconds <= elapsed
            ),
            reverse=True,
        )
        for place, age in enumerate(left):
            since = serving[place] if place < len(serving) else 0.0
            self.boots.append(round(max(0.0, age - since), 1))
        del self.boots[:-KEPT_BOOTS]


def _without(expected: Sequence[float], found: Sequence[float]) -> list[float]:
    """The ages that were expected and not found; both sorted, compared to within half a second."""
    left, place = [], 0
    for age in expected:
        while place < len(found) and found[place] < age - 0.5:
            place += 1
        if place < len(found) and found[place] <= age + 0.5:
            place += 1
        else:
            left.append(age)
    return left


def _difference(now: int | None, before: float) -> float | None:
    if now is None or before < 0:
        return None
    # A counter that went back began anew.
    return now - before if now >= before else float(now)
