"""The event of a worker that should have ended and has not, which an alert waits for. All else says nothing."""

from prefect.events import emit_event

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.plan import Action, Outcome, Result, Verb
from ebbflow.core.text import counted
from ebbflow.turn.calls import Acting

NOT_ENDED = "ebbflow.worker.not-ended"
LONG_SECONDS = 900.0
"""A worker whose end was accepted is gone by then, wherever it runs."""
ENDS = (Verb.TEAR_DOWN, Verb.TERMINATE)
REFUSED = (Result.REJECTED, Result.FAILED, Result.UNKNOWN)
LEAVING = (WorkerState.TERMINATING, WorkerState.FAILED)


def why_not_ended(acting: Acting, action: Action, outcome: Outcome) -> str:
    """Why a worker that is to end is still there; empty: it ends, or is yet to."""
    if action.verb not in ENDS:
        return ""
    if outcome.result in REFUSED:
        return outcome.detail or outcome.result.value
    for worker in acting.evaluation.memory.workers:
        if worker.worker_id == action.worker_id and worker.state in LEAVING and worker.state_seconds > LONG_SECONDS:
            ago = counted(round(worker.state_seconds / 60), "minute")
            return f"its end was asked for {ago} ago, and its provider still lists it"
    return ""


def tell_not_ended(acting: Acting, action: Action, outcome: Outcome) -> None:
    """Emit the event, where there is something to say: in each turn that asks in vain."""
    why = why_not_ended(acting, action, outcome)
    if not why:
        return
    fleet = acting.opened.fleet.name
    emit_event(
        event=NOT_ENDED,
        resource={
            "prefect.resource.id": f"ebbflow.worker.{action.worker_id}",
            "prefect.resource.name": action.worker_id,
            "ebbflow.provider": action.provider,
        },
        related=[
            {
                "prefect.resource.id": f"ebbflow.fleet.{fleet}",
                "prefect.resource.role": "fleet",
                "prefect.resource.name": fleet,
            }
        ],
        payload={"reason": action.reason, "detail": why},
    )
