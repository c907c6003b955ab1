"""A small world outside a turn: provider, master, ledger and clock, which may be slow, lose answers and lie.

Every outside call is one step, at which the caller waits until the scheduler lets it go on, lets it time out, or kills
it. What was asked for by somebody who is dead may still happen.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ebbflow.adapters.providers.ends_for_good import EndsForGood
from ebbflow.core.chain import Claim, Stored
from ebbflow.core.errors import (
    FleetError,
    LaunchOutcomeUnknown,
    MasterUnavailable,
    ProviderUnavailable,
    TerminationRefused,
)
from ebbflow.core.instance import Instance, InstanceList, InstanceState, JoinSpec, LaunchRequest, ProviderCaps
from ebbflow.core.member import (
    Demand,
    DrainAnswer,
    Health,
    IdleSource,
    MasterCaps,
    Member,
    MemberState,
    PushMemberList,
    Registration,
)
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Outcome
from ebbflow.core.record import Record
from ebbflow.core.worker import Worker
from ebbflow.turn.memory_ledger import MemoryLedger
from tests.turn.virtual_time import VirtualLoop

FLEET, HOME, PROVIDER = "demo", "h0me0", "model/a"
INTERVAL, CALL = 30.0, 2.0
MAX_WORKERS = 3
ROUTING_SECONDS = 4.0
"""How long a request is on its way from the master to a worker; shorter than the time between two looks."""
FORGETTING_SECONDS = 10.0
"""How long a master that workers join by themselves shows one that is gone."""

T = TypeVar("T")


class Violation(AssertionError):
    """Something happened in the world that must never happen."""


@dataclass(frozen=True)
class Knobs:
    """Rules of the design that a search may take away, one at a time."""

    claims: bool = True
    """One caller only gets a number."""
    budgets: bool = True
    """An older claim's work is settled only when its budget is over."""
    later_claim: bool = True
    """The claim that marks a worker does not end it."""
    marked_stay_out: bool = True
    """A marked worker is never registered."""
    looks_apart_seconds: float = 5.0
    """Two looks before a stop, this far apart."""
    settles: bool = True
    """A new chain launches nothing until its providers have settled."""
    guards_pending: bool = True
    """A pending instance is ended only by a call that fails once it runs."""
    absent_once_is_unknown: bool = True
    """Gone is who was absent from two complete lists, thirty seconds apart."""
    half_lost_is_unknown: bool = True
    """A list that loses more than half of a fleet counts for nothing until a second one agrees."""
    partial_is_unknown: bool = True
    """What a list shows that is not complete is not all there is."""
    homes: bool = True
    """Ours is what carries our home."""
    wishes_count: bool = True
    """What was asked for counts until a list shows it, or it is given up."""
    sends_once: bool = True
    """A launch that is not idempotent is sent once for one wish."""
    ages_are_capped: bool = True
    """Between two claims nothing becomes older than two intervals."""
    back_in_service: bool = True
    """Who works at its drain deadline stays, unless by force."""
    silence_seconds: bool = True
    """Nobody answering is not empty before its time has passed."""
    asks_first: bool = True
    """The master and the worker are asked before one that served is ended."""
    adopts: bool = True
    """What is ours and in no record is a worker all the same."""
    notes: bool = True
    """What came of an earlier claim's actions is read."""
    new_names: bool = True
    """The ids of a new chain have not been used before."""
    last_one_stays: bool = True
    """Who alone serves is not taken out of service while work waits."""
    persons_count: bool = True
    """Who was put back into service by a person stays there."""
    keeps_alive: bool = True
    """Workers get their sign of life, whatever else a turn does or does not."""


@dataclass(frozen=True)
class Setting:
    """What kind of outside world it is."""

    name: str
    caps: ProviderCaps
    self_joining: bool = False
    listing_lag: float = 0.0
    launch_timeout: float = 100.0


SETTINGS = (
    Setting("local", ProviderCaps("f", idempotent_launch=True, relist_seconds=1.0, call_seconds=CALL)),
    Setting(
        "kubernetes",
        ProviderCaps(
            "f",
            idempotent_launch=True,
            relist_seconds=1.0,
            absence_is_gone=True,
            cancels_pending=True,
            call_seconds=CALL,
        ),
    ),
    Setting(
        "slurm",
        ProviderCaps("f", idempotent_launch=True, settle_seconds=20.0, cancels_pending=True, call_seconds=CALL),
        self_joining=True,
        listing_lag=20.0,
        launch_timeout=600.0,
    ),
    Setting("vast", ProviderCaps("f", settle_seconds=40.0, call_seconds=CALL), listing_lag=40.0, launch_timeout=200.0),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass
class Box:
    """One instance as it really is."""

    worker_id: str
    instance_id: str
    home: str
    shown_at: float
    starts_at: float
    boots_at: float
    running: int = 0
    arrives_at: list[float] = field(default_factory=list)
    hung: bool = False
    unnoticed: bool = False
    """Its master does not see that it hangs."""
    joined: bool = False
    made_at: float = 0.0
    kept_at: float = 0.0
    """When it got its last sign of life."""
    silent_until: float = 0.0
    """When it answered again after it had been silent."""

    def state(self, now: float) -> InstanceState:
        if now < self.starts_at:
            return InstanceState.PENDING
        return InstanceState.STARTING if now < self.boots_at else InstanceState.RUNNING

    @property
    def works(self) -> bool:
        return self.running > 0 or bool(self.arrives_at)


@dataclass
class Entry:
    """One member as the master stores it."""

    worker_id: str
    instance_id: str
    """At whose address it is served."""
    enabled: bool = True
    gone_at: float | None = None
    renamed: bool = False
    """A person calls it something else: only its address tells whose it is."""
    broken: bool = False
    """It has nothing to run work on, until it is mended."""


@dataclass(eq=False)
class Step:
    """A place at which one run waits for the scheduler."""

    run: int
    label: str
    gate: "asyncio.Future[str]"
    pace: float
    """How often it is chosen: some processes are slow."""
    wakes_at: float = 0.0
    is_call: bool = False
    """Somebody outside is asked: it may time out, and what was asked for may happen all the same."""


PACE: ContextVar[float] = ContextVar("PACE", default=1.0)
"""Of whoever is running: a turn, or one action of a turn."""


class World:
    """Provider, master, claims and clock, and everything that acts on them."""

    def __init__(self, setting: Setting, knobs: Knobs, rng: random.Random, loop: VirtualLoop) -> None:
        self.setting, self.knobs, self.rng, self.loop = setting, knobs, rng, loop
        self.boxes: dict[str, Box] = {}
        self.entries: dict[str, Entry] = {}
        self.interval, self.drain_deadline = INTERVAL, 45.0
        self.homes = {HOME}
        self.lives_alone_seconds: float | None = None
        """How long a worker lives without a sign of life; None: for ever."""
        self.ledger = MemoryLedger(clock=lambda: self.now + self.clock_is_off, kept_home=HOME)
        self.clock_is_off = 0.0
        self.steps: list[Step] = []
        self.killed: set[int] = set()
        self.violations: list[Violation] = []
        self.queue = 15
        self.faulty = True
        self.routes = True
        self.boots: float | None = None
        self.omitted, self.forgot_at = False, -1000.0
        self.sent: set[str] = set()
        self.log: list[str] = []
        self.names = itertools.count()
        self.orphans: list[tuple[float, str, Callable[[], object]]] = []
        foreign = Box("demo-zzzz-1-0", "box-foreign", "other", 0.0, 0.0, 0.0)
        self.boxes[foreign.instance_id] = foreign

    @property
    def now(self) -> float:
        return self.loop.now

    @property
    def claims(self) -> Mapping[int, Claim]:
        return self.ledger.claims.get(FLEET, {})

    def memory(self) -> Memory:
        """As the newest claim's record leaves it; an empty one where that is lost."""
        return (
            self.ledger.records[self.claims[max(self.claims)].artifact_id].record().memory
            if self.is_remembered
            else Memory()
        )

    @property
    def is_remembered(self) -> bool:
        """Whether the newest claim's record is there."""
        return bool(self.claims) and self.claims[max(self.claims)].artifact_id in self.ledger.records

    def lose_record(self) -> None:
        if self.claims:
            self.ledger.records.pop(self.claims[max(self.claims)].artifact_id, None)

    def say(self, text: str) -> None:
        self.log.append(f"{self.now - 1000:7.1f} {text}")

    def has_decided(self, run: int, inputs: Inputs) -> None:
        """A run has seen this, and goes for a claim."""

    def has_claimed(self, run: int, record: Record) -> None:
        """A run got its claim."""

    def violate(self, text: str) -> Violation:
        self.say(f"VIOLATION {text}")
        violation = Violation("\n".join([text, *self.log[-80:]]))
        self.violations.append(violation)
        return violation

    def ours(self) -> list[Box]:
        return [box for box in self.boxes.values() if box.home in self.homes]

    def box_of(self, worker_id: str) -> Box | None:
        return next((box for box in self.ours() if box.worker_id == worker_id), None)

    def chance(self, share: float) -> bool:
        return self.faulty and self.rng.random() < share

    # The provider.

    def launch(self, request: LaunchRequest) -> Instance:
        known = self.box_of(request.worker_id)
        if known is not None and self.setting.caps.idempotent_launch:
            return self._shown(known)
        if request.worker_id in self.sent and not self.setting.caps.idempotent_launch:
            raise self.violate(f"{request.worker_id} was launched twice for one wish")
        self.sent.add(request.worker_id)
        lag = self.rng.uniform(0, self.setting.listing_lag) if self.faulty else 0.0
        waits = self.rng.choice([0.0, 10.0, 40.0]) if self.faulty else 0.0
        boots = waits + (self.rng.choice([0.0, 2.0, 20.0, 50.0]) if self.faulty else 2.0)
        boots = boots if self.boots is None else self.boots
        name = f"box-{next(self.names)}"
        times = (self.now + lag, self.now + waits, self.now + boots)
        box = Box(request.worker_id, name, request.home, *times, made_at=self.now)
        self.boxes[name] = box
        if (existing := self.countable()) > MAX_WORKERS:
            raise self.violate(f"{existing} workers exist, {MAX_WORKERS} may")
        return self._shown(box)

    def countable(self) -> int:
        """How many workers exist of which a turn can know."""
        return len(self.ours())

    def listing(self) -> InstanceList:
        complete = not self.chance(0.1)
        # Twice left out is gone by the rules: it happens once in a walk, and not to who has just lost the memory.
        remembers = bool(self.claims) and self.now - self.forgot_at > 200
        # A worker that serves before it is listed has been absent once already.
        remembers = remembers and not self.setting.caps.absence_is_gone and not self.setting.self_joining
        omits = complete and remembers and not self.omitted and self.chance(0.05)
        if omits:
            self.omitted = True
        shown = [self._shown(box) for box in self.boxes.values() if box.shown_at <= self.now]
        if not complete or omits:
            shown = [row for row in shown if self.rng.random() < 0.5]
        return InstanceList(tuple(shown), complete=complete, detail="" if complete else "no answer")

    def _shown(self, box: Box) -> Instance:
        state = box.state(self.now)
        url = f"http://{box.instance_id}" if state is InstanceState.RUNNING else None
        return Instance(box.worker_id, box.instance_id, state, FLEET, box.home, url)

    def terminate(self, instance: Instance) -> None:
        box = self.boxes.get(instance.instance_id)
        if box is None:
            return
        if box.home not in self.homes:
            raise self.violate(f"{box.instance_id} of another home was ended")
        guarded = instance.state is InstanceState.PENDING and self.knobs.guards_pending
        cancelled = box.state(self.now) is InstanceState.PENDING and self.setting.caps.cancels_pending
        if guarded and not cancelled:
            raise TerminationRefused(f"{box.instance_id} runs by now")
        self.judge_end(box)
        del self.boxes[instance.instance_id]

    def judge_end(self, box: Box) -> None:
        """Whether this instance may be ended now."""
        if box.works and not box.hung:
            raise self.violate(f"{box.worker_id} was ended while it worked")

    # The master.

    def demand(self) -> Demand:
        if self.chance(0.05):
            return Demand(complete=False, detail="no answer")
        return Demand(queued=self.queue, running=sum(box.running for box in self.ours()))

    def members(self, ids: Sequence[str] | None, known: Sequence[Worker] = ()) -> PushMemberList:
        if self.chance(0.05):
            return PushMemberList((), complete=False, detail="no answer")
        wanted = [entry for entry in self.entries.values() if ids is None or entry.worker_id in ids]
        return PushMemberList(tuple(self._member(entry) for entry in wanted if self._is_ours(entry, known)))

    def _is_ours(self, entry: Entry, known: Sequence[Worker]) -> bool:
        """Whether it carries our name, or the record knows its address as one that was registered."""
        addresses = {worker.url for worker in known if worker.registered and worker.may_exist}
        gone = {worker.worker_id for worker in known if worker.registered and not worker.may_exist}
        is_known = f"http://{entry.instance_id}" in addresses
        return not entry.renamed or is_known or (entry.worker_id in gone and self.served_by(entry) is None)

    def served_by(self, entry: Entry) -> Box | None:
        """The instance at whose address it is."""
        return self.box_of(entry.worker_id)

    def _member(self, entry: Entry) -> Member:
        box = self.served_by(entry)
        answers = box is not None and box.state(self.now) is InstanceState.RUNNING and not box.hung
        busy = box.running > 0 if box is not None and answers else None
        state = MemberState.READY if entry.enabled else MemberState.DRAINING
        if entry.enabled and not answers:
            state = MemberState.LOST
        is_broken = entry.broken and entry.enabled and answers
        url = f"http://{box.instance_id}" if box else None
        return Member(
            entry.worker_id,
            f"m-{entry.worker_id}",
            MemberState.JOINING if is_broken else state,
            url,
            busy,
            0.0 if busy is False else None,
            is_fed=state is MemberState.LOST and box is not None and box.hung and box.unnoticed,
            renamed="something else" if entry.renamed else "",
            disorder="nothing runs its work" if is_broken else "",
        )

    def register(self, worker: Worker) -> Registration:
        if worker.mark is not None:
            raise self.violate(f"{worker.worker_id} was registered although it is marked: {worker.mark.reason}")
        box = self.box_of(worker.worker_id)
        if box is None or box.hung or worker.url != f"http://{box.instance_id}":
            return Registration(False, "does not answer", reached=False)
        self.entries[worker.worker_id] = Entry(worker.worker_id, box.instance_id)
        self._work_at_once(box)
        return Registration(True)

    def drain(self, worker: Worker, remaining: float, force: bool) -> DrainAnswer:
        entry = self.entries.get(worker.worker_id)
        if entry is not None and not self._is_ours(entry, [worker]):
            return DrainAnswer.FED if entry.enabled else DrainAnswer.SILENT
        if entry is not None and entry.enabled and worker.member is MemberState.DRAINING:
            return DrainAnswer.REOPENED
        box = self.box_of(worker.worker_id) if entry is None else self.served_by(entry)
        busy = box is not None and box.running > 0 and not box.hung
        if (entry is None or (remaining <= 0 and not force)) and busy:
            if entry is not None:
                entry.enabled = True
            return DrainAnswer.BUSY
        if entry is None:
            return DrainAnswer.SILENT if box is not None and box.hung else DrainAnswer.GONE
        entry.enabled = False
        return DrainAnswer.ACCEPTED

    def mend(self, worker: Worker) -> Registration:
        entry, box = self.entries.get(worker.worker_id), self.box_of(worker.worker_id)
        if entry is None or not entry.enabled or box is None or box.hung or box.works:
            return Registration(False, "not now")
        entry.broken = False
        return Registration(True)

    def deregister(self, worker: Worker) -> None:
        self.entries.pop(worker.worker_id, None)

    def keep_alive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        """Their switches are held once more."""
        answers = {}
        for worker in workers:
            box = self.box_of(worker.worker_id)
            answers[worker.worker_id] = (
                box is not None and not box.hung and box.state(self.now) is InstanceState.RUNNING
            )
            if box is not None and answers[worker.worker_id]:
                box.kept_at = self.now
        return answers

    # What happens by itself.

    def route(self) -> None:
        targets = [box for box in self.ours() if self._takes_work(box)]
        if targets:
            box = self.rng.choice(targets)
            box.arrives_at.append(self.now + self.rng.uniform(0, ROUTING_SECONDS))
            self.say(f"a request is routed to {box.worker_id}")

    def _takes_work(self, box: Box) -> bool:
        entry = self.entries.get(box.worker_id)
        ready = box.state(self.now) is InstanceState.RUNNING and not box.hung
        takes = entry is not None and entry.enabled and not entry.broken and self.served_by(entry) is box
        return takes and ready and not box.works

    def finish(self) -> None:
        for box in self.ours():
            if box.running and not box.hung and self.rng.random() < 0.5:
                box.running = 0
                self.say(f"{box.worker_id} finishes its work")

    def settle(self) -> None:
        """Let what was due until now happen."""
        for box in self.ours():
            due = [at for at in box.arrives_at if at <= self.now]
            box.running += len(due)
            box.arrives_at = [at for at in box.arrives_at if at > self.now]
            if self.setting.self_joining and not box.joined and box.state(self.now) is InstanceState.RUNNING:
                box.joined = True
                self.entries[box.worker_id] = Entry(box.worker_id, box.instance_id)
                self.say(f"{box.worker_id} joins by itself")
                self._work_at_once(box)
        if self.setting.self_joining:
            self._forget_the_gone()

    def _forget_the_gone(self) -> None:
        for worker_id, entry in list(self.entries.items()):
            if self.box_of(worker_id) is not None:
                entry.gone_at = None
            elif entry.gone_at is None:
                entry.gone_at = self.now
            elif self.now - entry.gone_at >= FORGETTING_SECONDS:
                del self.entries[worker_id]

    def _work_at_once(self, box: Box) -> None:
        if self.routes and self.rng.random() < 0.5 and self._takes_work(box):
            box.arrives_at.append(self.now + self.rng.uniform(0, ROUTING_SECONDS))
            self.say(f"a request is routed to {box.worker_id}")

    # Calls, one step each.

    async def pause(self, run: int, label: str, *, wakes_at: float = 0.0, is_call: bool = False) -> str:
        """Wait until the scheduler says how it goes on."""
        step = Step(run, label, self.loop.create_future(), PACE.get(), wakes_at, is_call)
        self.steps.append(step)
        try:
            return await step.gate
        finally:
            self.steps.remove(step)

    async def call(self, run: int, label: str, effect: Callable[[], T], lost: Callable[[], FleetError]) -> T:
        label, until = f"run{run} {label}", self.now + CALL
        try:
            fate = await self.pause(run, label, is_call=True)
        except asyncio.CancelledError:
            if run in self.killed:
                # Whoever asked is dead; what was asked may still happen.
                self.orphans.append((until, label, effect))
            elif self.rng.random() < 0.5:
                self.say(f"{label}: happens, too late for who asked")
                quietly(effect)
            raise
        if fate == "late":
            if self.rng.random() < 0.5:
                effect()
            raise lost()
        if self.chance(0.05):
            self.say(f"{label}: not sent")
            raise lost()
        answer = effect()
        if self.chance(0.05):
            self.say(f"{label}: answer lost")
            raise lost()
        self.say(f"{label}: {_brief(answer)}")
        return answer


def quietly(effect: Callable[[], object]) -> None:
    """Let something happen of which nobody hears."""
    try:
        effect()
    except FleetError:
        return


def _brief(answer: object) -> str:
    if isinstance(answer, InstanceList):
        rows = " ".join(f"{row.worker_id}:{row.state.value}" for row in answer.instances)
        return f"{'all' if answer.complete else 'some'} [{rows}]"
    if isinstance(answer, PushMemberList):
        return " ".join(f"{member.worker_id}:{member.state.value}:{member.busy}" for member in answer.members) or "none"
    if isinstance(answer, Instance):
        return f"{answer.instance_id} {answer.state.value}"
    return str(answer)


@dataclass
class ModelProvider(EndsForGood):
    """The provider's port, as one run sees it."""

    world: World
    run: int

    @property
    def caps(self) -> ProviderCaps:
        caps = self.world.setting.caps
        return caps if self.world.knobs.settles else replace(caps, settle_seconds=0.0)

    async def launch(self, request: LaunchRequest) -> Instance:
        label = f"launch {request.worker_id}"
        return await self.world.call(
            self.run, label, lambda: self.world.launch(request), lambda: LaunchOutcomeUnknown(label)
        )

    async def list_instances(self, fleet: str) -> InstanceList:
        return await self.world.call(self.run, "list", self.world.listing, lambda: ProviderUnavailable("list"))

    async def terminate(self, instance: Instance) -> None:
        label = f"terminate {instance.worker_id}"
        await self.world.call(
            self.run, label, lambda: self.world.terminate(instance), lambda: ProviderUnavailable(label)
        )

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        return {}

    async def aclose(self) -> None:
        return


@dataclass
class ModelMaster:
    """What both kinds of masters can be asked, as one run sees it.

    Where addresses are pushed, work that waits fails as soon as nobody serves.
    """

    world: World
    run: int

    @property
    def caps(self) -> MasterCaps:
        alone = self.world.lives_alone_seconds
        return MasterCaps(
            call_seconds=CALL,
            idle_source=IdleSource.MASTER,
            needs_keepalive_seconds=alone,
            queues_without_workers=self.world.setting.self_joining,
        )

    async def _call(self, what: str, effect: Callable[[], T]) -> T:
        return await self.world.call(self.run, what, effect, lambda: MasterUnavailable(what))

    async def probe(self) -> Health:
        return Health(True)

    async def demand(self) -> Demand:
        return self.world.demand()

    async def members(self, worker_ids: Sequence[str] | None = None, *, known: Sequence[Worker] = ()) -> PushMemberList:
        return await self._call("members", lambda: self.world.members(worker_ids, known))

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        return JoinSpec()

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        return await self._call(
            f"drain {worker.worker_id} {deadline_seconds:g} s",
            lambda: self.world.drain(worker, deadline_seconds, force),
        )

    async def shut_down(self, worker: Worker) -> None:
        return

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        if not self.world.knobs.keeps_alive:
            return {}
        return await self._call("keepalive", lambda: self.world.keep_alive(workers))

    async def aclose(self) -> None:
        return


class ModelPushMaster(ModelMaster):
    """One into which addresses are pushed."""

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        return await self._call(f"register {worker.worker_id}", lambda: self.world.register(worker))

    async def mend(self, worker: Worker) -> Registration:
        return await self._call(f"mend {worker.worker_id}", lambda: self.world.mend(worker))

    async def deregister(self, worker: Worker) -> None:
        await self._call(f"deregister {worker.worker_id}", lambda: self.world.deregister(worker))

    async def remove_unfinished(self, master_ref: str) -> None:
        return


class ModelJoinMaster(ModelMaster):
    """One that workers join by themselves, and that forgets who is gone."""

    async def joined(self, worker: Worker) -> Registration:
        found = await self.members([worker.worker_id])
        return Registration(bool(found.members), "has not joined")


@dataclass
class ModelLedger:
    """The ledger's port, as one run sees it: reading the head, claiming and noting are one step each."""

    world: World
    run: int

    async def home(self, *, create: bool) -> str:
        return await self.world.ledger.home(create=create)

    async def now(self) -> float:
        return await self.world.ledger.now()

    async def newest_claim(self, fleet: str) -> Claim | None:
        await self.world.pause(self.run, f"run{self.run} begins")
        return await self.world.ledger.newest_claim(fleet)

    async def readable_claims(self, fleet: str) -> Sequence[Claim]:
        return await self.world.ledger.readable_claims(fleet)

    async def stored(self, artifact_id: str) -> Stored | None:
        return await self.world.ledger.stored(artifact_id)

    async def stored_all(self, artifact_ids: Sequence[str]) -> Mapping[str, Stored]:
        return await self.world.ledger.stored_all(artifact_ids)

    async def stored_since(self, at_seconds: float) -> Mapping[str, Stored]:
        return await self.world.ledger.stored_since(at_seconds)

    def stored_pages(self, at_seconds: float) -> AsyncIterator[Mapping[str, Stored]]:
        return self.world.ledger.stored_pages(at_seconds)

    async def store(self, record: Record, *, summary: str) -> str:
        await self.world.pause(self.run, f"run{self.run} claims {record.number}")
        return await self.world.ledger.store(record, summary=summary)

    async def claim(self, record: Record, artifact_id: str, *, interval_seconds: float) -> Claim | None:
        world = self.world
        if not world.knobs.claims:
            # Without the rule everybody gets it; the last one is believed.
            world.ledger.claims.get(FLEET, {}).pop(record.number, None)
        claimed = await world.ledger.claim(record, artifact_id, interval_seconds=interval_seconds)
        if claimed is None:
            world.say(f"run{self.run} does not get claim {record.number}")
            return None
        world.has_claimed(self.run, record)
        shown = " ".join(f"{worker.worker_id}:{worker.state.value}" for worker in record.memory.workers)
        did = ", ".join(f"{action.verb.value} {action.worker_id}" for action in record.plan.actions)
        world.say(f"run{self.run} claimed {record.number}: wants {record.plan.wanted}, [{shown}] does [{did}]")
        return claimed

    async def note(self, record: Record, claim: Claim, outcomes: Sequence[Outcome]) -> None:
        await self.world.pause(self.run, f"run{self.run} notes")
        if not self.world.chance(0.2):
            await self.world.ledger.note(record, claim, outcomes)
