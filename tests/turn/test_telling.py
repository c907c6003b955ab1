"""A record in words: seen, decided by which rules, bound by what, done, and what came of it."""

import json
from dataclasses import asdict, replace

import pytest

from ebbflow.core.plan import Outcome, Result, Verb
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.recall import Recall
from ebbflow.turn.telling import ActionTold, RuleTold, TurnTold, tell_turn
from ebbflow.turn.turn import take_turn
from tests.test_upgrade import NAME, NUMBERS, ledger_up_to
from tests.turn.lived import Lived, lived
from tests.turn.test_turn import FLEET, REQUEST

pytestmark = pytest.mark.anyio


async def told(life: Lived, number: int) -> TurnTold:
    recall = Recall(life.outside.ledger, FLEET.name)
    entries = (await recall.last(500)).entries
    return await tell_turn(recall.reader, next(each for each in entries if each.record.number == number))


async def test_a_turn_that_launched_tells_what_it_saw_which_rules_spoke_and_what_came_of_it() -> None:
    life = await lived()
    first = await told(life, 1)
    assert first.seen == ("demand: 0 queued, 0 running", "master: has no worker", "local/a: lists nothing")
    assert first.bound == (RuleTold("limits.min_workers", "min_workers is 2: 0 becomes 2"),)
    assert RuleTold("policy.vanilla", "nothing to do, and nobody there: 0 wanted") in first.rules
    assert (first.wanted, first.supply, first.existing, first.missing) == (0, 0, 0, ())
    assert (first.flow, first.run_id, first.asked, first.changed) == ("autoscale", "run-01", "", ())
    reason = "local/a is next in order and has room"
    detail = f"i-{life.first} running; http://10.0.0.1:7801"
    assert first.actions[0] == ActionTold("launch", life.first, "local/a", reason, "done, register done", detail, None)


async def test_a_later_turn_tells_who_works_and_what_the_notes_before_it_said() -> None:
    fourth = await told(await lived(), 4)
    assert fourth.seen == (
        "turn before: record 3, 30 s ago",
        "demand: 40 queued, 0 running",
        "master: has 1 ready and busy, 1 ready and idle",
        "local/a: 2 running",
    )
    assert fourth.rules[0].text == "40 tasks > 10 per worker x 2 workers: 4 wanted"
    fifth = await told(await lived(), 5)
    assert "notes of record 4: 2 x launch done, 2 x register done" in fifth.seen


async def test_a_decision_to_do_nothing_is_told_too() -> None:
    third = await told(await lived(), 3)
    assert (third.actions, third.headline) == ((), "queue 0 < 2")
    assert third.rules
    assert third.bound


async def test_a_fleet_that_was_changed_tells_in_what() -> None:
    life = await lived()
    assert (await told(life, 7)).changed == ("limits.min_workers: 2 became 1",)
    assert (await told(life, 8)).changed == ()


async def test_what_a_person_asked_for_is_told_with_who_and_why() -> None:
    life = await lived()
    life.outside.clock.now += 30.0
    await take_turn(FLEET, life.outside.surroundings(run="run-7"), request=REQUEST)
    assert (await told(life, 12)).asked == "floor +1 by ada, for 3600 s: demo day"


async def test_an_action_of_which_nobody_noted_what_came_says_so() -> None:
    life = await lived()
    recall = Recall(life.outside.ledger, FLEET.name)
    lost = replace((await recall.last(500)).entries[0], outcomes=())
    assert {each.result for each in (await tell_turn(recall.reader, lost)).actions} == {"no note"}


async def test_what_was_refused_is_told_with_the_providers_own_words() -> None:
    life = await lived()
    recall = Recall(life.outside.ledger, FLEET.name)
    refused = (Outcome(Verb.LAUNCH, life.first, "local/a", Result.CAPACITY, "no nodes"),)
    entry = replace((await recall.last(500)).entries[0], outcomes=refused)
    action = (await tell_turn(recall.reader, entry)).actions[0]
    assert (action.result, action.detail) == ("capacity", "no nodes")


async def test_a_record_that_leans_on_one_that_is_gone_is_told_without_what_it_saw() -> None:
    life = await lived()
    life.keep(1, None)
    third = await told(life, 3)
    assert third.seen == ()
    assert third.rules, "its plan is its own"
    (missing,) = third.missing
    assert missing.endswith("leans on artifact artifact-1, which is gone")


@pytest.mark.parametrize("number", NUMBERS)
async def test_a_record_of_the_first_format_is_told_as_any_other(number: int) -> None:
    ledger = ledger_up_to(number)
    entry = (await ChainReader(ledger).history(NAME))[-1]
    turn = await tell_turn(ChainReader(ledger), entry)
    assert (turn.record, turn.format, turn.missing) == (number, 1, ())
    assert turn.seen
    assert turn.rules


async def test_what_is_told_can_be_written_as_json() -> None:
    for number in (1, 4, 7):
        turn = await told(await lived(), number)
        assert json.loads(json.dumps(asdict(turn), allow_nan=False))["record"] == number
