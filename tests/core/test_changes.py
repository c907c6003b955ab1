"""A change gives back exactly what it was made for, is small where little is different, and nothing else is taken."""

from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbflow.core.canonical import Plain, encode, spell
from ebbflow.core.changes import change_between, with_change
from ebbflow.core.errors import RecordError

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-5_000, 5_000).map(lambda ms: ms / 1000)
    | st.sampled_from(["", "a", "b"])
)
NAMES = st.sampled_from(["a", "b", "worker_id", "c", ""])
VALUES: st.SearchStrategy[Plain] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=40,
).map(encode)
ROWS: st.SearchStrategy[Plain] = st.lists(
    st.fixed_dictionaries(
        {"worker_id": st.sampled_from("abcdefghijklmnop")},
        optional={
            "idle_seconds": st.integers(0, 9_000).map(lambda ms: ms / 1000),
            "busy": st.booleans(),
            "mark": VALUES,
        },
    ),
    max_size=16,
).map(encode)


@given(before=VALUES, now=VALUES)
def test_a_change_gives_back_the_same_bytes(before: Plain, now: Plain) -> None:
    restored = with_change(before, change_between(before, now))
    assert restored == now
    assert spell(restored) == spell(now)


@given(before=ROWS, now=ROWS)
def test_also_of_rows_that_come_go_move_and_grow_older(before: Plain, now: Plain) -> None:
    kept = deepcopy(before)
    assert spell(with_change(before, change_between(before, now))) == spell(now)
    assert before == kept, "what a change leans on stays as it is"


def workers(count: int, **fields: Plain) -> list[Plain]:
    return [
        {"worker_id": f"w{place}", "idle_seconds": 100 + place, "state": "ready", **fields} for place in range(count)
    ]


def older(rows: list[Plain], *seconds: float) -> list[Plain]:
    shifts = [*seconds, *[seconds[-1]] * (len(rows) - len(seconds))]
    return [
        {**row, "idle_seconds": encode(row["idle_seconds"] + shift)}  # type: ignore[dict-item, index, call-overload, operator]
        for row, shift in zip(rows, shifts, strict=True)
    ]


MANY = workers(20)
GROWN = {"in": {"": {"lists": {"workers": {"rows": {"each": {"idle_seconds": {"ms": 30000}}}}}}}}


@pytest.mark.parametrize(
    ("before", "now", "change"),
    [
        ({"a": 1}, {"a": 1}, {}),
        (1, 2, {"set": {"": 2}}),
        ({"a": 1, "b": 2}, {"a": 1.5, "c": None}, {"in": {"": {"set": {"a": 1.5, "c": None}, "drop": ["b"]}}}),
        ({"a": 1}, {"a": True}, {"in": {"": {"set": {"a": True}}}}),
        ({"workers": MANY}, {"workers": older(MANY, 30)}, GROWN),
        (
            {"workers": MANY},
            {"workers": older(MANY, 29.988, 30.5, 30)},
            {"in": {"": {"lists": {"workers": {"rows": {"each": {"idle_seconds": {
                "ms": 30000, "ms_each": [-12, 500, [18, 0]],
            }}}}}}}},
        ),
        (
            dict(zip("abcdefghij", range(10), strict=True)),
            {name: value + 30.25 for name, value in zip("abcdefghij", range(10), strict=True)},
            {"in": {"": {"ms": 30250}}},
        ),
        (
            MANY,
            [*MANY[:5], *MANY[6:], {"worker_id": "new"}],
            {"lists": {"": {"from": [[0, 5], [6, 14], {"new": [{"worker_id": "new"}]}]}}},
        ),
        (
            MANY,
            [MANY[0], {**workers(2)[1], "busy": True}, *MANY[2:]],  # type: ignore[dict-item]
            {"lists": {"": {"rows": {"each": {"busy": {"set": {"1": True}}}}}}},
        ),
        ([1, 2, 3], [2, 3, 4], {"lists": {"": {"from": [[1, 2], {"new": [4]}]}}}),
    ],
)  # fmt: skip
def test_a_change_says_what_is_different(before: Plain, now: Plain, change: Plain) -> None:
    assert change_between(before, now) == change
    assert spell(with_change(before, change)) == spell(now)


@pytest.mark.parametrize("seconds", [1 / 3, 1e-9, 1e300, 10**13])
def test_numbers_that_are_no_whole_thousandths_are_told_as_they_are(seconds: float) -> None:
    before: list[Plain] = workers(20)
    now: list[Plain] = workers(20, idle_seconds=seconds)
    assert spell(with_change(before, change_between(before, now))) == spell(now)


def within(change: Plain) -> Plain:
    return {"in": {"": {"lists": {"workers": change}}}}


@pytest.mark.parametrize(
    "change",
    [
        None,
        [],
        7,
        {"mood": "fine"},
        {"set": {"other": 1}},
        {"drop": [""]},
        {"drop": ["other"]},
        {"drop": 1},
        {"ms": 1},
        {"in": {"": {}}},
        {"in": {"other": {"set": {"a": 1}}}},
        {"in": {"": {"ms": 1}}},
        {"lists": {"": {"from": []}}},
        within({"mood": "fine"}),
        within({"from": [[0, 21]]}),
        within({"from": [[0, 20], [0, 20]]}),
        within({"from": [[5, 5], [4, 1]]}),
        within({"from": [[0, 0]]}),
        within({"from": [[-1, 2]]}),
        within({"from": [[0]]}),
        within({"from": [7]}),
        within({"from": [{"new": 7}]}),
        within({"rows": {"set": {"20": {}}}}),
        within({"rows": {"ms": 1}}),
        within({"rows": {"each": {"mood": {"ms": 1}}}}),
        within({"rows": {"each": {"mood": {"set": {"20": 1}}}}}),
        within({"rows": {"each": {"idle_seconds": {}}}}),
        within({"rows": {"each": {"idle_seconds": {"ms": 0.5}}}}),
        within({"rows": {"each": {"idle_seconds": {"ms": True}}}}),
        within({"rows": {"each": {"idle_seconds": {"ms": 10**40}}}}),
        within({"rows": {"each": {"idle_seconds": {"ms_each": [1]}}}}),
        within({"rows": {"each": {"idle_seconds": {"ms_each": [[10**12, 1]]}}}}),
        within({"rows": {"each": {"idle_seconds": {"ms_each": [[-20, 1]]}}}}),
        within({"rows": {"each": {"idle_seconds": {"ms_each": "xx"}}}}),
    ],
    ids=str,
)
def test_what_is_no_change_of_such_a_value_is_refused(change: Plain) -> None:
    with pytest.raises(RecordError, match="its change does not fit, at "):
        with_change({"workers": MANY}, change)


def test_a_change_that_is_nested_without_end_is_refused() -> None:
    change: Plain = {"set": {"a": 1}}
    for _ in range(500):
        change = {"in": {"": change}}
    with pytest.raises(RecordError, match="its change does not fit"):
        with_change({"": {}}, change)


def test_values_that_are_nested_deeply_are_told_whole_from_some_level_on() -> None:
    before: Plain = 1
    now: Plain = 2
    for _ in range(60):
        before, now = {"a": [before]}, {"a": [now]}
    assert spell(with_change(before, change_between(before, now))) == spell(now)


def test_rows_that_moved_are_told_without_the_others() -> None:
    now = [MANY[-1], *MANY[1:-1], MANY[0]]
    change = change_between(MANY, now)
    assert change == {"lists": {"": {"from": [{"new": [MANY[-1]]}, [1, 18], {"new": [MANY[0]]}]}}}
    assert with_change(MANY, change) == now
