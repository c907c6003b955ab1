"""Advice on a fleet, from figures to a choice: what is told apart, what is chosen, and what is said of it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import pytest

from ebbflow.core.member import Demand
from ebbflow.fleet.changing import Change, with_changes
from ebbflow.simulation.advice import Choice, Goal, Judged, choose, differences
from ebbflow.simulation.advice_table import Unit, picture, table
from ebbflow.simulation.advice_told import AdviceTold, goal_of, settings_told
from ebbflow.simulation.advice_words import CHANGE, SURE, answers, verdict
from ebbflow.simulation.books import Books
from ebbflow.simulation.neighbours import AS_IT_IS, Setting
from ebbflow.simulation.parts import Part, PlayedOnce, check_order, counters_that_fell, parts_of, play_parts, stage_for
from ebbflow.simulation.past import RecordedLook
from ebbflow.simulation.policy_faults import NO_FAULTS, PolicyFaults
from ebbflow.simulation.trace import TraceError
from ebbflow.simulation.two_fleets import FleetFigures, OwnPast
from tests.simulation.test_two_fleets import FLEET, HOUR, QUIET, T0

DAY = 86_400.0


def days(count: int) -> tuple[Part, ...]:
    return tuple(Part(T0 + DAY * place, T0 + DAY * (place + 1)) for place in range(count))


PARTS = days(4)


def books(paid: float, waiting: float = 0.0, *, p95: float = 0.0, unserved: int = 0) -> Books:
    return Books(4, 3, paid, paid, 2 * paid, 0.0, 10, unserved, waiting, 360 * waiting, p95)


def whole_of(parts: Sequence[Books], p95: float) -> Books:
    return replace(
        books(math.fsum(part.paid_hours for part in parts), math.fsum(part.waiting_hours for part in parts), p95=p95),
        unserved=sum(part.unserved for part in parts),
    )


def judged(
    label: str,
    plays: Sequence[Sequence[float]],
    *,
    waiting: float = 0.0,
    p95: float = 5.0,
    unserved: int = 0,
    faults: PolicyFaults = NO_FAULTS,
) -> Judged:
    """A setting by the paid hours of its parts, play by play."""
    changes = () if label == AS_IT_IS else (Change(("limits", "min_workers"), len(label)),)
    runs = []
    for paid in plays:
        parts = tuple(books(each, waiting, p95=p95, unserved=unserved) for each in paid)
        runs.append(PlayedOnce(whole_of(parts, p95), parts, faults))
    return Judged(Setting(label, changes, FLEET), tuple(runs), days(len(plays[0])))


OWN = judged(AS_IT_IS, [[10, 20, 10, 20], [11, 20, 10, 21]])
CHEAPER = judged("cheaper", [[8, 16, 8, 16], [9, 16, 8, 17]])
CHEAPEST = judged("cheapest", [[7, 15, 7, 15], [7, 15, 7, 15]], p95=90.0)
LUCKY = judged("lucky", [[0, 20, 10, 20], [1, 20, 10, 21]])
BY_WORTH = Goal(1.0)


# what is told apart


@pytest.mark.parametrize(
    ("other", "percent", "is_told"),
    [
        (CHEAPER, -19.7, True),
        (CHEAPEST, -27.9, True),
        (LUCKY, -16.4, False),
        (judged("same", [[10, 20, 10, 20], [11, 20, 10, 21]]), 0.0, False),
        (judged("dearer", [[12, 24, 12, 24], [13, 24, 12, 25]]), 19.7, True),
    ],
    ids=lambda each: each.setting.label if isinstance(each, Judged) else "",
)
def test_a_gain_on_each_day_is_told_and_one_day_of_luck_is_not(other: Judged, percent: float, is_told: bool) -> None:
    (found,) = differences(OWN, [other], BY_WORTH)
    assert found.percent == pytest.approx(percent, abs=0.1)
    assert found.is_told is is_told


def test_days_that_differ_much_among_themselves_hide_no_gain_that_each_of_them_has() -> None:
    own = judged(AS_IT_IS, [[1, 100, 1, 100]] * 2)
    (found,) = differences(own, [judged("less", [[0.9, 99.9, 0.9, 99.9]] * 2)], BY_WORTH)
    assert found.is_told


def test_luck_at_launches_counts_as_much_as_days_do() -> None:
    (found,) = differences(OWN, [judged("luck", [[4, 14, 4, 14], [14, 23, 13, 24]])], BY_WORTH)
    assert not found.is_told


def test_where_nothing_was_paid_any_cost_is_more() -> None:
    nothing = judged(AS_IT_IS, [[0, 0, 0, 0]] * 2)
    assert [each.percent for each in differences(nothing, [nothing, CHEAPER], BY_WORTH)] == [0, 100]


# what is chosen


@pytest.mark.parametrize(
    ("goal", "settings", "picked"),
    [
        (BY_WORTH, [OWN], AS_IT_IS),
        (BY_WORTH, [OWN, CHEAPER], "cheaper"),
        (BY_WORTH, [OWN, CHEAPER, CHEAPEST], "cheapest"),
        (BY_WORTH, [OWN, LUCKY], AS_IT_IS),
        (BY_WORTH, [OWN, LUCKY, CHEAPER], "cheaper"),
        (BY_WORTH, [OWN, judged("hardly", [[9.95, 19.9, 9.95, 19.9], [10.95, 19.9, 9.95, 20.9]])], AS_IT_IS),
        (BY_WORTH, [OWN, judged("waits", [[8, 16, 8, 16]] * 2, waiting=6.0)], AS_IT_IS),
        (Goal(0.0), [OWN, judged("waits", [[8, 16, 8, 16]] * 2, waiting=6.0)], "waits"),
        (BY_WORTH, [OWN, judged("drops", [[1, 1, 1, 1]] * 2, unserved=3)], AS_IT_IS),
        (BY_WORTH, [OWN, judged("late", [[1, 1, 1, 1]] * 2, unserved=0)], "late"),
        (BY_WORTH, [OWN, judged("fails", [[1, 1, 1, 1]] * 2, faults=PolicyFaults(1, 9, "raised"))], AS_IT_IS),
        (Goal(1.0, 60.0), [OWN, CHEAPER, CHEAPEST], "cheaper"),
        (Goal(1.0, 100.0), [OWN, CHEAPER, CHEAPEST], "cheapest"),
        (Goal(1.0, 5.0), [OWN, CHEAPER, judged("quick", [[20, 30, 20, 30]] * 2, p95=1.0)], "quick"),
        (Goal(1.0, 5.0), [OWN, CHEAPER], None),
    ],
)
def test_the_least_cost_is_chosen_where_it_is_less_by_more_than_chance(
    goal: Goal, settings: list[Judged], picked: str | None
) -> None:
    choice = choose(settings, goal)
    assert (choice.picked.setting.label if choice.picked else None) == picked
    assert choice.keeps is (picked == AS_IT_IS)
    assert len(choice.differences) == len(settings)


def test_who_cannot_be_told_from_the_advised_one_is_named() -> None:
    near = judged("near", [[8, 16.1, 8, 16], [9, 16, 8.1, 17]])
    choice = choose([OWN, CHEAPER, near], BY_WORTH)
    assert choice.picked is CHEAPER
    assert choice.equals == ("near",)
    assert choose([OWN, LUCKY], BY_WORTH).equals == ("lucky",)


def test_where_no_setting_reaches_a_wait_the_shortest_one_is_named() -> None:
    choice = choose([OWN, CHEAPEST], Goal(1.0, 0.5))
    assert choice.picked is None
    assert choice.nearest is OWN


@pytest.mark.parametrize(
    ("given", "policy", "worth"), [(None, object(), 1.0), (None, Goal(3.0), 3.0), (0.5, Goal(3.0), 0.5)]
)
def test_waiting_is_worth_what_a_person_says_or_else_what_the_policy_has(given: Any, policy: Any, worth: float) -> None:
    assert goal_of(given, None, policy) == Goal(worth)


# what is said


def told(settings: Sequence[Judged], goal: Goal = BY_WORTH, **given: Any) -> AdviceTold:
    choice: Choice = choose(settings, goal)
    made = AdviceTold(
        fleet="sdxl",
        since_at=T0,
        until_at=T0 + 4 * DAY,
        records=5760,
        requests=40,
        parts=4,
        plays=2,
        waiting_worth=goal.waiting_worth,
        wait_p95_seconds=goal.wait_p95_seconds,
        recorded=FleetFigures(16, 12, 64.0, 128.0, 0.0, None),
        settings=settings_told(settings, choice),
        advised=choice.picked.setting.label if choice.picked else None,
        nearest=choice.nearest.setting.label if choice.nearest else None,
        equals=choice.equals,
        diff="",
        stopped="",
        not_played=(),
        notes=(),
        missing=(),
    )
    return replace(made, **given)


def words(advice: AdviceTold) -> str:
    return "\n".join(f"{question}\n{' '.join(sentences)}" for question, sentences in answers(advice))


@pytest.mark.parametrize(
    ("advice", "said"),
    [
        (told([OWN, CHEAPER]), "Set limits.min_workers: 7: 19.7 % ± "),
        (told([OWN, CHEAPER]), "where an hour of a user's waiting counts as 1 worker-hour. 24.50 USD per day"),
        (told([OWN, CHEAPER]), "in the place of 30.50; 95 of 100 wait no longer than 5.0 s, in the place of 5.0 s."),
        (told([OWN, LUCKY]), "Leave it as it is: no other setting costs less by more than chance"),
        (told([OWN, LUCKY]), "The lowest in the mean has `lucky`: -16.4 % ± "),
        (told([OWN, CHEAPER, CHEAPEST], Goal(1.0, 60.0)), "the least cost of those that let 95 of 100 requests"),
        (told([OWN], Goal(1.0, 60.0)), "Leave it as it is: 95 of 100 wait no longer than 5.0 s, and no setting"),
        (told([OWN, CHEAPEST], Goal(1.0, 0.5)), "No setting that was played lets 95 of 100 requests"),
        (told([OWN, CHEAPEST], Goal(1.0, 0.5)), "95 of 100 wait no longer than 5.0 s with the fleet as it is."),
    ],
)  # fmt: skip
def test_the_advice_is_a_sentence_with_its_figures(advice: AdviceTold, said: str) -> None:
    assert said in verdict(advice)


def test_the_five_questions_are_answered() -> None:
    answer = words(told([OWN, CHEAPER]))
    assert "In 4.0 days, of which 5,760 turns are recorded, it had 64.00 worker-hours for 128.00 USD" in answer
    assert "16.00 worker-hours per day and 32.00 USD per day." in answer
    assert "Played anew on what came it has 15.25 worker-hours per day and 30.50 USD per day" in answer
    assert "95 of 100 wait no longer than 5.0 s: from 5.0 s to 5.0 s in the parts" in answer
    assert "Each setting was played 2 times over 4 parts of 24.0 h each" in answer
    assert "Nothing was changed yet: change the file as below" in answer


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"missing": ("record 3 was deleted",)}, "Missing: record 3 was deleted."),
        ({"notes": ("only 3 h are recorded",)}, "Only 3 h are recorded."),
        ({"notes": ("local/a: boots of 60 s",)}, "local/a: boots of 60 s."),
        ({"stopped": "stopped after 120 s: 2 of 14 were played"}, "Stopped after 120 s: 2 of 14 were played."),
        ({"not_played": ("policy master: it cannot",)}, "Not played: policy master: it cannot."),
    ],
)
def test_what_is_not_sure_or_not_played_is_said(given: dict[str, Any], said: str) -> None:
    advice = told([OWN, CHEAPER], **given)
    (sure,) = [sentences for question, sentences in answers(advice) if question == SURE]
    assert said in sure


def test_what_is_told_although_it_is_no_larger_than_its_spread_is_named_with_the_reason() -> None:
    near, sure = [replace(told([OWN, CHEAPER]).settings[1], label=label) for label in ("near", "sure")]
    advice = told([OWN, CHEAPER, LUCKY])
    own, _, lucky = advice.settings
    answer = words(replace(advice, settings=(own, sure, replace(near, spread_percent=20.0), lucky)))
    assert "of these 3 none is further off, 95 times in 100." in answer
    assert "Of those that do the same as now, any stands without brackets 5 times in 100 at most." in answer
    assert "Without brackets, and no larger than its ±: near. Brackets are set one after the other" in answer
    assert "no larger than its ±" not in words(advice)
    assert "in brackets" not in words(told([OWN])).split("How sure is that?")[1].split("highest of these 8.")[1]


def test_where_many_are_as_good_some_are_named_and_where_all_are_that_is_said() -> None:
    alike = [judged(f"alike {place}", [[10, 20, 10, 20], [11, 20, 10, 21]]) for place in range(9)]
    assert "as far as this past can tell: all others." in words(told([OWN, *alike]))
    some = words(told([OWN, *alike, judged("dear", [[90, 90, 90, 90]] * 2)]))
    assert "alike 5; 3 more." in some


def test_a_policy_that_gave_no_answer_is_told_in_its_row_and_is_not_drawn() -> None:
    failing = judged("fails", [[1, 1, 1, 1]] * 2, faults=PolicyFaults(4, 9, "RuntimeError: no"))
    advice = told([OWN, failing])
    _, rows = table(advice)
    assert rows[1][2].startswith("no answer in 8 of 18 turns, in which the fleet was held: RuntimeError")
    assert ">2<" not in picture(advice)
    assert ">1 now</text>" in picture(advice)


def test_a_setting_that_leaves_requests_is_told_as_such_and_is_not_the_lowest() -> None:
    advice = told([OWN, judged("drops", [[1, 1, 1, 1]] * 2, unserved=3)])
    assert table(advice)[1][1][2] == "leaves 12 more waiting"
    assert "lowest" not in verdict(advice)


def test_a_bound_on_the_wait_is_told_with_how_it_goes_up_and_down() -> None:
    advice = told([OWN, CHEAPER, CHEAPEST], Goal(1.0, 60.0))
    assert "95 of 100 wait no longer than 5.0 s (5.0 s to 5.0 s in the parts of this time)" in verdict(advice)


def test_a_table_has_a_row_for_each_with_figures_per_day_and_their_spread() -> None:
    head, rows = table(told([OWN, CHEAPER, LUCKY]))
    assert head[2:4] == ("against now", "USD per day")
    assert rows[0] == ("1", "as it is", "", "30.50 (20.00 to 42.00)", "5.0 (5.0 to 5.0)", "0.0", "15.25")
    assert rows[1][1] == "cheaper (advised)"
    assert rows[1][2].startswith("-19.7 % ±")
    assert rows[2][2].startswith("(-16.4 % ±"), "in brackets: it cannot be told"


def test_a_past_of_minutes_is_told_by_the_hour() -> None:
    short = replace(told([OWN, CHEAPER]), until_at=T0 + 600.0)
    assert Unit(short).name == "hour"
    assert table(short)[0][3] == "USD per hour"


def test_settings_that_do_the_same_are_one_point_of_the_picture() -> None:
    alike = [judged(f"alike {place}", [[10, 20, 10, 20], [11, 20, 10, 21]]) for place in range(8)]
    assert ">1 now, 2, 3, 4, 5, 6, 7, 8, 9<" in picture(told([OWN, *alike, CHEAPEST]))
    plain = judged("plain", [[7, 17, 7, 17], [8, 17, 7, 18]])
    assert ">10 advised</text>" in picture(told([OWN, *alike, plain]))


def test_nothing_came_and_no_price_is_known() -> None:
    quiet = [
        Judged(
            each.setting,
            tuple(
                PlayedOnce(_unknown(run.whole), tuple(_unknown(part) for part in run.parts), run.faults)
                for run in each.runs
            ),
            PARTS,
        )
        for each in (OWN, CHEAPER)
    ]
    advice = told(quiet, recorded=FleetFigures(0, 0, 64.0, None, 64.0, None))
    answer = words(advice)
    assert "Nothing came in this time, so nobody waited." in answer
    assert "Of 64.00 of these worker-hours no price is known." in answer
    assert "12.25 worker-hours per day in the place of 15.25." in verdict(advice)
    assert table(advice)[1][0][3:] == ("-", "-", "-", "15.25 (10.00 to 21.00)")
    assert picture(advice).startswith("<svg")


def _unknown(known: Books) -> Books:
    return replace(
        known, usd=None, unpriced_hours=known.worker_hours, waited_mean_seconds=None, waited_p95_seconds=None
    )


def test_an_advice_is_plain_json() -> None:
    plain = asdict(told([OWN, CHEAPER]))
    assert plain["settings"][1]["usd_per_day"] == {"mean": 24.5, "least": 16.0, "most": 34.0}
    (change,) = [sentences for question, sentences in answers(told([OWN, LUCKY])) if question == CHANGE]
    assert change == ("Nothing.",)


# a past, part by part


@pytest.mark.parametrize(
    ("hours", "count"), [(1.0, 8), (47.9, 8), (150.0, 8), (167.9, 7), (7 * 24.0, 7), (215.0, 9), (40 * 24.0, 14)]
)
def test_a_past_is_cut_into_days_or_where_it_is_short_into_equal_parts(hours: float, count: int) -> None:
    parts = parts_of(replace(QUIET, counts_from=T0, until=T0 + hours * HOUR))
    assert len(parts) == count
    assert (parts[0].begin, parts[-1].end) == (T0, T0 + hours * HOUR)
    assert len({round(part.days, 9) for part in parts}) == 1


def test_a_past_without_time_is_refused() -> None:
    with pytest.raises(TraceError, match="the time that counts is empty"):
        parts_of(replace(QUIET, until=QUIET.counts_from))


def test_a_play_told_by_parts_is_the_same_as_told_at_once() -> None:
    busy = tuple(
        replace(look, demand=Demand(queued=6, running=2) if 65 <= place < 90 else Demand())
        for place, look in enumerate(QUIET.looks)
    )
    past = replace(QUIET, looks=busy)
    played = play_parts(stage_for(past, FLEET), parts_of(past), 1)
    assert len(played.parts) == 8
    for name in ("worker_hours", "paid_hours", "usd", "waiting_hours", "requests", "launches", "stops"):
        assert math.fsum(getattr(part, name) for part in played.parts) == pytest.approx(getattr(played.whole, name))
    assert max(part.waited_p95_seconds or 0 for part in played.parts) >= (played.whole.waited_p95_seconds or 0) > 0
    assert played.whole.usd == pytest.approx(2.0 * played.whole.worker_hours)


def test_looks_out_of_order_are_refused_with_what_would_do() -> None:
    looks = (*QUIET.looks[:50], replace(QUIET.looks[50], at_seconds=T0 - 100.0), *QUIET.looks[51:])
    with pytest.raises(TraceError, match="look 51 is 3040 s older than the one before it: the clock of the Prefect"):
        stage_for(replace(QUIET, looks=looks), FLEET)


def test_a_past_before_time_itself_and_an_empty_one_are_refused() -> None:
    early = tuple(replace(look, at_seconds=-5.0) for look in QUIET.looks)
    for looks in (early, ()):
        with pytest.raises(TraceError, match="0 recorded looks knew the demand; two are needed"):
            stage_for(replace(QUIET, looks=looks), FLEET)


def test_counters_that_fell_are_counted_and_what_came_after_counts_from_nothing() -> None:
    counts = (0, 10, 20, 3, 9, 1)
    past = OwnPast(
        tuple(
            RecordedLook(T0 + 60 * place, Demand(arrived=each, served=each), ()) for place, each in enumerate(counts)
        ),
        {},
        T0,
        T0 + 300.0,
    )
    assert counters_that_fell(past) == 2
    check_order(past)
    assert len(past.trace.at_seconds) == 10 + 10 + 3 + 6 + 1


def test_a_master_that_never_counted_has_no_counter_that_fell() -> None:
    assert counters_that_fell(QUIET) == 0


@pytest.mark.parametrize("answer", [math.nan, 10**6, RuntimeError("no")], ids=["no number", "a million", "raises"])
def test_a_policy_that_answers_nonsense_harms_no_play_and_is_not_advised(answer: Any) -> None:
    class Odd:
        kind = "odd"

        def decide(self, observation: Any) -> Any:
            from ebbflow.core.plan import Decision, Want

            if isinstance(answer, Exception):
                raise answer
            return Decision((Want(count=answer),), "odd")

    odd = FLEET.model_copy(update={"policy": Odd()})
    parts = parts_of(QUIET)
    plays = [
        Judged(Setting(label, changes, each), (play_parts(stage_for(QUIET, each), parts, 1),), parts)
        for label, changes, each in (
            (AS_IT_IS, (), FLEET),
            ("odd", (Change(("policy",), {"kind": "odd"}),), odd),
        )
    ]
    choice = choose(plays, BY_WORTH)
    assert choice.keeps
    assert plays[1].runs[0].whole.worker_hours <= FLEET.limits.max_workers
    assert bool(settings_told(plays, choice)[1].failure) is (answer != 10**6)


def test_a_change_is_made_of_the_file_and_not_of_the_fleet_in_memory() -> None:
    assert with_changes(FLEET, [Change(("limits", "min_workers"), 0)]).limits.min_workers == 0
