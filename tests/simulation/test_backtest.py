"""Candidates on one stage: the fleet's own limits, schedules and providers hold for each of them."""

from typing import Any

import pytest

from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Want
from ebbflow.core.ports import Policy
from ebbflow.decision.evaluate import PoolRule, Rules
from ebbflow.decision.limits import Limits
from ebbflow.decision.schedule import Schedule
from ebbflow.policies.no import NoPolicy
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.backtest import Stage, play_candidate, verdicts
from ebbflow.simulation.environment import BootTimes, Environment, VirtualProvider
from ebbflow.simulation.league import Row
from ebbflow.simulation.recorded import Trace

QUICK = Environment(
    "quick",
    (
        VirtualProvider("x/a", BootTimes(30, 0, 30, 30), max_workers=2),
        VirtualProvider("x/b", BootTimes(30, 0, 30, 30), max_workers=9),
    ),
)
TRACE = Trace("steady", tuple(10.0 * place for place in range(120)), (20.0,) * 120)


class Raising(NoPolicy):
    def decide(self, observation: Observation) -> Decision:
        raise ZeroDivisionError("by nothing")


class Absurd(NoPolicy):
    count: Any = None

    def decide(self, observation: Observation) -> Decision:
        return Decision((Want(count=self.count),), "absurd", ())


def stage(policy: Policy | None = None, **given: Any) -> Stage:
    rules: dict[str, Any] = {
        "policy": policy or NoPolicy(),
        "limits": Limits(min_workers=1, max_workers=4, min_idle_seconds=0),
        "pools": (PoolRule("x/a", 2), PoolRule("x/b", 9)),
        "interval_seconds": 10.0,
        "launch_timeout_seconds": 900.0,
        "retries": 1,
        "drain_deadline_seconds": 900.0,
    }
    return Stage(TRACE, QUICK, Rules(**{**rules, **given})).led_in()


def most(row: Row) -> int:
    return max(moment.existing for moment in row.timeline)


def test_the_fleets_minimum_serves_before_the_first_request_comes() -> None:
    row = play_candidate(stage(), "no", NoPolicy(), [1])
    assert row.score is not None
    before = [moment for moment in row.timeline if moment.at_seconds < 50 and moment.serving]
    assert before, row.timeline[:20]
    assert most(row) == 1


def test_no_candidate_passes_the_fleets_maximum() -> None:
    eager = VanillaPolicy(upper_task_ratio=1, lower_task_ratio=0.5)
    row = play_candidate(stage(limits=Limits(min_workers=1, max_workers=2)), "eager", eager, [1, 2])
    assert row.score is not None
    assert most(row) == 2


def test_a_floor_by_the_clock_holds_under_every_candidate() -> None:
    floor = Schedule(cron="* * * * *", duration_seconds=3600, min_workers=3, timezone="UTC")
    row = play_candidate(stage(schedules=(floor,)), "no", NoPolicy(), [1])
    assert most(row) == 3


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Raising(), "ZeroDivisionError: by nothing"),
        (Absurd(count=float("nan")), "nan workers"),
        (Absurd(count=1_000_000), "1000000 workers"),
    ],
    ids=["raises", "not a number", "a million workers"],
)
def test_a_policy_that_fails_is_a_row_that_says_why(policy: Policy, words: str) -> None:
    bad = play_candidate(stage(), "bad", policy, [1, 2])
    good = play_candidate(stage(), "good", VanillaPolicy(), [1, 2])
    assert bad.score is None
    assert words in bad.failure
    assert "seed 2" in bad.failure
    said = "\n".join(verdicts([bad, good]))
    assert "k=1: good is cheapest" in said
    assert words in said
    assert verdicts([bad]) == ("every candidate failed",)
