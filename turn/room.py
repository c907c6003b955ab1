"""The waiting room and its gates: opened, closed, taken away. Each may be repeated by a later turn."""

from collections.abc import Awaitable, Callable
from functools import partial

from ebbflow.core.plan import Action, Outcome, Result, Verb
from ebbflow.core.ports import KeepsRoom
from ebbflow.turn.calls import Acting
from ebbflow.turn.notes import note


async def keep_room(acting: Acting, action: Action) -> Outcome:
    """Do to the waiting room what the plan says."""
    master = acting.opened.master
    assert isinstance(master, KeepsRoom), "its members showed a room"
    calls: dict[Verb, Callable[[], Awaitable[None]]] = {
        Verb.OPEN_ROOM: partial(master.open_room, acting.evaluation.memory.worker_features),
        Verb.CLOSE_ROOM: master.close_room,
        Verb.REMOVE_ROOM: master.remove_room,
    }
    await acting.ask_master(calls[action.verb], action.verb.value.replace("_", " the waiting "))
    return note(action, Result.DONE)


async def open_gate(acting: Acting, action: Action) -> Outcome:
    """Let a worker show that it no longer loads."""
    master = acting.opened.master
    assert isinstance(master, KeepsRoom), "its members showed a gate"
    await acting.ask_master(partial(master.open_gate, action.worker_id), f"open the gate of {action.worker_id}")
    return note(action, Result.DONE)
