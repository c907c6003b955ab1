"""A policy of another package may raise or answer nonsense: the turn holds, and says why."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from ebbflow.core.instance import InstanceList, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation, ProviderLook
from ebbflow.core.plan import Decision, Reason, Verb, Want
from ebbflow.core.worker import Worker
from ebbflow.decision.evaluate import evaluate
from ebbflow.decision.guard import ABSURD, MOST_REMEMBERED, ask
from ebbflow.decision.limits import Limits
from ebbflow.policies.vanilla import VanillaPolicy
from tests.making import fleet_of, inputs_of

SEEN = Observation(
    Demand(queued=9),
    tuple(Worker(f"demo-3f9c-1-{index}", "local/a", WorkerState.READY) for index in range(2)),
    elapsed_seconds=30.0,
    remembered={"load": (1.5,)},
)
GOOD = Decision((Want(count=3),), "three", (Reason("policy.other", "because"),), {"load": (2.0,)}, 1)


@dataclass(frozen=True)
class Other:
    """A policy that says what a test lets it say."""

    answer: Callable[[], Any]
    kind: str = "other"

    def decide(self, observation: Observation) -> Decision:
        decision: Decision = self.answer()
        return decision


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


def raising(error: Exception) -> Callable[[], Any]:
    def answer() -> Any:
        raise error

    return answer


def wants(count: Any, capabilities: Any = ()) -> Callable[[], Any]:
    return lambda: replace(GOOD, wanted=(Want(capabilities, count),))


def saying(**fields: Any) -> Callable[[], Any]:
    return lambda: replace(GOOD, **fields)


def remembers(series: Any) -> Callable[[], Any]:
    return lambda: replace(GOOD, remembers=series)


@pytest.mark.parametrize("decision", [GOOD, replace(GOOD, wanted=None, reserve=None), replace(GOOD, wanted=())])
def test_a_decision_is_passed_on_as_it_is(decision: Decision) -> None:
    assert ask(Other(lambda: decision), SEEN) is decision


def test_our_own_policies_answer_as_without_the_guard() -> None:
    assert ask(VanillaPolicy(), SEEN) == VanillaPolicy().decide(SEEN)


WRONG = [
    pytest.param(
        raising(ZeroDivisionError("division by zero")), "raised ZeroDivisionError: division by zero", id="raises"
    ),
    pytest.param(raising(Silent()), "raised", id="raises without a text"),
    pytest.param(raising(ValueError("x" * 5000)), "xxx...", id="raises a novel"),
    pytest.param(lambda: None, "answered with a NoneType instead of a Decision", id="nothing"),
    pytest.param(lambda: 3, "answered with a int instead of a Decision", id="a bare number"),
    pytest.param(saying(wanted=3), "wanted 3 instead of a tuple of Want", id="a number"),
    pytest.param(saying(wanted=(3,)), "wanted 3 instead of a Want", id="numbers"),
    pytest.param(wants(math.nan), "count nan, which is no whole number", id="not a number"),
    pytest.param(wants(math.inf), "count inf, which is no whole number", id="infinite"),
    pytest.param(wants(2.5), "count 2.5, which is no whole number", id="a fraction"),
    pytest.param(wants(True), "count True, which is no whole number", id="a truth"),
    pytest.param(wants(None), "count None, which is no whole number", id="no count"),
    pytest.param(wants(-1), "count -1, which is negative", id="negative"),
    pytest.param(wants(10**40), f"a count above {ABSURD}", id="absurd"),
    pytest.param(
        lambda: replace(GOOD, wanted=tuple(Want((f"gpu={n}",), ABSURD // 2) for n in (2, 3, 4))),
        f"a count above {ABSURD}",
        id="absurd in sum",
    ),
    pytest.param(wants(1, ["gpu"]), "capabilities ['gpu'] instead of a tuple of words", id="a list of capabilities"),
    pytest.param(wants(1, "gpu"), "capabilities 'gpu' instead of a tuple of words", id="one word"),
    pytest.param(wants(1, ("two words",)), "'two words'", id="a capability that is none"),
    pytest.param(saying(wanted=(Want(), Want())), "() twice", id="one set twice"),
    pytest.param(saying(reserve=-1), "reserve -1, which is negative", id="negative reserve"),
    pytest.param(saying(headline=None), "a headline of type NoneType", id="no headline"),
    pytest.param(saying(reasons="because"), "reasons that are no tuple", id="a reason that is text"),
    pytest.param(saying(reasons=(Reason("r", 3),)), "a reason that is no text", id="a number as reason"),  # type: ignore[arg-type]
    pytest.param(remembers(None), "remembers None instead of named series", id="no memory"),
    pytest.param(remembers({"load": 3.0}), "remembers 'load', which is no named tuple", id="a bare memory"),
    pytest.param(remembers({3: (1.0,)}), "remembers 3, which is no named tuple", id="a memory without a name"),
    pytest.param(remembers({"load": (math.nan,)}), "remembers load nan, which is no finite number", id="nan memory"),
    pytest.param(remembers({"load": (0.0,) * (MOST_REMEMBERED + 1)}), "fit into a record", id="too much memory"),
]


@pytest.mark.parametrize(("answer", "words"), WRONG)
def test_what_is_no_answer_holds_and_says_what_was_wrong(answer: Callable[[], Any], words: str) -> None:
    decision = ask(Other(answer), SEEN)
    assert decision.wanted is None
    assert decision.headline == "policy other failed"
    ((rule, text),) = [(reason.rule, reason.text) for reason in decision.reasons]
    assert rule == "policy.other"
    assert words in text
    assert text.endswith("that is no opinion, not zero: 2 workers stay")
    assert len(text) < 400


def test_what_was_remembered_outlives_a_turn_without_an_answer() -> None:
    held = ask(Other(raising(KeyError("load"))), SEEN)
    assert held.remembers == {"load": (1.5,), "unseen_seconds": (30.0,)}
    again = ask(Other(raising(KeyError("load"))), replace(SEEN, remembered=held.remembers))
    assert again.remembers == {"load": (1.5,), "unseen_seconds": (60.0,)}


def test_a_whole_turn_holds_and_is_explained() -> None:
    inputs = inputs_of(
        number=1,
        elapsed_seconds=0.0,
        demand=Demand(queued=15),
        providers=(ProviderLook("local/a", ProviderCaps("here"), InstanceList()),),
    )
    rules = fleet_of(("local/a", 4), policy=Other(wants(math.nan)), limits=Limits(min_workers=1))
    plan = evaluate(inputs, rules).plan
    assert (plan.wanted, len(plan.of(Verb.LAUNCH))) == (None, 1), "the minimum is still filled"
    assert any(reason.rule == "policy.other" and "count nan" in reason.text for reason in plan.reasons)
