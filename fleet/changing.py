"""A fleet as a person writes it, and the same with some of its fields set otherwise. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ebbflow.core.canonical import Plain
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import POLICIES

WIDTH = 110
"""Columns of the YAML that is shown."""

# What a fleet's file holds is what it is; the fleet's model checks it.
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Change:
    """One field of a fleet, and what it is set to."""

    path: tuple[str, ...]
    """Below the fleet, such as `("limits", "min_workers")`."""
    value: Plain

    def __str__(self) -> str:
        """As a person reads it: `limits.min_workers: 0`."""
        return f"{'.'.join(self.path)}: {in_a_line(self.value)}"


def as_written(fleet: Fleet) -> Json:
    """What a person has to write to have this fleet: what was set, without what its policy brings of itself."""
    written = fleet.model_dump(mode="json", exclude_unset=True, exclude={"policy"})
    policy = fleet.policy.model_dump(mode="json", exclude_unset=True)  # type: ignore[attr-defined]  # it is a model
    written["policy"] = {"kind": fleet.policy.kind, **policy}
    brought = _brought(fleet.policy.kind)
    limits = {name: value for name, value in written.pop("limits", {}).items() if brought.get(name) != value}
    if limits:
        written["limits"] = limits
    return {name: written[name] for name in Fleet.model_fields if name in written}


def changed(written: Json, changes: Sequence[Change]) -> Json:
    """The same with the changes made; what holds a changed field is made where it is missing."""
    for change in changes:
        written = _set(written, change.path, change.value)
    return written


def with_changes(fleet: Fleet, changes: Sequence[Change]) -> Fleet:
    """The fleet that a person has who makes these changes in its file.

    Raises:
        ValidationError: there is no such fleet.
    """
    return Fleet.model_validate(changed(as_written(fleet), changes))


def came_along(before: Fleet, after: Fleet, changes: Sequence[Change]) -> tuple[str, ...]:
    """Limits that are other ones because the policy is: `limits.min_idle_seconds: 0 (30 before)`."""
    set_by_hand = {change.path for change in changes}
    old, new = before.limits.model_dump(), after.limits.model_dump()
    return tuple(
        f"limits.{name}: {in_a_line(new[name])} ({in_a_line(old[name])} before)"
        for name in new
        if new[name] != old[name] and ("limits", name) not in set_by_hand
    )


def fleet_yaml(written: Json) -> str:
    """The section `fleet:` of a file, as YAML."""
    text: str = yaml.safe_dump({"fleet": written}, sort_keys=False, allow_unicode=True, width=WIDTH)
    return text


def in_a_line(value: Plain) -> str:
    """One value as YAML: `0.5`, `{kind: vanilla}`."""
    text: str = yaml.safe_dump(_short(value), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def _brought(kind: str) -> Mapping[str, float]:
    brought: Mapping[str, float] = getattr(POLICIES.get(kind), "default_limits", {})
    return brought


def _set(written: Json, path: tuple[str, ...], value: Plain) -> Json:
    first, *rest = path
    return {**written, first: _set(written.get(first, {}), tuple(rest), value) if rest else value}


def _short(value: Plain) -> Plain:
    """Whole numbers without a point, as people write them."""
    if isinstance(value, dict):
        return {key: _short(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_short(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
