"""How a worker comes into the fleet: launched, waited for, and registered or seen to join."""

from dataclasses import replace
from functools import partial

import anyio

from ebbflow.core.errors import BudgetOver, LaunchOutcomeUnknown
from ebbflow.core.instance import Instance, InstanceState, LaunchRequest
from ebbflow.core.member import Registration
from ebbflow.core.plan import Action, Outcome, Result
from ebbflow.core.ports import JoinMaster, PushMaster
from ebbflow.core.text import one_line
from ebbflow.core.worker import Worker
from ebbflow.turn.calls import Acting
from ebbflow.turn.notes import note

POLL_SECONDS = 1.0
"""Between two looks at a worker that has not announced itself, or is still loading."""


async def launch(acting: Acting, action: Action) -> Outcome:
    """Ask the provider for the worker. Not retried here: what got no clear answer is settled by a listing."""
    provider = acting.provider(action.provider)
    worker = acting.evaluation.worker(action.worker_id)
    request = LaunchRequest(
        worker_id=worker.worker_id,
        fleet=acting.opened.fleet.name,
        home=acting.opened.home,
        join=acting.opened.master.join_spec(worker.worker_id, worker.capabilities),
        capabilities=worker.capabilities,
        avoid=acting.evaluation.avoided(action.provider),
        max_usd_per_hour=action.usd_per_hour if provider.caps.takes_price_cap else None,
        start_instance_id=action.instance_id,
    )
    seconds = provider.caps.call_seconds
    await acting.paced((action.provider, "launch"), provider.caps.seconds_between_launches, seconds)
    async with acting.shared.limiter:
        if not acting.budget.allows(seconds):
            raise BudgetOver(f"launch of {worker.worker_id} needs {seconds:g} s, the turn has less left")
        try:
            with anyio.fail_after(seconds):
                instance = await provider.launch(request)
        except TimeoutError as error:
            raise LaunchOutcomeUnknown(
                f"launch of {worker.worker_id} at {action.provider} got no answer within {seconds:g} s"
            ) from error
    if instance.warning:
        acting.shared.warnings.add(f"{action.provider}: {one_line(instance.warning)}")
    said = f"{instance.instance_id} {instance.state.value}"
    return note(action, Result.DONE, f"{said}; {instance.warning}" if instance.warning else said)


async def register(acting: Acting, action: Action) -> Outcome:
    """Wait until the worker has announced its URL and answers, and register it; go on for as long as the turn lasts."""
    worker, readiness = acting.evaluation.worker(action.worker_id), acting.opened.fleet.readiness
    detail, begun = "has not announced its URL", worker.begun
    attempts = 0
    while True:
        instance = await acting.relisted(worker)
        if instance is not None and instance.state in (InstanceState.FAILED, InstanceState.GONE):
            return note(action, Result.FAILED, instance.detail or instance.state.value)
        found = replace(_as_announced(worker, instance), begun=begun)
        wait_seconds = POLL_SECONDS
        if found.url is not None:
            answer = await _attempt_to_register(acting, found)
            if answer.warning:
                acting.shared.warnings.add(one_line(answer.warning))
            if answer.registered:
                said = f"{found.url}; {one_line(answer.warning)}" if answer.warning else found.url
                return note(action, Result.DONE, said)
            detail, begun = answer.detail, answer.begun or begun
            if not answer.reached:
                attempts += 1
                wait_seconds = readiness.retry_wait_seconds
        given = 1 + (readiness.retries if found.retries is None else found.retries)
        if worker.attempts + attempts >= given:
            words = f"{detail} (attempt {worker.attempts + attempts} of {given})"
            return replace(note(action, Result.FAILED, words), attempts=attempts, begun=begun)
        if not acting.budget.allows(wait_seconds + _register_seconds(acting)):
            return replace(note(action, Result.WAITING, detail), attempts=attempts, begun=begun)
        await acting.sleep(wait_seconds)


def _as_announced(worker: Worker, instance: Instance | None) -> Worker:
    """The worker with what its own start has told by now."""
    if instance is None:
        return worker
    retries = worker.retries if instance.retries is None else instance.retries
    return replace(worker, url=worker.url or instance.url, retries=retries)


def _register_seconds(acting: Acting) -> float:
    """The least time that an attempt to register needs."""
    return min(acting.opened.master.caps.call_seconds, acting.opened.fleet.readiness.connect_timeout_seconds)


async def _attempt_to_register(acting: Acting, worker: Worker) -> Registration:
    """Reach the worker for as long as the fleet allows, or as the turn does where that is shorter."""
    master = acting.opened.master
    if isinstance(master, JoinMaster):
        return await acting.ask_master(partial(master.joined, worker), f"look whether {worker.worker_id} has joined")
    assert isinstance(master, PushMaster), "a master is one into which we push addresses, or one that workers join"
    least_seconds = _register_seconds(acting)
    allowed_seconds = acting.opened.fleet.readiness.connect_timeout_seconds
    connect_seconds = min(allowed_seconds, acting.budget.remaining_seconds - least_seconds)
    # With less time left than that the call is not begun at all.
    connect_seconds = max(connect_seconds, least_seconds / 2)
    attempt = partial(master.register, worker, connect_timeout_seconds=connect_seconds)
    return await acting.ask_master(attempt, f"register {worker.url}", connect_seconds + least_seconds / 2)
