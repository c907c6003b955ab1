"""`marginal`: launch while the waiting that a worker saves is worth more than its boot, and hold it by the same price.

One number says what matters: `waiting_worth`, here k, what a user-second of waiting is worth in GPU-seconds. From it
follow, with boots of B seconds and requests of m seconds:

1. **Load** R: m x the arrivals per second that are to be expected when a boot ends. That is their average, less what of
   a rise has lately not lasted for a boot: a crowd is no load. Averages begin at nothing, so that a first request after
   a rest is no rate. About k = 1, where every rise so far has lasted, what the last seconds show counts at once.
2. **Margin**: z sqrt(R + s (V - R)), where V is the mean square of how far demand was off the load: R for even
   arrivals, more for bursts. z rises with the logarithm of k, and with that of 1 / m where m is short. Load and margin
   are held for some boots' length, for less where the load is large, and for up to nine times as long where that would
   have been cheaper of late.
3. **Backlog**: what still waits when a boot ends, Q = queued + arrivals of a boot - what the present workers serve in
   it. With d workers more it is gone after Q m / d seconds and costs k Q^2 m / (2 d) of waiting, while d boots cost
   d B. The sum is least at d = Q sqrt(k m / (2 B)).
4. **Never more than work exists**: by the most requests that were there at once of late, one worker for the first and
   for each beyond it what k allows; for those that were there all the time of a boot, one each. Where every rise so
   far has lasted, a request is given more.

A worker goes when nobody waits, it has rested, and nothing that is held asks for it. An empty fleet launches one for
whatever waits. It learns arrivals, service and boots from what the fleet and its master report, and nothing else.
Source: our own; the square root is textbook (Halfin and Whitt, 1981), and so is the variance in it (peakedness). What
was tried besides, and what it was worth, stands in `docs/policies.md`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebbflow.core.observation import Counted, Observation
from ebbflow.core.plan import Decision, PolicyMemory, Reason
from ebbflow.core.ports import Course
from ebbflow.core.text import counted
from ebbflow.policies.formulas.imagined_holds import TIMES, Circumstances
from ebbflow.policies.formulas.marginal_memory import Learned
from ebbflow.policies.formulas.marginal_staffing import backlog, cautious_rate, margin, most_useful, tuned_to
from ebbflow.policies.formulas.needs import any_workers, demand_unknown, seconds_since_seen
from ebbflow.policies.formulas.rises import risen, sureness

DEFAULT_LIMITS: Mapping[str, float] = MappingProxyType({"min_seconds_between_stops": 0.0, "min_idle_seconds": 0.0})
"""The policy spaces its stops itself; a fleet may say otherwise."""

LEAST_WORTH, MOST_WORTH = 0.01, 100.0
MOST_WORKERS = 10_000
"""No fleet is larger, whatever waits."""
UNSAID = (Reason("policy.marginal", ""),)
"""Where nobody reads why."""


@dataclass(frozen=True, slots=True)
class _Weighed:
    """What a decision was weighed by, for the sentence that explains it."""

    rate: float
    service_seconds: float
    lead_seconds: float
    load: float
    margin: float
    backlog: float
    asked: int
    most: int
    peak: float
    held: float
    hold_times: float
    may_go: int
    rested_seconds: float


class MarginalPolicy(BaseModel):
    """As many workers as are worth what they cost, at one price for waiting."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    default_limits: ClassVar[Mapping[str, float]] = DEFAULT_LIMITS
    reads_offers: ClassVar[bool] = False

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
        if not observation.demand.complete:
            return demand_unknown(self.kind, observation)
        known = Learned.read(observation.remembered)
        known.go_on(seconds_since_seen(observation))
        wanted, weighed = self._weighed(observation, known, explains=observation.explains)
        if weighed is None:
            return Decision(any_workers(wanted), "unsaid", UNSAID, known.series())
        headline = f"load {weighed.load:.1f}, queue {observation.demand.queued}"
        reason = Reason("policy.marginal", _explained(observation, wanted, weighed))
        return Decision(any_workers(wanted), headline, (reason,), known.series())

    def course(self, remembered: PolicyMemory) -> Course:
        """Answer turns that follow each other."""
        return _Course(self, remembered)

    def _weighed(self, seen: Counted, known: Learned, *, explains: bool) -> tuple[int, _Weighed | None]:
        """How many workers are wanted, and by what that was weighed where somebody reads it; `known` learns."""
        demand, supply, tuned = seen.demand, seen.supply, tuned_to(self.waiting_worth)
        joining = known.learn_boots(seen)
        boots, service = known.boot_times(self.boot_seconds), known.service_seconds(self.service_seconds)
        average = max(tuned.average_seconds, tuned.average_services * service)
        known.learn_arrivals(seen, service_seconds=service, average_seconds=average, slow_seconds=tuned.slow_seconds)
        lasting = known.lasting_share(average)
        sure = sureness(lasting)
        jumped = partial(risen, sudden_rate=known.sudden_rate, elapsed_seconds=known.elapsed, share=tuned.jump * sure)
        rate = jumped(known.expected_rate(lasting, tuned.doubt))
        load = rate * service
        free = margin(load, known.swing, tuned, service)
        more = 0.0
        if demand.queued:
            more = backlog(
                demand.queued,
                cautious_rate(jumped(known.rate), known.slow_rate, average, tuned),
                supply - len(joining),
                joining,
                boots=boots,
                turn_seconds=known.elapsed,
                service_seconds=service,
                worth=self.waiting_worth,
                haste=tuned.haste,
            )
        base, at_once = load + free - tuned.rounding, demand.queued + demand.running
        staffed = max(0, math.ceil(base))
        asked = max(0, math.ceil(base + more - (0.0 if demand.queued else tuned.idle_rounding)))
        within = tuned.held_boots * boots.paid_seconds
        usual, times = within / (1 + load / tuned.held_load), 1.0
        if tuned.longest_hold > 1:
            if known.imagined.is_due(known.came, known.elapsed, boots.lead_seconds):
                least = cautious_rate(jumped(known.rate), known.slow_rate, average, tuned)
                worth = self.waiting_worth
                known.imagined.step(Circumstances(known.clock, load, least, service, boots, usual, worth, tuned))
            times = min(TIMES[known.imagined.chosen], tuned.longest_hold)
        held = known.most_held(staffed, times * usual, times * within)
        peak, always = known.at_once(at_once, times * within, boots.paid_seconds)
        most = most_useful(staffed, peak, always, tuned.spare + sure * tuned.sure_spare)
        wanted = min(asked, most, MOST_WORKERS)
        may_go = 0
        if demand.queued and not supply:
            # However little waiting is worth: somebody has to come.
            wanted = max(wanted, 1)
        elif wanted <= supply:
            # While anything waits nobody goes: who is idle beside a queue has just become so, or waits for other work.
            wanted = max(wanted, int(held))
            may_go = 0 if demand.queued or wanted >= supply else seen.rested(tuned.rested_seconds)
            wanted = min(supply, max(wanted, supply - may_go))
        known.learn_after(
            seen,
            service_hint=self.service_seconds,
            load=load,
            swing_seconds=tuned.swing_seconds,
            lag_seconds=boots.lead_seconds + average,
        )
        if not explains:
            return wanted, None
        return wanted, _Weighed(
            *(rate, service, boots.lead_seconds, load, free, more, asked, most, peak, held, times, may_go),
            tuned.rested_seconds,
        )


class _Course:
    """Its way through turns that follow each other: what it has learned is not written down in between."""

    def __init__(self, policy: MarginalPolicy, remembered: PolicyMemory) -> None:
        self._policy = policy
        self._known = Learned.read(remembered)
        self._unseen_seconds = sum(remembered.get("unseen_seconds", ()))

    def wanted(self, seen: Counted) -> int:
        """How many workers there should be."""
        self._known.go_on(seen.elapsed_seconds + self._unseen_seconds)
        self._unseen_seconds = 0.0
        return self._policy._weighed(seen, self._known, explains=False)[0]

    @property
    def remembers(self) -> PolicyMemory:
        """All that it has learned."""
        return self._known.series()


def _explained(observation: Observation, wanted: int, weighed: _Weighed) -> str:
    """One sentence that names the numbers."""
    queued, supply = observation.demand.queued, observation.supply
    said = [
        f"{weighed.load:.1f} busy on average ({weighed.rate:.3g} requests/s of {weighed.service_seconds:.3g} s)",
        f"{round(weighed.margin, 1) + 0.0:+.1f} for how far demand swings",
    ]
    if queued:
        said.append(f"{weighed.backlog:+.1f} for {queued} queued after a boot of {weighed.lead_seconds:.0f} s")
    target = min(weighed.asked, weighed.most)
    if weighed.asked > weighed.most:
        said.append(
            f"not more than {weighed.most}, as at most {counted(round(weighed.peak), 'request', 'were')} there at once"
        )
    if wanted > target:
        said.append(_kept(queued, supply, wanted, target, weighed))
    return f"{wanted} wanted, {supply} there: {', '.join(said)}"


def _kept(queued: int, supply: int, wanted: int, target: int, weighed: _Weighed) -> str:
    """Why there are more than load and backlog ask for."""
    more = wanted - target
    if not supply:
        return f"{more} since somebody has to come for {queued} queued"
    if queued:
        return f"{more} kept since nobody goes while anything is queued"
    if wanted <= weighed.held:
        chance = -math.expm1(-weighed.rate * weighed.lead_seconds)
        boot = f"its boot time of {weighed.lead_seconds:.0f} s"
        longer = ""
        if weighed.hold_times > 1:
            longer = f", for {weighed.hold_times:g} times as long as usual since that would have been cheaper"
        return (
            f"{more} held since {weighed.held:g} were needed of late and the next request comes within {boot} "
            f"{chance:.0%} of the time{longer}"
        )
    return f"{more} kept since only {weighed.may_go} have rested for {weighed.rested_seconds:g} s"
