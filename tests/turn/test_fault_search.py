"""A small world in which turns are killed, late, doubled and lied to: DESIGN section 4, searched for counterexamples.

The turn is the real one, from its ledger to its last call. The world around it is a model: every outside call is one
step, and a random but reproducible scheduler chooses which step comes next.
"""

import itertools
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import pytest

from tests.turn.model_world import BUDGET, BY_NAME, CALL, INTERVAL, SETTINGS, Knobs, Setting, Violation, World
from tests.turn.search import Schedule
from tests.turn.virtual_time import VirtualLoop, run

Scene = Callable[[Schedule], Awaitable[None]]


async def until_claimed(schedule: Schedule, *, asked: bool = True) -> int:
    """Start a turn and let it come to the point where its actions may begin; none of them has."""
    world = schedule.world
    run = await schedule.start(asked=asked)
    while run in schedule.runs and not any(f"run{run} claimed" in line for line in world.log):
        await schedule.step(next(step for step in world.steps if step.run == run))
    return run


async def until_about_to_end(schedule: Schedule, *, held: int) -> None:
    """Let everybody but one run go on, until somebody is about to end a worker or nobody has anything left to do."""
    world = schedule.world
    while others := [step for step in world.steps if step.run != held]:
        if any("terminate" in step.label and step.is_call for step in others):
            return
        ready = [step for step in schedule.ready() if step.run != held]
        if ready:
            await schedule.step(ready[0])
        else:
            await schedule.advance(min(step.wakes_at for step in others) - world.now)


async def until_nobody_acts(schedule: Schedule) -> None:
    """Let everybody that has claimed do what they decided."""
    while schedule.runs:
        ready = schedule.ready()
        if ready:
            await schedule.step(ready[0])
        else:
            await schedule.until_somebody_wakes()


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
    await until_nobody_acts(schedule)
    for box in world.ours():
        box.starts_at = box.boots_at = world.now + 75.0
    await schedule.advance(INTERVAL)
    world.queue = 0
    await schedule.one_turn()
    await until_claimed(schedule)
    for box in world.ours():
        box.starts_at = box.boots_at = world.now + world.rng.uniform(3, 9)


async def record_lost_before_listing(schedule: Schedule) -> None:
    """The record of a turn that launched is lost before a listing shows what it launched, which still boots."""
    world = schedule.world
    world.queue, world.boots = 40, 60.0
    await schedule.one_turn()
    world.boots = None
    for box in world.ours():
        box.shown_at = world.now + 10.0
    world.lose_record()


async def record_lost_before_launch(schedule: Schedule) -> None:
    """The record of a turn is lost while that turn is about to launch."""
    schedule.world.queue = 40
    await until_claimed(schedule)
    schedule.world.lose_record()


async def launched_late_in_its_turn(schedule: Schedule) -> None:
    """A turn launches at the end of its budget, and the listing takes its time."""
    world = schedule.world
    world.queue = 0
    for _ in range(3):
        await schedule.one_turn()
    world.queue = 40
    await until_claimed(schedule)
    await schedule.advance(BUDGET - CALL)
    await until_nobody_acts(schedule)
    for box in world.ours():
        box.shown_at = world.now + world.setting.listing_lag - 1
    await schedule.advance(20.0)
    await until_claimed(schedule)
    await until_claimed(schedule)


def explore(setting: Setting, knobs: Knobs, seed: int, *, scene: Scene | None = None, moves: int = 160) -> World:
    """One walk through the model, and what it led to."""

    async def whole(loop: VirtualLoop) -> World:
        world = World(setting, knobs, random.Random(seed), loop)
        schedule = Schedule(world)
        try:
            world.faulty = scene is None
            await (schedule.warm_up() if scene is None else scene(schedule))
            await schedule.walk(moves)
            await schedule.recover()
        finally:
            for run in list(schedule.runs):
                await schedule.kill(run)
        return world

    return run(whole)


def found(
    setting: Setting, knobs: Knobs, seeds: int, scene: Scene | None = None, *, moves: int = 160, kind: str = ""
) -> str:
    """The first counterexample of a search, or nothing; of a kind, if it is looked for."""
    other = ""
    for seed in range(seeds):
        try:
            explore(setting, knobs, seed, scene=scene, moves=moves)
        except Violation as violation:
            other = f"seed {seed}: {violation}"
            if kind in other.split("\n")[0]:
                return other
    return other


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

    async def whole(loop: VirtualLoop) -> int:
        world = World(setting, Knobs(), random.Random(7), loop)
        schedule = Schedule(world, faults=faults)
        try:
            await history(schedule)
            taken, schedule.faults = schedule.steps, {}
            await schedule.recover()
        except Violation as violation:
            raise Violation(f"with {dict(faults)}: {violation}") from violation
        finally:
            for run in list(schedule.runs):
                await schedule.kill(run)
        return taken

    return run(whole)


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
    violation = found(
        BY_NAME[lesson.setting], lesson.without, lesson.seeds, lesson.scene, moves=lesson.moves, kind=lesson.finds
    )
    assert lesson.finds in violation.split("\n")[0], violation or f"{lesson.seeds} walks found nothing"


@pytest.mark.soak
@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.rule)
def test_with_this_rule_the_same_search_finds_nothing(lesson: Lesson) -> None:
    assert found(BY_NAME[lesson.setting], Knobs(), lesson.seeds, lesson.scene, moves=lesson.moves) == ""
