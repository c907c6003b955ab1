"""Placement: which provider gets which launch, and which worker goes. Pure; providers come in order of preference."""

from collections.abc import Sequence

from ebbflow.core.observation import Observation
from ebbflow.core.plan import Reason, Want
from ebbflow.decision.limits import Bounded, Limits
from ebbflow.decision.placement.launching import place_launches
from ebbflow.decision.placement.shares import Launch, Placed, PlacementRules, ProviderShare
from ebbflow.decision.placement.victims import choose_retired, choose_victims

NOTHING = Placed()
"""Nobody comes and nobody goes."""


def place(
    bounded: Bounded,
    observation: Observation,
    shares: Sequence[ProviderShare],
    limits: Limits,
    *,
    rules: PlacementRules | None = None,
    chain_age_seconds: float = float("inf"),
    budget_seconds: float = 0.0,
    predecessors_act: bool = False,
    quiet_seconds: float = 0.0,
    members_complete: bool = True,
) -> Placed:
    """Turn numbers into providers and worker ids.

    Args:
        bounded: launches and stops after the limits.
        observation: who exists.
        shares: in order of preference.
        limits: for the failure cooldown, idle time and the fleet's price cap.
        rules: how launches and stops are spread; None: the defaults.
        chain_age_seconds: how long this chain of records exists; a new one waits until its providers have settled.
        budget_seconds: how late a turn's run may still launch, and so how many launches fit a provider's rate.
        predecessors_act: whether such a run may still be launching now.
        quiet_seconds: how old the chain has to be at least before it launches.
        members_complete: whether the master answered wholly; without that nobody goes.
    """
    if not bounded.launches and not bounded.stops and not observation.crew.retiring:
        return NOTHING
    rules = rules or PlacementRules()
    launches: tuple[Launch, ...] = ()
    reasons: tuple[Reason, ...] = ()
    if bounded.launches:
        settle = max((share.caps.settle_seconds for share in shares), default=0.0)
        quiet = max(settle + budget_seconds if settle else 0.0, quiet_seconds)
        if predecessors_act or chain_age_seconds < quiet:
            reasons = (_not_settled(chain_age_seconds, quiet, predecessors_act),)
        else:
            wants = bounded.missing or (Want(count=bounded.launches),)
            launches, reasons = place_launches(wants, observation, shares, limits, rules, budget_seconds=budget_seconds)
    if bounded.stops and not members_complete:
        return Placed(
            launches,
            (),
            (*reasons, Reason("placement.unknown", "members are unknown, so nobody is stopped", "unknown")),
        )
    victims, kept = choose_victims(bounded, observation, shares, limits, rules)
    retired = choose_retired(bounded, observation, shares, limits) if members_complete else ()
    return Placed(launches, (*victims, *retired), (*reasons, *kept))


def _not_settled(age: float, quiet: float, predecessors_act: bool) -> Reason:
    if predecessors_act:
        return Reason(
            "placement.settle", "a run whose record is lost may still be launching; nothing is until it ends", "settle"
        )
    return Reason(
        "placement.settle",
        f"this chain of records is {age:.0f} s old; nothing is launched before {quiet:g} s",
        "settle",
    )
