"""One spelling for every value: equal values have equal bytes, and reading them gives the value back."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from itertools import permutations
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebbflow.core.canonical import Plain, canonical, decode, digest, encode
from ebbflow.core.errors import RecordError
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.memory import Memory
from ebbflow.core.plan import Action, Plan, Reason, Verb
from ebbflow.core.worker import Mark, Worker


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    size: int = 1


@dataclass(frozen=True, slots=True)
class Tree:
    colour: Colour
    weight: float = 0.0
    leaves: tuple[Leaf, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None
    tall: bool = False


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (7, "7"),
        (0.25, "0.25"),
        ("größe", '"größe"'),
        ('say "hi"\n', r'"say \"hi\"\n"'),
        (Colour.RED, '"red"'),
        ((), "[]"),
        ((1, 2), "[1,2]"),
        ([1, 2], "[1,2]"),
        ({"b": 1, "a": 2}, '{"a":2,"b":1}'),
        ({2: "two", 1: "one"}, '{"1":"one","2":"two"}'),
        (Leaf("oak"), '{"name":"oak"}'),
        (Leaf("oak", size=2), '{"name":"oak","size":2}'),
        (Tree(Colour.BLUE), '{"colour":"blue"}'),
        (Tree(Colour.BLUE, leaves=(Leaf("a"),)), '{"colour":"blue","leaves":[{"name":"a"}]}'),
        (Tree(Colour.BLUE, labels={}), '{"colour":"blue"}'),
    ],
)
def test_the_text_of_a_value_is_known(value: object, text: str) -> None:
    assert canonical(value) == text


def test_equal_mappings_have_equal_bytes_in_whatever_order_they_were_filled() -> None:
    texts = {canonical(dict(items)) for items in permutations({"a": 1, "b": 2, "c": 3, "ä": 4}.items())}
    assert len(texts) == 1


def test_a_field_that_holds_its_default_is_left_out_however_the_value_was_made() -> None:
    assert canonical(Tree(Colour.RED, 0.0, (), {}, None, False)) == canonical(Tree(Colour.RED))


def test_a_field_without_a_default_is_always_there() -> None:
    assert canonical(Leaf("")) == '{"name":""}'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: {"a": [x]}, lambda x: Tree(Colour.RED, weight=x)])
def test_a_number_that_is_not_finite_is_refused(number: float, wrap: Callable[[float], object]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(wrap(number))


@pytest.mark.parametrize("value", [{1, 2}, b"bytes", object(), Leaf, 1j])
def test_what_has_no_canonical_form_is_named(value: object) -> None:
    with pytest.raises(TypeError, match=f"{type(value).__name__} has no canonical form"):
        canonical({"deep": [value]})


def test_the_digest_is_the_sha256_of_the_bytes() -> None:
    assert digest("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert digest("größe") != digest("grösse")


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ([], "tree: '[]' is not an object"),
        ({"colour": "green"}, "tree.colour: 'green' is not one of red, blue"),
        ({"colour": None}, "tree.colour: 'None' is not one of red, blue"),
        ({"colour": "red", "weight": "heavy"}, "tree.weight: 'heavy' is not float"),
        ({"colour": "red", "weight": True}, "tree.weight: 'True' is not float"),
        ({"colour": "red", "weight": None}, "tree.weight: 'None' is not float"),
        ({"colour": "red", "tall": 1}, "tree.tall: '1' is not bool"),
        ({"colour": "red", "note": 5}, "tree.note: '5' is not str"),
        ({"colour": "red", "leaves": {}}, "tree.leaves: '{}' is not a list"),
        ({"colour": "red", "leaves": [{"name": "a"}, 5]}, "tree.leaves[1]: '5' is not an object"),
        ({"colour": "red", "leaves": [{"name": "a", "size": 1.5}]}, "tree.leaves[0].size: '1.5' is not int"),
        ({"colour": "red", "leaves": [{"name": "a", "size": True}]}, "tree.leaves[0].size: 'True' is not int"),
        ({"colour": "red", "labels": []}, "tree.labels: '[]' is not an object"),
        ({"colour": "red", "labels": {"zone": 5}}, "tree.labels.zone: '5' is not str"),
        ({"colour": "red", "colr": "x"}, "tree: unknown field 'colr'; Tree has colour, weight"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(plain: Plain, message: str) -> None:
    with pytest.raises(RecordError) as caught:
        decode(Tree, plain, where="tree")
    assert str(caught.value).startswith(message)


def test_a_missing_field_is_refused_with_its_path() -> None:
    with pytest.raises(RecordError, match=r"^tree: .*missing.*'colour'"):
        decode(Tree, {}, where="tree")


def test_a_whole_number_may_stand_for_a_float() -> None:
    tree = decode(Tree, {"colour": "red", "weight": 3})
    assert tree == Tree(Colour.RED, weight=3.0)
    assert isinstance(tree.weight, float)


def test_an_error_shows_the_beginning_of_a_long_value() -> None:
    with pytest.raises(RecordError) as caught:
        decode(Leaf, {"name": ["x" * 10_000]})
    assert len(str(caught.value)) < 200


finite = st.floats(allow_nan=False, allow_infinity=False)
marks = st.builds(Mark, deadline_seconds=finite, age_seconds=finite)
workers = st.builds(
    Worker,
    capabilities=st.lists(st.text(), max_size=2).map(tuple),
    usd_per_hour=st.none() | finite,
    state_seconds=finite,
    joining_seconds=finite,
    idle_seconds=st.none() | finite,
    mark=st.none() | marks,
    absent_seconds=finite,
    unanswered_seconds=st.none() | finite,
)
memories = st.builds(
    Memory,
    chain_age_seconds=finite,
    workers=st.lists(workers, max_size=3).map(tuple),
    seconds_since_start=st.none() | finite,
    manager_age_seconds=finite,
)
actions = st.builds(Action, usd_per_hour=st.none() | finite)
plans = st.builds(
    Plan,
    actions=st.lists(actions, max_size=3).map(tuple),
    reasons=st.lists(st.builds(Reason), max_size=3).map(tuple),
)


@given(st.one_of(workers, memories, plans))
def test_reading_is_the_inverse_of_writing(value: Worker | Memory | Plan) -> None:
    text = canonical(value)
    back = decode(type(value), json.loads(text))
    assert back == value
    assert canonical(back) == text


@given(memories)
def test_writing_gives_plain_values_only(memory: Memory) -> None:
    assert json.loads(json.dumps(encode(memory))) == encode(memory)


def test_enums_come_back_as_enums_and_lists_as_tuples() -> None:
    plan = Plan("queue 3 > 2", 3, 2, 2, (Action(Verb.LAUNCH, "sdxl-3f9c-1a-0", "local/a", "queue 3 > 2"),))
    back = decode(Plan, encode(plan))
    assert back.of(Verb.LAUNCH) == plan.actions
    worker = decode(Worker, cast(Plain, {"worker_id": "w", "provider": "p", "state": "lost"}))
    assert worker.state is WorkerState.LOST
