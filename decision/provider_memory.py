"""What a fleet remembers of its providers: which account, how often one failed in a row, which machines to avoid."""

from collections.abc import Container, Sequence
from dataclasses import replace

from ebbflow.core.instance import Failure, InstanceState
from ebbflow.core.lifecycle import JOINING, WorkerState
from ebbflow.core.memory import AvoidedMachine, Memory, ProviderMemory
from ebbflow.core.observation import Inputs, Spare
from ebbflow.core.worker import Worker
from ebbflow.decision.outcomes import note_failures


def providers_after(
    memory: Memory, inputs: Inputs, workers: Sequence[Worker], *, spares: Sequence[Spare]
) -> tuple[ProviderMemory, ...]:
    """What is remembered of each provider that the fleet names, or at which something of it may live."""
    known = {remembered.provider: remembered for remembered in memory.providers}
    for look in inputs.providers:
        fresh = ProviderMemory(look.provider, look.caps.fingerprint)
        known[look.provider] = replace(known.get(look.provider, fresh), fingerprint=look.caps.fingerprint)
    living = {worker.provider for worker in workers if worker.may_exist} | {spare.provider for spare in spares}
    named = {look.provider for look in inputs.providers}
    was_ready = {worker.worker_id for worker in memory.workers if worker.state is WorkerState.READY}
    ready = {
        worker.provider for worker in workers if worker.state is WorkerState.READY and worker.worker_id not in was_ready
    }
    before = {worker.worker_id: worker for worker in memory.workers}
    failed = [worker for worker in workers if _has_failed_now(worker, before.get(worker.worker_id))]
    failures = [
        (worker.provider, f"{worker.worker_id}: {worker.broken or worker.detail or 'failed'}") for worker in failed
    ]
    return tuple(
        _avoiding(
            remembered,
            [worker.machine for worker in failed if worker.machine and worker.provider == remembered.provider],
        )
        for remembered in note_failures(note_ready(tuple(known.values()), ready), failures)
        if remembered.provider in living | named
    )


def note_ready(providers: Sequence[ProviderMemory], ready: Container[str]) -> tuple[ProviderMemory, ...]:
    """End the row of failures of each provider where a worker became ready."""
    return tuple(
        replace(known, failures=0) if known.failures and known.provider in ready else known for known in providers
    )


def _avoiding(known: ProviderMemory, machines: Sequence[str]) -> ProviderMemory:
    older = (avoided for avoided in known.avoided if avoided.machine not in machines)
    return replace(known, avoided=(*older, *(AvoidedMachine(machine) for machine in sorted(set(machines)))))


def _has_failed_now(worker: Worker, before: Worker | None) -> bool:
    """Whether it failed since the last turn, or ended by itself before it ever served."""
    if worker.state is WorkerState.GONE:
        return before is not None and before.state in JOINING and before.mark is None and not worker.registered
    if worker.state is WorkerState.PENDING and worker.failure is Failure.CAPACITY:
        # It may start yet; until then nothing more is asked for there.
        return before is None or before.failure is not Failure.CAPACITY
    if worker.state is WorkerState.LOST and worker.failure is not None:
        # Its provider stopped it and says why, as when the account's credit is spent: no blind replacement.
        return before is None or before.state is not WorkerState.LOST
    if worker.broken:
        return before is None or not before.broken
    if worker.instance is InstanceState.FAILED and worker.registered:
        return before is None or before.instance is not InstanceState.FAILED
    return worker.state is WorkerState.FAILED and (before is None or before.state is not WorkerState.FAILED)
