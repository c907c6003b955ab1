"""What the notes of earlier claims tell: refusals, failures, vetoes. Pure.

A note is read once. A note that was lost changes nothing that a listing does not show.
"""

from collections.abc import Sequence
from dataclasses import replace

from ebbflow.core.instance import Failure, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import MemberState
from ebbflow.core.memory import Memory, ProviderMemory
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Outcome, Result, Verb
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.giving_up import patience_with
from ebbflow.decision.upkeep import ending

REFUSED = (Result.CAPACITY, Result.REJECTED)
TROUBLE = (Result.UNKNOWN, Result.FAILED)
"""Of a launch: it may have been carried out all the same, and listings decide."""


def settle(memory: Memory, inputs: Inputs, *, drain_deadline_seconds: float) -> Memory:
    """Bring what earlier actions came to into the memory.

    Args:
        memory: aged to now.
        inputs: carries the outcomes and the providers' caps.
        drain_deadline_seconds: how long one is waited for that was last seen busy, and now has to go.
    """
    caps = {look.provider: look.caps for look in inputs.providers}
    by_worker: dict[str, list[Outcome]] = {}
    for outcome in inputs.turn.outcomes:
        by_worker.setdefault(outcome.worker_id, []).append(outcome)
    workers = []
    for worker in memory.workers:
        settled: Worker | None = worker
        for outcome in by_worker.get(worker.worker_id, ()):
            if settled is not None and _is_refused(settled, outcome):
                patience_seconds = patience_with(settled, drain_deadline_seconds)
                mark = Mark(inputs.number, outcome.detail, patience_seconds)
                settled = replace(settled, failure=Failure.REJECTED, detail=outcome.detail, mark=mark)
            else:
                settled = settled and _settled(settled, outcome, caps.get(worker.provider))
        if settled is not None:
            workers.append(settled)
    launches = [outcome for outcome in inputs.turn.outcomes if _is_failed_launch(outcome)]
    return replace(
        memory,
        workers=tuple(workers),
        providers=note_failures(memory.providers, [(outcome.provider, outcome.detail) for outcome in launches]),
    )


def _is_failed_launch(outcome: Outcome) -> bool:
    # A worker that can never be registered is a launch in vain: without a rest the next one would follow at once.
    rejected = outcome.verb is Verb.REGISTER and outcome.result is Result.REJECTED
    return rejected or (outcome.verb is Verb.LAUNCH and outcome.result in REFUSED)


def note_failures(
    providers: Sequence[ProviderMemory], failures: Sequence[tuple[str, str]]
) -> tuple[ProviderMemory, ...]:
    """Start the cooldown of each provider where something failed: one step of its back-off a turn, however many did.

    Args:
        providers: aged to now.
        failures: provider and what happened, of this turn.
    """
    details: dict[str, list[str]] = {}
    for provider, detail in failures:
        details.setdefault(provider, []).append(detail)
    return tuple(_failed(known, details[known.provider]) if known.provider in details else known for known in providers)


def _failed(known: ProviderMemory, details: Sequence[str]) -> ProviderMemory:
    # What was refused and what failed besides in one turn is one step too.
    steps = 0 if known.failures and known.seconds_since_failure == 0.0 else 1
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return replace(known, seconds_since_failure=0.0, failures=known.failures + steps, detail=f"{details[0]}{more}")


def _is_refused(worker: Worker, outcome: Outcome) -> bool:
    return outcome.verb is Verb.REGISTER and outcome.result is Result.REJECTED and worker.mark is None


def _settled(worker: Worker, outcome: Outcome, caps: ProviderCaps | None) -> Worker | None:
    if outcome.verb is Verb.LAUNCH:
        return _settled_launch(worker, outcome, caps)
    if outcome.verb is Verb.REGISTER:
        # A master that forgets it before it is seen there must not make it one that never worked.
        joined = worker.registered or outcome.result is Result.DONE
        begun = "" if outcome.result is Result.DONE else outcome.begun or worker.begun
        return replace(worker, attempts=worker.attempts + outcome.attempts, registered=joined, begun=begun)
    if outcome.is_out:
        # Whoever finds it in service at the next look knows that somebody has put it back.
        return replace(worker, member=MemberState.DRAINING)
    if outcome.verb in (Verb.DRAIN, Verb.TEAR_DOWN) and outcome.result is Result.BUSY:
        # It went back into service: the record takes the mark back.
        return replace(worker, mark=None, stops=False)
    if outcome.verb is Verb.TEAR_DOWN and outcome.result is Result.DONE and worker.may_exist:
        return ending(worker) if worker.state is not WorkerState.TERMINATING else worker
    return worker


def _settled_launch(worker: Worker, outcome: Outcome, caps: ProviderCaps | None) -> Worker | None:
    if worker.state is not WorkerState.WISHED:
        return worker
    if outcome.result in REFUSED:
        return None
    never_sent = outcome.result is Result.NOT_BEGUN
    if never_sent and caps is not None and not caps.idempotent_launch:
        return None
    if outcome.result in TROUBLE:
        return replace(worker, launch_trouble=outcome.detail or outcome.result.value)
    if outcome.result is Result.DONE and (worker.launch_trouble or worker.launch_strikes):
        return replace(worker, launch_trouble="", launch_strikes=0, absent_looks=0, absent_seconds=0.0)
    return worker
