"""Filters and orders of the Vast API: `{"field": {"op": value}}`, and `[["field", "asc"]]`.

Source: vast-ai/docs, search_offers.yaml and show_instances.yaml. The vendor's client sends most numbers as text.
"""

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ebbflow.standins.vast.refusals import Json, invalid

COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {  # both sides are of one type when it is called
    "eq": operator.eq,
    "neq": operator.ne,
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
EQUALITIES = ("eq", "neq", "in", "notin")


def matches(row: Json, filters: Json) -> bool:
    """Whether a row passes every filter.

    Raises:
        Refused: 400: an operator that is none, or a value that does not fit the field.
    """
    return all(_passes(row.get(field), conditions, field) for field, conditions in filters.items())


def _passes(value: object, conditions: object, field: str) -> bool:
    if not isinstance(conditions, dict):
        raise invalid(f"{field}: {conditions!r} is no object of operator and value")
    return all(_holds(value, name, wanted, field) for name, wanted in conditions.items())


def _holds(value: object, name: str, wanted: object, field: str) -> bool:
    if name in ("in", "notin"):
        if not isinstance(wanted, list):
            raise invalid(f"{field}: {name} wants a list")
        is_in = any(_holds(value, "eq", each, field) for each in wanted)
        return is_in == (name == "in")
    if name not in COMPARISONS:
        raise invalid(f"{field}: {name!r} is no operator")
    if value is None or wanted is None:
        # The vendor's client asks for unlabelled instances with an empty text.
        is_same = value in (None, "") and wanted in (None, "")
        return name in EQUALITIES and is_same == (name == "eq")
    return COMPARISONS[name](value, _like(value, wanted, field))


def _like(value: object, wanted: object, field: str) -> object:
    """What was asked for, in the type of what is there."""
    if isinstance(value, bool):
        return wanted.lower() in ("true", "1") if isinstance(wanted, str) else bool(wanted)
    if isinstance(value, (int, float)):
        try:
            return float(str(wanted))
        except ValueError as error:
            raise invalid(f"{field}: {wanted!r} is no number") from error
    return str(wanted)


def ordered(rows: Iterable[Json], order: Sequence[tuple[str, str]]) -> list[Json]:
    """Sort by several fields, the first one being the most important; what has no value comes first.

    Raises:
        Refused: 400: a direction that is none.
    """
    found = list(rows)
    for field, direction in reversed(order):
        if direction not in ("asc", "desc"):
            raise invalid(f"order: {direction!r} is neither asc nor desc")
        found.sort(key=lambda row: _rank(row.get(field)), reverse=direction == "desc")
    return found


def _rank(value: object) -> tuple[bool, float, str]:
    if isinstance(value, (bool, int, float)):
        return True, float(value), ""
    return value is not None, 0.0, str(value or "")
