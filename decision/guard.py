"""Ask a policy, and hold where its answer is none: "unknown is not zero" holds for policies of other packages too.

A policy that raises, or answers with something that is not a number of workers, is a policy without an opinion. What
exists stays, limits and persons still speak, and the record says what was wrong.
"""

import math
import traceback
from collections.abc import Mapping
from dataclasses import dataclass

from ebbflow.core.capabilities import amounts
from ebbflow.core.errors import ConfigError
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, PolicyMemory, Reason, Want
from ebbflow.core.ports import Policy
from ebbflow.core.text import counted
from ebbflow.policies.formulas.needs import carried

ABSURD = 1_000_000
"""More workers than anybody has."""

MOST_REMEMBERED = 1000
"""Numbers that a policy may remember; they are stored in every record."""

NOTHING = object()
"""Where a policy was given no series of a name."""
PLAIN = frozenset({int, float})
"""Of numbers of these alone it is enough to know that their sum is finite."""


@dataclass(frozen=True, slots=True)
class FailedDecision(Decision):
    """What stands in the place of a policy's answer that is none: it holds."""

    failure: str = ""
    """What the policy did instead."""


class _NotAnAnswer(Exception):
    """What is wrong with it."""


def ask(policy: Policy, observation: Observation) -> Decision:
    """The policy's decision, or one that holds and says why (`FailedDecision`).

    Args:
        policy: any; those of other packages are not trusted to be right.
        observation: what it decides on.
    """
    # A policy of another package may raise anything, and a turn must end all the same.
    try:
        return checked(policy.kind, policy.decide(observation), observation)
    except Exception as error:
        return _held(policy.kind, f"raised {''.join(traceback.format_exception_only(error))}", observation)


def checked(kind: str, decision: Decision, observation: Observation) -> Decision:
    """A policy's answer, or one that holds where it is none.

    Args:
        kind: the policy's.
        decision: what it answered, whatever that is.
        observation: what it decided on.
    """
    try:
        _check(decision, observation.remembered)
    except _NotAnAnswer as wrong:
        return _held(kind, f"answered {wrong}", observation)
    return decision


def _held(kind: str, what: str, observation: Observation) -> FailedDecision:
    failure = f"policy {kind} {_short(what)}"
    text = f"{failure}; that is no opinion, not zero: {counted(observation.supply, 'worker', 'stay')}"
    reasons = (Reason(f"policy.{kind}", text),)
    return FailedDecision(None, f"policy {kind} failed", reasons, carried(observation), failure=failure)


def _check(decision: object, known: PolicyMemory) -> None:
    if not isinstance(decision, Decision):
        raise _NotAnAnswer(f"with a {type(decision).__name__} instead of a Decision")
    if decision.wanted is not None:
        _check_wanted(decision.wanted)
    if decision.reserve is not None:
        _check_count(decision.reserve, "reserve")
    if not isinstance(decision.headline, str):
        raise _NotAnAnswer(f"a headline of type {type(decision.headline).__name__}")
    reasons: object = decision.reasons
    if not isinstance(reasons, tuple):
        raise _NotAnAnswer("with reasons that are no tuple of Reason")
    for reason in reasons:
        if not isinstance(reason, Reason):
            raise _NotAnAnswer("with reasons that are no tuple of Reason")
        if not isinstance(reason.rule, str) or not isinstance(reason.text, str):
            raise _NotAnAnswer("with a reason that is no text")
    if decision.remembers or not isinstance(decision.remembers, dict):
        _check_memory(decision.remembers, known)


def _check_wanted(wanted: object) -> None:
    if not isinstance(wanted, tuple):
        raise _NotAnAnswer(f"wanted {_short(repr(wanted))} instead of a tuple of Want")
    if len(wanted) == 1 and isinstance(wanted[0], Want) and wanted[0].capabilities == ():
        # A number of workers, as most answer.
        _check_count(wanted[0].count, "count")
        return
    seen: set[tuple[str, ...]] = set()
    for want in wanted:
        if not isinstance(want, Want):
            raise _NotAnAnswer(f"wanted {_short(repr(want))} instead of a Want")
        words: object = want.capabilities
        if not isinstance(words, tuple) or not all([isinstance(word, str) for word in words]):
            raise _NotAnAnswer(f"capabilities {_short(repr(words))} instead of a tuple of words")
        try:
            amounts(want.capabilities)
        except ConfigError as error:
            raise _NotAnAnswer(f"with a {error}") from error
        if want.capabilities in seen:
            raise _NotAnAnswer(f"{_short(repr(words))} twice; one want per capability set")
        seen.add(want.capabilities)
        _check_count(want.count, "count")
    if sum([want.count for want in wanted]) > ABSURD:
        raise _NotAnAnswer(f"a count above {ABSURD}")


def _check_count(count: object, name: str) -> None:
    # True is an int to Python, and to nobody else.
    if not isinstance(count, int) or isinstance(count, bool):
        raise _NotAnAnswer(f"{name} {_short(repr(count))}, which is no whole number")
    if count < 0:
        raise _NotAnAnswer(f"{name} {count}, which is negative")
    if count > ABSURD:
        raise _NotAnAnswer(f"a {name} above {ABSURD}")


def _check_memory(remembers: object, known: PolicyMemory) -> None:
    """Refuse what no record can hold.

    Args:
        remembers: the policy's.
        known: what it was given: a series that it gives back as it got it was checked when it gave it first.
    """
    if not isinstance(remembers, Mapping):
        raise _NotAnAnswer(f"remembers {_short(repr(remembers))} instead of named series")
    size, new = 0, list[object]()
    for name, series in remembers.items():
        if series is not known.get(name, NOTHING):
            if not isinstance(name, str) or not isinstance(series, tuple):
                raise _NotAnAnswer(f"remembers {_short(repr(name))}, which is no named tuple of numbers")
            new += series
        size += len(series)
    # A backtest checks millions of numbers, which are nearly always right.
    if not (PLAIN.issuperset(map(type, new)) and math.isfinite(sum(new))):  # type: ignore[arg-type]  # plain numbers
        _check_numbers(remembers)
    if size > MOST_REMEMBERED:
        raise _NotAnAnswer(f"remembers {size} numbers; {MOST_REMEMBERED} fit into a record")


def _check_numbers(remembers: Mapping[str, tuple[object, ...]]) -> None:
    for name, series in remembers.items():
        for number in series:
            if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
                raise _NotAnAnswer(f"remembers {name} {_short(repr(number))}, which is no finite number")


def _short(text: str, length: int = 200) -> str:
    line = " ".join(text.split())
    return line if len(line) <= length else f"{line[:length]}..."
