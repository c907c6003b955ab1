"""The decision proper, from what a fleet is to where launches go and who leaves. Pure.

Production and the simulator decide through this one function: what a policy that raises does, what a reserve keeps
warm, who retires, what nobody can give, how long a provider rests, what a person holds the fleet at.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

from ebbflow.core.capabilities import fits
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.observation import Observation, ScaleRequest
from ebbflow.core.plan import Decision, Reason
from ebbflow.core.ports import Policy
from ebbflow.core.text import counted
from ebbflow.core.worker import Worker
from ebbflow.decision.guard import ask
from ebbflow.decision.limits import Bounded, apply, unchanged
from ebbflow.decision.overrides import overrides_after
from ebbflow.decision.placement.launching import can_launch
from ebbflow.decision.placement.place import NOTHING, place
from ebbflow.decision.placement.shares import Placed, ProviderShare
from ebbflow.decision.placement.victims import retire
from ebbflow.decision.rules import Rules
from ebbflow.decision.schedule import floors
from ebbflow.policies.formulas.pouring import pour

MASTERS_OWN = "master"
"""The kind of the policy that wants what the master wants."""


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What binds a decision beside what was observed."""

    overrides: tuple[Override, ...] = ()
    """In force, oldest first."""
    request: ScaleRequest | None = None
    """What a person asks for now."""
    per_shape_demand: bool = False
    """The master tells what waiting work requires."""
    members_complete: bool = True
    """The master answered wholly; without that nobody goes."""
    chain_age_seconds: float = float("inf")
    """How long this chain of records exists; a new one waits until its providers have settled."""
    budget_seconds: float = 0.0
    """How late a turn's run may still launch, and so how many launches fit a provider's rate."""
    predecessors_act: bool = False
    """A run whose record is lost may still be launching now."""
    quiet_seconds: float = 0.0
    """How old the chain has to be at least before it launches."""
    others: tuple[str, ...] = ()
    """What serves the same master and is not ours, where the policy counts it."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a decision came to, step by step."""

    observation: Observation
    """With those named who shall be elsewhere."""
    decision: Decision
    """The policy's, as far as it could be had and can be given."""
    shares: tuple[ProviderShare, ...]
    """In the order in which they are asked, with what each keeps warm."""
    overrides: tuple[Override, ...]
    """That hold from now on."""
    bounded: Bounded
    placed: Placed

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Every rule that spoke, in the order in which they did."""
        return (*self.decision.reasons, *self.bounded.reasons, *self.placed.reasons)

    @property
    def is_paused(self) -> bool:
        """Whether a person holds the fleet as it is."""
        is_held = any(held.kind is OverrideKind.PAUSE for held in self.overrides)
        return is_held and not is_wound_down(self.overrides)


def decide(
    observation: Observation,
    shares: Sequence[ProviderShare],
    rules: Rules,
    circumstances: Circumstances,
    *,
    answer: Decision | None = None,
) -> Decided:
    """Ask the policy, guard what it wants, and place it.

    Args:
        observation: who exists and what waits.
        shares: the fleet's providers in its order, and removed ones at which something may live.
        rules: the fleet's.
        circumstances: what binds besides.
        answer: the policy's, where it has been asked already; None: it is asked here.

    Raises:
        ConfigError: a person names a worker that the fleet has not.
        OverrideRefused: what a person asks for goes beyond the limits.
    """
    asked = tuple(shares)
    if rules.placement.order == "price":
        asked = tuple(sorted(shares, key=lambda share: (share.price is None, share.price or 0.0)))
    policy, limits = rules.policy, rules.limits
    workers = retire(observation.crew, asked, limits, rules.placement)
    seen = observation if workers is observation.workers else replace(observation, workers=workers)
    overrides = overrides_after(circumstances.overrides, circumstances.request, seen, limits)
    decision = answer or _asked(policy, _offered(seen, asked, rules), circumstances.others)
    # Such a master's wants say what workers must be able to do, also where it does not tell what its tasks require.
    by_capability = circumstances.per_shape_demand or policy.kind == MASTERS_OWN
    if by_capability:
        decision = _satisfiable(decision, seen, asked)
    is_plain = not (overrides or by_capability or rules.schedules or seen.crew.retiring) and decision.reserve is None
    # What most decisions come to: nobody comes, nobody goes, and no rule has anything to say.
    if is_plain and (left := unchanged(decision, seen.supply, limits)) is not None:
        return Decided(seen, decision, asked, (), left, NOTHING)
    kept = _keeping(asked, 0 if is_wound_down(overrides) else decision.reserve)
    bounded = apply(
        decision,
        seen,
        limits,
        overrides=overrides,
        floors=floors(rules.schedules, seen.at_seconds),
        by_capability=by_capability,
        listings_complete=all([share.complete for share in kept]),
    )
    placed = place(
        bounded,
        seen,
        kept,
        limits,
        rules=rules.placement,
        chain_age_seconds=circumstances.chain_age_seconds,
        budget_seconds=circumstances.budget_seconds,
        predecessors_act=circumstances.predecessors_act,
        quiet_seconds=circumstances.quiet_seconds,
        members_complete=circumstances.members_complete,
    )
    return Decided(seen, decision, kept, overrides, bounded, placed)


def _asked(policy: Policy, observation: Observation, others: Sequence[str]) -> Decision:
    """What the policy wants of this fleet, with what its master would want beside it."""
    if others:
        decision = _without_others(ask(policy, _with_others(observation, others)), others)
    else:
        decision = ask(policy, observation)
    if observation.demand.desired is None:
        return decision
    return _beside_the_masters(decision, policy.kind, observation)


def _offered(observation: Observation, shares: Sequence[ProviderShare], rules: Rules) -> Observation:
    """What the policy sees: with what could come, where it reads that."""
    if not _reads_offers(type(rules.policy)):
        return observation
    return observation.offered(can_launch(observation, shares, rules.limits, rules.placement))


# A model of pydantic takes long to say that it has no such name.
@cache
def _reads_offers(kind: type) -> bool:
    return bool(getattr(kind, "reads_offers", True))


def is_wound_down(overrides: Sequence[Override]) -> bool:
    """Whether a person wants nobody of this fleet to be left."""
    return any([held.kind is OverrideKind.WIND_DOWN for held in overrides])


def _with_others(observation: Observation, others: Sequence[str]) -> Observation:
    """What the policy sees where the master's other workers count: they serve, and nobody knows whether they work."""
    beside = tuple(Worker(f"other: {name}", "", WorkerState.READY) for name in others)
    return replace(observation, workers=(*observation.workers, *beside))


def _without_others(decision: Decision, others: Sequence[str]) -> Decision:
    """Of what is wanted, what is not served by the others: any kind is theirs, as nobody says what they can do."""
    left = len(others)
    if not decision.total:
        return decision
    wanted = []
    for want in decision.wanted or ():
        taken = 0 if want.capabilities else min(want.count, left)
        left -= taken
        wanted.append(replace(want, count=want.count - taken))
    text = f"{len(others) - left} of {decision.total} wanted workers are the operator's own"
    reason = Reason("limits.others", text)
    return replace(decision, wanted=tuple(wanted), reasons=(*decision.reasons, reason))


def _beside_the_masters(decision: Decision, kind: str, observation: Observation) -> Decision:
    """The same, with what the master itself wants, so that a record shows both."""
    desired = observation.demand.desired
    if desired is None or kind == MASTERS_OWN:
        return decision
    text = f"its master would want {counted(sum(want.count for want in desired), 'worker')}"
    return replace(decision, reasons=(*decision.reasons, Reason("policy.master", text)))


def _satisfiable(decision: Decision, observation: Observation, shares: Sequence[ProviderShare]) -> Decision:
    """The decision without what neither a worker nor a provider of this fleet can do: it must not take others' room.

    Source: Ray counts, and launches for, only those shapes that some node type satisfies completely.
    """
    offered = [share.caps.capabilities for share in shares if share.max_workers]
    offered += [worker.capabilities for worker in observation.workers if worker.is_supply]
    vain = [
        want
        for want in decision.wanted or ()
        if want.count and want.capabilities and not any(fits(able, want.capabilities) for able in offered)
    ]
    if not vain:
        return decision
    reasons = tuple(
        Reason(
            "placement.unsatisfiable",
            f"{want.count} x {', '.join(want.capabilities)}: no provider can give it",
            "unsatisfiable",
        )
        for want in vain
    )
    wanted = tuple(want for want in decision.wanted or () if want not in vain)
    return replace(decision, wanted=wanted, reasons=(*decision.reasons, *reasons))


def _keeping(shares: tuple[ProviderShare, ...], reserve: int | None) -> tuple[ProviderShare, ...]:
    """The providers, where a policy's own reserve goes to the first ones, within what each may keep."""
    if reserve is None:
        return shares
    kept = pour(reserve, [share.warm_workers for share in shares])
    return tuple(replace(share, warm_workers=count) for share, count in zip(shares, kept, strict=True))
