"""What is kept of a fleet's records while they are read, the newest first, to play what came anew.

Little is held, however many records there are: of each worker the first look in each state, and of looks the demand,
of every second one alone where there are very many.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ebbflow.core.canonical import Plain, decode
from ebbflow.core.errors import RecordError
from ebbflow.core.instance import ProviderCaps
from ebbflow.core.lifecycle import JOINING, WorkerState
from ebbflow.core.member import Demand, MasterCaps
from ebbflow.core.observation import MasterLook, ProviderLook
from ebbflow.core.plan import Verb
from ebbflow.core.record import PROVIDER
from ebbflow.core.record_formats import master_section
from ebbflow.core.worker import Worker
from ebbflow.simulation.at_once import AtOnce
from ebbflow.simulation.past import Boots, RecordedLook, boots_of, now_gone
from ebbflow.simulation.turn_times import looked_after, serving_since
from ebbflow.turn.chain_walk import NEW_CHAIN, Step
from ebbflow.turn.cost_facts import at, interval_seconds, poll_interval_seconds, waiting_interval_seconds
from ebbflow.turn.differences import became
from ebbflow.turn.moments import moment
from ebbflow.turn.standing import MISSED

T = TypeVar("T")

KEPT = ("demand", "master")
"""Sections of each record that are read, beside its fleet and its looks at providers."""
MOST_TRIES = 50
"""Looks at one provider that are read for what its stopped instances cost: another one may be the one that has any."""
NO_DEMAND = Demand(complete=False)
ENDS = (Verb.TEAR_DOWN, Verb.TERMINATE)


@dataclass
class Gathering:
    """Takes the steps of one fleet, the newest first."""

    fleet: str
    since: float
    most_looks: int
    records: int = 0
    first_at: float = 0.0
    last_at: float = 0.0
    master: str | None = None
    master_caps: MasterCaps | None = None
    provider_caps: dict[str, ProviderCaps] = field(default_factory=dict)
    storage_usd: dict[str, float] = field(default_factory=dict)
    """Of a stopped instance, by provider, as it was listed last."""
    looks: list[RecordedLook] = field(default_factory=list)
    launched: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    changes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)
    is_over: bool = False
    other_master: str = ""
    had_requests: bool = False
    at_once: AtOnce = field(default_factory=AtOnce)
    interval_seconds: float = 0.0
    """Of the newest fleet."""
    waiting_interval_seconds: float | None = None
    """The same."""
    poll_interval_seconds: float | None = None
    """The same."""
    unknown: int = 0
    """Records that did not know the demand."""
    every: int = 1
    """Of so many looks one is held."""
    _states: dict[tuple[str, WorkerState], tuple[float, float, Worker]] = field(default_factory=dict)
    _ready_since: dict[str, tuple[float, bool]] = field(default_factory=dict)
    _tries: Counter[str] = field(default_factory=Counter)
    """Of each provider, how many of its looks were read."""
    _seen: int = 0
    _fleet_sha256: str = ""
    _later: Step | None = None

    def take(self, step: Step) -> None:
        """Add one record."""
        given = step.parts.get("fleet")
        master = str(given["master"]) if isinstance(given, dict) and "master" in given else self.master
        if self.master is not None and master != self.master and not self.is_over:
            self.is_over, self.other_master = True, str(master)
        if self.is_over:
            return
        self.master = master
        looked_at, counts = at(step), at(step) >= self.since
        if not self.interval_seconds:
            self.interval_seconds = interval_seconds(step)
            self.waiting_interval_seconds = waiting_interval_seconds(step)
            self.poll_interval_seconds = poll_interval_seconds(step)
        self._learn(step)
        demand = self._demand(step)
        later = self._later
        looked_after_seconds = looked_after(later.record.turn) if later is not None else 0.0
        self._keep(RecordedLook(looked_at, demand, (), looked_after_seconds=looked_after_seconds))
        for worker in step.record.memory.workers:
            self._states[worker.worker_id, worker.state] = looked_at, looked_after_seconds, _slim(worker)
        self._meet(step)
        if counts:
            self._count(step, looked_at, demand)
        self._later = step

    def _meet(self, step: Step) -> None:
        """Learn from two turns in a row since when a worker served that the later one is the first to show ready."""
        later = self._later
        if later is None or later.record.chain != step.record.chain:
            return
        before = {worker.worker_id: worker.state for worker in step.record.memory.workers}
        for worker in later.record.memory.workers:
            state = before.get(worker.worker_id)
            if worker.state is WorkerState.READY and state in JOINING:
                self._ready_since[worker.worker_id] = serving_since(
                    step.record,
                    later.record,
                    noted_at=step.noted_at,
                    was_launched=state is WorkerState.WISHED,
                )
        for worker in now_gone(step.record.memory.workers, later.record.memory.workers):
            self._states[worker.worker_id, WorkerState.GONE] = at(later), 0.0, _slim(worker)

    def _keep(self, look: RecordedLook) -> None:
        if self._seen % self.every == 0:
            self.looks.append(look)
        self._seen += 1
        if len(self.looks) > self.most_looks:
            self.looks, self.every = self.looks[::2], 2 * self.every

    def _count(self, step: Step, looked_at: float, demand: Demand) -> None:
        later, record = self._later, step.record
        self.last_at = self.last_at or looked_at
        if step.lost == NEW_CHAIN:
            self.changes.append(f"a new chain of records begins after record {record.number}")
        elif step.lost:
            self.missing.append(f"after record {record.number} of {moment(looked_at)}: {step.lost}")
        elif later is not None and at(later) - looked_at > MISSED * interval_seconds(step):
            self.pauses.append(at(later) - looked_at)
        sha256 = record.sections["fleet"].sha256 if "fleet" in record.sections else ""
        if self._fleet_sha256 and sha256 != self._fleet_sha256 and later is not None:
            what = "; ".join(became(step.parts.get("fleet"), later.parts.get("fleet")))
            self.changes.append(
                f"the fleet was changed with record {later.record.number} of {moment(at(later))} ({what}): what was "
                "recorded is of both, and played is one fleet all the time"
            )
        self._fleet_sha256 = sha256
        self.records, self.first_at = self.records + 1, looked_at
        self.launched |= {action.worker_id for action in record.plan.of(Verb.LAUNCH)}
        self.ended |= {action.worker_id for action in record.plan.actions if action.verb in ENDS}
        self.had_requests |= record.turn.request is not None or bool(record.memory.overrides)
        self.unknown += not demand.complete
        self.at_once.see(demand, record.memory.workers)

    def _demand(self, step: Step) -> Demand:
        """What counts of it; of equal ones that follow each other one is kept."""
        if "demand" not in step.parts:
            return NO_DEMAND
        seen = _read(Demand, step.parts["demand"]) or NO_DEMAND
        slim = Demand(seen.queued, seen.running, arrived=seen.arrived, served=seen.served, complete=seen.complete)
        last = self.looks[-1].demand if self.looks else slim
        return last if last == slim else slim

    def _learn(self, step: Step) -> None:
        """What the master and the providers are able to do, as they said last."""
        if self.master_caps is None and "master" in step.parts:
            master = _read(MasterLook, master_section(step.parts["master"]))
            self.master_caps = master.caps if master is not None else None
        has_warm = bool(step.record.plan.storage_usd_per_hour)
        for name, value in step.parts.items():
            block = name.split(":", 2)[-1]
            looks_for_price = has_warm and block not in self.storage_usd and self._tries[block] < MOST_TRIES
            if not name.startswith(PROVIDER) or not (looks_for_price or block not in self.provider_caps):
                continue
            self._tries[block] += 1
            look = _read(ProviderLook, value)
            if look is None:
                continue
            self.provider_caps.setdefault(block, look.caps)
            prices = [each.usd_per_hour for each in look.listing.instances if each.is_warm]
            if (usd := next((price for price in prices if price is not None), None)) is not None:
                self.storage_usd[block] = usd

    def end(self, lost: str) -> None:
        """No more records come."""
        if lost and lost != NEW_CHAIN and not self.is_over and (self.first_at > self.since or not self.looks):
            self.missing.append(f"before {moment(self.first_at)}: {lost}" if self.records else lost)

    def boots(self) -> Mapping[str, Boots]:
        """What became of launches, and prices; where nobody ran, the price is what the provider says of itself."""
        firsts = sorted(self._states.values(), key=lambda first: first[0])
        looks = []
        for seen_at, after_seconds, worker in firsts:
            since, is_sure = self._ready_since.get(worker.worker_id, (None, True))
            looks.append(RecordedLook(seen_at, NO_DEMAND, (worker,), since, is_sure, after_seconds))
        boots = dict(boots_of(looks))
        for block, caps in self.provider_caps.items():
            known = boots.get(block, Boots((), 0))
            if known.usd_per_hour is None and caps.usd_per_hour is not None:
                known = boots[block] = replace(known, usd_per_hour=caps.usd_per_hour)
            if block in self.storage_usd:
                boots[block] = replace(known, storage_usd_per_hour=self.storage_usd[block])
        return boots

    def notes(self) -> list[str]:
        """What a person has to know of this past."""
        notes = list(reversed(self.changes))
        if self.other_master:
            notes.append(
                f"before {moment(self.first_at)} its master was {self.other_master}: what came there is left out"
            )
        if self.pauses:
            notes.append(
                f"no turn was taken for {sum(self.pauses) / 60:.0f} minutes in all ({len(self.pauses)} times): what "
                "came then is spread evenly"
            )
        if self.unknown:
            notes.append(
                f"in {self.unknown} of {self.records} records the demand was unknown: what came then is spread evenly"
            )
        if self.every > 1:
            notes.append(f"there are so many records that of {self.every} looks one is played")
        if self.had_requests:
            notes.append("persons held the fleet at something in this time, which is not played")
        if self.at_once.note:
            notes.append(self.at_once.note)
        return notes


def _slim(worker: Worker) -> Worker:
    return Worker(
        worker.worker_id,
        worker.provider,
        worker.state,
        usd_per_hour=worker.usd_per_hour,
        busy=worker.busy,
        warm_instance_id=worker.warm_instance_id,
    )


def _read(kind: type[T], value: Plain) -> T | None:
    try:
        return decode(kind, value)
    except RecordError:
        return None
