"""Stopped instances that are kept for a quick start, and instances that are no worker's. Pure.

A warm instance is not a worker: the worker that it was has ended and been forgotten, and a launch starts it under a
new worker id. Source: Vast bills a stopped instance for its storage alone (guides, billing), and starts it in seconds
where its GPU is still free.
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import replace

from ebbflow.core.instance import Instance, InstanceState
from ebbflow.core.lifecycle import JOINING, WorkerState
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, ProviderLook, Spare, is_ours
from ebbflow.core.plan import Action, Verb
from ebbflow.core.worker import Worker
from ebbflow.decision.placement.shares import ProviderShare

STOP_SECONDS = 300.0
"""A stop that its provider has not carried out after this long becomes an end: what runs on is paid for."""


def is_half_started(worker: Worker, instance: Instance) -> bool:
    """Whether a warm instance carries its new worker's id and has not been told to run, or not yet seen to."""
    return instance.is_warm and worker.warm_instance_id == instance.instance_id and worker.state in JOINING


def has_become_warm(worker: Worker, instance: Instance) -> bool:
    """Whether the worker has ended and left its instance stopped; what failed, or is to be ended, is not kept."""
    is_ending = worker.state is WorkerState.TERMINATING and not worker.stops
    return instance.is_warm and not is_half_started(worker, instance) and not _is_bad(worker) and not is_ending


def _is_bad(worker: Worker) -> bool:
    return worker.state is WorkerState.FAILED or worker.failure is not None


def find_spares(
    look: ProviderLook, inputs: Inputs, shown: Mapping[str, Instance], workers: Sequence[Worker]
) -> Iterator[Spare]:
    """Instances of ours that no worker has, or will have by a launch that was decided."""
    living = {worker.worker_id for worker in workers if worker.may_exist}
    known = {worker.worker_id for worker in inputs.memory.workers}
    taken = {worker.warm_instance_id for worker in workers if worker.may_exist and worker.provider == look.provider}
    for instance in look.listing.instances:
        # What is only said to be ending exists, and takes its place.
        if not is_ours(instance, inputs, known) or instance.state is InstanceState.GONE:
            continue
        is_worker = instance.worker_id in living and shown.get(instance.worker_id) == instance
        if is_worker or instance.instance_id in taken:
            continue
        yield Spare(
            look.provider,
            instance.instance_id,
            instance.worker_id,
            is_warm=instance.is_warm and instance.worker_id not in living,
            usd_per_hour=instance.usd_per_hour,
            url=instance.url,
        )


def leaving(workers: Sequence[Worker], number: int, memory: Memory) -> frozenset[str]:
    """Ids of those that this claim may end: marked by an earlier one, whose budget is over."""
    return frozenset(
        worker.worker_id
        for worker in workers
        if worker.mark is not None and worker.mark.number < number and memory.is_over(worker.mark.number)
    )


def keep_warm(
    workers: Sequence[Worker], spares: Sequence[Spare], shares: Sequence[ProviderShare], *, leaving: Container[str]
) -> list[Worker]:
    """Say which workers that are about to leave are stopped instead of ended: healthy ones, while too few are kept.

    Args:
        workers: marked where they have to go.
        spares: what is warm already.
        shares: with what each may keep.
        leaving: ids of those that may be ended now.
    """
    short = {
        share.provider: share.warm_workers
        - sum(spare.is_warm and spare.provider == share.provider for spare in spares)
        - sum(worker.stops and worker.may_exist and worker.provider == share.provider for worker in workers)
        for share in shares
        if share.caps.keeps_stopped
    }
    kept = []
    for worker in workers:
        if worker.stops:
            kept.append(replace(worker, stops=_still_stops(worker, short)))
        elif worker.worker_id in leaving and _may_be_kept(worker) and short.get(worker.provider, 0) > 0:
            short[worker.provider] -= 1
            kept.append(replace(worker, stops=True))
        else:
            kept.append(worker)
    return kept


def _may_be_kept(worker: Worker) -> bool:
    """It served, so that what it loaded is worth its storage, and it leaves because it is surplus."""
    served = worker.registered and worker.state is WorkerState.DRAINING and worker.unanswered_seconds is None
    return served and not _is_bad(worker)


def _still_stops(worker: Worker, short: Mapping[str, int]) -> bool:
    is_late = worker.state is WorkerState.TERMINATING and worker.state_seconds >= STOP_SECONDS
    return not is_late and not _is_bad(worker) and short.get(worker.provider, -1) >= 0


def end_spares(spares: Sequence[Spare], shares: Sequence[ProviderShare], idle: Container[str]) -> tuple[Action, ...]:
    """End what is warm beyond the number to keep, the most expensive first, and what a worker id has one too many of.

    Args:
        spares: instances that no worker has.
        shares: the providers.
        idle: ids of instances too many of which it is known that they work for nobody. Of two where that is not known
            either may be the one that works, and both are counted.
    """
    actions: list[Action] = []
    for share in shares:
        if not share.complete:
            continue
        here = [spare for spare in spares if spare.provider == share.provider]
        warm = sorted((spare for spare in here if spare.is_warm), key=lambda spare: (-_price(spare), spare.instance_id))
        for spare in warm[: max(0, len(warm) - share.warm_workers)]:
            actions.append(_end(spare, f"{len(warm)} are kept warm, warm_workers is {share.warm_workers}"))
        doubles = (spare for spare in here if not spare.is_warm and spare.instance_id in idle)
        actions.extend(_end(spare, f"one too many of {spare.worker_id}") for spare in doubles)
    return tuple(actions)


def _price(spare: Spare) -> float:
    return spare.usd_per_hour or 0.0


def _end(spare: Spare, reason: str) -> Action:
    return Action(Verb.TERMINATE, spare.worker_id, spare.provider, reason, instance_id=spare.instance_id)
