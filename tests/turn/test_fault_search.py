"""A small world in which turns are killed, late, doubled and lied to: DESIGN section 4, searched for counterexamples.

The decisions are the real `evaluate`, the actions the real `perform`. The world, the claims and the schedule are the
model: every outside call is one step, and a random but reproducible scheduler chooses which step comes next.
"""

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

import pytest

from ebbflow.adapters.providers.ends_for_good import EndsForGood
from ebbflow.core.errors import (
    FleetError,
    LaunchOutcomeUnknown,
    MasterUnavailable,
    ProviderUnavailable,
    TerminationRefused,
)
from ebbflow.core.instance import Instance, InstanceList, InstanceState, JoinSpec, LaunchRequest, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, DrainAnswer, Health, MasterCaps, Member, MemberList, MemberState, Registration
from ebbflow.core.memory import Memory, RecentClaim
from ebbflow.core.observation import Inputs, ProviderLook
from ebbflow.core.plan import Action, Outcome, Result, Verb
from ebbflow.core.worker import Worker
from ebbflow.decision.evaluate import Evaluation, PoolRule, Rules, evaluate
from ebbflow.decision.limits import Limits
from ebbflow.decision.roster import SILENT_SECONDS, instances_of_ours
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.turn.acting import Hands, outcome_of, perform
from ebbflow.turn.budget import Budget

FLEET, HOME, PROVIDER = "demo", "h0me0", "model/a"
INTERVAL, BUDGET, CALL = 30.0, 24.0, 2.0
RETRIES = 1
MAX_WORKERS = 3
ROUTING_SECONDS = 4.0
"""How long a request is on its way from the master to a worker; shorter than the time between two looks."""

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
    joined: bool = False

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
    enabled: bool = True
    draining_since: float | None = None


@dataclass
class Claimed:
    """One claim with its record."""

    memory: Memory | None
    chain: str
    created_at: float
    outcomes: tuple[Outcome, ...] | None = None


@dataclass(eq=False)
class Agent:
    """Something that takes steps: a turn, or one action of a turn."""

    name: str
    run: int
    task: "asyncio.Task[None] | None" = None
    gate: "asyncio.Future[str] | None" = None
    label: str = ""
    wakes_at: float = 0.0
    late_at: float = float("inf")
    pace: float = 1.0
    """How often it is chosen to step: some processes are slow."""

    async def pause(self, label: str, *, wakes_at: float = 0.0, late_at: float = float("inf")) -> str:
        self.label, self.wakes_at, self.late_at = label, wakes_at, late_at
        self.gate = asyncio.get_running_loop().create_future()
        return await self.gate


class World:
    """Provider, master, claims and clock, and everything that acts on them."""

    def __init__(self, setting: Setting, knobs: Knobs, rng: random.Random) -> None:
        self.setting, self.knobs, self.rng = setting, knobs, rng
        self.now = 1000.0
        self.boxes: dict[str, Box] = {}
        self.entries: dict[str, Entry] = {}
        self.claims: dict[int, Claimed] = {}
        self.agents: list[Agent] = []
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

    def say(self, text: str) -> None:
        self.log.append(f"{self.now - 1000:7.1f} {text}")

    def violate(self, text: str) -> Violation:
        self.say(f"VIOLATION {text}")
        return Violation("\n".join([text, *self.log[-80:]]))

    def ours(self) -> list[Box]:
        return [box for box in self.boxes.values() if box.home == HOME]

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
        box = Box(request.worker_id, name, HOME, self.now + lag, self.now + waits, self.now + boots)
        self.boxes[name] = box
        if len(self.ours()) > MAX_WORKERS:
            raise self.violate(f"{len(self.ours())} workers exist, {MAX_WORKERS} may")
        return self._shown(box)

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
        if box.home != HOME:
            raise self.violate(f"{box.instance_id} of another home was ended")
        guarded = instance.state is InstanceState.PENDING and self.knobs.guards_pending
        cancelled = box.state(self.now) is InstanceState.PENDING and self.setting.caps.cancels_pending
        if guarded and not cancelled:
            raise TerminationRefused(f"{box.instance_id} runs by now")
        if box.works and not box.hung:
            raise self.violate(f"{box.worker_id} was ended while it worked")
        del self.boxes[instance.instance_id]

    # The master.

    def members(self, ids: Sequence[str] | None) -> MemberList:
        if self.chance(0.05):
            return MemberList((), complete=False, detail="no answer")
        wanted = [entry for entry in self.entries.values() if ids is None or entry.worker_id in ids]
        return MemberList(tuple(self._member(entry) for entry in wanted))

    def _member(self, entry: Entry) -> Member:
        box = self.box_of(entry.worker_id)
        answers = box is not None and box.state(self.now) is InstanceState.RUNNING and not box.hung
        busy = box.running > 0 if box is not None and answers else None
        state = MemberState.READY if entry.enabled else MemberState.DRAINING
        if entry.enabled and not answers:
            state = MemberState.LOST
        url = f"http://{box.instance_id}" if box else None
        return Member(entry.worker_id, f"m-{entry.worker_id}", state, url, busy, 0.0 if busy is False else None)

    def register(self, worker: Worker) -> Registration:
        if worker.mark is not None:
            raise self.violate(f"{worker.worker_id} was registered although it is marked: {worker.mark.reason}")
        box = self.box_of(worker.worker_id)
        if self.setting.self_joining:
            return Registration(worker.worker_id in self.entries, "has not joined")
        if box is None or box.hung or worker.url != f"http://{box.instance_id}":
            return Registration(False, "does not answer", reached=False)
        self.entries[worker.worker_id] = Entry(worker.worker_id)
        self._work_at_once(box)
        return Registration(True)

    def drain(self, worker: Worker, remaining: float, force: bool) -> DrainAnswer:
        entry, box = self.entries.get(worker.worker_id), self.box_of(worker.worker_id)
        busy = box is not None and box.running > 0 and not box.hung
        if (entry is None or (remaining <= 0 and not force)) and busy:
            if entry is not None:
                entry.enabled = True
            return DrainAnswer.BUSY
        if entry is None:
            return DrainAnswer.GONE
        entry.enabled = False
        return DrainAnswer.ACCEPTED

    def deregister(self, worker: Worker) -> None:
        self.entries.pop(worker.worker_id, None)

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
        return entry is not None and entry.enabled and ready and not box.works

    def finish(self) -> None:
        for box in self.ours():
            if box.running and self.rng.random() < 0.5:
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
                self.entries[box.worker_id] = Entry(box.worker_id)
                self.say(f"{box.worker_id} joins by itself")
                self._work_at_once(box)

    def _work_at_once(self, box: Box) -> None:
        if self.routes and self.rng.random() < 0.5 and self._takes_work(box):
            box.arrives_at.append(self.now + self.rng.uniform(0, ROUTING_SECONDS))
            self.say(f"a request is routed to {box.worker_id}")

    # Calls, one step each.

    async def call(self, agent: Agent, label: str, effect: Callable[[], T], lost: Callable[[], FleetError]) -> T:
        late_at = self.now + CALL
        try:
            fate = await agent.pause(label, late_at=late_at)
        except asyncio.CancelledError:
            # Whoever asked is dead; what was asked may still happen.
            self.orphans.append((late_at, label, effect))
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


def _brief(answer: object) -> str:
    if isinstance(answer, InstanceList):
        rows = " ".join(f"{row.worker_id}:{row.state.value}" for row in answer.instances)
        return f"{'all' if answer.complete else 'some'} [{rows}]"
    if isinstance(answer, MemberList):
        return " ".join(f"{member.worker_id}:{member.state.value}:{member.busy}" for member in answer.members) or "none"
    if isinstance(answer, Instance):
        return f"{answer.instance_id} {answer.state.value}"
    return str(answer)


@dataclass
class ModelProvider(EndsForGood):
    """The provider's port, as one agent sees it."""

    world: World
    agent: Agent

    @property
    def caps(self) -> ProviderCaps:
        return self.world.setting.caps

    async def launch(self, request: LaunchRequest) -> Instance:
        label = f"{self.agent.name} launch {request.worker_id}"
        return await self.world.call(
            self.agent, label, lambda: self.world.launch(request), lambda: LaunchOutcomeUnknown(label)
        )

    async def list_instances(self, fleet: str) -> InstanceList:
        label = f"{self.agent.name} list"
        return await self.world.call(self.agent, label, self.world.listing, lambda: ProviderUnavailable(label))

    async def terminate(self, instance: Instance) -> None:
        label = f"{self.agent.name} terminate {instance.worker_id}"
        await self.world.call(
            self.agent, label, lambda: self.world.terminate(instance), lambda: ProviderUnavailable(label)
        )

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        return {}

    async def aclose(self) -> None:
        return


@dataclass
class ModelMaster:
    """The master's port, as one agent sees it."""

    world: World
    agent: Agent

    @property
    def caps(self) -> MasterCaps:
        return MasterCaps(registration="self" if self.world.setting.self_joining else "push_url", call_seconds=CALL)

    async def _call(self, what: str, effect: Callable[[], T]) -> T:
        label = f"{self.agent.name} {what}"
        return await self.world.call(self.agent, label, effect, lambda: MasterUnavailable(label))

    async def probe(self) -> Health:
        return Health(True)

    async def demand(self) -> Demand:
        if self.world.chance(0.05):
            return Demand(complete=False, detail="no answer")
        return Demand(queued=self.world.queue, running=sum(box.running for box in self.world.ours()))

    async def members(self, worker_ids: Sequence[str] | None = None) -> MemberList:
        return await self._call("members", lambda: self.world.members(worker_ids))

    def join_spec(self, worker_id: str) -> JoinSpec:
        return JoinSpec()

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        return await self._call(f"register {worker.worker_id}", lambda: self.world.register(worker))

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        return await self._call(
            f"drain {worker.worker_id} {deadline_seconds:g} s",
            lambda: self.world.drain(worker, deadline_seconds, force),
        )

    async def shut_down(self, worker: Worker) -> None:
        return

    async def deregister(self, worker: Worker) -> None:
        await self._call(f"deregister {worker.worker_id}", lambda: self.world.deregister(worker))

    async def remove_unfinished(self, master_ref: str) -> None:
        return

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        return {}

    async def aclose(self) -> None:
        return


@dataclass
class Runner:
    """Turns in the model world: the same steps as `flows.turn`, each of which may be the last."""

    world: World
    runs: "itertools.count[int]" = field(default_factory=itertools.count)
    chains: "itertools.count[int]" = field(default_factory=itertools.count)

    def rules(self) -> Rules:
        return Rules(
            policy=VanillaPolicy(),
            limits=Limits(
                max_workers=MAX_WORKERS, min_idle_seconds=0, min_seconds_between_stops=0, min_seconds_after_failure=0
            ),
            pools=(PoolRule(PROVIDER, MAX_WORKERS),),
            interval_seconds=INTERVAL,
            launch_timeout_seconds=self.world.setting.launch_timeout,
            retries=RETRIES,
            drain_deadline_seconds=45.0,
        )

    def start(self) -> Agent:
        run = next(self.runs)
        agent = Agent(f"run{run}", run)
        self.spawn(agent, lambda: self._turn(agent))
        return agent

    def spawn(self, agent: Agent, work: Callable[[], Awaitable[None]]) -> None:
        async def body() -> None:
            await agent.pause(f"{agent.name} begins")
            await work()

        agent.task = asyncio.get_running_loop().create_task(body())
        agent.pace = self.world.rng.choice([1.0, 1.0, 0.03])
        self.world.agents.append(agent)

    async def _turn(self, agent: Agent) -> None:
        world = self.world
        number, head = max(world.claims.items(), default=(0, None))
        budget = Budget(world.now + BUDGET, lambda: world.now)
        age = float(int(world.now - head.created_at)) if head else 0.0
        memory = (head.memory if head else None) or Memory()
        listing = await self._observed(ModelProvider(world, agent).list_instances(FLEET), InstanceList(complete=False))
        members = await self._observed(ModelMaster(world, agent).members(), MemberList(complete=False))
        demand = await ModelMaster(world, agent).demand()
        caps = world.setting.caps if world.knobs.settles else replace(world.setting.caps, settle_seconds=0.0)
        unread = {claim.number: world.claims[claim.number].outcomes for claim in memory.claims if not claim.noted}
        unread |= {number: head.outcomes} if head else {}
        notes = {noted: outcomes for noted, outcomes in unread.items() if outcomes is not None}
        broken = head is not None and head.memory is None
        inputs = Inputs(
            fleet=FLEET,
            home=HOME,
            chain=head.chain if head and not broken else f"{next(self.chains):04d}",
            number=number + 1,
            elapsed_seconds=min(age, 2 * INTERVAL) if head and not broken else 0.0,
            budget_seconds=BUDGET if world.knobs.budgets else 0.0,
            demand=demand,
            members=members,
            master_caps=ModelMaster(world, agent).caps,
            providers=(ProviderLook(PROVIDER, caps, listing),),
            memory=memory if world.knobs.budgets else replace(memory, claims=()),
            head=RecentClaim(number, "artifact", BUDGET if world.knobs.budgets else 0.0, age) if head else None,
            outcomes=tuple(outcome for noted in sorted(notes) for outcome in notes[noted]),
            noted=tuple(sorted(notes)),
            broken="lost" if broken else "",
        )
        try:
            decided = evaluate(inputs, self.rules())
        except Exception as error:
            raise world.violate(f"a turn cannot decide: {error!r}") from error
        await agent.pause(f"{agent.name} claims {inputs.number}")
        if not budget.remaining_seconds or (world.knobs.claims and max(world.claims, default=0) >= inputs.number):
            world.say(f"{agent.name} does not get claim {inputs.number}")
            return
        claim = Claimed(decided.memory, inputs.chain, world.now)
        world.claims[inputs.number] = claim
        shown = " ".join(f"{worker.worker_id}:{worker.state.value}" for worker in decided.memory.workers)
        did = ", ".join(f"{action.verb.value} {action.worker_id}" for action in decided.plan.actions)
        world.say(f"{agent.name} claimed {inputs.number}: wants {decided.plan.wanted}, [{shown}] does [{did}]")
        await self._act(agent, inputs, decided, budget, claim)

    async def _observed(self, look: Awaitable[T], unknown: T) -> T:
        try:
            return await look
        except FleetError:
            return unknown

    async def _act(self, agent: Agent, inputs: Inputs, decided: Evaluation, budget: Budget, claim: Claimed) -> None:
        outcomes: list[Outcome] = []
        actions = self._tampered(decided, inputs)
        left = [len(actions)]
        for action in actions:
            doer = Agent(f"run{agent.run}", agent.run)
            hands = self._hands(doer, inputs, decided, budget)
            self.spawn(doer, partial(self._carry_out, doer, hands, action, outcomes, left, claim))

    def _tampered(self, decided: Evaluation, inputs: Inputs) -> list[Action]:
        """The plan's actions, and what a design without one of its rules would do."""
        actions = list(decided.plan.actions)
        knobs = self.world.knobs
        marked = {worker.worker_id: worker for worker in decided.memory.workers if worker.mark is not None}
        if not knobs.later_claim:
            actions = [
                replace(action, verb=Verb.TEAR_DOWN) if action.verb is Verb.DRAIN else action for action in actions
            ]
            drained = {action.worker_id for action in actions}
            actions += [
                Action(Verb.TEAR_DOWN, worker.worker_id, worker.provider, "just marked")
                for worker in marked.values()
                if worker.worker_id not in drained and worker.instance is not None
            ]
        if not knobs.marked_stay_out:
            actions += [
                Action(Verb.REGISTER, worker.worker_id, worker.provider, "has a URL")
                for worker in marked.values()
                if worker.url is not None and worker.instance is InstanceState.RUNNING
            ]
        return actions

    def _hands(self, agent: Agent, inputs: Inputs, decided: Evaluation, budget: Budget) -> Hands:
        async def sleep(seconds: float) -> None:
            await agent.pause(f"{agent.name} sleeps", wakes_at=self.world.now + seconds)

        workers = {worker.worker_id: worker for worker in decided.memory.workers}
        return Hands(
            fleet=FLEET,
            home=HOME,
            master=ModelMaster(self.world, agent),
            providers={PROVIDER: ModelProvider(self.world, agent)},
            workers=workers,
            instances={
                worker_id: instance
                for look in inputs.providers
                for worker_id, instance in instances_of_ours(look, inputs).items()
            },
            budget=budget,
            pace_seconds=1.0,
            connect_timeout_seconds=CALL,
            retries=RETRIES,
            retry_wait_seconds=5.0,
            looks_apart_seconds=self.world.knobs.looks_apart_seconds,
            silent_seconds=SILENT_SECONDS,
            sleep=sleep,
        )

    async def _carry_out(
        self, agent: Agent, hands: Hands, action: Action, outcomes: list[Outcome], left: list[int], claim: Claimed
    ) -> None:
        outcome = await self._outcome(hands, action)
        outcomes.append(outcome)
        waits = self.world.setting.caps.relist_seconds is not None and not self.world.setting.self_joining
        if action.verb is Verb.LAUNCH and outcome.result is Result.DONE and waits:
            outcomes.append(await self._outcome(hands, replace(action, verb=Verb.REGISTER)))
        left[0] -= 1
        if not left[0]:
            await agent.pause(f"{agent.name} notes")
            if not self.world.chance(0.2):
                claim.outcomes = tuple(outcomes)

    async def _outcome(self, hands: Hands, action: Action) -> Outcome:
        if action.verb is Verb.REGISTER and not self.world.knobs.marked_stay_out:
            bare = {name: replace(worker, mark=None) for name, worker in hands.workers.items()}
            hands = replace(hands, workers=bare)
        try:
            return await perform(hands, action)
        except FleetError as error:
            return outcome_of(action, error)


@dataclass
class Schedule:
    """Who steps next."""

    world: World
    runner: Runner
    faults: Mapping[int, str] = field(default_factory=dict)
    """What goes wrong at which step, counted from the beginning."""
    steps: int = 0

    async def step(self, agent: Agent, fate: str = "answered") -> None:
        fault = self.faults.get(self.steps, "")
        self.steps += 1
        if fault:
            self.world.say(f"{fault} at {agent.label}")
        if fault == "record lost" and self.world.claims:
            self.world.claims[max(self.world.claims)].memory = None
        if fault == "killed before":
            return await self.kill(agent.run)
        await self._step(agent, "late" if fault == "late" and agent.late_at < float("inf") else fate)
        if fault == "killed after":
            await self.kill(agent.run)
        return None

    async def _step(self, agent: Agent, fate: str) -> None:
        self.world.settle()
        gate, agent.gate = agent.gate, None
        agent.late_at = float("inf")
        assert gate is not None, agent
        assert agent.task is not None, agent
        gate.set_result(fate)
        while agent.gate is None and not agent.task.done():  # noqa: ASYNC110 - the loop only has to turn
            await asyncio.sleep(0)
        if agent.task.done():
            self.world.agents.remove(agent)
            agent.task.result()

    async def settled(self) -> None:
        """Let what was just spawned come to its first gate."""
        while any(agent.gate is None for agent in self.world.agents):  # noqa: ASYNC110 - the loop only has to turn
            await asyncio.sleep(0)

    async def kill(self, run: int) -> None:
        for agent in [agent for agent in self.world.agents if agent.run == run]:
            self.world.agents.remove(agent)
            assert agent.task is not None, agent
            agent.task.cancel()
            await asyncio.wait([agent.task])

    async def advance(self, seconds: float) -> None:
        world, target = self.world, self.world.now + seconds
        while late := [agent for agent in world.agents if agent.late_at < target]:
            agent = min(late, key=lambda one: one.late_at)
            world.now = max(world.now, agent.late_at)
            await self.step(agent, "late")
        world.now = target
        world.orphans = [orphan for orphan in world.orphans if orphan[0] >= world.now]
        world.settle()

    def ready(self) -> list[Agent]:
        return [agent for agent in self.world.agents if agent.wakes_at <= self.world.now]

    async def warm_up(self) -> None:
        """Begin with a fleet of some age."""
        self.world.faulty = False
        for _ in range(self.world.rng.choice([0, 1, 2, 3])):
            await self.one_turn()
        self.world.faulty, self.world.queue = True, self.world.rng.choice([0, 15, 40])

    async def walk(self, moves: int) -> None:
        """Random moves, every one of them possible in a real installation."""
        world, rng = self.world, self.world.rng
        for _ in range(moves):
            await self.settled()
            move = rng.choices(
                ["step", "turn", "wait", "tick", "long", "route", "finish", "kill", "world"],
                [20, 2, 1, 2, 1, 2, 2, 0.6, 0.8],
            )[0]
            ready = self.ready()
            if move == "step" and ready:
                await self.step(rng.choices(ready, [agent.pace for agent in ready])[0])
            elif move == "turn" and len({agent.run for agent in world.agents}) < 3:
                self.runner.start()
            elif move == "wait" and not ready and world.agents:
                await self.advance(min(agent.wakes_at for agent in world.agents) - world.now)
            elif move == "tick":
                await self.advance(rng.choice([0.5, 1.0, 5.0]))
            elif move == "long":
                await self.advance(rng.choice([12.0, 25.0, 31.0]))
            elif move == "route":
                world.route()
            elif move == "finish":
                world.finish()
            elif move == "kill" and world.agents:
                run = rng.choice(world.agents).run
                world.say(f"run{run} is killed")
                await self.kill(run)
            elif move == "world" and world.faulty:
                self._upset()

    def _upset(self) -> None:
        world, rng = self.world, self.world.rng
        what = rng.choice(["queue", "queue", "queue", "orphan", "orphan", "lose record", "crash", "hang", "forget"])
        if what == "queue":
            world.queue = rng.choice([0, 0, 0, 1, 15, 40])
            world.say(f"{world.queue} requests wait")
        elif what == "orphan" and world.orphans:
            _, label, effect = world.orphans.pop(rng.randrange(len(world.orphans)))
            world.say(f"{label}, whose caller is dead, happens")
            _quietly(effect)
        elif what == "lose record" and world.claims:
            number = max(world.claims)
            world.claims[number].memory = None
            world.forgot_at = world.now
            world.say(f"record {number} is lost")
        elif what in ("crash", "hang") and world.ours():
            box = rng.choice(world.ours())
            if what == "crash":
                del world.boxes[box.instance_id]
            elif box.worker_id in world.entries:
                box.hung, box.running, box.arrives_at = True, 0, []
            world.say(f"{box.worker_id}: {what}")
        elif what == "forget" and not world.setting.self_joining:
            world.entries.clear()
            world.say("the master forgets its members")

    async def one_turn(self) -> None:
        """One whole turn without faults, and the rest of the interval."""
        began = self.world.now
        self.runner.start()
        while self.world.agents:
            await self.settled()
            ready = self.ready()
            if ready:
                await self.step(ready[0])
            else:
                await self.advance(min(agent.wakes_at for agent in self.world.agents) - self.world.now)
        await self.advance(max(0.0, began + INTERVAL - self.world.now))

    async def recover(self, turns: int = 20) -> None:
        """Without faults the fleet comes to what is wanted, and then to nothing: no worker leaks."""
        world = self.world
        for run in {agent.run for agent in world.agents}:
            await self.kill(run)
        world.faulty = world.routes = False
        await self.advance(INTERVAL)
        for box in world.ours():
            box.running = 0
        for queue, is_reached in ((15, self._serves), (0, self._is_empty)):
            world.queue = queue
            world.say(f"no more faults, {queue} requests wait")
            for _ in range(turns):
                await self.one_turn()
                if is_reached():
                    break
            else:
                raise world.violate(
                    f"not settled after {turns} turns at a queue of {queue}: {self._memory().workers} "
                    f"boxes {world.ours()} entries {world.entries}"
                )

    def _memory(self) -> Memory:
        return self.world.claims[max(self.world.claims)].memory or Memory()

    def _serves(self) -> bool:
        known = {worker.worker_id for worker in self._memory().workers if worker.state is WorkerState.READY}
        serving = {name for name, entry in self.world.entries.items() if entry.enabled}
        real = {box.worker_id for box in self.world.ours() if box.state(self.world.now) is InstanceState.RUNNING}
        everybody = {worker.worker_id for worker in self._memory().workers}
        return known == serving == real == everybody == set(self.world.entries) and 2 <= len(real) <= MAX_WORKERS

    def _is_empty(self) -> bool:
        return not self.world.ours() and not self.world.entries and not self._memory().workers


def _quietly(effect: Callable[[], object]) -> None:
    try:
        effect()
    except FleetError:
        return


Scene = Callable[[Schedule], Awaitable[None]]


async def until_claimed(schedule: Schedule) -> int:
    """Start a turn and let it come to the point where its actions may begin; none of them has."""
    world = schedule.world
    run = schedule.runner.start().run
    while True:
        await schedule.settled()
        deciding = [agent for agent in world.agents if agent.run == run and agent.label != f"run{run} begins"]
        begun = [agent for agent in world.agents if agent.run == run]
        if not deciding and (not begun or (max(world.claims, default=0) and len(world.log) > 0 and _acts(world, run))):
            return run
        await schedule.step((deciding or begun)[0])


def _acts(world: World, run: int) -> bool:
    return any(f"run{run} claimed" in line for line in world.log)


async def until_about_to_end(schedule: Schedule, *, held: int) -> None:
    """Let everybody but one run go on, until somebody is about to end a worker or nobody has anything left to do."""
    world = schedule.world
    while others := [agent for agent in world.agents if agent.run != held]:
        if any("terminate" in agent.label for agent in others):
            return
        ready = [agent for agent in schedule.ready() if agent.run != held]
        if ready:
            await schedule.step(ready[0])
            await schedule.settled()
        else:
            await schedule.advance(min(agent.wakes_at for agent in others) - world.now)


async def late_registration(schedule: Schedule) -> None:
    """A worker is given up in the very moment in which an earlier turn is about to register it."""
    world = schedule.world
    world.boots = 85.0
    for _ in range(3):
        await schedule.one_turn()
    world.boots, world.queue = None, 0
    slow = await until_claimed(schedule)
    await schedule.advance(14.0)
    await until_claimed(schedule)
    await until_claimed(schedule)
    await until_about_to_end(schedule, held=slow)


async def work_on_its_way(schedule: Schedule) -> None:
    """A turn that marked an idle worker died before it could drain it; the next one is about to end it."""
    world = schedule.world
    await schedule.one_turn()
    await schedule.one_turn()
    world.queue = 0
    await schedule.kill(await until_claimed(schedule))
    await schedule.advance(INTERVAL)
    await until_claimed(schedule)


async def surplus_while_pending(schedule: Schedule) -> None:
    """A pending worker is surplus, and starts and joins by itself while a turn is about to end it."""
    world = schedule.world
    world.queue = 0
    for _ in range(2):
        await schedule.one_turn()
    world.queue = 15
    await until_claimed(schedule)
    while world.agents:
        await schedule.step(world.agents[0])
        await schedule.settled()
    for box in world.ours():
        box.starts_at = box.boots_at = world.now + 75.0
    await schedule.advance(INTERVAL)
    world.queue = 0
    await schedule.one_turn()
    await until_claimed(schedule)
    for box in world.ours():
        box.starts_at = box.boots_at = world.now + world.rng.uniform(3, 9)


async def record_lost_before_listing(schedule: Schedule) -> None:
    """The record of a turn that launched is lost before a listing shows what it launched."""
    world = schedule.world
    world.queue = 40
    await schedule.one_turn()
    for box in world.ours():
        box.shown_at = world.now + 10.0
    world.claims[max(world.claims)].memory = None


async def record_lost_before_launch(schedule: Schedule) -> None:
    """The record of a turn is lost while that turn is about to launch."""
    schedule.world.queue = 40
    await until_claimed(schedule)
    schedule.world.claims[1].memory = None


async def launched_late_in_its_turn(schedule: Schedule) -> None:
    """A turn launches at the end of its budget, and the listing takes its time."""
    world = schedule.world
    world.queue = 0
    for _ in range(3):
        await schedule.one_turn()
    world.queue = 40
    await until_claimed(schedule)
    await schedule.advance(BUDGET - CALL)
    while world.agents:
        await schedule.step(world.agents[0])
        await schedule.settled()
    for box in world.ours():
        box.shown_at = world.now + world.setting.listing_lag - 1
    await schedule.advance(20.0)
    await until_claimed(schedule)
    await until_claimed(schedule)


def explore(setting: Setting, knobs: Knobs, seed: int, *, scene: Scene | None = None, moves: int = 160) -> World:
    """One walk through the model, and what it led to."""

    async def whole() -> World:
        world = World(setting, knobs, random.Random(seed))
        schedule = Schedule(world, Runner(world))
        try:
            world.faulty = scene is None
            await (schedule.warm_up() if scene is None else scene(schedule))
            await schedule.walk(moves)
            await schedule.recover()
        finally:
            for run in {agent.run for agent in world.agents}:
                await schedule.kill(run)
        return world

    return asyncio.run(whole())


def found(setting: Setting, knobs: Knobs, seeds: int, scene: Scene | None = None, *, moves: int = 160) -> str:
    """The first counterexample of a search, or nothing."""
    for seed in range(seeds):
        try:
            explore(setting, knobs, seed, scene=scene, moves=moves)
        except Violation as violation:
            return f"seed {seed}: {violation}"
    return ""


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_no_random_walk_leaks_a_worker_launches_one_twice_or_stops_a_busy_one(setting: Setting) -> None:
    assert found(setting, Knobs(), 100) == ""


@pytest.mark.soak
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_no_long_random_walk_finds_a_counterexample(setting: Setting) -> None:
    assert found(setting, Knobs(), 300, moves=400) == ""


ONE_OUTSIDE_SOAK = [
    pytest.param(setting, id=setting.name, marks=() if setting.name == "local" else pytest.mark.soak)
    for setting in SETTINGS
]
FAULTS = ("killed before", "killed after", "late", "record lost")


async def history(schedule: Schedule) -> None:
    """Up, some work, and down again, in whole turns."""
    world = schedule.world
    world.faulty = False
    for turn in range(12):
        world.queue = 15 if turn < 6 else 0
        world.finish()
        world.route()
        await schedule.one_turn()


def steps_of(setting: Setting, faults: Mapping[int, str]) -> int:
    """Live through the history with a fault at some of its steps, recover, and tell how many steps there were."""

    async def whole() -> int:
        world = World(setting, Knobs(), random.Random(7))
        schedule = Schedule(world, Runner(world), faults=faults)
        try:
            await history(schedule)
            taken, schedule.faults = schedule.steps, {}
            await schedule.recover()
        except Violation as violation:
            raise Violation(f"with {dict(faults)}: {violation}") from violation
        finally:
            for run in {agent.run for agent in world.agents}:
                await schedule.kill(run)
        return taken

    return asyncio.run(whole())


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("setting", ONE_OUTSIDE_SOAK)
def test_a_fault_at_any_single_step_of_a_history_is_survived(setting: Setting, fault: str) -> None:
    steps = steps_of(setting, {})
    assert steps > 40, "the history is too short to show anything"
    for step in range(steps):
        steps_of(setting, {step: fault})


@pytest.mark.soak
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_faults_at_any_two_steps_of_a_history_are_survived(setting: Setting) -> None:
    steps = steps_of(setting, {})
    for first, second in itertools.combinations(range(steps), 2):
        for other in ("killed before", "late"):
            steps_of(setting, {first: "killed after", second: other})


@dataclass(frozen=True)
class Lesson:
    """A rule of the design, and the search that finds out what happens without it."""

    rule: str
    setting: str
    without: Knobs
    scene: Scene | None
    seeds: int
    finds: str

    @property
    def moves(self) -> int:
        """A scene begins close to where it becomes dangerous."""
        return 160 if self.scene is None else 40


LESSONS = (
    Lesson("claim", "vast", Knobs(claims=False), None, 60, "was launched twice for one wish"),
    Lesson("budget of a mark", "local", Knobs(budgets=False), late_registration, 100, "was ended while it worked"),
    Lesson("budget of a launch", "vast", Knobs(budgets=False), launched_late_in_its_turn, 20, "workers exist, 3 may"),
    Lesson("budget of a lost record", "local", Knobs(budgets=False), record_lost_before_launch, 60, "workers exist"),
    Lesson("later claim", "local", Knobs(later_claim=False), late_registration, 100, "was ended while it worked"),
    Lesson("marked stay out", "local", Knobs(marked_stay_out=False), work_on_its_way, 100, "was ended while it worked"),
    Lesson("two looks", "local", Knobs(looks_apart_seconds=0.0), work_on_its_way, 100, "was ended while it worked"),
    Lesson("settle time", "slurm", Knobs(settles=False), record_lost_before_listing, 100, "workers exist, 3 may"),
    Lesson("pending", "slurm", Knobs(guards_pending=False), surplus_while_pending, 300, "was ended while it worked"),
)


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.rule)
def test_the_design_without_this_rule_has_a_counterexample(lesson: Lesson) -> None:
    violation = found(BY_NAME[lesson.setting], lesson.without, lesson.seeds, lesson.scene, moves=lesson.moves)
    assert lesson.finds in violation.split("\n")[0], violation or f"{lesson.seeds} walks found nothing"


@pytest.mark.soak
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.rule)
def test_with_this_rule_the_same_search_finds_nothing(lesson: Lesson) -> None:
    assert found(BY_NAME[lesson.setting], Knobs(), lesson.seeds, lesson.scene, moves=lesson.moves) == ""
