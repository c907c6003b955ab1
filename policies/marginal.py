"""`marginal`: launch while the waiting that a worker saves is worth more than its boot, and hold it by the same price.

One number says what matters: `waiting_worth`, here k, what a user-second of waiting is worth in GPU-seconds. From it
follow, with boots of B seconds, requests of m seconds, and R = m x arrivals per second (the load in workers):

1. **Base**: R + z sqrt(R) workers. Square-root staffing; z rises with the logarithm of k.
2. **Backlog**: what still waits when a boot ends, Q = queued + arrivals of a boot - what the present workers serve in
   it. With d workers more it is gone after Q m / d seconds and costs k Q^2 m / (2 d) of waiting, while d boots cost
   d B. The sum is least at d = Q sqrt(k m / (2 B)).
3. **Hold**: a worker stays while the base of the last seconds, some boots long, asked for it, and until it has been
   idle for a while. The longer, the more waiting is worth and the longer a boot takes.

It learns arrivals, service and boots from what the fleet and its master report, and nothing else. Source: our own; the
square root is textbook (Halfin and Whitt, 1981). A hold learned per rank, from the gaps of its demand, did no better in
simulation than some boots' length for all ranks, so it is not here. Nor is a profile by the hour of the day. On a week
of recorded arrivals, staffing up to the usual rate of the hour cost 1 to 4 % more at k = 1 (by half, and by all of what
it is above the present rate), and following its slope one or two boots ahead 0.6 to 2.3 % more: the last minutes tell
more.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want
from ebbflow.policies.formulas.marginal_memory import Learned

DEFAULT_LIMITS: Mapping[str, float] = MappingProxyType({"min_seconds_between_stops": 0.0, "min_idle_seconds": 0.0})
"""The policy spaces its stops itself; a fleet may say otherwise."""

LEAST_WORTH, MOST_WORTH = 0.01, 100.0
MOST_WORKERS = 10_000
"""No fleet is larger, whatever waits."""


class MarginalPolicy(BaseModel):
    """As many workers as are worth what they cost, at one price for waiting."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    default_limits: ClassVar[Mapping[str, float]] = DEFAULT_LIMITS

    kind: Literal["marginal"] = "marginal"
    waiting_worth: Annotated[
        float,
        Field(
            ge=LEAST_WORTH,
            le=MOST_WORTH,
            description="What a second of a user's waiting is worth in GPU-seconds: 0.1 for a batch, 1 for patient "
            "users, 10 for people who watch.",
        ),
    ] = 1.0
    boot_seconds: Annotated[
        float, Field(ge=1, le=86_400, description="A first guess, until boots were seen: launch to serving.")
    ] = 120.0
    service_seconds: Annotated[
        float, Field(gt=0, le=86_400, description="A first guess, until requests were served: work of one.")
    ] = 20.0

    def decide(self, observation: Observation) -> Decision:
        """Learn, then weigh one more worker against the waiting it saves."""
        demand, supply = observation.demand, observation.supply
        known = Learned.read(observation.remembered)
        if not demand.complete:
            known.unseen_seconds += observation.elapsed_seconds
            text = f"demand is unknown ({demand.detail or 'no answer'}), which is not zero: {supply} workers stay"
            return Decision(None, "demand unknown", (Reason("policy.marginal", text),), known.series())
        worth = self.waiting_worth
        average = AVERAGE_SECONDS * worth**-AVERAGE_FALLS
        known.learn(observation, supply, average_seconds=average, service_hint=self.service_seconds)
        boot, service = known.boot_seconds(self.boot_seconds), known.service_seconds(self.service_seconds)
        rate = known.arrivals_per_second(average, LEAST_AVERAGE_SECONDS)
        load = rate * service
        base = load + (SAFETY + SAFETY_PER_TENFOLD * math.log10(worth)) * math.sqrt(load)
        backlog = self._backlog(observation, rate, boot, service) if demand.queued else 0.0
        held = known.hold(max(0, math.ceil(base - ROUNDING)), HELD_BOOTS * boot * worth**HOLD_RISES)
        target = min(MOST_WORKERS, max(0, math.ceil(base + backlog - ROUNDING)))
        if supply == 0 and worth * known.owed_seconds >= boot:
            # With a low worth a lone request is left waiting, but never longer than a boot is worth.
            target = max(target, 1)
        wanted = target
        if target <= supply:
            # While anything waits nobody goes: who is idle beside a queue has just become so, or waits for other work.
            may_go = 0 if demand.queued else _rested(observation)
            wanted = min(supply, max(target, int(held), supply - may_go))
        text = (
            f"load {load:.1f} ({rate:.3g}/s of {service:.3g} s) and what it holds is {held:g} workers, the backlog of "
            f"{demand.queued} queued after a boot of {boot:.0f} s is worth {backlog:.1f} more: {supply} become {wanted}"
        )
        headline = f"load {load:.1f}, queue {demand.queued}"
        return Decision((Want(count=wanted),), headline, (Reason("policy.marginal", text),), known.series())

    def _backlog(self, observation: Observation, rate: float, boot: float, service: float) -> float:
        """How many workers the requests are worth that will still wait when a boot ends."""
        served = 0.0
        for worker in observation.workers:
            if worker.state is WorkerState.READY:
                served += boot
            elif worker.is_supply:
                served += min(worker.joining_seconds, boot)
        waiting = observation.demand.queued + FORESEEN * (rate * boot - served / service)
        return HASTE * max(0.0, waiting) * math.sqrt(self.waiting_worth * service / (2 * boot))


SAFETY, SAFETY_PER_TENFOLD = 0.65, 1.65
"""Close to the newsvendor's quantile k / (1 + k) of a normal distribution, which is 0, and 1.34 more per tenfold."""
AVERAGE_SECONDS, AVERAGE_FALLS = 90.0, 0.3
LEAST_AVERAGE_SECONDS = 20.0
HELD_BOOTS, HOLD_RISES = 2.1, 0.25
FORESEEN = 0.8
"""Of the next boot's arrivals and services: a forecast is worth less than what is there."""
HASTE = 1.4
"""Times what the sum of boots and waiting says: whoever waits for a boot waits in that time too."""
ROUNDING = 0.3
RESTED_SECONDS = 60.0
"""Nobody goes who worked within this time."""


def _rested(observation: Observation) -> int:
    """How many workers may go."""
    return sum(
        worker.busy is False
        and worker.idle_seconds is not None
        and worker.idle_seconds >= RESTED_SECONDS
        and worker.state is WorkerState.READY
        and worker.is_supply
        for worker in observation.workers
    )
