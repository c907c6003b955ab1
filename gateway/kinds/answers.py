"""JSON answers of model servers, taken apart without trust. Pure."""

import math
from collections.abc import Mapping

import orjson

from ebbflow.gateway.kinds.kind import Said

MOST = 1e15
"""Of any figure of a server."""
NAME_LETTERS = 300


def parsed(said: Said | None) -> object:
    """The JSON of a good answer; None where there is none."""
    if said is None or said.status is None or not 200 <= said.status < 300:
        return None
    try:
        # It refuses NaN, and whatever is nested too deep.
        return orjson.loads(said.text)
    except ValueError:
        return None


def mapping(said: Said | None) -> Mapping[str, object] | None:
    """The JSON object of a good answer; None where there is none."""
    data = parsed(said)
    return data if isinstance(data, dict) else None


def inner(data: object, *keys: str) -> object:
    """What lies under keys within keys; None where there is nothing."""
    for key in keys:
        if not isinstance(data, Mapping):
            return None
        data = data.get(key)
    return data


def mappings(value: object) -> tuple[Mapping[str, object], ...] | None:
    """A list of objects; None where it is none, or has something else in it."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        return None
    return tuple(value)


def count(value: object) -> int | None:
    """A whole number that is not negative; None for anything else. To JSON, 7.0 is as whole as 7."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST:
        return None
    return int(value) if value == int(value) else None


def name(value: object) -> str | None:
    """A name, of a model for instance; None for anything else."""
    return value if isinstance(value, str) and 0 < len(value) <= NAME_LETTERS and value.isprintable() else None


def is_vector(value: object) -> bool:
    """Whether it is a list of numbers, and not empty."""
    return isinstance(value, list) and bool(value) and all(_is_number(each) for each in value)


def _is_number(value: object) -> bool:
    return not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
