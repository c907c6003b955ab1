"""How a record stores its parts: what is small as ever, what is large as its change, and in full once that pays."""

import pytest

from ebbflow.core.canonical import Plain, canonical, digest
from ebbflow.core.errors import RecordError
from ebbflow.core.sections import LARGE, MOST_RECORDS, Base, Section, is_of_hash, store_parts


def rows(count: int = 100, *, seconds: int = 0, others: int = 0) -> Plain:
    """Workers that are so old, of which some are not the same as otherwise."""
    return [
        {
            "worker_id": f"worker-{place}",
            "state_seconds": seconds,
            "state": "busy" if place < others else "idle",
            "x": "y" * 10,
        }
        for place in range(count)
    ]


def stored(
    values: dict[str, Plain],
    base: dict[str, Plain] | None,
    *,
    number: int = 2,
    earlier: dict[str, Section] | None = None,
) -> dict[str, Section]:
    return store_parts(
        values, number=number, earlier=earlier or {}, base=Base(1, "artifact-1", base) if base is not None else None
    )


def test_what_is_large_and_differs_in_little_is_stored_as_its_change() -> None:
    section = stored({"memory": rows(seconds=30)}, {"memory": rows()})["memory"]
    assert (section.value, section.number, section.artifact_id) == (None, 1, "artifact-1")
    assert section.sha256 == digest(canonical(rows(seconds=30)))
    assert section.change == {"lists": {"": {"rows": {"each": {"state_seconds": {"ms": 30000}}}}}}
    assert Base(1, "artifact-1", {"memory": rows()}).value("memory", section) == rows(seconds=30)


@pytest.mark.parametrize(
    ("value", "base"),
    [
        pytest.param(rows(10, seconds=30), {"memory": rows(10)}, id="it is small"),
        pytest.param(rows(seconds=30), {"demand": 1}, id="the base does not hold it in full"),
        pytest.param(rows(seconds=30), None, id="there is no base"),
        pytest.param(rows(others=80), {"memory": rows()}, id="too much is different"),
        pytest.param(rows(others=80), {"memory": []}, id="all is different"),
    ],
)
def test_else_it_is_stored_in_full(value: Plain, base: dict[str, Plain] | None) -> None:
    assert stored({"memory": value}, base)["memory"] == Section(digest(canonical(value)), value)


def test_what_is_the_same_is_named_as_before_and_not_compared() -> None:
    known = Section(digest(canonical(rows())), None, 1, "artifact-1")
    assert stored({"members": rows()}, {"members": rows(seconds=1)}, earlier={"members": known})["members"] is known


@pytest.mark.parametrize("value", [{"name": "sdxl"}, rows()], ids=["small", "large"])
def test_regression_what_never_changes_hung_on_the_first_record_of_the_chain_for_ever(value: Plain) -> None:
    """Whoever deleted that one, as a server does with what is old, could read nothing of the fleet any more."""
    known = {"fleet": Section(digest(canonical(value)), None, 1, "artifact-1")}
    young = store_parts({"fleet": value}, number=MOST_RECORDS, earlier=known, base=Base(MOST_RECORDS - 1, "last", {}))
    assert young == known
    old = store_parts({"fleet": value}, number=MOST_RECORDS + 1, earlier=known, base=Base(MOST_RECORDS, "last", {}))
    assert old == {"fleet": Section(digest(canonical(value)), value)}


def test_a_base_holds_all_that_is_large_in_full_also_what_is_the_same_as_before() -> None:
    known = {
        name: Section(digest(canonical(value)), None, number, f"artifact-{number}")
        for name, value, number in (("a", rows(), 1), ("b", 1, 2))
    }
    values: dict[str, Plain] = {"a": rows(), "b": 1, "memory": rows(seconds=30)}
    base: dict[str, Plain] = {"a": rows(), "memory": rows()}
    young = stored(values, base, earlier=known, number=MOST_RECORDS)
    assert young["a"] == known["a"]
    assert young["memory"].change is not None
    old = stored(values, base, earlier=known, number=1 + MOST_RECORDS)
    assert {name: section.value for name, section in old.items()} == {**values, "b": None}
    assert old["b"] == known["b"]


def test_a_base_is_left_when_changes_are_no_longer_small_and_sooner_when_they_do_not_grow() -> None:
    values: dict[str, Plain] = {"memory": rows(400, others=120)}
    base: dict[str, Plain] = {"memory": rows(400)}
    first = stored(values, base)["memory"]
    assert first.change is not None, "it has just come, and a new base would see as much come again"
    assert stored(values, base, earlier={"memory": first})["memory"].change is None, "it stays, though it is the same"
    values = {"memory": rows(400, seconds=30, others=120)}
    assert stored(values, base, earlier={"memory": first})["memory"].change is None, "it stays"


def test_what_a_record_does_not_hold_in_full_cannot_be_leant_on() -> None:
    with pytest.raises(RecordError, match="record 1 has no section 'memory' to lean on"):
        Base(1, "artifact-1", {}).value("memory", Section("0" * 64, None, 1, "artifact-1", {}))


@pytest.mark.parametrize("value", [float("nan"), {"a": 2}, None])
def test_what_is_not_of_a_hash_is_told(value: Plain) -> None:
    assert is_of_hash({"a": 1}, digest('{"a":1}'))
    assert not is_of_hash(value, digest('{"a":1}'))


def test_a_value_nested_without_end_is_of_no_hash() -> None:
    value: Plain = []
    for _ in range(100_000):
        value = [value]
    assert not is_of_hash(value, "0" * 64)


def test_a_fleet_of_ten_workers_is_small() -> None:
    assert LARGE >= 10 * 400
