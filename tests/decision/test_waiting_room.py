"""When the waiting room is opened, closed and taken away."""

from dataclasses import replace

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import MemberState, PushMemberList, Room, RoomState
from ebbflow.core.memory import Memory, Override, OverrideKind
from ebbflow.core.plan import Verb
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.waiting_room import MOST_STRANGERS, features_after, holds, keep_room, missing_models_after
from tests.making import inputs_of

SERVES = Worker("demo-3f9c-1-0", "local/a", WorkerState.READY, member=MemberState.READY, registered=True)
GOES = replace(SERVES, state=WorkerState.DRAINING, mark=Mark(4, "idle", 900.0))
DRAINS = replace(GOES, member=MemberState.DRAINING)
DEAD = replace(SERVES, state=WorkerState.LOST, member=MemberState.LOST, is_fed=True)
GONE = replace(SERVES, worker_id="demo-3f9c-1-2", state=WorkerState.GONE, is_fed=True)
JOINS = replace(SERVES, worker_id="demo-3f9c-1-1", state=WorkerState.STARTING, member=MemberState.JOINING)
ENDS = Override("wind", OverrideKind.WIND_DOWN, 0, "a person", "", 600.0)

ABSENT, OFF, HOLDING, BROKEN = RoomState.ABSENT, RoomState.OFF, RoomState.HOLDING, RoomState.BROKEN
OPEN, CLOSE, REMOVE = Verb.OPEN_ROOM, Verb.CLOSE_ROOM, Verb.REMOVE_ROOM


@pytest.mark.parametrize(
    ("workers", "state", "is_needed", "verb"),
    [
        ((), ABSENT, True, OPEN),
        ((), OFF, True, OPEN),
        ((), BROKEN, True, OPEN),
        ((), HOLDING, True, None),
        ((JOINS,), HOLDING, True, None),  # by control entries alone never: its child does not run yet
        ((SERVES,), HOLDING, False, CLOSE),
        ((SERVES, JOINS), BROKEN, False, CLOSE),
        ((SERVES,), OFF, False, None),
        ((SERVES,), ABSENT, False, None),
        ((GOES,), OFF, False, OPEN),  # before the last that serves goes
        ((GOES, SERVES), OFF, False, None),
        ((GOES, JOINS), OFF, False, OPEN),
        ((DEAD,), OFF, False, OPEN),  # whom the master shows running is ours, and does not answer
        ((DEAD,), HOLDING, False, None),
        ((GONE,), OFF, False, OPEN),  # the master still shows it running, and is told in this turn that it is gone
        ((GONE, SERVES), OFF, False, None),
        ((DRAINS,), HOLDING, True, None),
        ((DRAINS, SERVES), HOLDING, False, CLOSE),
        ((), OFF, False, None),  # another fleet of the same master serves
        ((), HOLDING, False, CLOSE),
    ],
)
def test_it_is_on_while_nobody_serves_and_off_beside_one_that_stays(
    workers: tuple[Worker, ...], state: RoomState, *, is_needed: bool, verb: Verb | None
) -> None:
    members = PushMemberList(room=Room(state, is_needed=is_needed))
    actions, reasons = keep_room(workers, inputs_of(members=members), ())
    assert [action.verb for action in actions] == ([verb] if verb else [])
    assert all(action.urgent is (verb is OPEN) for action in actions), "work is lost while it is not open"
    assert reasons == ()


def test_a_list_that_may_lack_somebody_changes_nothing() -> None:
    members = PushMemberList(complete=False, room=Room(HOLDING))
    assert keep_room((SERVES,), inputs_of(members=members), ()) == ((), ())
    assert keep_room((), inputs_of(members=PushMemberList()), ()) == ((), ())


@pytest.mark.parametrize(
    ("workers", "state", "verbs"),
    [((), HOLDING, [REMOVE]), ((), OFF, [REMOVE]), ((), ABSENT, []), ((DRAINS,), HOLDING, []), ((GOES,), OFF, [])],
)
def test_it_is_taken_away_with_the_fleet(workers: tuple[Worker, ...], state: RoomState, verbs: list[Verb]) -> None:
    members = PushMemberList(room=Room(state, is_needed=True))
    actions, _ = keep_room(workers, inputs_of(members=members), (ENDS,))
    assert [action.verb for action in actions] == verbs


def test_a_room_that_would_not_hold_is_named_and_relied_on_by_nobody() -> None:
    room = Room(OFF, answers=False, is_needed=True, detail="http://room:7860: the waiting room does not answer")
    inputs = inputs_of(members=PushMemberList(room=room))
    _, (reason,) = keep_room((), inputs, ())
    assert reason.text == f"{room.detail}; until then requests that find no worker fail"
    assert not holds(inputs, ())
    good = inputs_of(members=PushMemberList(room=Room(HOLDING)))
    assert (holds(good, ()), holds(good, (ENDS,))) == (True, False), "when the fleet ends nobody comes for what waits"


@pytest.mark.parametrize(
    ("workers", "gates", "opened"),
    [
        ((SERVES,), (SERVES.worker_id,), [SERVES.worker_id]),
        ((SERVES,), (), []),
        ((JOINS,), (JOINS.worker_id,), []),  # its child does not run yet: that is what the gate is for
        ((SERVES, JOINS), (SERVES.worker_id, JOINS.worker_id), [SERVES.worker_id]),
        ((SERVES,), ("demo-3f9c-1-9",), ["demo-3f9c-1-9"]),  # of a warm instance's first worker, or of one that died
    ],
)
def test_a_gate_opens_once_its_workers_child_runs_at_the_master(
    workers: tuple[Worker, ...], gates: tuple[str, ...], opened: list[str]
) -> None:
    members = PushMemberList(room=Room(OFF, gates=gates))
    actions, _ = keep_room(workers, inputs_of(members=members), ())
    assert [action.worker_id for action in actions if action.verb is Verb.OPEN_GATE] == opened


def test_a_room_that_names_thousands_of_gates_fills_no_record() -> None:
    gates = (*(f"demo-3f9c-9-{number}" for number in range(1000)), SERVES.worker_id)
    actions, _ = keep_room((SERVES,), inputs_of(members=PushMemberList(room=Room(OFF, gates=gates))), ())
    assert len(actions) == 1 + MOST_STRANGERS
    assert actions[0].worker_id == SERVES.worker_id, "whose gate it is comes first"


def test_a_room_that_was_started_anew_while_nobody_serves_is_told_again_what_workers_can_do() -> None:
    memory = Memory(worker_features=("sdxl",))
    anew = inputs_of(members=PushMemberList(room=Room(HOLDING, is_needed=True)), memory=memory)
    (action,), _ = keep_room((), anew, ())
    assert (action.verb, action.reason) == (
        OPEN,
        "the room was started anew: it is told again what workers can do",
    )
    knows = inputs_of(members=PushMemberList(room=Room(HOLDING, is_needed=True, told=("sdxl",))), memory=memory)
    assert keep_room((), knows, ()) == ((), ())


def test_what_workers_can_do_is_remembered_while_there_is_none() -> None:
    memory = Memory(worker_features=("sdxl",))
    serving = PushMemberList(room=Room(OFF, features=("sdxl", "variation_seed")))
    assert features_after(inputs_of(members=serving, memory=memory)) == ("sdxl", "variation_seed")
    assert features_after(inputs_of(members=PushMemberList(room=Room(HOLDING)), memory=memory)) == ("sdxl",)
    assert features_after(inputs_of(members=PushMemberList(), memory=memory)) == ("sdxl",)


def test_models_that_only_workers_had_are_named_at_zero_too_until_one_serves_that_shows_otherwise() -> None:
    memory = Memory(missing_models=("sdxl.safetensors",))
    at_zero = inputs_of(members=PushMemberList(room=Room(HOLDING, is_needed=True)), memory=memory)
    _, (reason,) = keep_room((), at_zero, ())
    assert "only workers have sdxl.safetensors" in reason.text
    assert missing_models_after(at_zero) == ("sdxl.safetensors",)
    cured = inputs_of(members=PushMemberList(room=Room(OFF)), memory=memory)
    assert keep_room((SERVES,), cured, ()) == ((), ())
    assert missing_models_after(cured) == ()


def test_models_that_only_workers_have_are_named_with_the_cure() -> None:
    room = Room(OFF, missing_models=tuple(f"m{number}" for number in range(7)))
    _, (reason,) = keep_room((SERVES,), inputs_of(members=PushMemberList(room=room)), ())
    assert reason.text.startswith(
        "only workers have m0, m1, m2, m3, m4 and 2 more: while none serves, the master refuses"
    )
    assert reason.text.endswith("a file of that name in the master's own model folder cures it, and may be empty")
