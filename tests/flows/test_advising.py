"""A fleet's settings played on its own past: what comes of a past that is short, broken, or of several fleets."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from ebbflow.core.errors import ConfigError, NotRecorded
from ebbflow.core.member import Demand, MasterCaps
from ebbflow.core.memory import OverrideKind
from ebbflow.core.observation import Observation, ScaleRequest
from ebbflow.core.plan import Decision, Want
from ebbflow.fleet.changing import as_written, fleet_yaml
from ebbflow.fleet.changing import changed as changed_text
from ebbflow.fleet.model import Fleet
from ebbflow.flows.advice_page import advice_page
from ebbflow.flows.advising import Asked, advise_on, advise_on_past
from ebbflow.policies.capability import CapabilityPolicy
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.simulation.advice_told import AdviceTold
from ebbflow.simulation.advice_words import answers, verdict
from ebbflow.simulation.neighbours import AS_IT_IS
from tests.flows.test_fleet_past import WIDE, busy_past, past_of
from tests.making import changed
from tests.turn.lived import Lived, lived
from tests.turn.test_turn import FLEET, turn

pytestmark = pytest.mark.anyio

QUICK = Asked(plays=2)


def silent(said: str) -> None:
    """Hears nothing."""


async def advised(life: Lived, fleet: Fleet = WIDE, asked: Asked = QUICK) -> AdviceTold:
    return await advise_on(life.outside.ledger, fleet, asked, say=silent)


async def steady_past(turns: int = 80) -> Lived:
    """A fleet of two workers at least that hardly any of its requests needs."""
    life = await busy_past(0)
    for place in range(turns):
        life.outside.queue.waiting += int(place % 8 == 0)
        life.outside.queue.came += int(place % 8 == 0)  # type: ignore[attr-defined]  # it counts
        await life.turn(WIDE, after=60.0)
    return life


def said(told: AdviceTold) -> str:
    return " ".join(each for _, sentences in answers(told) for each in sentences)


async def test_a_minimum_that_nobody_needs_is_advised_against_and_the_diff_is_the_fleet_without_it() -> None:
    heard: list[str] = []
    told = await advise_on((await steady_past()).outside.ledger, WIDE, Asked(waiting_worth=0.0), say=heard.append)
    assert heard[0] == f"1 of {len(told.settings)}: as it is"
    assert len(heard) == len(told.settings)
    advice = told.named(told.advised)
    assert advice is not None
    assert advice.changes == ("limits.min_workers: 0",)
    assert advice.is_told
    assert advice.worker_hours_per_day.mean < 0.5 * told.own.worker_hours_per_day.mean
    assert "\n-    min_workers: 2\n+    min_workers: 0\n" in told.diff
    assert told.diff.startswith("--- a/fleet.yaml\n")
    assert told.recorded.worker_hours == pytest.approx(told.own.worker_hours_per_day.mean * told.days, rel=0.25)
    assert "policy capability" in " ".join(told.not_played)


async def test_a_bound_on_the_wait_is_met_at_the_least_cost_or_it_is_said_that_nothing_meets_it() -> None:
    life = await busy_past(120)
    free = await advised(life)
    best = min(each.waited_p95_seconds.mean for each in free.settings if each.waited_p95_seconds)
    bound = replace(QUICK, wait_p95_seconds=best + 20.0)
    told = await advised(life, asked=bound)
    advice = told.named(told.advised)
    assert advice is not None
    assert advice.waited_p95_seconds is not None
    assert advice.waited_p95_seconds.mean < best + 20.0
    none = await advised(life, asked=replace(QUICK, wait_p95_seconds=best / 10))
    assert (none.advised, none.diff) == (None, "")
    assert verdict(none).startswith("No setting that was played lets 95 of 100 requests wait less")
    assert none.named(none.nearest) is not None


async def test_the_policys_own_worth_of_waiting_is_what_it_is_judged_by() -> None:
    life = await busy_past(40)
    assert (await advised(life)).waiting_worth == 1.0
    patient = changed(WIDE, policy=MarginalPolicy(waiting_worth=0.2))
    assert (await advised(life, patient)).waiting_worth == 0.2
    assert (await advised(life, patient, replace(QUICK, waiting_worth=5.0))).waiting_worth == 5.0


async def test_two_goals_at_once_are_refused() -> None:
    both = Asked(waiting_worth=1.0, wait_p95_seconds=10.0)
    with pytest.raises(ConfigError, match="waiting_worth is 1 and wait_p95_seconds is 10: one of them says"):
        await advised(Lived(), asked=both)


# how long it takes


async def test_no_play_begins_after_the_limit_but_those_of_the_fleet_as_it_is() -> None:
    past = await past_of(await busy_past(30))
    seconds = iter(range(0, 10_000, 10))
    asked = Asked(plays=2, limit_seconds=45.0)
    told = await advise_on_past(past, WIDE, asked, say=silent, clock=lambda: float(next(seconds)))
    assert told.own.label == AS_IT_IS
    assert 1 < len(told.settings) < 6
    assert told.stopped.startswith(f"stopped after 45 s: {len(told.settings)} of ")
    none = await advise_on_past(past, WIDE, replace(asked, limit_seconds=0.0), say=silent)
    assert (len(none.settings), none.advised) == (1, AS_IT_IS)


async def test_no_more_settings_are_played_than_was_asked_for_and_the_rest_is_named() -> None:
    told = await advised(await busy_past(30), asked=replace(QUICK, settings=3))
    assert len(told.settings) == 3
    assert any(each.endswith("more than 3 settings") for each in told.not_played)


# a past that is not whole


@pytest.mark.parametrize("turns", [0, 3, 7])
async def test_a_past_of_a_few_records_tells_nothing_and_is_refused(turns: int) -> None:
    life = await busy_past(turns)
    words = f"has {f'{turns} records' if turns else 'no record'} of this time, and fewer than 8 tell nothing"
    with pytest.raises(NotRecorded, match=words):
        await advised(life)


async def test_a_short_past_is_no_more_than_a_try_and_that_is_said() -> None:
    told = await advised(await busy_past(12))
    assert "12 turns are a short past" in said(told)
    assert "Only 0.18 h are recorded" in said(told)


async def test_nothing_came_and_nobody_waited() -> None:
    life = Lived()
    for _ in range(20):
        await life.turn(after=60.0)
    told = await advised(life, FLEET)
    assert told.requests == 0
    assert "Nothing came in this time, so nobody waited." in said(told)
    assert told.own.waited_p95_seconds is None
    assert advice_page(told, "data:x").startswith(f"# {FLEET.name}: advice from its past\n")


async def test_demand_that_was_never_known_is_refused() -> None:
    past = await past_of(await busy_past(20))
    unknown = tuple(replace(look, demand=Demand(complete=False)) for look in past.played.looks)
    with pytest.raises(ConfigError, match="its past cannot be played: own past: 0 recorded looks knew the demand"):
        await advise_on_past(replace(past, played=replace(past.played, looks=unknown)), WIDE, QUICK, say=silent)


async def test_looks_out_of_order_are_refused_with_the_reason() -> None:
    past = await past_of(await busy_past(20))
    looks = past.played.looks
    turned = replace(past, played=replace(past.played, looks=(*looks[5:10], *looks[:5], *looks[10:])))
    with pytest.raises(ConfigError, match="the clock of the Prefect server was set back"):
        await advise_on_past(turned, WIDE, QUICK, say=silent)


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"policy": MarginalPolicy()}, "policy.kind: vanilla became marginal"),
        ({"interval_seconds": 120.0}, "interval_seconds: 30 became 120"),
        ({"providers": (changed(WIDE.providers[0], max_workers=9),)}, "providers[0].max_workers: 4 became 9"),
    ],
    ids=["policy", "interval", "provider"],
)
async def test_a_past_over_a_change_of_the_fleet_says_what_changed_and_plays_the_fleet_of_now(
    sections: dict[str, Any], words: str
) -> None:
    life, now = await busy_past(15), changed(WIDE, **sections)
    for _ in range(15):
        await life.turn(now, after=60.0)
    told = await advised(life, now)
    (note,) = [each for each in told.notes if "the fleet was changed with record 16" in each]
    assert words in note
    assert "what was recorded is of both, and played is one fleet all the time" in note


async def test_a_past_at_another_provider_boots_as_that_one_did() -> None:
    life = await busy_past(30)
    elsewhere = Fleet.model_validate({**WIDE.model_dump(), "providers": [{"block": "local/b", "max_workers": 4}]})
    told = await advised(life, elsewhere)
    assert any(note.startswith("local/b: boots of ") and "those of the other providers" in note for note in told.notes)
    assert told.own.usd_per_day is None, "nobody knows its price"


async def test_turns_that_did_not_come_are_told() -> None:
    told = await advised(await lived(), FLEET)
    assert any(note.startswith("no turn was taken for 10 minutes in all (1 times)") for note in told.notes)


async def test_a_fleet_that_was_paused_for_a_while_is_told_and_is_played_as_if_it_had_not_been() -> None:
    life = await busy_past(20)
    pause = ScaleRequest("run-p", OverrideKind.PAUSE, "ada", "a new driver", 600.0, 0)
    await turn(life.outside, WIDE, after=60.0, run="run-p", request=pause)
    for _ in range(20):
        life.outside.queue.waiting += 3
        await life.turn(WIDE, after=60.0)
    told = await advised(life)
    assert "Persons held the fleet at something in this time, which is not played." in said(told)
    assert told.own.launches_per_day > 0


async def test_counters_that_fell_are_told() -> None:
    past = await past_of(await busy_past(40))
    looks = past.played.looks
    restarted = tuple(
        replace(look, demand=replace(look.demand, arrived=0, served=0)) if place == 30 else look
        for place, look in enumerate(looks)
    )
    told = await advise_on_past(replace(past, played=replace(past.played, looks=restarted)), WIDE, QUICK, say=silent)
    assert any(note.startswith("the master's counters fell 1 time, as where it") for note in told.notes)


async def test_a_record_that_was_edited_is_missing_and_the_rest_is_played() -> None:
    life = await busy_past(40)
    life.edit(20)
    told = await advised(life)
    assert len(told.missing) == 1
    assert "record 20 was edited" in told.missing[0]


# what cannot be played


@pytest.mark.parametrize(
    ("caps", "fleet", "words"),
    [
        (
            MasterCaps(owns_workers=True),
            changed(FLEET, master="swarmui-master/b"),
            "starts and ends its workers itself",
        ),
        (MasterCaps(per_shape_demand=True), changed(FLEET, policy=CapabilityPolicy()), "asks for more than how much"),
    ],
    ids=["its master owns its workers", "its policy asks for shapes"],
)
async def test_a_fleet_that_cannot_be_played_is_refused(caps: MasterCaps, fleet: Fleet, words: str) -> None:
    from ebbflow.flows.past_check import check_playable

    with pytest.raises(ConfigError, match=words):
        check_playable(replace(await past_of(await busy_past(10)), master_caps=caps), fleet, "as it is")


async def test_a_setting_that_the_master_refuses_is_named_with_its_reason() -> None:
    past = await past_of(await busy_past(20))
    loses = replace(past, master_caps=replace(past.master_caps, can_start_from_zero=False))
    told = await advise_on_past(loses, WIDE, QUICK, say=silent)
    assert told.named("min_workers 0 (now 2)") is None
    (why,) = [each for each in told.not_played if each.startswith("min_workers 0 (now 2): ")]
    assert "loses requests while it has no worker" in why


@pytest.mark.parametrize("answer", [math.nan, -1, 10**6, "raises"], ids=["nan", "negative", "million", "raises"])
async def test_a_fleet_whose_own_policy_answers_nonsense_is_played_and_that_is_said(
    answer: Any,
) -> None:
    past = await past_of(await busy_past(20))
    odd = WIDE.model_copy(update={"policy": Odd(answer=answer)})
    told = await advise_on_past(past, odd, replace(QUICK, settings=4), say=silent)
    is_number = answer == 10**6
    assert any(note.startswith("as it is, its policy gave no answer in ") for note in told.notes) is not is_number
    assert bool(told.own.failure) is not is_number


class Odd(BaseModel):
    """A policy of another package."""

    kind: Literal["odd"] = "odd"
    answer: Any

    def decide(self, observation: Observation) -> Decision:
        if self.answer == "raises":
            raise RuntimeError("no")
        return Decision((Want(count=self.answer),), "odd")


# the page


async def test_the_page_answers_every_question_and_holds_the_diff_the_table_and_the_picture() -> None:
    told = await advise_on((await steady_past()).outside.ledger, WIDE, Asked(waiting_worth=0.0), say=silent)
    page = advice_page(told, "data:image/svg+xml;base64,PHN2Zy8+")
    for question in (
        "What do I pay now?",
        "How long do users wait now?",
        "How sure is that?",
        "What exactly do I change?",
    ):
        assert f"\n## {question}\n" in page
    assert "| 1 | as it is | " in page
    assert "![Cost against wait](data:image/svg+xml;base64,PHN2Zy8+)" in page
    assert "```diff\n--- a/fleet.yaml" in page
    assert "Nothing is ever applied by itself." in page
    assert "schedules: [{cron:" in page


async def test_what_others_wrote_is_no_markup_of_the_page() -> None:
    told = await advised(await busy_past(10))
    harmed = replace(told, notes=("a <script>x</script> | [link](http://u:p@x) ` of one",))
    page = advice_page(harmed, "data:x")
    assert r"A \<script>x\</script> \| \[link\](http" in page
    assert "u:p@" not in page


def test_a_diff_of_the_fleet_is_what_a_person_would_write() -> None:
    from ebbflow.fleet.changing import Change
    from ebbflow.fleet.file_change import section_diff

    changes = [Change(("policy",), {"kind": "marginal", "waiting_worth": 1.0})]
    found = section_diff(WIDE, changes)
    after = fleet_yaml(changed_text(as_written(WIDE), changes))
    assert _applied(fleet_yaml(as_written(WIDE)), found) == after.splitlines()


def _applied(before: str, diff: str) -> Sequence[str]:
    """The lines that a diff leaves, of a text that it holds whole but for what does not change."""
    gone = [line[1:] for line in diff.splitlines()[2:] if line.startswith("-")]
    new = [line[1:] for line in diff.splitlines()[2:] if line.startswith("+")]
    lines = before.splitlines()
    at = lines.index(gone[0])
    assert lines[at : at + len(gone)] == gone
    return [*lines[:at], *new, *lines[at + len(gone) :]]
