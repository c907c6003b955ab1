"""`waterfall_v1` of opengris-scaler 2.9.0 in its own terms: a number poured over managers in order of priority. Pure.

Source: opengris-scaler 2.9.0, `scaler/scheduler/controllers/policies/` (waterfall_v1). With `LIBRARY` it answers as the
library does; what `CORRECTED` changes is said in `corrections`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ebbflow.core.capabilities import fits
from ebbflow.core.plan import Want
from ebbflow.policies.formulas.corrections import CORRECTED, Corrections
from ebbflow.policies.formulas.needs import Need, merged, names
from ebbflow.policies.formulas.opengris_2_9 import allowed, targets
from ebbflow.policies.formulas.pouring import pour


@dataclass(frozen=True, slots=True)
class Tier:
    """One manager of a waterfall, with its line `priority,manager_id[,max]`; tiers come in order of priority."""

    name: str
    reported: int
    """`maxTaskConcurrency` of its heartbeat; -1: unlimited."""
    most: int | None = None
    """`max` of its line."""
    capabilities: tuple[str, ...] = ()
    count: int = 0
    """Workers it has now."""
    priority: int | None = None
    """A lower number goes first; None: its place in the order."""
    is_online: bool = True
    """It had a heartbeat of late."""


def waterfall(
    tasks: Sequence[Need] | None,
    tiers: Sequence[Tier],
    *,
    upper: float = 10.0,
    corrections: Corrections = CORRECTED,
) -> Mapping[str, tuple[Want, ...]] | None:
    """What each manager is asked for: each tier takes what those before it could not. None: no opinion.

    Without any task the tiers are emptied from the last to the first, each when none after it has workers any more.

    Args:
        tasks: what unfinished tasks require, in order of first appearance; None: unknown.
        tiers: the managers, in order of priority.
        upper: tasks per worker.
        corrections: which of our corrections hold.
    """
    if tasks is None and corrections.unknown_holds:
        return None
    online = [tier for tier in tiers if tier.is_online]
    needs = merged(tasks or ())
    if not needs:
        return {tier.name: (Want((), kept),) for tier, kept in zip(online, drained(online), strict=True)}
    wanted = targets(needs, upper=upper, counts_all=True, corrections=corrections)
    caps = [_tier_cap(tier, corrections) for tier in online]
    shares: dict[tuple[str, ...], tuple[int, ...]] = {}
    # Work that requires something has fewer places to go, so it is placed before work that may run anywhere.
    for want in (*wanted[1:], wanted[0]):
        able = [_is_able(tier, want.capabilities, corrections) for tier in online]
        if corrections.count_once:
            rooms = [cap if can else 0 for cap, can in zip(caps, able, strict=True)]
            taken = pour(want.count, rooms)
            caps = [None if cap is None else cap - share for cap, share in zip(caps, taken, strict=True)]
        else:
            taken = _poured_alone(want.count, caps, able)
        shares[want.capabilities] = taken
    return {
        tier.name: tuple(
            Want(want.capabilities, shares[want.capabilities][place])
            for want in wanted
            if not want.capabilities or shares[want.capabilities][place] > 0
        )
        for place, tier in enumerate(online)
    }


def drained(tiers: Sequence[Tier]) -> tuple[int, ...]:
    """What each tier keeps while there is no work: its own count, until every tier of lower priority is empty."""
    ranks = [place if tier.priority is None else tier.priority for place, tier in enumerate(tiers)]
    lowest = max((rank for rank, tier in zip(ranks, tiers, strict=True) if tier.count), default=None)
    return tuple(
        tier.count if lowest is not None and rank < lowest else 0 for rank, tier in zip(ranks, tiers, strict=True)
    )


def _tier_cap(tier: Tier, corrections: Corrections) -> int | None:
    known = [most for most in (tier.reported, tier.most) if most is not None]
    if not corrections.read_minus_one:
        # The library's other rules read -1 as "unlimited", this one does not.
        return min(known, default=None)
    caps = [allowed(most, corrections) for most in known]
    return min((cap for cap in caps if cap is not None), default=None)


def _is_able(tier: Tier, words: tuple[str, ...], corrections: Corrections) -> bool:
    if corrections.compare_amounts:
        return fits(tier.capabilities, words)
    return names(words) <= names(tier.capabilities)


def _poured_alone(count: int, caps: Sequence[int | None], able: Sequence[bool]) -> tuple[int, ...]:
    """As the library pours: each set by itself, and a negative cap takes from nothing and gives to the rest."""
    taken: list[int] = []
    for cap, can in zip(caps, able, strict=True):
        share = (count if cap is None else min(count, cap)) if can else 0
        taken.append(max(0, share))
        count -= share
    return tuple(taken)
