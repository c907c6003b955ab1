"""The fleet that plays in the league: it leaves a policy to itself, but for a maximum."""

from ebbflow.core.ports import Policy
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.fleet.model import Fleet
from ebbflow.simulation.environment import Environment

UNSPACED = Limits(
    max_workers=120,
    min_seconds_between_stops=0.0,
    min_seconds_between_starts=0.0,
    min_seconds_after_failure=0.0,
    min_idle_seconds=0.0,
)
"""Limits that leave a policy to itself, but for the maximum."""

LEAGUE = Fleet(
    name="league", master="simulated/master", providers=(ProviderEntry(block="simulated/any"),), limits=UNSPACED
)
"""A fleet that leaves a policy to itself; `league_fleet` gives it an environment's providers."""


def league_fleet(environment: Environment, policy: Policy) -> Fleet:
    """The league's fleet under a policy, at all providers of an environment."""
    providers = tuple(
        ProviderEntry(block=provider.block, max_workers=provider.max_workers) for provider in environment.providers
    )
    return LEAGUE.model_copy(update={"providers": providers, "policy": policy})
