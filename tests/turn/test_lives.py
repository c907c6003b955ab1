"""A worker's whole life: every step with its turn and its reason, what came of it, and where something is missing."""

from dataclasses import replace

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.plan import Action, Outcome, Plan, Result, Verb
from ebbflow.core.worker import Mark, Worker
from ebbflow.turn.chain_reader import ChainEntry, Past
from ebbflow.turn.lives import LifeTold, fleet_events, tell_life
from ebbflow.turn.phases import in_short
from ebbflow.turn.recall import Recall
from tests.test_upgrade import NAME, ledger_up_to
from tests.turn.lived import Lived, lived
from tests.turn.test_turn import FLEET

pytestmark = pytest.mark.anyio
ID = "demo-3f9c-1-0"


async def life_of(life: Lived, worker_id: str) -> LifeTold:
    recall = Recall(life.outside.ledger, FLEET.name)
    past, meant = await recall.life_of(worker_id, most_seconds=86_400.0)
    return tell_life(past, meant, await fleet_events(recall.reader, past))


def steps(life: LifeTold) -> list[tuple[int, str]]:
    return [(event.record, event.what) for event in life.events]


async def test_the_life_of_a_worker_that_left_is_told_from_its_wish_to_its_end() -> None:
    life = await lived()
    told = await life_of(life, life.second)
    assert steps(told) == [
        (1, "wished"),
        (1, "launch"),
        (1, "register"),
        (2, "address"),
        (2, "registered"),
        (2, "ready"),
        (2, "idle"),
        (5, "marked"),
        (5, "drain"),
        (6, "no turn for 600 s"),
        (6, "tear down"),
        (7, "fleet changed"),
        (7, "ended"),
    ]
    assert (told.state, told.provider, told.not_read, told.missing) == ("ended", "local/a", "", "")
    why = {event.what: event.why for event in told.events}
    assert why["wished"] == "nothing to do, and nobody there: 0 wanted; min_workers is 2: 0 becomes 2"
    assert why["launch"] == "local/a is next in order and has room"
    assert why["marked"].endswith("; at most 900 s to finish")
    assert why["no turn for 600 s"].startswith("one is due every 30 s")
    assert why["fleet changed"] == "limits.min_workers: 2 became 1"
    came = {event.what: event.came for event in told.events}
    assert came["register"] == "done: http://10.0.0.2:7801"
    assert came["tear down"] == f"done: i-{life.second} is gone, and deregistered"


async def test_the_phases_of_a_worker_that_stays_are_told_with_the_turns_in_which_they_began() -> None:
    life = await lived()
    told = await life_of(life, life.first)
    assert [step for step in steps(told) if step[1] in ("busy", "idle")] == [(2, "idle"), (3, "busy"), (5, "idle")]
    assert told.state == "ready"
    assert told.events[-1].what == "fleet changed"


async def test_a_life_of_which_the_beginning_was_not_read_says_how_to_read_it() -> None:
    life = await lived()
    past = await Recall(life.outside.ledger, FLEET.name).last(9)
    told = tell_life(past, life.first)
    assert told.events[0].what == "was there already"
    assert told.not_read == "its life before record 3 was not read: --since looks further back"
    assert tell_life(past, "demo-3f9c-9-0").not_read == ""


async def test_a_life_that_begins_with_the_first_record_that_was_read_is_whole() -> None:
    life = await lived()
    past = replace(await Recall(life.outside.ledger, FLEET.name).last(11), is_cut=True, broken="record 0 was edited")
    told = tell_life(past, life.first)
    assert (told.events[0].what, told.not_read, told.missing) == ("wished", "", "")


async def test_a_life_of_which_the_beginning_is_lost_says_why() -> None:
    life = await lived()
    life.edit(2)
    told = await life_of(life, life.second)
    words = "its life before record 3 cannot be read: record 2 was edited: it no longer fits the hash"
    assert told.missing.startswith(words)
    assert steps(told)[0] == (3, "was there already")


async def test_lives_of_the_first_format_are_told_as_any_other() -> None:
    recall = Recall(ledger_up_to(7), NAME)
    past, meant = await recall.life_of(f"{NAME}-k6zd-1-0", most_seconds=86_400.0)
    told = tell_life(past, meant, await fleet_events(recall.reader, past))
    whats = [event.what for event in told.events]
    assert whats[:3] == ["wished", "launch", "register"]
    assert whats[-3:] == ["marked", "drain", "tear down"]
    assert (told.state, told.missing) == ("draining", "")


SCENES: dict[str, tuple[list[Worker | None], list[str]]] = {
    "adopted": ([Worker(ID, "local/a", WorkerState.READY)], ["adopted"]),
    "it fails": (
        [
            Worker(ID, "local/a", WorkerState.STARTING, launch_number=1),
            Worker(ID, "local/a", WorkerState.FAILED, launch_number=1, detail="CUDA is not there"),
        ],
        ["adopted", "failed: CUDA is not there"],
    ),
    "it is lost and found": (
        [
            Worker(ID, "local/a", WorkerState.READY, busy=False),
            Worker(ID, "local/a", WorkerState.LOST, busy=None, absent_looks=1),
            Worker(ID, "local/a", WorkerState.READY, busy=False),
        ],
        ["adopted", "idle", "lost", "not listed", "ready", "idle"],
    ),
    "its mark is taken back": (
        [
            Worker(ID, "local/a", WorkerState.DRAINING, mark=Mark(1, "surplus", 900.0, forced=True)),
            Worker(ID, "local/a", WorkerState.READY),
        ],
        ["adopted", "marked: surplus; at most 900 s to finish, by force", "kept", "ready"],
    ),
    "it retires": (
        [Worker(ID, "local/a", WorkerState.READY), Worker(ID, "local/a", WorkerState.READY, is_retiring=True)],
        ["adopted", "retires"],
    ),
    "its address changes": (
        [
            Worker(ID, "local/a", WorkerState.READY, url="http://10.0.0.1:1"),
            Worker(ID, "local/a", WorkerState.READY, url="http://10.0.0.1:2"),
        ],
        ["adopted", "address: http://10.0.0.1:1", "address: http://10.0.0.1:2"],
    ),
    "it is given up": ([Worker(ID, "local/a", WorkerState.WISHED, launch_number=9), None], ["adopted", "ended"]),
}


async def played(*workers: Worker | None) -> Past:
    """Records that know a worker so, one after the other."""
    entries = (await Recall((await lived()).outside.ledger, FLEET.name).last(500)).entries
    made = []
    for entry, worker in zip(entries, workers, strict=False):
        memory = replace(entry.record.memory, workers=(worker,) if worker is not None else ())
        record = replace(entry.record, plan=Plan("x", None, 0, 0), memory=memory)
        made.append(ChainEntry(entry.artifact_id, record, (), entry.stored_at, entry.noted_at))
    return Past(tuple(made))


@pytest.mark.parametrize("scene", SCENES)
async def test_every_change_of_a_worker_is_an_event_of_its_life(scene: str) -> None:
    workers, expected = SCENES[scene]
    found = tell_life(await played(*workers), ID).events
    assert len(found) == len(expected), found
    for event, words in zip(found, expected, strict=True):
        assert f"{event.what}: {event.why}".startswith(words), event


async def test_what_is_tried_again_with_the_same_result_is_told_once_with_how_often() -> None:
    worker = Worker(ID, "local/a", WorkerState.STARTING)
    past = await played(*[worker] * 5)
    waits = Outcome(Verb.REGISTER, ID, "local/a", Result.WAITING, "has not announced its URL")
    action = Action(Verb.REGISTER, ID, "local/a", "is on its way")
    entries = [
        replace(entry, record=replace(entry.record, plan=Plan("x", None, 1, 1, (action,))), outcomes=(note,))
        for entry, note in zip(past.entries, [*[waits] * 4, replace(waits, result=Result.DONE)], strict=True)
    ]
    told = tell_life(Past(tuple(entries)), ID)
    _, waited, done = told.events
    assert (waited.turns, waited.until_seconds) == (4, entries[3].stored_at)
    assert (done.turns, done.until_seconds, done.came) == (1, None, "done: has not announced its URL")


async def test_what_was_done_and_never_noted_says_so() -> None:
    past = await played(Worker(ID, "local/a", WorkerState.DRAINING))
    (entry,) = past.entries
    plan = Plan("x", None, 1, 1, (Action(Verb.DRAIN, ID, "local/a", "surplus"),))
    told = tell_life(Past((replace(entry, record=replace(entry.record, plan=plan)),)), ID)
    assert told.events[-1].came == "no note: its run was lost, or goes on"


async def test_many_phases_in_a_row_are_one_line_in_short_with_how_long_each_was() -> None:
    life = Lived()
    await life.turn()
    await life.turn()
    for count in range(9):
        life.work(life.first, busy=count % 2 == 0)
        await life.turn()
    whole = await life_of(life, life.first)
    assert [event.what for event in whole.events[6:]] == ["idle", *["busy", "idle"] * 4, "busy"]
    short = in_short(whole)
    together, last = short.events[6:]
    assert together.why == "9 phases: busy 120 s, idle 150 s"
    assert (together.record, together.turns, together.until_seconds) == (2, 9, last.at_seconds)
    assert (last.what, last.record) == ("busy", 11)


async def test_a_life_with_few_phases_is_not_shortened() -> None:
    life = await lived()
    whole = await life_of(life, life.first)
    assert in_short(whole) == whole
