"""The change from one plain value to another, as a plain value that is small where little is different, and exact.

What stands side by side is compared as a column: the fields of an object, and each field of all rows of a list. Of a
column, whose values have labels (names of fields, or places in the list as it is now), a change says

- `set`, `drop`: what is new or another, and what is no longer there;
- `ms`, `ms_each`: by how much its numbers grew, in thousandths: all of them, and beside that each of them in order,
  where `[count, number]` is the same several times. Durations are kept to the millisecond (`core.memory`);
- `in`: the change of a single object, by its label; `each`: those of several objects, by the name of their fields;
- `lists`: those of lists, by label. `from` has the rows as they are now: `[first, count]` of the list before, in its
  order, or `{"new": rows}`; without it all rows are those before. `rows` is the change of those kept, as a column.
"""

from collections.abc import Collection, Mapping, Sequence
from itertools import chain, groupby

from ebbflow.core.alignment import align
from ebbflow.core.canonical import Plain, spell
from ebbflow.core.thousandths import each_of, from_ms, in_ms, tell_shifts, whole_number, wrong

Column = Mapping[str, Plain]
"""Values by label, in order; what has none is not in it."""
Change = dict[str, Plain]

FEW = 8
"""So many numbers that changed are told as they are."""
MOST_LEVELS = 24
"""What lies deeper is told as a whole."""
PARTS = frozenset({"set", "drop", "ms", "ms_each", "in", "each", "lists"})
WHOLE = ""
"""The label of the whole value."""


def change_between(before: Plain, now: Plain) -> Change:
    """What is different in `now`; empty where nothing is. Neither may hold a float that is a whole number."""
    return _compare({WHOLE: before}, {WHOLE: now}, 0)


def with_change(before: Plain, change: Plain) -> Plain:
    """The value that `change` was made for.

    What it gives is never larger than the two together, and `before` stays as it is.

    Raises:
        RecordError: it is no change of such a value.
    """
    now = _apply({WHOLE: before}, change, 0, rows=(WHOLE,)) if change != {} else {WHOLE: before}
    if WHOLE not in now:
        raise wrong(change)
    return now[WHOLE]


def _compare(before: Column, now: Column, level: int) -> Change:
    told = {label: value for label, value in now.items() if label not in before}
    shifts: dict[str, int] = {}
    objects: list[tuple[str, dict[str, Plain], dict[str, Plain]]] = []
    lists: Change = {}
    is_deep = level >= MOST_LEVELS
    for label, old in before.items():
        if label not in now:
            continue
        new = now[label]
        if isinstance(old, str) and isinstance(new, str):
            # First, since most of a record is text that stays.
            if old != new:
                told[label] = new
        elif isinstance(old, dict) and isinstance(new, dict) and not is_deep:
            objects.append((label, old, new))
        elif isinstance(old, list) and isinstance(new, list) and not is_deep:
            if within := _compare_lists(old, new, level + 1):
                lists[label] = within
        elif (started := in_ms(old)) is not None and (came := in_ms(new)) is not None:
            shifts[label] = came - started
        elif not _is_same(old, new):
            told[label] = new
    moved = [label for label, shift in shifts.items() if shift]
    if len(moved) <= FEW:
        told |= {label: now[label] for label in moved}
    parts: Change = {
        "set": told,
        "drop": [label for label in before if label not in now],
        "lists": lists,
        **(tell_shifts(list(shifts.values())) if len(moved) > FEW else {}),
        **_compare_objects(objects, level + 1),
    }
    return {part: content for part, content in parts.items() if content not in ({}, [])}


def _compare_objects(rows: Sequence[tuple[str, dict[str, Plain], dict[str, Plain]]], level: int) -> Change:
    if len(rows) == 1:
        ((label, old, new),) = rows
        within = _compare(dict(sorted(old.items())), dict(sorted(new.items())), level)
        return {"in": {label: within}} if within else {}
    columns: Change = {}
    for field in sorted(set(chain.from_iterable((*old, *new) for _, old, new in rows))):
        before = {label: old[field] for label, old, _ in rows if field in old}
        now = {label: new[field] for label, _, new in rows if field in new}
        if within := _compare(before, now, level):
            columns[field] = within
    return {"each": columns} if columns else {}


def _compare_lists(before: list[Plain], now: list[Plain], level: int) -> Change:
    if before == now and all(isinstance(row, str) for row in now):
        return {}
    pairs = align(before, now)
    kept = {str(place): before[old] for old, place in pairs}
    rows = _compare(kept, {str(place): now[place] for _, place in pairs}, level)
    is_whole = len(before) == len(pairs) == len(now)
    return {**({} if is_whole else {"from": _told_rows(pairs, now)}), **({"rows": rows} if rows else {})}


def _told_rows(pairs: Sequence[tuple[int, int]], now: Sequence[Plain]) -> list[Plain]:
    sources = {place: old for old, place in pairs}
    told: list[Plain] = []
    # Rows that follow one another in both lists are one run, and so are new ones.
    for step, run in groupby(range(len(now)), lambda place: sources[place] - place if place in sources else None):
        places = list(run)
        told.append({"new": [now[place] for place in places]} if step is None else [places[0] + step, len(places)])
    return told


def _is_same(old: Plain, new: Plain) -> bool:
    """To the byte: 1 is neither 1.0 nor true."""
    return type(old) is type(new) and (spell(old) == spell(new) if isinstance(old, list | dict) else old == new)


def _apply(before: Column, change: Plain, level: int, *, rows: Collection[str] | None = None) -> dict[str, Plain]:
    """The column as it is now.

    Args:
        before: as it was.
        change: of it.
        level: how deep it lies.
        rows: the labels that there are; None: any.
    """
    parts = _object(change, PARTS)
    if not parts or level > MOST_LEVELS:
        raise wrong(change)
    told, dropped = _object(parts.get("set", {})), _list(parts.get("drop", []))
    if rows is not None and not all(label in rows for label in told):
        raise wrong(parts["set"])
    now = {label: value for label, value in before.items() if label not in told}
    for label in dropped:
        if not isinstance(label, str) or label not in now:
            raise wrong(label)
        del now[label]
    if "ms" in parts or "ms_each" in parts:
        _shift(now, parts)
    for label, within in _object(parts.get("in", {})).items():
        now[label] = _apply(dict(sorted(_object(now.get(label)).items())), within, level + 1)
    if "each" in parts:
        _apply_each(now, _object(parts["each"]), level + 1)
    for label, within in _object(parts.get("lists", {})).items():
        now[label] = _apply_list(_list(now.get(label)), within, level + 1)
    return now | told


def _shift(column: dict[str, Plain], parts: Change) -> None:
    numbers = [(label, found) for label, value in column.items() if (found := in_ms(value)) is not None]
    usual = whole_number(parts.get("ms", 0))
    beside = each_of(_list(parts["ms_each"]), len(numbers)) if "ms_each" in parts else [0] * len(numbers)
    if not numbers:
        raise wrong(parts.get("ms"))
    for (label, found), more in zip(numbers, beside, strict=True):
        column[label] = from_ms(found + usual + more)


def _apply_each(column: dict[str, Plain], fields: Change, level: int) -> None:
    rows = {label: dict(row) for label, row in column.items() if isinstance(row, dict)}
    known = set(chain.from_iterable(rows.values()))
    for field, within in fields.items():
        # A field that no row had is only set in some: nothing is done for the others.
        before = {label: row[field] for label, row in rows.items() if field in row} if field in known else {}
        now = _apply(before, within, level, rows=rows)
        for label in before.keys() - now.keys():
            del rows[label][field]
        for label, value in now.items():
            rows[label][field] = value
    column.update(rows)


def _apply_list(before: list[Plain], change: Plain, level: int) -> Plain:
    parts = _object(change, {"from", "rows"})
    now: list[Plain] = []
    kept: dict[str, Plain] = {}
    least = 0
    for source in _list(parts.get("from", [[0, len(before)]] if before else [])):
        if isinstance(source, dict):
            now += _list(_object(source, {"new"}).get("new"))
            continue
        first, count = (*_list(source), None, None)[:2]
        first, count = whole_number(first, least=least), whole_number(count, least=1)
        least = first + count
        if least > len(before):
            raise wrong(source)
        kept |= {str(len(now) + place): before[first + place] for place in range(count)}
        now += before[first:least]
    if "rows" in parts:
        for label, value in _apply(kept, parts["rows"], level, rows=kept).items():
            now[int(label)] = value
    return now


def _object(value: Plain, names: Collection[str] | None = None) -> Change:
    if not isinstance(value, dict) or (names is not None and not value.keys() <= set(names)):
        raise wrong(value)
    return value


def _list(value: Plain) -> list[Plain]:
    if not isinstance(value, list):
        raise wrong(value)
    return value
