"""What a person asked for: requests of `scale-up`, `scale-down` and `override` become overrides with an end."""

from collections.abc import Sequence

from ebbflow.core.errors import ConfigError
from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.observation import Observation, ScaleRequest
from ebbflow.decision.limits import Limits, check_request


def overrides_after(
    held: Sequence[Override], asked: ScaleRequest | None, observation: Observation, limits: Limits
) -> tuple[Override, ...]:
    """The overrides that hold from this turn on: those in force, and what a person asks for now.

    Raises:
        ConfigError: a worker or an override is named that the fleet has not.
        OverrideRefused: the request goes beyond the limits.
    """
    if asked is None or any(each.key == asked.key for each in held):
        return tuple(held)
    if asked.kind is OverrideKind.END:
        return _without(held, asked.ends)
    return (*held, _absolute(asked, observation, limits))


def _without(held: Sequence[Override], ends: Sequence[str]) -> tuple[Override, ...]:
    """Those that hold on."""
    unknown = sorted(set(ends) - {each.key for each in held})
    if unknown:
        there = "; ".join(f"{each.key}: {each.short}" for each in held) or "none"
        raise ConfigError(f"override_ids: {', '.join(unknown)} holds nothing here (any more); there are: {there}")
    return tuple(each for each in held if ends and each.key not in ends)


def _absolute(asked: ScaleRequest, observation: Observation, limits: Limits) -> Override:
    """Turn "two more" into "at least five": repeated or late, it then means the same."""
    supply = {worker.worker_id for worker in observation.workers if worker.is_supply}
    unknown = sorted(set(asked.worker_ids) - {worker.worker_id for worker in observation.workers})
    if unknown:
        raise ConfigError(
            f"worker_ids: {', '.join(unknown)} not in this fleet; it has {', '.join(sorted(supply)) or 'no workers'}"
        )
    target, said = _target(asked, supply)
    if asked.kind in (OverrideKind.FLOOR, OverrideKind.CEILING):
        check_request(target, limits, asked=said)
    return Override(
        key=asked.key,
        kind=asked.kind,
        count=target,
        owner=asked.owner,
        reason=asked.reason,
        remaining_seconds=asked.hold_seconds,
        worker_ids=asked.worker_ids,
        force=asked.force,
    )


def _target(asked: ScaleRequest, supply: set[str]) -> tuple[int, str]:
    if asked.is_absolute:
        return asked.count, f"{asked.kind.value} {asked.count}"
    if asked.kind is OverrideKind.FLOOR:
        return len(supply) + asked.count, f"scale_up by {asked.count} from {len(supply)}"
    fewer = asked.count or len(supply & set(asked.worker_ids))
    return len(supply) - fewer, f"scale_down by {fewer} from {len(supply)}"
