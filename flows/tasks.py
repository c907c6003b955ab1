"""The actions of a turn as Prefect tasks: up to ten of a kind, one task run per worker; more, one per provider.

Retries are not Prefect's: every outside call is retried in `turn.calls`, for temporary errors only and within the
turn's budget, which a task's own retries would not know.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from ebbflow.core.errors import FleetError
from ebbflow.core.plan import Action, Outcome, Result, Verb
from ebbflow.flows.unended import tell_not_ended
from ebbflow.turn.acting import perform
from ebbflow.turn.calls import Acting
from ebbflow.turn.notes import outcome_of
from ebbflow.turn.together import together

MAX_TASKS_PER_KIND = 10

PAST_TENSE = {
    Verb.LAUNCH: "launched",
    Verb.REGISTER: "registered",
    Verb.MEND: "mended",
    Verb.DRAIN: "drained",
    Verb.TEAR_DOWN: "terminated",
    Verb.TERMINATE: "terminated",
    Verb.DEREGISTER: "deregistered",
    Verb.OPEN_ROOM: "opened",
    Verb.CLOSE_ROOM: "closed",
    Verb.REMOVE_ROOM: "removed",
    Verb.OPEN_GATE: "let in",
}


Work = Callable[[], Awaitable[Sequence[Outcome]]]


@task(task_run_name="{verb} {subject}", cache_policy=NO_CACHE)
async def act_on(verb: str, subject: str, work: Work) -> Sequence[Outcome]:
    """Carry out one action, or all of a kind at one provider. A refusal fails this task run and nothing else."""
    return await work()


async def carry_out(acting: Acting, actions: Sequence[Action]) -> list[Outcome]:
    """Carry out actions of one kind, all at once, each where a person sees it in the run."""
    # Work goes in as a callable: Prefect then does not walk through adapters in search of futures.
    if len(actions) <= MAX_TASKS_PER_KIND:
        parts = await together(*(_act_alone(acting, action) for action in actions))
        return [outcome for part in parts for outcome in part]
    by_provider: dict[str, list[Action]] = {}
    for action in actions:
        by_provider.setdefault(action.provider, []).append(action)
    parts = await together(
        *(
            act_on(group[0].verb.value, f"{len(group)} at {provider}", partial(_all_of, acting, group))
            for provider, group in by_provider.items()
        )
    )
    return [outcome for part in parts for outcome in part]


async def _act_alone(acting: Acting, action: Action) -> Sequence[Outcome]:
    try:
        return await act_on(action.verb.value, _subject(action), partial(_one, acting, action))
    except FleetError as error:
        return [_noted(acting, action, error)]


async def _one(acting: Acting, action: Action) -> Sequence[Outcome]:
    outcome = await perform(acting, action)
    _tell(acting, action, outcome)
    return [outcome]


async def _all_of(acting: Acting, actions: Sequence[Action]) -> Sequence[Outcome]:
    """What came of each stands in the record; one refusal among many does not fail the task run of all."""

    async def attempt(action: Action) -> Sequence[Outcome]:
        try:
            return await _one(acting, action)
        except FleetError as error:
            return [_noted(acting, action, error)]

    parts = await together(*(attempt(action) for action in actions))
    return [outcome for part in parts for outcome in part]


def _noted(acting: Acting, action: Action, error: FleetError) -> Outcome:
    outcome = outcome_of(action, error)
    _tell(acting, action, outcome)
    return outcome


def _subject(action: Action) -> str:
    return action.worker_id or f"entry {action.member_ref}"


def _tell(acting: Acting, action: Action, outcome: Outcome) -> None:
    """One line in the run's log, and an event where something changed, which is found by its worker or its fleet."""
    subject = _subject(action)
    about = f"worker={subject} provider={action.provider} {outcome.detail!r} reason={action.reason!r}"
    tell_not_ended(acting, action, outcome)
    if outcome.result is not Result.DONE:
        get_run_logger().info("%s %s: %s", action.verb.value, outcome.result.value, about)
        return
    past, fleet = PAST_TENSE[action.verb], acting.opened.fleet.name
    get_run_logger().info("%s %s", past, about)
    emit_event(
        event=f"ebbflow.worker.{past}",
        resource={
            "prefect.resource.id": f"ebbflow.worker.{subject}",
            "prefect.resource.name": subject,
            "ebbflow.provider": action.provider,
        },
        related=[
            {
                "prefect.resource.id": f"ebbflow.fleet.{fleet}",
                "prefect.resource.role": "fleet",
                "prefect.resource.name": fleet,
            }
        ],
        payload={"reason": action.reason, "detail": outcome.detail},
    )
