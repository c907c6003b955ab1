"""When requests have to wait because nobody serves, and when no longer: the waiting room of a fleet. Pure.

On before the last that serves goes, and off once somebody serves again: left on beside workers it costs nothing but
that people see the master loading.
"""

from collections.abc import Iterator, Sequence

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import MemberState, PushMemberList, Room, RoomState
from ebbflow.core.memory import Override
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Action, Reason, Verb
from ebbflow.core.worker import Worker
from ebbflow.decision.decide import is_wound_down

REF = "waiting-room"
"""What stands for it in the place of a worker."""
MOST_STRANGERS = 10
"""Gates of ids that are no worker's, opened in one turn."""
MODELS_SHOWN = 5
"""Of those that a person has to know of."""


def keep_room(
    workers: Sequence[Worker], inputs: Inputs, overrides: Sequence[Override]
) -> tuple[tuple[Action, ...], tuple[Reason, ...]]:
    """What is to be done about the room, and what a person has to know of it.

    Args:
        workers: after this turn's marks: who is marked is about to go.
        inputs: what was seen.
        overrides: what persons hold the fleet at.
    """
    members = inputs.members
    room = members.room if isinstance(members, PushMemberList) and members.complete else None
    if room is None:
        return (), ()
    actions, reasons = _keep(room, workers, inputs, overrides)
    return (*actions, *_gates(room, workers)), (*reasons, *_missing_models(missing_models_after(inputs)))


def _gates(room: Room, workers: Sequence[Worker]) -> Iterator[Action]:
    """Of workers that the master gives work, and of ids that are no worker's: a warm instance keeps its first gate."""
    known = {worker.worker_id: worker.member for worker in workers}
    for worker_id in room.gates:
        if known.get(worker_id) is MemberState.READY:
            yield Action(Verb.OPEN_GATE, worker_id, "", "the master gives it work, so that it need not load any more")
    # Anybody who reaches the room can make it name ids.
    for worker_id in [each for each in room.gates if each not in known][:MOST_STRANGERS]:
        yield Action(Verb.OPEN_GATE, worker_id, "", "there is no such worker (any more)")


def _keep(
    room: Room, workers: Sequence[Worker], inputs: Inputs, overrides: Sequence[Override]
) -> tuple[tuple[Action, ...], tuple[Reason, ...]]:
    members = inputs.members
    if is_wound_down(overrides):
        is_over = not any(worker.may_exist for worker in workers) and room.state is not RoomState.ABSENT
        return ((_act(Verb.REMOVE_ROOM, "the fleet has ended"),) if is_over else ()), ()
    assert isinstance(members, PushMemberList)
    stays = any(_stays(worker) for worker in workers)
    # Who serves beside ours may go at any moment, and nobody tells us: it closes the room, and opens it once gone.
    serves = stays or bool(members.others) or (not room.is_needed and not _any_of_ours_is_given_work(workers))
    reasons = (_broken(room),) if not room.can_hold else ()
    if serves and room.state in (RoomState.HOLDING, RoomState.BROKEN):
        return (_act(Verb.CLOSE_ROOM, "somebody serves again"),), reasons
    if not serves and room.state is not RoomState.HOLDING:
        why = "nobody serves" if room.is_needed else "the last that serves is about to go"
        return (_act(Verb.OPEN_ROOM, f"{why}: what comes now waits"),), reasons
    if not serves and room.answers and not room.told and inputs.memory.worker_features:
        return (_act(Verb.OPEN_ROOM, "the room was started anew: it is told again what workers can do"),), reasons
    return (), reasons


def holds(inputs: Inputs, overrides: Sequence[Override]) -> bool:
    """Whether work that waits goes on waiting when the last one leaves, thanks to a room."""
    members = inputs.members
    room = members.room if isinstance(members, PushMemberList) else None
    return room is not None and room.can_hold and not is_wound_down(overrides)


def features_after(inputs: Inputs) -> tuple[str, ...]:
    """What workers can do, as far as it was ever seen: what the memory of this turn keeps."""
    members = inputs.members
    room = members.room if isinstance(members, PushMemberList) else None
    return (room.features if room is not None else ()) or inputs.memory.worker_features


def missing_models_after(inputs: Inputs) -> tuple[str, ...]:
    """Models that only workers have, as far as it was ever seen: while none serves, the master cannot tell."""
    members = inputs.members
    room = members.room if isinstance(members, PushMemberList) else None
    return inputs.memory.missing_models if room is None or room.is_needed else room.missing_models


def _stays(worker: Worker) -> bool:
    """Whether it serves and goes on to: the master shows a dead one running, until it has noticed or is told."""
    return worker.state is WorkerState.READY and worker.member is MemberState.READY and worker.mark is None


def _any_of_ours_is_given_work(workers: Sequence[Worker]) -> bool:
    """Of ours that will not stay: about to go, or dead without the master having noticed."""
    return any(worker.member is MemberState.READY or worker.is_fed for worker in workers)


def _act(verb: Verb, reason: str) -> Action:
    return Action(verb, "", "", reason, member_ref=REF, urgent=verb is Verb.OPEN_ROOM)


def _broken(room: Room) -> Reason:
    said = room.detail or "it does not answer"
    return Reason("room.broken", f"{said}; until then requests that find no worker fail", "waiting room")


def _missing_models(missing: Sequence[str]) -> tuple[Reason, ...]:
    if not missing:
        return ()
    shown, more = missing[:MODELS_SHOWN], len(missing) - MODELS_SHOWN
    names = ", ".join(shown) + (f" and {more} more" if more > 0 else "")
    text = (
        f"only workers have {names}: while none serves, the master refuses requests for that at once, room or not; a "
        "file of that name in the master's own model folder cures it, and may be empty"
    )
    return (Reason("room.models", text),)
