"""Carrying out a plan through the ports: each call within the turn's budget, retried only for temporary errors.

Every function here may be repeated by a later turn, and may be cut off at any line.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace

import anyio

from ebbflow.core.errors import FleetError
from ebbflow.core.plan import Action, Outcome, Result, Verb
from ebbflow.turn.calls import Acting
from ebbflow.turn.joining import launch, register
from ebbflow.turn.leaving import deregister, drain, mend, tear_down, terminate
from ebbflow.turn.notes import outcome_of
from ebbflow.turn.room import keep_room, open_gate
from ebbflow.turn.together import together

URGENT_SECONDS = 5.0
"""So long everything else waits for what is urgent, and no longer: a master may be slow."""

CarryOut = Callable[[Acting, Sequence[Action]], Awaitable[list[Outcome]]]
"""Carries out the actions of one kind, and tells what came of each. A refusal is a note, never an error."""

STEPS = {
    Verb.LAUNCH: launch,
    Verb.REGISTER: register,
    Verb.MEND: mend,
    Verb.DRAIN: drain,
    Verb.TEAR_DOWN: tear_down,
    Verb.TERMINATE: terminate,
    Verb.DEREGISTER: deregister,
    Verb.OPEN_ROOM: keep_room,
    Verb.CLOSE_ROOM: keep_room,
    Verb.REMOVE_ROOM: keep_room,
    Verb.OPEN_GATE: open_gate,
}


async def perform(acting: Acting, action: Action) -> Outcome:
    """Carry out one action.

    Raises:
        FleetError: as the ports say, or an adapter's mistake; `outcome_of` turns it into a note.
    """
    try:
        return await STEPS[action.verb](acting, action)
    except FleetError:
        raise
    except Exception as error:
        # The turn goes on, or else everybody's notes would be lost with it; it fails at its end.
        acting.shared.mistakes.append(error)
        raise FleetError(f"a mistake in an adapter: {type(error).__name__}: {error}") from error


async def carry_out(acting: Acting, actions: Sequence[Action]) -> list[Outcome]:
    """Carry out actions of one kind, all at once."""

    async def attempt(action: Action) -> Outcome:
        try:
            return await perform(acting, action)
        except FleetError as error:
            return outcome_of(action, error)

    return await together(*(attempt(action) for action in actions))


async def act(acting: Acting, carry_out: CarryOut = carry_out) -> list[Outcome]:
    """Carry out a plan: what is urgent first, then all kinds at once.

    What was launched is waited for and registered as far as the budget goes.

    Args:
        acting: the turn, with the plan.
        carry_out: does the actions of one kind; whoever runs turns may show each of them in its own way.
    """
    plan = acting.evaluation.plan
    kinds = [verb for verb in Verb if verb is not Verb.LAUNCH]
    is_done = anyio.Event()

    async def first() -> list[Outcome]:
        try:
            return _joined(await together(*(carry_out(acting, plan.of(verb, urgent=True)) for verb in kinds)))
        finally:
            is_done.set()

    async def then() -> list[Outcome]:
        if any(action.urgent for action in plan.actions):
            with anyio.move_on_after(URGENT_SECONDS):
                await is_done.wait()
        others = (carry_out(acting, plan.of(verb, urgent=False)) for verb in kinds)
        return _joined(await together(_launch_and_register(acting, carry_out), *others))

    return _joined(await together(first(), then()))


def _joined(parts: Iterable[Sequence[Outcome]]) -> list[Outcome]:
    return [outcome for part in parts for outcome in part]


async def _launch_and_register(acting: Acting, carry_out: CarryOut) -> list[Outcome]:
    actions = acting.evaluation.plan.of(Verb.LAUNCH)
    outcomes = await carry_out(acting, actions)
    launched = {outcome.worker_id for outcome in outcomes if outcome.result is Result.DONE}
    if not acting.opened.takes_urls:
        return outcomes
    joining = [
        replace(action, verb=Verb.REGISTER, reason="just launched")
        for action in actions
        if action.worker_id in launched and acting.provider(action.provider).caps.relist_seconds is not None
    ]
    return outcomes + await carry_out(acting, joining)
