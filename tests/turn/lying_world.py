"""The model world with liars in it, and a judge who knows how everything really is."""

import math
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ebbflow.core.errors import CapacityUnavailable, ConfigError, OverrideRefused, RegistrationRejected
from ebbflow.core.instance import Instance, InstanceList, InstanceState, LaunchRequest
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, DrainAnswer, Member, MemberState, PushMemberList, Registration
from ebbflow.core.memory import OverrideKind
from ebbflow.core.observation import Inputs, ScaleRequest
from ebbflow.core.plan import Verb
from ebbflow.core.record import Record
from ebbflow.core.worker import Worker
from ebbflow.decision.giving_up import SILENT_SECONDS
from ebbflow.decision.rows import CONFIRM_SECONDS
from tests.turn.lies import (
    AT_ONCE,
    OF_MASTERS,
    OF_PERSONS,
    OF_PROVIDERS,
    Lie,
    Told,
    drawn,
    told_in,
    twisted_members,
    twisted_rows,
)
from tests.turn.model_world import (
    HOME,
    MAX_WORKERS,
    Box,
    Entry,
    Knobs,
    Setting,
    Step,
    Violation,
    World,
    quietly,
)
from tests.turn.search import Schedule
from tests.turn.virtual_time import VirtualLoop

LIVES_ALONE = 420.0
"""Seconds that a worker lives without a sign of life."""
GOOD_TURNS = 2
"""After so many turns in which nobody lies everything is right again."""
TURNS_WITH_LIES, ROUNDS = 5, 2
FEW, MANY = 0, 40
"""Requests that wait, for nobody and for as many workers as there may be."""


@dataclass(frozen=True)
class Times:
    """How long things take in a fleet, in seconds."""

    interval: float = 60.0
    drain_deadline: float = 150.0
    launch_timeout: float = 600.0


@dataclass
class Heard:
    """What the claims of this fleet have seen of one worker, by the master's or its own word."""

    busy: bool
    at: float


class LyingWorld(World):
    """Provider, master, ledger and clock that lie in the given ways, and what is really so."""

    def __init__(
        self, setting: Setting, knobs: Knobs, rng: random.Random, loop: VirtualLoop, lies: Sequence[Lie], times: Times
    ) -> None:
        super().__init__(replace(setting, launch_timeout=times.launch_timeout), knobs, rng, loop)
        self.interval, self.drain_deadline = times.interval, times.drain_deadline
        self.lives_alone_seconds = LIVES_ALONE
        self.lies, self.told, self.tally = (
            told_in(lies, self_joining=setting.self_joining),
            list[Told](),
            Counter[str](),
        )
        self.earlier_rows: list[tuple[Instance, ...]] = []
        self.earlier_members: list[tuple[Member, ...]] = []
        self.looks: dict[int, Inputs] = {}
        self.last: Record | None = None
        self.shown: set[str] = set()
        """Instances that a claim has seen in a list."""
        self.missing: dict[str, list[float]] = {}
        """When claims in a row have seen complete lists without an instance."""
        self.said_gone: set[str] = set()
        self.marks: dict[str, tuple[float, bool]] = {}
        """Since when a worker has carried a mark, and whether by force."""
        self.heard: dict[str, Heard] = {}
        self.silent_since: dict[str, float] = {}
        """When a claim saw for the first time that nobody answered for a worker."""
        self.refuses_until = 0.0
        self.aged, self.claimed_at, self.claimed_clock = 0.0, self.now, self.now
        self.good_since = math.inf
        self.put_back: set[str] = set()
        """Whom a person has put back into service, and no claim has seen it yet."""
        self.leaves_behind = False
        self.left: set[str] = set()
        """Worker ids of which something is left in the master that gives out work."""
        self.ended_well: set[str] = set()
        """Worker ids that were ended since nobody lies."""

    # Lies.

    def lie(self) -> None:
        """Begin to tell one of them."""
        lie = self.rng.choice(self.lies)
        if lie in AT_ONCE:
            return self._happens(lie)
        told = drawn(self.rng, lie, sorted({box.worker_id for box in self.ours()}), self.now, self.interval)
        self.told.append(told)
        self.say(f"lie: {lie.value} about {' '.join(sorted(told.about)) or 'nobody'}, {told.until - self.now:.0f} s")
        return None

    def _happens(self, lie: Lie) -> None:
        running = [box for box in self.ours() if box.state(self.now) is InstanceState.RUNNING and not box.hung]
        if lie is Lie.CLOCK_BACK:
            self.clock_is_off -= self.rng.choice([3.0, 70.0, 3600.0])
        elif lie is Lie.CLOCK_FORWARD:
            self.clock_is_off += self.rng.choice([3.0, 70.0, 3600.0])
        elif self.ledger.kept_home != HOME:
            # With its records lost as well nobody could tell this fleet from a new one.
            return
        elif lie is Lie.LOST_RECORD:
            self.lose_record()
            self.forget()
        elif lie is Lie.LOST_CHAIN and not self.entries and not self.setting.self_joining:
            # Where nobody has joined yet, nobody could tell it from a new one either.
            return
        elif lie is Lie.LOST_CHAIN:
            self.ledger.claims.clear()
            self.ledger.records.clear()
            self.ledger.claimed_at.clear()
            self.forget()
        elif lie is Lie.LOST_HOME and self.is_remembered:
            self.ledger.kept_home = f"h{len(self.homes):04d}"
            self.homes.add(self.ledger.kept_home)
        elif lie is Lie.FORGETFUL and not self.setting.self_joining:
            self.entries.clear()
        elif lie in (Lie.SILENCE, Lie.UNNOTICED) and running:
            box = self.rng.choice(running)
            box.hung, box.unnoticed = True, lie is Lie.UNNOTICED
        elif lie in OF_PERSONS and self.entries and not self.setting.self_joining:
            self._by_a_person(lie, self.rng.choice(sorted(self.entries)))
        elif lie is Lie.DOUBLE and running and not self.setting.self_joining:
            box = self.rng.choice(running)
            name = f"box-{next(self.names)}"
            self.boxes[name] = Box(box.worker_id, name, box.home, self.now, self.now, self.now)
        else:
            return
        self.tally[lie.value] += 1
        self.say(f"lie: {lie.value}")

    def _by_a_person(self, lie: Lie, worker_id: str) -> None:
        entry = self.entries[worker_id]
        if lie is Lie.RENAMED:
            entry.renamed = True
        elif lie is Lie.BROKEN:
            entry.broken = True
        elif lie is Lie.LEFT:
            self.leaves_behind = True
        else:
            entry.enabled = not entry.enabled
            if entry.enabled:
                self.put_back.add(worker_id)
        self.say(f"{worker_id}: {lie.value}")

    def forget(self) -> None:
        """What no chain remembers any more cannot be believed to be gone."""
        self.missing.clear()

    def no_more_lies(self) -> None:
        """From now on everybody tells what is so, and everybody answers."""
        self.told.clear()
        self.faulty = False
        self.refuses_until = 0.0
        if self.ledger.kept_home != HOME:
            self.ledger.kept_home = HOME
        for box in self.ours():
            box.silent_until = self.now if box.hung else box.silent_until
            box.hung = False
        self.leaves_behind = False
        self.good_since = self.now
        self.ended_well.clear()
        self.say("no more lies")

    def pass_by(self) -> None:
        """What happens by itself between two turns."""
        self.told = [told for told in self.told if told.until > self.now]
        for box in self.ours():
            if box.hung and self.rng.random() < 0.2:
                box.hung, box.silent_until = False, self.now
        if self.rng.random() < 0.3:
            self.route()
        self.finish()
        if self.orphans and self.rng.random() < 0.5:
            _, label, effect = self.orphans.pop(self.rng.randrange(len(self.orphans)))
            self.say(f"{label}, whose caller is dead, happens")
            quietly(effect)
        for box in self.ours():
            self._lives_on(box)

    def _lives_on(self, box: Box) -> None:
        """Its dead-man's switch: without a sign of life for too long it ends itself, whatever it does."""
        alive_since = max(box.boots_at, box.kept_at, box.silent_until)
        if box.hung or box.state(self.now) is not InstanceState.RUNNING or self.now - alive_since < LIVES_ALONE:
            return
        entry = self.entries.get(box.worker_id)
        if entry is not None and entry.instance_id == box.instance_id:
            raise self.violate(f"{box.worker_id} serves, and got no sign of life for {self.now - alive_since:.0f} s")
        del self.boxes[box.instance_id]

    # The provider.

    def served_by(self, entry: Entry) -> Box | None:
        return self.boxes.get(entry.instance_id)

    def listing(self) -> InstanceList:
        complete = not self.chance(0.05)
        rows: Sequence[Instance] = [self._shown(box) for box in self.boxes.values() if box.shown_at <= self.now]
        honest, earlier = tuple(rows), tuple(self.earlier_rows)
        for told in self.told:
            if told.lie in OF_PROVIDERS:
                twisted = twisted_rows(told, rows, earlier)
                self.tally[told.lie.value] += twisted != list(rows)
                rows = twisted
        self.earlier_rows = [*self.earlier_rows[-3:], honest]
        if not complete:
            rows = [row for row in rows if self.rng.random() < 0.5]
        return InstanceList(tuple(rows), complete=complete, detail="" if complete else "no answer")

    def launch(self, request: LaunchRequest) -> Instance:
        if self.now < self.refuses_until:
            self.tally["refusals"] += 1
            raise CapacityUnavailable(f"{request.worker_id}: nothing to give")
        before = len(self.boxes)
        instance = super().launch(request)
        self.tally["launches"] += len(self.boxes) > before
        return instance

    def countable(self) -> int:
        """Who has been absent for as long as the design demands is believed to be gone."""
        return sum(not self._is_believed_gone(box) for box in self.ours())

    def _is_believed_gone(self, box: Box) -> bool:
        if box.instance_id in self.said_gone:
            return True
        if box.instance_id not in self.shown and self._has_double(box):
            # Of an id that was asked for once, only what a list has shown can be known to be more than one.
            return True
        looks = self.missing.get(box.instance_id, [])
        if box.instance_id not in self.shown and not self.setting.caps.idempotent_launch:
            # A wish is given up by the first complete list that lacks it once its provider had the time to show it.
            return any(look - box.made_at >= self.setting.caps.settle_seconds for look in looks)
        confirmed = len(looks) >= 2 and looks[-1] - looks[0] >= CONFIRM_SECONDS
        return confirmed or (bool(looks) and self.setting.caps.absence_is_gone and box.instance_id in self.shown)

    def _has_double(self, box: Box) -> bool:
        return any(each.worker_id == box.worker_id and each is not box for each in self.ours())

    def judge_end(self, box: Box) -> None:
        """Only the master and the worker say that it does not work; who does not answer has the times of the design."""
        self.tally["stops"] += 1
        if self.now >= self.good_since:
            self.ended_well.add(box.worker_id)
        marked_at, is_forced = self.marks.get(box.worker_id, (math.inf, False))
        if not box.hung:
            if box.works and not (is_forced and self.age - marked_at >= self.drain_deadline):
                raise self.violate(f"{box.worker_id} was ended while it worked")
            return
        heard, silent_since = self.heard.get(box.worker_id), self.silent_since.get(box.worker_id, math.inf)
        entry = self.entries.get(box.worker_id)
        is_elsewhere = entry is not None and entry.instance_id != box.instance_id
        if is_elsewhere or (heard is None and entry is None):
            # Work came to another instance with its id, or to none.
            return
        if heard is not None and not heard.busy:
            if self.age - silent_since < SILENT_SECONDS:
                seconds = self.age - silent_since
                raise self.violate(f"{box.worker_id} was ended too early: idle, then silent for {seconds:.0f} s")
        elif self.age - max(marked_at, heard.at if heard else 0.0) < self.drain_deadline:
            seconds = self.age - marked_at
            raise self.violate(f"{box.worker_id} was ended too early: busy, then silent, marked for {seconds:.0f} s")

    # The master.

    def demand(self) -> Demand:
        demand = super().demand()
        for told in self.told:
            if told.lie is Lie.DEMAND_NUMBERS:
                self.tally[told.lie.value] += 1
                odd = (-5, 10**15)[told.word % 2]
                return replace(demand, queued=odd, waiting=odd, arrived=-odd, queued_units=math.nan)
        return demand

    def members(self, ids: Sequence[str] | None, known: Sequence[Worker] = ()) -> PushMemberList:
        found = super().members(ids, known)
        rows: Sequence[Member] = found.members
        for told in self.told:
            if told.lie in OF_MASTERS and (ids is None or told.lie is not Lie.STALE_MEMBERS):
                twisted = twisted_members(told, rows, self.earlier_members)
                self.tally[told.lie.value] += twisted != list(rows)
                rows = twisted if ids is None else [member for member in twisted if member.worker_id in ids]
        if ids is None and found.complete:
            self.earlier_members = [*self.earlier_members[-3:], found.members]
        strange = ("demo-zzzz-3-0",) if any(told.lie is Lie.STRANGERS for told in self.told) else ()
        strays = sorted(name for name in self.left - self.entries.keys() if ids is None or name in ids)
        return replace(found, members=tuple(rows), foreign=strange, strays=tuple(strays) if found.complete else ())

    def register(self, worker: Worker) -> Registration:
        self._touches(worker)
        marked_at, _ = self.marks.get(worker.worker_id, (math.inf, False))
        if worker.mark is not None or self.age - marked_at > self.interval:
            raise self.violate(f"{worker.worker_id} was registered although it is marked")
        box = next((box for box in self.ours() if worker.url == f"http://{box.instance_id}"), None)
        entry = self.entries.get(worker.worker_id)
        if box is None or box.hung or box.worker_id != worker.worker_id:
            return Registration(False, "does not answer", reached=False)
        if entry is not None and entry.instance_id == box.instance_id:
            # Neither a name nor a switch of a person's is undone by registering it once more.
            if not self._is_ours(entry, [worker]):
                raise RegistrationRejected(f"{worker.url} is somebody else's")
            return Registration(entry.enabled, "it is switched off")
        if entry is not None and entry.instance_id != box.instance_id:
            served = self.boxes.get(entry.instance_id)
            if served is not None and served.works:
                raise self.violate(f"{worker.worker_id} works, and its entry was moved to another address")
        self.entries[worker.worker_id] = Entry(worker.worker_id, box.instance_id)
        self._work_at_once(box)
        return Registration(True)

    def drain(self, worker: Worker, remaining: float, force: bool) -> DrainAnswer:
        self._touches(worker)
        answer = super().drain(worker, remaining, force)
        self.tally["drains"] += answer is DrainAnswer.ACCEPTED
        return answer

    def deregister(self, worker: Worker) -> None:
        self._touches(worker)
        entry = self.entries.get(worker.worker_id)
        box = self.boxes.get(entry.instance_id) if entry is not None else None
        if box is not None and box.works and not box.hung:
            raise self.violate(f"{worker.worker_id} works, and was deregistered")
        if entry is not None and not self._is_ours(entry, [worker]):
            return
        self.left.discard(worker.worker_id)
        if entry is not None and self.leaves_behind and not self.setting.self_joining:
            self.left.add(worker.worker_id)
        super().deregister(worker)

    def _touches(self, worker: Worker) -> None:
        if "zzzz" in worker.worker_id and worker.worker_id != "demo-zzzz-7-0":
            raise self.violate(f"{worker.worker_id} of another home was touched")

    # What claims have seen.

    @property
    def age(self) -> float:
        """Seconds as a chain counts them: by the ledger's clock, from claim to claim at most two intervals."""
        return self.aged + self.now - self.claimed_at

    def has_decided(self, run: int, inputs: Inputs) -> None:
        self.looks[run] = inputs

    def has_claimed(self, run: int, record: Record) -> None:
        clock = self.now + self.clock_is_off
        self.aged += min(max(0.0, clock - self.claimed_clock), 2 * self.interval)
        self.claimed_at, self.claimed_clock = self.now, clock
        before = {worker.worker_id: worker for worker in self.last.memory.workers} if self.last else {}
        inputs, self.last = self.looks[run], record
        for look in inputs.providers:
            if look.listing.complete:
                self._seen({row.instance_id: row.state for row in look.listing.instances})
            self.shown |= {row.instance_id for row in look.listing.instances}
        self._judge_last_one(inputs, record)
        for worker in record.memory.workers:
            self._remembered(worker)
            self._judge_switch(worker, before.get(worker.worker_id), record.number)

    def _judge_last_one(self, inputs: Inputs, record: Record) -> None:
        """Whoever alone serves, as far as this claim has seen, is not taken out while work waits, but by force."""
        waits = inputs.demand.queued > 0 or not inputs.demand.complete
        if inputs.master.caps.queues_without_workers or not waits:
            return
        workers = {worker.worker_id: worker for worker in record.memory.workers}
        shown = (each for each in inputs.members.members if each.state is MemberState.READY and each.busy is not None)
        serving = {each.worker_id for each in shown if each.worker_id in workers and not each.duplicate}
        leaves = {action.worker_id for action in record.plan.actions if action.verb in (Verb.DRAIN, Verb.TEAR_DOWN)}
        ends = (InstanceState.FAILED, InstanceState.GONE, InstanceState.TERMINATING)
        marks = [workers[name].mark for name in serving]
        is_forced = any(mark is not None and mark.forced for mark in marks)
        is_ended = is_forced or any(workers[name].instance in ends for name in serving)
        if serving and serving <= leaves and not is_ended:
            raise self.violate(f"{', '.join(sorted(serving))}: the last that serves is taken out while work waits")

    def _judge_switch(self, worker: Worker, before: Worker | None, number: int) -> None:
        """Who was seen out of service, and is in again by a person's act, does not go for the reason of before."""
        if worker.worker_id not in self.put_back or worker.member is not MemberState.READY:
            return
        self.put_back.discard(worker.worker_id)
        was_out = before is not None and before.member is MemberState.DRAINING
        if was_out and worker.mark is not None and worker.mark.number < number:
            raise self.violate(f"{worker.worker_id} goes for an old reason: a person put it back into service")

    def _seen(self, states: dict[str, InstanceState]) -> None:
        for name in (box.instance_id for box in self.ours()):
            if name not in states:
                self.missing.setdefault(name, []).append(self.now)
                continue
            self.missing.pop(name, None)
            if states[name] is InstanceState.GONE:
                self.said_gone.add(name)
            else:
                self.said_gone.discard(name)

    def _remembered(self, worker: Worker) -> None:
        if worker.mark is None:
            self.marks.pop(worker.worker_id, None)
        else:
            since, _ = self.marks.get(worker.worker_id, (self.age, False))
            self.marks[worker.worker_id] = (since, worker.mark.forced)
        if worker.busy is not None:
            self.heard[worker.worker_id] = Heard(worker.busy, self.age)
            self.silent_since.pop(worker.worker_id, None)
        elif worker.registered:
            self.silent_since.setdefault(worker.worker_id, self.age)


class LyingSchedule(Schedule):
    """Turns among liars: killed at any outside call, late, two at once, and asked for by a person."""

    world: LyingWorld

    async def lying_turn(self) -> None:
        """One interval in which anything may happen."""
        world, rng = self.world, self.world.rng
        began = world.now
        if rng.random() < 0.5:
            world.queue = rng.choice([FEW, FEW, 1, 15, MANY])
        if rng.random() < 0.1:
            world.refuses_until = world.now + rng.choice([1.0, 1.5]) * world.interval
        for _ in range(rng.choice([0, 1, 1, 2]) if world.lies else 0):
            world.lie()
        fault = rng.choice(["", "", "", "killed before", "killed after", "late"])
        self.faults = {self.steps + rng.randrange(25): fault} if fault else {}
        await self.take(self._request())
        await self._until_over(others=rng.random() < 0.15)
        rest = max(0.0, began + rng.choice([0.6, 1.0, 1.0, 1.1]) * world.interval - world.now)
        for _ in range(3):
            await self.advance(rest / 3)
            world.pass_by()

    def _request(self) -> ScaleRequest | None:
        """Now and then a person wants one worker to be gone, by force."""
        ready = sorted(box.worker_id for box in self.world.ours() if box.works)
        if not ready or self.world.rng.random() > 0.05:
            return None
        named = (self.world.rng.choice(ready),)
        self.world.tally["forced"] += 1
        return ScaleRequest("force", OverrideKind.CEILING, "ada", "", 90.0, worker_ids=named, force=True)

    async def take(self, request: ScaleRequest | None) -> None:
        """Begin a turn."""
        with self._judged():
            await self.start(request=request)

    @contextmanager
    def _judged(self) -> Iterator[None]:
        """Only a request that names nobody, and a fleet whose home is another one, may be refused."""
        try:
            yield
        except Violation:
            raise
        except Exception as error:
            if isinstance(error, OverrideRefused) or "worker_ids" in str(error):
                return
            if not isinstance(error, ConfigError) or self.world.ledger.kept_home == HOME:
                raise self.world.violate(f"a turn fails: {error}") from error

    async def _until_over(self, *, others: bool) -> None:
        rng = self.world.rng
        while self.runs:
            ready = self.ready()
            if others and len(self.runs) < 2 and rng.random() < 0.1:
                await self.take(ScaleRequest("other", OverrideKind.END, "ada", "", 90.0))
            elif ready:
                await self.step(rng.choices(ready, [step.pace for step in ready])[0])
            else:
                await self.until_somebody_wakes()

    async def step(self, step: Step) -> None:
        with self._judged():
            await super().step(step)

    async def good_turns(self) -> None:
        """Nobody lies any more; what is not right again by then is a fault."""
        world = self.world
        world.no_more_lies()
        self.faults = {}
        world.queue = MANY
        await self.advance(world.interval)
        for _ in range(GOOD_TURNS):
            await self.take(None)
            await self._until_over(others=False)
            await self.advance(world.interval)
        wrong = self.wrong()
        if wrong:
            raise world.violate(f"not right after {GOOD_TURNS} good turns: {wrong}")
        world.faulty, world.good_since = True, math.inf

    def wrong(self) -> str:
        """What is not as it should be, while as many workers are wanted as there may be."""
        world = self.world
        workers = {worker.worker_id: worker for worker in world.memory().workers}
        boxes = {box.worker_id: box for box in world.ours()}
        # Of an id that is on its way out one after the other is ended.
        stay = Counter(box.worker_id for box in world.ours() if _stays(workers.get(box.worker_id)))
        if twice := [name for name, count in stay.items() if count > 1]:
            return f"one too many of {', '.join(twice)}: {world.ours()}"
        if lost := boxes.keys() - workers.keys():
            return f"nobody knows of {', '.join(sorted(lost))}"
        # What was ended in these turns keeps its place until two looks have not found it.
        existing = {name: worker for name, worker in workers.items() if worker.may_exist}
        ghosts = [
            name
            for name, worker in existing.items()
            if worker.instance is None and worker.state is not WorkerState.WISHED
            if name not in boxes.keys() | world.ended_well
            # Who only the master knew is counted out by two looks, of which the first good one may not count.
            if worker.provider or not worker.absent_looks
        ]
        if ghosts:
            return f"still remembered: {', '.join(sorted(ghosts))}: {workers}"
        assert world.last is not None, "good turns claim"
        plan = world.last.plan
        settles = world.memory().chain_age_seconds < 0.8 * world.interval + world.setting.caps.settle_seconds
        if plan.existing + len(plan.of(Verb.LAUNCH)) < MAX_WORKERS and not world.memory().overrides and not settles:
            return f"{len(existing)} workers, and {world.queue} requests wait: {workers}"
        waiting = [name for name, box in boxes.items() if _should_serve(workers[name]) and not self._is_served(box)]
        if waiting:
            return f"neither marked nor serving: {', '.join(sorted(waiting))}: {workers}"
        if world.left - world.entries.keys():
            return f"the master gives out work through what is left of {', '.join(sorted(world.left))}"
        # What a person renamed is nobody's once the record of its address is lost.
        ours = {name for name, entry in world.entries.items() if not entry.renamed}
        if not world.setting.self_joining and (strange := ours - boxes.keys() - world.ended_well):
            return f"the master still has {', '.join(sorted(strange))}"
        return ""

    def _is_served(self, box: Box) -> bool:
        entry = self.world.entries.get(box.worker_id)
        # Nothing is mended under work, which goes on for as long as these turns take.
        serves = entry is not None and entry.enabled and (not entry.broken or box.works)
        return serves and entry is not None and entry.instance_id == box.instance_id


def _stays(worker: Worker | None) -> bool:
    ends = (WorkerState.TERMINATING, WorkerState.FAILED)
    return worker is None or (worker.mark is None and worker.state not in ends)


def _should_serve(worker: Worker) -> bool:
    return worker.mark is None and worker.instance is InstanceState.RUNNING


async def live(
    loop: VirtualLoop,
    setting: Setting,
    lies: Collection[Lie],
    seed: int,
    knobs: Knobs,
    scene: Callable[[Schedule], Awaitable[None]] = Schedule.warm_up,
    times: Times | None = None,
    tally: Counter[str] | None = None,
    rounds: int = ROUNDS,
) -> LyingWorld:
    """A fleet's life among liars: some age, then lies and good turns in turn. What happens in it is added to a tally.

    Raises:
        Violation: what must never happen, with the last of the log.
    """
    world = LyingWorld(setting, knobs, random.Random(seed), loop, tuple(lies), times or Times())
    if tally is not None:
        world.tally = tally
    schedule = LyingSchedule(world)
    try:
        await scene(schedule)
        world.faulty = True
        for _ in range(rounds):
            for _ in range(TURNS_WITH_LIES):
                await schedule.lying_turn()
            await schedule.good_turns()
    finally:
        for run in list(schedule.runs):
            await schedule.kill(run)
    return world
