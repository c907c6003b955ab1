"""A stored decision comes out again to the byte, or what differs is named; and what another fleet would decide."""

import json
from dataclasses import replace

import pytest

from ebbflow.core.canonical import Plain, digest, spell
from ebbflow.core.errors import ConfigError
from ebbflow.turn.chain_reader import ChainEntry
from ebbflow.turn.differences import Difference, differences
from ebbflow.turn.recall import Recall
from ebbflow.turn.replaying import Change, ReplayedTold, ReplayTold, replay, replay_all, section_of
from ebbflow.turn.turn import take_turn
from tests.test_upgrade import NAME, NUMBERS, ledger_up_to
from tests.turn.lived import Lived, lived
from tests.turn.test_turn import FLEET, REQUEST

pytestmark = pytest.mark.anyio
SWARMUI = Change({"policy": {"kind": "swarmui"}})


async def entry_of(life: Lived, number: int) -> tuple[Recall, ChainEntry]:
    recall = Recall(life.outside.ledger, FLEET.name)
    entries = (await recall.last(500)).entries
    return recall, next(each for each in entries if each.record.number == number)


async def again(life: Lived, number: int, change: Change | None = None) -> ReplayTold:
    recall, entry = await entry_of(life, number)
    return await replay(recall.reader, entry, change or Change())


async def all_again(life: Lived, asked: int, change: Change | None = None) -> ReplayedTold:
    recall = Recall(life.outside.ledger, FLEET.name)
    past = await recall.last(asked)
    made = change or Change()
    return await replay_all(recall.reader, FLEET.name, past, made, asked=asked, entries=past.entries)


async def test_every_turn_of_a_fleet_is_decided_again_to_the_byte_also_over_a_change_of_it() -> None:
    told = await all_again(await lived(), 11)
    assert (told.turns, told.same, told.same_actions, told.fewer, told.missing) == (11, 11, 11, "", "")
    assert all(not each.differences and not each.remembers for each in told.replayed)
    assert told.is_right


async def test_a_turn_that_a_person_asked_for_is_decided_again_to_the_byte() -> None:
    life = await lived()
    life.outside.clock.now += 30.0
    await take_turn(FLEET, life.outside.surroundings(run="run-7"), request=REQUEST)
    assert (await again(life, 12)).same


async def test_the_first_turn_of_a_new_chain_is_decided_again_and_what_was_lost_before_it_is_named() -> None:
    life = await lived()
    life.keep(11, None)
    await life.turn()
    told = await all_again(life, 500)
    assert (told.turns, told.same, told.is_right) == (1, 1, False)
    assert told.missing.startswith("before record 12 nothing can be read: record 11 was deleted")


async def test_fewer_turns_than_were_asked_for_are_no_fault() -> None:
    told = await all_again(await lived(), 500)
    assert (told.turns, told.fewer, told.is_right) == (11, "there are only 11", True)


async def test_a_past_that_is_broken_is_replayed_as_far_as_it_can_be_followed_and_says_so() -> None:
    life = await lived()
    life.edit(4)
    told = await all_again(life, 500)
    # What record 5 decided from is the memory that record 4 left.
    assert (told.turns, told.same, told.is_right) == (7, 6, False)
    assert told.missing.startswith("before record 5 nothing can be read: record 4 was edited")
    assert "artifact artifact-4, which was edited since" in told.replayed[0].problem
    assert (await all_again(life, 3)).is_right


async def test_a_decision_that_comes_out_otherwise_names_every_place() -> None:
    life = await lived()
    recall, entry = await entry_of(life, 4)
    action, *others = entry.record.plan.actions
    plan = replace(entry.record.plan, wanted=5, actions=(replace(action, provider="local/b"), *others))
    told = await replay(recall.reader, replace(entry, record=replace(entry.record, plan=plan)), Change())
    assert told.differences == (
        Difference("actions[0].provider", "local/b", "local/a"),
        Difference("wanted", 5, 4),
    )
    assert (told.same, told.only_words, told.same_actions, told.problem) == (False, False, False, "")


async def test_a_plan_that_differs_in_a_sentence_alone_differs_in_words_alone() -> None:
    life = await lived()
    recall, entry = await entry_of(life, 4)
    plan = replace(entry.record.plan, headline="many wait")
    told = await replay(recall.reader, replace(entry, record=replace(entry.record, plan=plan)), Change())
    assert (told.same, told.only_words, told.same_actions) == (False, True, True)


async def test_what_is_left_for_the_next_turn_is_compared_too() -> None:
    life = await lived()
    recall, entry = await entry_of(life, 4)
    memory = replace(entry.record.memory, spent_usd=3.0)
    told = await replay(recall.reader, replace(entry, record=replace(entry.record, memory=memory)), Change())
    assert (told.same, told.remembers) == (True, (Difference("spent_usd", 3, None),))


@pytest.mark.parametrize("number", NUMBERS)
async def test_a_record_of_the_first_format_does_the_same_in_other_words(number: int) -> None:
    recall = Recall(ledger_up_to(number), NAME)
    told = await replay(recall.reader, await recall.newest(), Change())
    assert (told.format, told.same, told.only_words, told.same_actions) == (1, False, True, True)


async def test_a_record_of_the_second_format_is_decided_again_to_the_byte() -> None:
    life = await lived()
    life.forge('"format":3', '"format":2')
    told = await again(life, 11)
    assert (told.format, told.same) == (2, True)


async def test_a_record_of_a_fleet_that_this_release_does_not_take_says_so_in_one_line() -> None:
    life = Lived()
    await life.turn()
    text = life.stored(1).text or ""
    fleet = json.loads(text)["sections"]["fleet"]
    other = {**fleet["value"], "colour": "red"}
    life.forge(spell(fleet), spell({**fleet, "value": other, "sha256": digest(spell(other))}))
    told = await again(life, 1)
    assert told.again is None
    assert "its fleet cannot be read: 1 validation error for Fleet colour Extra inputs" in told.problem


async def test_a_record_that_leans_on_one_that_is_gone_is_not_decided_again_and_says_why() -> None:
    life = await lived()
    life.keep(1, None)
    told = await again(life, 4)
    assert (told.same, told.again) == (False, None)
    assert told.problem.endswith("leans on artifact artifact-1, which is gone")


async def test_what_another_policy_would_have_decided_is_told_beside_what_was() -> None:
    life = await lived()
    told = await again(life, 4, SWARMUI)
    assert told.again is not None
    assert (told.stored.wanted, told.again.wanted) == (4, 3)
    assert (len(told.stored.actions), len(told.again.actions)) == (2, 1)
    assert told.again.reasons == ("40 wait and 0 run, at least 10: one more than 2 (policy.swarmui)",)
    assert not told.same_actions


async def test_other_limits_bind_as_they_would_have_bound() -> None:
    told = await again(await lived(), 4, Change({"limits": {"min_workers": 2, "max_workers": 3}}))
    assert told.again is not None
    assert any("limits.max_workers" in reason for reason in told.again.reasons)
    assert len(told.again.actions) == 1


async def test_a_what_if_over_a_past_counts_the_turns_that_would_have_done_the_same() -> None:
    told = await all_again(await lived(), 500, SWARMUI)
    assert (told.is_what_if, told.turns, told.is_right) == (True, 11, True)
    assert 0 < told.same_actions < 11
    assert not next(each for each in told.replayed if each.record == 4).same_actions


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        (
            {"policy": {"kind": "capability"}},
            "policy.kind is 'capability', which needs to know what waiting work",
        ),
        ({"policy": {"kind": "master"}}, r"policy.kind is 'master', and swarmui-master/a says of itself no number"),
        ({"policy": {"kind": "nope"}}, "fleet 'demo': policy: Input tag 'nope' found"),
        ({"policy": {"kind": "vanilla", "ratio": 1}}, "fleet 'demo': policy.vanilla.ratio: Extra inputs"),
        ({"limits": {"max_workers": -1}}, "fleet 'demo': limits.max_workers: Input should be greater than"),
        ({"limits": {"min_workers": 9}}, "fleet 'demo': limits.min_workers 9 is more than all providers"),
    ],
)
async def test_a_what_if_that_the_fleet_would_refuse_is_refused_in_the_fleets_words(
    sections: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        await again(await lived(), 4, Change(sections))


@pytest.mark.parametrize("given", [{"kind": "vanilla"}, {"policy": {"kind": "vanilla"}}])
async def test_a_section_may_stand_by_itself_or_under_its_name(given: Plain) -> None:
    assert section_of("policy", given) == {"policy": {"kind": "vanilla"}}


@pytest.mark.parametrize("given", [None, [], "vanilla", {"policy": "vanilla"}, 3])
async def test_what_is_no_section_is_refused(given: Plain) -> None:
    with pytest.raises(ConfigError, match="is no section of a fleet"):
        section_of("policy", given)


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ({"a": 1}, {"a": 1}, ()),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3, 4]}}, (("a.b[1]", 2, 3), ("a.b[2]", None, 4))),
        ({"a": 1}, {"b": True}, (("a", 1, None), ("b", None, True))),
        ([1], {"a": 1}, (("", [1], {"a": 1}),)),
        ({"a": 1}, {"a": True}, (("a", 1, True),)),
    ],
)
async def test_every_place_at_which_two_values_differ_is_named(
    first: Plain, second: Plain, found: tuple[tuple[str, Plain, Plain], ...]
) -> None:
    assert differences(first, second) == tuple(Difference(*each) for each in found)


async def test_no_difference_means_equal_bytes() -> None:
    life = await lived()
    for number in range(1, 12):
        recall, entry = await entry_of(life, number)
        told = await replay(recall.reader, entry, SWARMUI)
        assert told.same is (not told.differences)
