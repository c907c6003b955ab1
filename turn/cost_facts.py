"""What one step back in a chain of records says about cost. Pure."""

from collections.abc import Mapping
from typing import cast

from ebbflow.core.canonical import Plain, decode
from ebbflow.core.capabilities import amounts
from ebbflow.core.errors import ConfigError, RecordError
from ebbflow.core.member import Demand, MasterCaps, MemberList
from ebbflow.core.observation import Inputs, MasterLook, ProviderLook, Spare
from ebbflow.core.record import PROVIDER
from ebbflow.decision.rows import instances_of_ours
from ebbflow.decision.warm import find_spares
from ebbflow.fleet.model import BUDGET_SHARE
from ebbflow.turn.chain_walk import Step
from ebbflow.turn.standing import MISSED


def at(step: Step) -> float:
    """When its turn looked: epoch seconds, UTC, by the ledger's own clock."""
    return step.record.turn.at_seconds or step.stored_at


def exists(step: Step) -> bool:
    """Whether any worker was left that may exist."""
    return any(worker.may_exist for worker in step.record.memory.workers)


def known_usd(before: Step, after: Step) -> tuple[float, bool] | None:
    """What the fleet's own sum of the day says of a gap, and whether that is all of it."""
    earlier, later = before.record.memory, after.record.memory
    is_same_chain = before.record.chain == after.record.chain
    is_same_day = is_same_chain and earlier.spent_day == later.spent_day
    usd = later.spent_usd - (earlier.spent_usd if is_same_day else 0.0)
    # Of a time without turns the fleet's own sum counts two intervals.
    turns = after.record.number - before.record.number
    had_turns = at(after) - at(before) <= turns * MISSED * interval_seconds(before)
    is_whole = is_same_day and had_turns and not after.record.turn.clock_back_seconds
    return (usd, is_whole) if usd > 0 else None


def _fleet_of(step: Step) -> Mapping[str, Plain]:
    value = step.parts.get("fleet")
    return value if isinstance(value, dict) else {}


def interval_seconds(step: Step) -> float:
    """Between the turns of its fleet."""
    said = _seconds_of(step, "interval_seconds")
    return said if said is not None else step.record.turn.budget_seconds / BUDGET_SHARE


def waiting_interval_seconds(step: Step) -> float | None:
    """The same while work waits; None: no other."""
    return _seconds_of(step, "waiting_interval_seconds")


def poll_interval_seconds(step: Step) -> float | None:
    """Between looks at the queue alone, by which turns come sooner as well; None: nobody took any."""
    return _seconds_of(step, "poll_interval_seconds")


def _seconds_of(step: Step, name: str) -> float | None:
    said = _fleet_of(step).get(name)
    return float(said) if isinstance(said, int | float) else None


def max_workers(step: Step) -> float | None:
    """The most that its fleet might hold; None: unknown."""
    limits = _fleet_of(step).get("limits")
    said = limits.get("max_workers") if isinstance(limits, dict) else None
    return float(said) if isinstance(said, int | float) else None


def gpus(step: Step) -> Mapping[str, float]:
    """GPUs of a worker, by provider, where the provider says it."""
    found: dict[str, float] = {}
    for name, value in step.parts.items():
        caps = value.get("caps") if name.startswith(PROVIDER) and isinstance(value, dict) else None
        said = caps.get("capabilities") if isinstance(caps, dict) else None
        try:
            able = amounts(cast("list[str]", said)) if isinstance(said, list) else {}
        except (ConfigError, TypeError):
            continue
        if "gpu" in able:
            found[name.split(":", 2)[2]] = able["gpu"]
    return found


class Spares:
    """Finds the instances that were no workers; lists that the steps before had too are read only once."""

    def __init__(self) -> None:
        self._read: Mapping[str, ProviderLook] = {}
        """Of the last step, by the hash of their text."""

    def between(self, before: Step, after: Step) -> tuple[Spare, ...]:
        """As the later of two turns found them before it decided."""
        record = after.record
        known = {worker.worker_id for worker in before.record.memory.workers}
        found = [
            worker
            for worker in record.memory.workers
            if worker.worker_id in known or worker.launch_number != record.number
        ]
        # Members tell only which of two instances of one worker id is the worker.
        inputs = Inputs(
            record.fleet,
            record.home,
            record.chain,
            record.number,
            record.turn,
            Demand(complete=False),
            MemberList(complete=False),
            MasterLook(MasterCaps()),
            self._looks(after),
            before.record.memory,
        )
        return tuple(
            spare
            for look in inputs.providers
            for spare in find_spares(look, inputs, instances_of_ours(look, inputs), found)
        )

    def _looks(self, step: Step) -> tuple[ProviderLook, ...]:
        read: dict[str, ProviderLook] = {}
        looks: list[ProviderLook] = []
        for name, value in step.parts.items():
            if not name.startswith(PROVIDER):
                continue
            sha256 = step.record.sections[name].sha256
            try:
                read[sha256] = self._read.get(sha256) or decode(ProviderLook, value, where=name)
            except RecordError:
                continue
            looks.append(read[sha256])
        self._read = read
        return tuple(looks)
