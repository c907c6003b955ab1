"""What an event asks for. It comes from somebody's alert, so anything may stand in its payload."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ebbflow.core.canonical import digest
from ebbflow.core.errors import ConfigError
from ebbflow.core.text import one_line

MOST_WORKERS = 64
MOST_SECONDS = 604_800.0
"""A week."""
REASON_CHARACTERS = 200
KEY_CHARACTERS = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """A scale-up, as an event asks for it."""

    count: int
    reason: str
    hold_seconds: float | None
    """None: the event does not say."""
    key: str
    """The same for the same alert: while what it asked for holds, another event with it adds nothing."""


def asked_by(event: Mapping[str, object]) -> Asked:
    """Read an event's payload.

    Args:
        event: `id`, `event` (its name) and `payload`, whose `count`, `reason`, `hold_seconds` and `key` count.

    Raises:
        ConfigError: names the field, the value and what would be right.
    """
    given = event.get("payload")
    payload = given if isinstance(given, Mapping) else {}
    identity = payload.get("key") or event.get("id") or ""
    key = one_line(identity, KEY_CHARACTERS) if len(str(identity)) <= KEY_CHARACTERS else digest(str(identity))
    return Asked(
        count=_count(payload.get("count")),
        reason=one_line(payload.get("reason") or event.get("event") or "", REASON_CHARACTERS),
        hold_seconds=_hold_seconds(payload.get("hold_seconds")),
        key=f"event {key}",
    )


def _count(value: object) -> int:
    number = _number(value, 1.0)
    if number is None or not 1 <= number <= MOST_WORKERS or number != int(number):
        raise _wrong("count", value, f"a whole number of workers from 1 to {MOST_WORKERS}")
    return int(number)


def _hold_seconds(value: object) -> float | None:
    if value is None:
        return None
    number = _number(value, 0.0)
    if number is None or not 0 < number <= MOST_SECONDS:
        raise _wrong("hold_seconds", value, f"seconds, more than 0 and at most {MOST_SECONDS:g}")
    return number


def _number(value: object, default: float) -> float | None:
    """Alerts write numbers as text as well."""
    if value is None or value == "":
        return default
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _wrong(name: str, value: object, right: str) -> ConfigError:
    return ConfigError(
        f"the event's payload: {name} is {one_line(value, 80)!r}; {right} would be right; nothing was done"
    )
