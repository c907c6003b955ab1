"""How a fleet stands: durations of now, and whether turns really come, with what to do where they do not."""

from dataclasses import replace

import pytest

from ebbflow.core.chain import Claim, Head
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, PushMemberList, Room, RoomState
from ebbflow.core.memory import Memory, Override, OverrideKind, ProviderMemory
from ebbflow.core.plan import Action, Outcome, Plan, Reason, Result, Verb
from ebbflow.core.record import make_record
from ebbflow.core.worker import Mark, Worker
from ebbflow.turn.standing import RoomStanding, Schedule, Seen, chosen, meant_by, standing_of
from tests.making import fleet_of, inputs_of

FLEET = fleet_of(("local/a", 4)).model_copy(update={"interval_seconds": 60.0})
ON = Schedule("autoscale/demo", is_on=True, work_pool="gpu", is_polled=True, next_in_seconds=46.0)
WORKER = Worker(
    "demo-3f9c-1-0",
    "local/a",
    WorkerState.DRAINING,
    url="http://w",
    usd_per_hour=0.5,
    state_seconds=30.0,
    busy=False,
    idle_seconds=100.0,
    mark=Mark(3, "surplus, idle 700 s", 900.0),
)
MEMORY = Memory(
    workers=(WORKER,),
    providers=(ProviderMemory("local/a", "here", 20.0, 2, "no nodes"), ProviderMemory("local/old", "here")),
    overrides=(Override("run-7", OverrideKind.FLOOR, 3, "ada", "a sale", 100.0),),
    spent_usd=1.25,
)
PLAN = Plan(
    "queue 3 > 0",
    2,
    1,
    2,
    actions=(Action(Verb.TEAR_DOWN, WORKER.worker_id, "local/a", "surplus"),),
    reasons=(Reason("policy.vanilla", "queue 3 > 0: 2 wanted"),),
    usd_per_hour=0.5,
)


def head(age_seconds: float = 14.0, *, broken: str = "") -> Head:
    inputs = inputs_of(demand=Demand(queued=3, running=1))
    record = make_record(
        inputs, fleet={}, plan=PLAN, memory=MEMORY, flow="autoscale", flow_run_id="r", before=None, link=None
    )
    return Head(Claim(5, "artifact", "hash", 24.0, age_seconds), None if broken else record, broken)


def test_a_record_is_shown_as_it_is_by_now() -> None:
    shown = standing_of(Seen("demo", head(), FLEET, inputs_of(demand=Demand(queued=3, running=1)), ON))
    (worker,) = shown.workers
    assert (worker.state, worker.state_seconds, worker.idle_seconds) == ("draining", 44.0, 114.0)
    assert worker.note == "leaves: surplus, idle 700 s"
    assert (shown.overrides[0].id, shown.overrides[0].remaining_seconds) == ("run-7", 86.0)
    assert [(each.block, each.workers, each.max_workers, each.failures) for each in shown.providers] == [
        ("local/a", 1, 4, 2),
        ("local/old", 0, 0, 0),
    ]
    assert shown.demand is not None
    assert (shown.demand.known, shown.demand.queued, shown.demand.running) == (True, 3, 1)
    assert shown.decision is not None
    assert shown.decision.actions == ("tear down demo-3f9c-1-0: surplus",)
    assert (shown.usd_per_hour, shown.usd_today, shown.record) == (0.5, 1.25, 5)


def test_regression_a_teardown_that_never_fitted_into_a_turn_was_shown_as_if_it_were_done() -> None:
    outcomes = (
        Outcome(Verb.DRAIN, WORKER.worker_id, "local/a", Result.DONE),
        Outcome(Verb.TERMINATE, WORKER.worker_id, "local/a", Result.NOT_BEGUN, "it needs 27 s,\n25.9 s are left"),
        Outcome(Verb.LAUNCH, "demo-3f9c-2-0", "local/a", Result.CAPACITY),
    )
    shown = standing_of(Seen("demo", replace(head(), outcomes=outcomes), FLEET, inputs_of(), ON))
    assert shown.decision is not None
    assert shown.decision.not_done == (
        "terminate demo-3f9c-1-0: did not fit into the turn: it needs 27 s, 25.9 s are left",
        "launch demo-3f9c-2-0: nothing to give now",
    )


def test_a_waiting_room_is_shown_beside_the_workers_and_is_none() -> None:
    room = Room(RoomState.HOLDING, is_needed=True)
    shown = standing_of(Seen("demo", head(), FLEET, inputs_of(members=PushMemberList(room=room)), ON))
    assert shown.room == RoomStanding("holding", answers=True, detail="")
    assert len(shown.workers) == 1
    assert standing_of(Seen("demo", head(), FLEET, inputs_of(), ON)).room is None


@pytest.mark.parametrize(
    ("schedule", "age_seconds", "come", "said"),
    [
        (ON, 14.0, True, "every 60 s, the last 14 s ago, the next in 46 s"),
        (ON, 180.0, True, "every 60 s, the last 180 s ago, the next in 46 s"),
        (ON, 181.0, False, "the last 181 s ago, one is due every 60 s"),
        (replace(ON, is_polled=False), 500.0, False, "`ebbflow runner --pool gpu`"),
        (replace(ON, is_polled=False, pool_type="docker"), 500.0, False, "worker start --pool gpu --type docker`"),
        (replace(ON, last_error="the block is gone"), 500.0, False, "its newest run failed: the block is gone"),
        (replace(ON, late_runs=4), 500.0, False, "4 runs are late"),
        (replace(ON, is_on=False), 14.0, False, "the schedule of autoscale/demo is off: `ebbflow up --start`"),
        (Schedule(), 14.0, False, "no deployment of autoscale runs this fleet"),
    ],
)
def test_whether_turns_come_is_said_with_what_to_do(
    schedule: Schedule, age_seconds: float, come: bool, said: str
) -> None:
    turns = standing_of(Seen("demo", head(age_seconds), FLEET, None, schedule)).turns
    assert (turns.come, said in turns.text) == (come, True), turns.text


def test_a_fleet_whose_turns_follow_soon_while_work_waits_says_how_soon() -> None:
    sooner = FLEET.model_copy(update={"waiting_interval_seconds": 15.0})
    shown = standing_of(Seen("demo", head(), sooner, inputs_of(demand=Demand(queued=3, running=1)), ON))
    assert shown.turns.text == "every 60 s (15 s while work waits), the last 14 s ago, the next in 46 s"
    polled = sooner.model_copy(update={"poll_interval_seconds": 5.0})
    shown = standing_of(Seen("demo", head(), polled, inputs_of(demand=Demand()), ON))
    polls = "polls of its queue every 5 s where `ebbflow runner` runs"
    assert shown.turns.text.startswith(f"every 60 s (15 s while work waits, {polls}), the last 14 s ago")


def test_a_fleet_without_a_record_says_so_and_one_whose_record_is_broken_says_why() -> None:
    new = standing_of(Seen("demo", None, FLEET, None, ON))
    assert (new.record, new.workers, new.turns.last_seconds_ago) == (None, (), None)
    broken = standing_of(Seen("demo", head(broken="record 5 was deleted"), FLEET, None, ON))
    assert (broken.record, broken.broken) == (5, "record 5 was deleted")
    edited = standing_of(Seen("demo", None, FLEET, None, ON, trouble="Variable ebbflow_demo_5 was edited"))
    assert (edited.record, edited.broken) == (None, "Variable ebbflow_demo_5 was edited")
    assert edited.turns.text == "when the last one was cannot be read, one is due every 60 s"


def test_the_only_fleet_need_not_be_named_and_an_unknown_one_is_answered_with_those_that_there_are() -> None:
    assert chosen(["demo"], None) == "demo"
    assert chosen(["demo", "sdxl"], "sdxl") == "sdxl"
    for names, asked in ((["demo", "sdxl"], None), (["demo"], "dem"), ([], None)):
        with pytest.raises(ValueError, match=r"there are: (demo(, sdxl)?|none)"):
            chosen(names, asked)


def test_what_persons_hold_grows_no_older_than_a_turn_would_let_it() -> None:
    long = MEMORY.overrides[0].remaining_seconds
    assert long < 2 * FLEET.interval_seconds, "it would have ended long ago, were it as old as the record"
    hold = standing_of(Seen("demo", head(90.0), FLEET, None, ON))
    assert hold.overrides[0].remaining_seconds == 10.0


def test_a_fleet_that_this_release_cannot_read_is_not_said_to_be_late() -> None:
    turns = standing_of(Seen("demo", head(14.0), None, None, ON)).turns
    assert (turns.come, "cannot be read by this release" in turns.text) == (True, True)


@pytest.mark.parametrize(
    ("beginning", "meant"), [("450b", "450b361d"), ("event", "event"), ("event a", "event alert"), ("nope", None)]
)
def test_an_override_is_meant_by_its_id_or_by_a_beginning_that_is_its_own(beginning: str, meant: str | None) -> None:
    assert meant_by(beginning, ["450b361d", "45c0", "event", "event alert"]) == meant


@pytest.mark.parametrize("beginning", ["45", "", "e"])
def test_regression_a_beginning_of_several_ids_ended_all_of_them(beginning: str) -> None:
    with pytest.raises(ValueError, match="give more of one"):
        meant_by(beginning, ["450b361d", "45c0", "event", "event alert"])
