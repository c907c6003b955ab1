"""Turns in the model world, and a scheduler that lets them go on in any order, die, and come too late.

A turn here is the turn that production takes; what is handed in differs.
"""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from ebbflow.core.errors import FleetError
from ebbflow.core.instance import InstanceState
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.memory import OverrideKind
from ebbflow.core.observation import Inputs, ProviderLook, ScaleRequest
from ebbflow.core.plan import Action, Outcome, Verb
from ebbflow.decision.evaluate import Evaluation, evaluate
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.decision.rules import Drain, Readiness
from ebbflow.fleet.model import Fleet
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.turn.acting import perform
from ebbflow.turn.calls import Acting
from ebbflow.turn.notes import outcome_of
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.surroundings import RunIdentity, Surroundings
from ebbflow.turn.turn import take_turn
from tests.turn.model_world import (
    CALL,
    FLEET,
    MAX_WORKERS,
    PACE,
    PROVIDER,
    Knobs,
    ModelJoinMaster,
    ModelLedger,
    ModelProvider,
    ModelPushMaster,
    Step,
    World,
    quietly,
)

SILENT = logging.getLogger("tests.turn.search")
SILENT.disabled = True


def without(knobs: Knobs, inputs: Inputs) -> Inputs:
    """What a turn sees, for a design without some of its rules."""
    facts, memory = inputs.turn, inputs.memory
    if not knobs.budgets:
        head = facts.head and replace(facts.head, budget_seconds=0.0)
        facts, memory = replace(facts, budget_seconds=0.0, head=head), replace(memory, claims=())
    if not knobs.ages_are_capped and facts.head is not None and facts.elapsed_seconds:
        facts = replace(facts, elapsed_seconds=facts.head.age_seconds)
    if not knobs.persons_count:
        unseen = (replace(each, member=None) if each.mark is not None else each for each in memory.workers)
        memory = replace(memory, workers=tuple(unseen))
    if not knobs.notes:
        facts = replace(facts, outcomes=())
    if not knobs.half_lost_is_unknown:
        missing = (replace(worker, absent_looks=max(1, worker.absent_looks)) for worker in memory.workers)
        memory = replace(memory, workers=tuple(missing))
    if not knobs.wishes_count:
        listed = tuple(worker for worker in memory.workers if worker.state is not WorkerState.WISHED)
        memory = replace(memory, workers=listed)
    looks = tuple(_look_without(knobs, look, inputs) for look in inputs.providers)
    return replace(inputs, turn=facts, memory=memory, providers=looks)


def master_without(knobs: Knobs, inputs: Inputs) -> Inputs:
    """What a decision takes its master for, for a design without some of its rules."""
    if knobs.last_one_stays:
        return inputs
    caps = replace(inputs.master.caps, queues_without_workers=True)
    return replace(inputs, master=replace(inputs.master, caps=caps))


def _look_without(knobs: Knobs, look: ProviderLook, inputs: Inputs) -> ProviderLook:
    caps, listing = look.caps, look.listing
    rows = listing.instances
    if not knobs.absent_once_is_unknown:
        caps = replace(caps, absence_is_gone=True)
    if not knobs.sends_once:
        caps = replace(caps, idempotent_launch=True)
    if not knobs.homes:
        rows = tuple(replace(row, home=inputs.home, fleet=inputs.fleet) for row in rows)
    if not knobs.adopts:
        known = {worker.worker_id for worker in inputs.memory.workers}
        rows = tuple(row for row in rows if row.worker_id in known)
    complete = listing.complete or not knobs.partial_is_unknown
    return replace(look, caps=caps, listing=replace(listing, instances=rows, complete=complete))


def _acting_without(knobs: Knobs, acting: Acting, action: Action) -> Acting:
    workers = acting.evaluation.memory.workers
    if action.verb is Verb.REGISTER and not knobs.marked_stay_out:
        workers = tuple(replace(worker, mark=None) for worker in workers)
    if not knobs.back_in_service:
        workers = tuple(replace(each, mark=each.mark and replace(each.mark, forced=True)) for each in workers)
    if not knobs.persons_count:
        workers = tuple(replace(worker, member=None) for worker in workers)
    if not knobs.silence_seconds:
        workers = tuple(replace(worker, unanswered_seconds=9e9) for worker in workers)
    memory = replace(acting.evaluation.memory, workers=workers)
    return replace(acting, evaluation=replace(acting.evaluation, memory=memory))


@dataclass
class Schedule:
    """Who steps next."""

    world: World
    faults: Mapping[int, str] = field(default_factory=dict)
    """What goes wrong at which step, counted from the beginning."""
    steps: int = 0
    runs: "dict[int, asyncio.Task[object]]" = field(default_factory=dict)
    numbers: "itertools.count[int]" = field(default_factory=itertools.count)
    chains: "itertools.count[int]" = field(default_factory=itertools.count)

    # Turns.

    def fleet(self) -> Fleet:
        return Fleet(
            name=FLEET,
            interval_seconds=self.world.interval,
            master="model-master/a",
            providers=(ProviderEntry(block=PROVIDER, max_workers=MAX_WORKERS),),
            policy=VanillaPolicy(),
            limits=Limits(
                max_workers=MAX_WORKERS, min_idle_seconds=0, min_seconds_between_stops=0, min_seconds_after_failure=0
            ),
            readiness=Readiness(
                connect_timeout_seconds=CALL,
                retries=1,
                retry_wait_seconds=5,
                launch_timeout_seconds=self.world.setting.launch_timeout,
            ),
            drain=Drain(deadline_seconds=self.world.drain_deadline),
        )

    async def start(self, *, asked: bool = False, request: ScaleRequest | None = None) -> int:
        """Begin a turn: a scheduled one, or one that a person asks for, which is never too early."""
        run = next(self.numbers)
        if asked:
            # It ends all overrides, of which there are none: nothing but a reason to take a turn.
            request = ScaleRequest(f"run{run}", OverrideKind.END, "ada", "", 3600.0)
        pace = self.world.rng.choice([1.0, 1.0, 0.03])

        async def turn() -> None:
            PACE.set(pace)
            await take_turn(self.fleet(), self._surroundings(run), request=request)

        self.runs[run] = asyncio.get_running_loop().create_task(turn())
        await self._settled()
        return run

    def _surroundings(self, run: int) -> Surroundings:
        world = self.world

        @asynccontextmanager
        async def opened(
            fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
        ) -> AsyncIterator[OpenFleet]:
            kind = ModelJoinMaster if world.setting.self_joining else ModelPushMaster
            yield OpenFleet(fleet, home, kind(world, run), {PROVIDER: ModelProvider(world, run)}, {})

        async def sleep(seconds: float) -> None:
            await world.pause(run, f"run{run} sleeps", wakes_at=world.now + seconds)

        async def carry_out(acting: Acting, actions: Sequence[Action]) -> list[Outcome]:
            return list(await asyncio.gather(*(self._carried_out(run, acting, action) for action in actions)))

        return Surroundings(
            ledger=ModelLedger(world, run),
            open_fleet=opened,
            run=RunIdentity("scale_up", f"run{run}"),
            carry_out=carry_out,
            decide=partial(self._decided, run),
            log=SILENT,
            clock=lambda: world.now,
            sleep=sleep,
            random_word=self._word,
        )

    def _word(self, length: int) -> str:
        return f"{next(self.chains) if self.world.knobs.new_names else 0:0{length}d}"

    async def _carried_out(self, run: int, acting: Acting, action: Action) -> Outcome:
        world = self.world
        PACE.set(world.rng.choice([1.0, 1.0, 0.03]))
        await world.pause(run, f"run{run} begins {action.verb.value}")
        acting = replace(acting, looks_apart_seconds=world.knobs.looks_apart_seconds)
        acting = _acting_without(world.knobs, acting, action)
        if action.verb is Verb.TEAR_DOWN and not world.knobs.asks_first:
            action = replace(action, verb=Verb.TERMINATE)
        try:
            return await perform(acting, action)
        except FleetError as error:
            return outcome_of(action, error)

    # The design without one of its rules.

    def _decided(self, run: int, inputs: Inputs, fleet: Fleet) -> Evaluation:
        inputs = without(self.world.knobs, inputs)
        try:
            self.world.has_decided(run, inputs)
            decided = evaluate(master_without(self.world.knobs, inputs), fleet)
        except FleetError:
            raise
        except Exception as error:
            raise self.world.violate(f"a turn cannot decide: {error!r}") from error
        return replace(decided, plan=replace(decided.plan, actions=tuple(self._tampered(decided))))

    def _tampered(self, decided: Evaluation) -> list[Action]:
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

    # Steps.

    async def step(self, step: Step) -> None:
        fault = self.faults.get(self.steps, "")
        self.steps += 1
        if fault:
            self.world.say(f"{fault} at {step.label}")
        if fault == "record lost":
            self.world.lose_record()
        if fault == "killed before":
            return await self.kill(step.run)
        self.world.settle()
        step.gate.set_result("late" if fault == "late" and step.is_call else "answered")
        await self._settled()
        if fault == "killed after":
            await self.kill(step.run)
        return None

    async def _settled(self) -> None:
        """Let everybody come to where they wait for the scheduler."""
        await self.world.loop.quiet()
        if self.world.violations:
            # At once: the turn that saw it waits for its other actions first, and may be killed until then.
            raise self.world.violations[0]
        for run, task in list(self.runs.items()):
            if task.done():
                del self.runs[run]
                task.result()

    async def kill(self, run: int) -> None:
        task = self.runs.pop(run, None)
        if task is None:
            return
        self.world.killed.add(run)
        task.cancel()
        await asyncio.wait([task])
        if not self.world.violations:
            await self._settled()

    async def advance(self, seconds: float) -> None:
        world, target = self.world, self.world.now + seconds
        while (due := world.loop.next_timer()) is not None and due <= target:
            world.loop.now = due
            await self._settled()
        world.loop.now = max(world.now, target)
        world.orphans = [orphan for orphan in world.orphans if orphan[0] >= world.now]
        world.settle()

    async def until_somebody_wakes(self) -> None:
        """Let time pass until a sleeper wakes or a timeout is due."""
        world = self.world
        wakes = [step.wakes_at for step in world.steps]
        due = world.loop.next_timer()
        await self.advance(max(0.0, min([*wakes, *([] if due is None else [due])]) - world.now))

    def ready(self) -> list[Step]:
        return [step for step in self.world.steps if step.wakes_at <= self.world.now]

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
            move = rng.choices(
                ["step", "turn", "wait", "tick", "long", "route", "finish", "kill", "world"],
                [20, 2, 1, 2, 1, 2, 2, 0.6, 0.8],
            )[0]
            ready = self.ready()
            if move == "step" and ready:
                await self.step(rng.choices(ready, [step.pace for step in ready])[0])
            elif move == "turn" and len(self.runs) < 3:
                await self.start(asked=rng.random() < 0.5)
            elif move == "wait" and not ready and self.runs:
                await self.until_somebody_wakes()
            elif move == "tick":
                await self.advance(rng.choice([0.5, 1.0, 5.0]))
            elif move == "long":
                await self.advance(rng.choice([12.0, 25.0, 31.0]))
            elif move == "route":
                world.route()
            elif move == "finish":
                world.finish()
            elif move == "kill" and self.runs:
                run = rng.choice(list(self.runs))
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
            quietly(effect)
        elif what == "lose record" and world.claims:
            world.lose_record()
            world.forgot_at = world.now
            world.say(f"record {max(world.claims)} is lost")
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
        await self.start()
        while self.runs:
            ready = self.ready()
            if ready:
                await self.step(ready[0])
            else:
                await self.until_somebody_wakes()
        await self.advance(max(0.0, began + self.world.interval - self.world.now))

    async def recover(self, turns: int = 20) -> None:
        """Without faults the fleet comes to what is wanted, and then to nothing: no worker leaks."""
        world = self.world
        for run in list(self.runs):
            await self.kill(run)
        world.faulty = world.routes = False
        await self.advance(world.interval)
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
                    f"not settled after {turns} turns at a queue of {queue}: {world.memory().workers} "
                    f"boxes {world.ours()} entries {world.entries}"
                )

    def _serves(self) -> bool:
        known = {worker.worker_id for worker in self.world.memory().workers if worker.state is WorkerState.READY}
        serving = {name for name, entry in self.world.entries.items() if entry.enabled}
        real = {box.worker_id for box in self.world.ours() if box.state(self.world.now) is InstanceState.RUNNING}
        everybody = {worker.worker_id for worker in self.world.memory().workers}
        return known == serving == real == everybody == set(self.world.entries) and 2 <= len(real) <= MAX_WORKERS

    def _is_empty(self) -> bool:
        return not self.world.ours() and not self.world.entries and not self.world.memory().workers
