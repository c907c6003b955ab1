"""What a fleet might be set to instead: other numbers of its policy and its limits, and other policies. Pure.

What is tried stands in `TURNED`: which number goes which way. A policy of another package has no row, so that its
numbers stay as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from ebbflow.fleet.changing import Change, came_along, in_a_line, with_changes
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import POLICIES

AS_IT_IS = "as it is"
HALF_AND_TWICE, THIRD_AND_THRICE = (0.5, 2.0), (1 / 3, 3.0)
LITTLE_LESS_AND_MORE = (0.8, 1.1)
"""For shares, which end at one."""

TURNED: Mapping[str, Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {
        "vanilla": {"upper_task_ratio": HALF_AND_TWICE, "lower_task_ratio": HALF_AND_TWICE},
        "marginal": {"waiting_worth": THIRD_AND_THRICE},
        "waterfall": {"upper_task_ratio": HALF_AND_TWICE},
        "fixed_elastic": {"upper_task_ratio": HALF_AND_TWICE, "base_workers": HALF_AND_TWICE},
        "swarmui": {"min_queued_before_expand": HALF_AND_TWICE},
        "pending_tasks": {"idle_seconds": THIRD_AND_THRICE},
        "busy_ratio": {
            "upper_busy_ratio": LITTLE_LESS_AND_MORE,
            "lower_busy_ratio": LITTLE_LESS_AND_MORE,
            "hot_share": HALF_AND_TWICE,
            "half_life_seconds": THIRD_AND_THRICE,
        },
        "target_queue_time": {
            "target_queue_time_seconds": HALF_AND_TWICE,
            "target_util": LITTLE_LESS_AND_MORE,
            "inactivity_timeout_seconds": THIRD_AND_THRICE,
        },
    }
)
"""By kind of policy and field, what a number is multiplied by."""

MIN_WORKERS = (0, 1, 2)
IDLE_SECONDS = (0.0, 60.0, 300.0)
"""What is tried where `min_idle_seconds` is 0: a multiple of that is the same."""
WORTHS = (1.0, 10.0)
"""Of waiting, at which `marginal` is tried where nobody named one."""
WAITING_SECONDS = 15.0
"""How soon turns are tried to follow each other while work waits."""
POLL_SECONDS = 5.0
"""How often the queue alone is tried to be looked at between turns."""
DECIDES_NOTHING = "no"
"""The policy that has no opinion: it is no other way to decide."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to set a fleet."""

    label: str
    changes: tuple[Change, ...]
    """Of the fleet's file; empty: the fleet as it is."""
    fleet: Fleet
    came_along: tuple[str, ...] = ()
    """What else is other, because the policy brings it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What can be played, the fleet as it is first, and what cannot."""

    playable: tuple[Setting, ...]
    not_playable: tuple[str, ...]
    """Each with its reason."""


def settings_of(fleet: Fleet, *, waiting_worth: float | None = None) -> Settings:
    """The fleet as it is, other numbers of its policy, other policies, and other limits; no fleet twice.

    Args:
        fleet: as it is written.
        waiting_worth: at which `marginal` is tried, k; None: at several.
    """
    found = [Setting(AS_IT_IS, (), fleet)]
    others, not_playable = _other_policies(fleet, (waiting_worth,) if waiting_worth is not None else WORTHS)
    seen = [fleet]
    for label, changes in (*_other_numbers(fleet), *others, *_other_limits(fleet), *_other_turns(fleet)):
        try:
            changed = with_changes(fleet, changes)
        except ValidationError:
            # Bands that would cross, or a minimum above the maximum: no fleet, and nothing to tell.
            continue
        if changed not in seen:
            seen.append(changed)
            found.append(Setting(label, changes, changed, came_along(fleet, changed, changes)))
    return Settings(tuple(found), tuple(not_playable))


Tried = tuple[str, tuple[Change, ...]]


def _other_numbers(fleet: Fleet) -> Iterator[Tried]:
    for name, factors in TURNED.get(fleet.policy.kind, {}).items():
        now = getattr(fleet.policy, name)
        for factor in factors:
            yield _number(("policy", name), now, _scaled(now, factor))


def _other_policies(fleet: Fleet, worths: Sequence[float]) -> tuple[list[Tried], list[str]]:
    """Of this installation, with their defaults."""
    tried: list[Tried] = []
    not_playable = []
    for kind, model in sorted(POLICIES.items()):
        if kind in (fleet.policy.kind, DECIDES_NOTHING):
            continue
        if getattr(model, "needs_shapes", False):
            not_playable.append(f"policy {kind}: it asks what waiting work requires, and a past does not tell")
        elif getattr(model, "needs_desired", False):
            not_playable.append(f"policy {kind}: it does what the master says, and a past does not tell that")
        elif required := [name for name, field in model.model_fields.items() if field.is_required()]:
            not_playable.append(f"policy {kind}: nobody says what its {', '.join(required)} should be")
        elif kind == "marginal":
            tried += [_policy({"kind": kind, "waiting_worth": worth}) for worth in worths]
        else:
            tried.append(_policy({"kind": kind}))
    return tried, not_playable


def _policy(given: dict[str, Any]) -> Tried:  # Any: whatever a policy's numbers are
    numbers = ", ".join(f"{name} {in_a_line(value)}" for name, value in given.items() if name != "kind")
    return f"policy {given['kind']}{f', {numbers}' if numbers else ''}", (Change(("policy",), given),)


def _other_limits(fleet: Fleet) -> Iterator[Tried]:
    limits = fleet.limits
    for count in MIN_WORKERS:
        yield _number(("limits", "min_workers"), limits.min_workers, count)
    idle = limits.min_idle_seconds
    for seconds in [_scaled(idle, factor) for factor in THIRD_AND_THRICE] if idle else IDLE_SECONDS:
        yield _number(("limits", "min_idle_seconds"), idle, seconds)
    room = sum(entry.max_workers for entry in fleet.providers)
    for factor in HALF_AND_TWICE:
        # More than all providers together may hold is no more.
        most = min(room, max(1, round(limits.max_workers * factor)))
        yield _number(("limits", "max_workers"), limits.max_workers, most)


def _other_turns(fleet: Fleet) -> Iterator[Tried]:
    """Only what no schedule has to follow: an interval stands in two places of a file."""
    now = fleet.waiting_interval_seconds
    said, changes = _number(("waiting_interval_seconds",), now, WAITING_SECONDS)
    yield said, changes
    if fleet.poll_interval_seconds is None:
        polls, to_poll = _number(("poll_interval_seconds",), None, POLL_SECONDS)
        if now is not None and now <= WAITING_SECONDS:
            yield polls, to_poll
        else:
            # Without turns that are near each other there is nothing that a poll may ask for.
            yield f"{said}, {polls}", changes + to_poll


def _number(path: tuple[str, ...], now: float | None, then: float) -> Tried:
    before = "unset" if now is None else in_a_line(now)
    return f"{path[-1]} {in_a_line(then)} (now {before})", (Change(path, then),)


def _scaled(now: float, factor: float) -> float:
    """Another number of the same kind, as a person would write it: whole, or of two digits."""
    if isinstance(now, int):
        # Up from 1 is 2, and half of it is no other number.
        return max(1, round(now * factor))
    return float(f"{now * factor:.2g}")
