"""The paged listing of instances, `GET /api/v1/instances/`.

Source: vast-ai/docs, show_instances.yaml: a token holds the sorted values of the last row, so a page follows it even
when rows before it have gone.
"""

import base64
import binascii
import json
from collections import Counter
from collections.abc import Mapping, Sequence

from ebbflow.standins.vast.query import matches, ordered
from ebbflow.standins.vast.refusals import Json, invalid

MAX_ROWS = 25
ROWS_IF_NOT_POSITIVE = 5
# fmt: off
STORED = frozenset((
    "id", "machine_id", "host_id", "num_gpus", "actual_status", "intended_status", "cur_state", "next_state",
    "label", "ssh_host", "ssh_port", "start_date", "end_date", "image_uuid", "image_runtype", "template_id",
    "template_hash_id", "dph_base", "dph_total", "is_bid", "min_bid", "gpu_name", "gpu_ram", "disk_space",
    "storage_cost", "verification",
))
# fmt: on
"""Columns that can be filtered and ordered by; the others are computed for each answer."""


def page(rows: Sequence[Json], query: Mapping[str, str]) -> Json:
    """One page of the rows that a query asks for.

    Raises:
        Refused: 400: a column, a token or a number that is none.
    """
    filters, columns = _object(query, "select_filters"), _list(query, "select_cols")
    order = _order(query)
    for name in filters:
        _check(name)
    found = ordered((row for row in rows if matches(row, filters)), order)
    start = _after(found, query.get("after_token"), order)
    shown = found[start : start + _limit(query)]
    is_last = start + len(shown) >= len(found)
    return {
        "success": True,
        "instances_found": len(shown),
        "total_instances": len(found),
        "label_counts": dict(Counter(row.get("label") or "" for row in found)),
        "next_token": None if is_last else _token(shown[-1], order),
        "instances": [_selected(row, columns) for row in shown],
    }


def _limit(query: Mapping[str, str]) -> int:
    try:
        limit = int(query.get("limit", MAX_ROWS))
    except ValueError as error:
        raise invalid("limit: no whole number") from error
    return min(limit, MAX_ROWS) if limit > 0 else ROWS_IF_NOT_POSITIVE


def _order(query: Mapping[str, str]) -> list[tuple[str, str]]:
    order = []
    for each in _list(query, "order_by"):
        if not isinstance(each, dict) or "col" not in each:
            raise invalid('order_by: a list of {"col", "dir"}')
        _check(each["col"])
        order.append((each["col"], each.get("dir", "asc")))
    # The id makes every order a total one.
    return order if any(name == "id" for name, _ in order) else [*order, ("id", "asc")]


def _check(name: str) -> None:
    if name not in STORED:
        raise invalid(f"{name!r} is no column that can be chosen by")


def _token(row: Json, order: Sequence[tuple[str, str]]) -> str:
    values = {name: row.get(name) for name, _ in order}
    return base64.urlsafe_b64encode(json.dumps({"values": values}).encode()).decode()


def _after(found: list[Json], token: str | None, order: Sequence[tuple[str, str]]) -> int:
    """The index of the first row after the one that a token names, whether that is still there or not."""
    if not token:
        return 0
    try:
        values = json.loads(base64.urlsafe_b64decode(token))["values"]
        is_known = set(values) == {name for name, _ in order}
    except (binascii.Error, ValueError, KeyError, TypeError) as error:
        raise invalid("after_token: not one of ours", "invalid_token") from error
    if not is_known:
        raise invalid("after_token: of another order", "invalid_token")
    with_mark = ordered([*found, values], order)
    # Sorting is stable: the mark follows its own row, where that is still there.
    return next(index for index, row in enumerate(with_mark) if row is values)


def _selected(row: Json, columns: Sequence[object]) -> Json:
    if not columns or "*" in columns:
        return row
    return {name: value for name, value in row.items() if name in columns}


def _object(query: Mapping[str, str], name: str) -> Json:
    found = _json(query, name, {})
    if not isinstance(found, dict):
        raise invalid(f"{name}: no JSON object")
    return found


def _list(query: Mapping[str, str], name: str) -> list[object]:
    found = _json(query, name, [])
    if not isinstance(found, list):
        raise invalid(f"{name}: no JSON list")
    return found


def _json(query: Mapping[str, str], name: str, default: object) -> object:
    try:
        return json.loads(query[name]) if query.get(name) else default
    except ValueError as error:
        raise invalid(f"{name}: no JSON") from error
