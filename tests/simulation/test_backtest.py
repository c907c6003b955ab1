"""Candidates on one stage: the fleet's own limits, schedules and providers hold for each of them."""

from dataclasses import replace
from typing import Any

import pytest

from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Want
from ebbflow.core.ports import Policy
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.decision.schedule import Schedule
from ebbflow.fleet.model import Fleet
from ebbflow.policies.no import NoPolicy
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.backtest import Stage, play_candidate, verdicts
from ebbflow.simulation.environment import BootTimes, Environment, VirtualProvider
from ebbflow.simulation.league import Row
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.table import cells

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


FLEET = Fleet(
    name="quick",
    master="swarmui-master/main",
    providers=(ProviderEntry(block="x/a", max_workers=2), ProviderEntry(block="x/b", max_workers=9)),
    policy=NoPolicy(),
    limits=Limits(min_workers=1, max_workers=4, min_idle_seconds=0),
    interval_seconds=10.0,
)


def stage(environment: Environment = QUICK, *, overrides: tuple[Override, ...] = (), **sections: Any) -> Stage:
    return Stage(TRACE, environment, FLEET.model_copy(update=sections), overrides=overrides).led_in()


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
        (Absurd(count=float("nan")), "count nan, which is no whole number"),
        (Absurd(count=1_000_001), "a count above 1000000"),
    ],
    ids=["raises", "not a number", "more than a million workers"],
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


class SometimesRaising(VanillaPolicy):
    def decide(self, observation: Observation) -> Decision:
        if 300 <= observation.at_seconds % 3600 < 400:
            raise ZeroDivisionError("by nothing")
        return super().decide(observation)


def test_a_policy_that_fails_for_a_while_is_ranked_and_the_verdict_says_so() -> None:
    row = play_candidate(stage(), "shaky", SometimesRaising(), [1, 2])
    assert row.score is not None
    assert row.failure == ""
    assert 0 < row.faults.failed < row.faults.turns
    said = verdicts([row])
    assert "k=1: shaky is cheapest" in said[1]
    of_turns = f"shaky: no answer in {row.faults.failed} of {row.faults.turns} turns, in which the fleet was held"
    assert of_turns in said[-1]
    assert "raised ZeroDivisionError: by nothing" in said[-1]
    assert cells(row)[-1] == str(row.faults.failed)


def test_an_override_is_played_until_its_time_is_over() -> None:
    floor = Override("run-1", OverrideKind.FLOOR, 3, "ada", "demo day", 600.0)
    lead = stage().trace.at_seconds[0]
    row = play_candidate(
        stage(overrides=(floor,), limits=Limits(max_workers=4, min_idle_seconds=0, min_seconds_between_stops=0)),
        "zero",
        Absurd(count=0),
        [1],
    )
    existing = {moment.at_seconds: moment.existing for moment in row.timeline}
    within = [count for at, count in existing.items() if lead <= at < lead + 600]
    after = [count for at, count in existing.items() if at > lead + 660]
    assert set(within) == {3}
    assert max(after) < 3


PRICED = Environment(
    "priced",
    tuple(replace(provider, usd_per_hour=usd) for provider, usd in zip(QUICK.providers, (0.5, 2.0), strict=True)),
)
HALF_PRICED = Environment("half priced", (PRICED.providers[0], QUICK.providers[1]))


def capped(*caps: float | None) -> tuple[ProviderEntry, ...]:
    return tuple(
        entry.model_copy(update={"max_usd_per_hour": cap}) for entry, cap in zip(FLEET.providers, caps, strict=True)
    )


EAGER = VanillaPolicy(upper_task_ratio=1, lower_task_ratio=0.5)
WIDE = Limits(max_workers=4, min_workers=4)


@pytest.mark.parametrize(
    ("environment", "sections", "workers", "note"),
    [
        (PRICED, {}, 4, "No price cap is set"),
        (
            PRICED,
            {"providers": capped(1.0, 1.0)},
            2,
            "Price caps are played at the recorded prices: of x/a, x/b",
        ),
        (
            PRICED,
            {"limits": WIDE.model_copy(update={"max_usd_per_hour": 3.1})},
            3,
            "Price caps are played at the recorded prices: of the whole fleet",
        ),
        (
            HALF_PRICED,
            {"providers": capped(0.4, 1.0), "limits": WIDE.model_copy(update={"max_usd_per_hour": 0.1})},
            4,
            "Price caps are not played of x/b, the whole fleet: no price of x/b is recorded",
        ),
        (
            QUICK,
            {"providers": capped(0.4, None)},
            4,
            "Price caps are not played of x/a: no price of x/a, x/b is recorded",
        ),
    ],
    ids=["none", "providers'", "the fleet's", "half known", "unknown"],
)
def test_price_caps_are_played_where_prices_are_recorded_and_the_page_says_which(
    environment: Environment, sections: dict[str, Any], workers: int, note: str
) -> None:
    played = stage(environment, **{"limits": WIDE, **sections})
    row = play_candidate(played, "eager", EAGER, [1])
    assert most(row) == workers
    assert played.price_note == note
