"""`target_queue_time`: as much measured performance as the load and the queue ask for, in units of work per second.

Source: Vast Serverless (guides: parameters, architecture, managing scale): active capacity = expected load /
target_util, at least min_load; above target_queue_time it scales up; total with stopped ones = cold_mult * active, at
least min_cold_load and cold_workers, the largest of the three; zero only after inactivity_timeout, and never with
min_load or a negative timeout. Guide, command line and SDK disagree on defaults; those here are ours.

The queue always adds what would empty it within the target time, not only above it: a term that vanished once workers
had come would send them away again under constant demand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, PolicyMemory, Reason, Want
from ebbflow.core.text import counted
from ebbflow.policies.formulas.averages import latest, rise_at_once
from ebbflow.policies.formulas.needs import MOST, demand_unknown, seconds_since_seen

NEARLY = 1e-9
"""Below this a rest is rounding, not work."""


@dataclass(frozen=True, slots=True)
class Load:
    """What comes and what waits, in units of work."""

    per_second: float
    """That the workers must do per second, the queue included."""
    text: str
    remembers: PolicyMemory


class TargetQueueTimePolicy(BaseModel):
    """Measured performance for the load at a target use, and for the queue to be empty within a target time."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reads_offers: ClassVar[bool] = False

    kind: Literal["target_queue_time"] = "target_queue_time"
    target_queue_time_seconds: Annotated[
        float, Field(gt=0, le=86_400, description="What waits is to be begun within this time.")
    ] = 10.0
    target_util: Annotated[
        float, Field(gt=0, le=1, description="The share of the serving capacity that the load is to use.")
    ] = 0.9
    min_load: Annotated[
        float, Field(ge=0, le=1e9, description="Capacity that always serves, in units of work per second.")
    ] = 0.0
    units_per_second: Annotated[
        float,
        Field(gt=0, le=1e9, description="Performance of one worker where the master has measured none."),
    ] = 1.0
    units_per_request: Annotated[
        float, Field(gt=0, le=1e9, description="Work of one request where the master has measured none.")
    ] = 1.0
    cold_mult: Annotated[
        float,
        Field(ge=1, le=100, description="Capacity kept loaded, serving or stopped, as a multiple of the serving."),
    ] = 2.5
    min_cold_load: Annotated[
        float, Field(ge=0, le=1e9, description="Capacity kept loaded at least, in units of work per second.")
    ] = 0.0
    cold_workers: Annotated[
        int, Field(ge=0, le=10_000, description="Workers kept loaded at least, serving or stopped.")
    ] = 0
    inactivity_timeout_seconds: Annotated[
        float,
        Field(ge=-1, le=604_800, description="Without any request this long, zero is allowed; 0: at once; -1: never."),
    ] = 300.0
    half_life_seconds: Annotated[
        float, Field(ge=0, le=86_400, description="Arrivals that fall are followed half-way in this time; 0: at once.")
    ] = 60.0

    def decide(self, observation: Observation) -> Decision:
        """Count workers, the slowest first, until they carry what is to be carried."""
        if not observation.demand.complete:
            return demand_unknown(self.kind, observation)
        load, idle = self._load(observation), self._idle_seconds(observation)
        if self._is_over(idle):
            load = replace(load, per_second=0.0)
        active = max(self.min_load, load.per_second / self.target_util)
        speeds = [worker.units_per_second for worker in observation.workers if worker.is_supply]
        mean = self._speed(speeds, latest(observation.remembered.get("speed")))
        needed = _workers_for(active, [speed or mean for speed in speeds], mean)
        wanted = self._last_one(needed, observation.supply, idle)
        loaded = max(self.cold_mult * active, self.min_cold_load) / mean
        reserve = max(0, min(MOST, math.ceil(loaded - NEARLY)) - wanted, self.cold_workers - wanted)
        waits = f", {wanted} until {self.inactivity_timeout_seconds:g} s without requests" if wanted > needed else ""
        text = (
            f"{load.text}; / target_util {self.target_util:g} = {_shown(active)} units/s wanted, "
            f"{_shown(mean)} per worker: {counted(needed, 'worker')}{waits}; {reserve} warm beside them"
        )
        remembers = {**load.remembers, "idle_seconds": (round(idle, 3),), "speed": (mean,)}
        return Decision(
            (Want(count=wanted),), f"load {_shown(load.per_second)}/s: {counted(wanted, 'worker')}",
            (Reason(f"policy.{self.kind}", text),), remembers, reserve,
        )  # fmt: skip

    def _speed(self, speeds: Sequence[float | None], known: float | None) -> float:
        """What a worker is taken to do that nobody has measured: what the others do on average.

        It stays while such workers are there: they would count for less, and call for others, when a fast one goes.
        """
        measured = [speed for speed in speeds if speed]
        if known and (not measured or len(measured) < len(speeds)):
            return known
        return sum(measured) / len(measured) if measured else self.units_per_second

    def _load(self, observation: Observation) -> Load:
        demand, remembered = observation.demand, observation.remembered
        per_request = self._units_per_request(demand, remembered)
        queued = per_request * demand.queued if demand.queued_units is None else demand.queued_units
        target = self.target_queue_time_seconds
        counters = _counters(demand)
        if demand.arrived is None:
            # Nobody counts arrivals: everything unfinished is to be done within the target time.
            work = queued + per_request * demand.running
            return Load(work / target, f"{_shown(work)} units unfinished, to be done in {target:g} s", counters)
        elapsed, known = seconds_since_seen(observation), latest(remembered.get("arrivals_per_second"))
        arrivals = _per_second(demand.arrived, latest(remembered.get("arrived")), elapsed)
        now = (known or 0.0) if arrivals is None else arrivals
        rate = per_request * rise_at_once(now, known, elapsed, self.half_life_seconds)
        text = f"{_shown(rate)} units/s arrive, {_shown(queued)} units wait, to be begun in {target:g} s"
        remembers = {**counters, "arrivals_per_second": (round(rate / per_request, 6),)}
        return Load(rate + queued / target, text, {**remembers, "units_per_request": (per_request,)})

    def _units_per_request(self, demand: Demand, remembered: PolicyMemory) -> float:
        served = _difference(demand.served, latest(remembered.get("served")))
        units = _difference(demand.served_units, latest(remembered.get("served_units")))
        if served and units and units > 0:
            return units / served
        return latest(remembered.get("units_per_request")) or self.units_per_request

    def _idle_seconds(self, observation: Observation) -> float:
        """How long nothing came and nothing ran; where nobody counts arrivals, as far as turns saw it."""
        demand, remembered = observation.demand, observation.remembered
        came = _difference(demand.arrived, latest(remembered.get("arrived")))
        if demand.total or came:
            return 0.0
        return min(604_800.0, (latest(remembered.get("idle_seconds")) or 0.0) + seconds_since_seen(observation))

    def _is_over(self, idle: float) -> bool:
        """Whether what is left of the average of arrivals would only keep the last worker, for half an hour."""
        timeout = self.inactivity_timeout_seconds
        return timeout >= 0 and idle > 0 and idle >= max(timeout, self.half_life_seconds)

    def _last_one(self, needed: int, supply: int, idle: float) -> int:
        if self.inactivity_timeout_seconds < 0:
            return max(1, needed)
        return max(needed, min(1, supply)) if idle < self.inactivity_timeout_seconds else needed


def _shown(number: float) -> str:
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _workers_for(capacity: float, speeds: Sequence[float], mean: float) -> int:
    """The number that carries it whoever goes: the slowest of those that exist first, then new ones of mean speed."""
    carried = 0.0
    for count, speed in enumerate(sorted(speeds)):
        if carried >= capacity - NEARLY:
            return count
        carried += speed
    return min(MOST, len(speeds) + max(0, math.ceil((capacity - carried) / mean - NEARLY)))


def _counters(demand: Demand) -> dict[str, tuple[float, ...]]:
    told = {"arrived": demand.arrived, "served": demand.served, "served_units": demand.served_units}
    return {name: (float(count),) for name, count in told.items() if count is not None}


def _difference(now: float | None, before: float | None) -> float | None:
    """What was added to a counter; None where that cannot be told, as when the master began to count anew."""
    return None if now is None or before is None or now < before else now - before


def _per_second(now: float | None, before: float | None, elapsed_seconds: float) -> float | None:
    added = _difference(now, before)
    return None if added is None or elapsed_seconds <= 0 else added / elapsed_seconds
