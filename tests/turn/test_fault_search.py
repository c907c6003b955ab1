"""A small world in which turns are killed, late, doubled and lied to: DESIGN section 4, searched for counterexamples.

The turn is the real one, from its ledger to its last call. The world around it is a model: every outside call is one
step, and a random but reproducible scheduler chooses which step comes next.
"""

import itertools
import random
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.endurance import Endurance
from tests.turn.model_world import BY_NAME, SETTINGS, Knobs, Setting, Violation, World
from tests.turn.scenes import (
    Scene,
    late_registration,
    launched_late_in_its_turn,
    record_lost_before_launch,
    record_lost_before_listing,
    surplus_while_pending,
    work_on_its_way,
)
from tests.turn.search import Schedule
from tests.turn.virtual_time import VirtualLoop, run


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
    assert found(setting, Knobs(), 40) == ""


@pytest.mark.soak
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_no_long_random_walk_finds_a_counterexample(setting: Setting) -> None:
    assert found(setting, Knobs(), 300, moves=400) == ""


FAULTS = ("killed before", "killed after", "late", "record lost")
ONE_OUTSIDE_SOAK = [
    pytest.param(
        setting,
        fault,
        id=f"{setting.name}-{fault}",
        marks=() if (setting.name, fault) == ("local", "killed after") else pytest.mark.soak,
    )
    for setting in SETTINGS
    for fault in FAULTS
]


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


@pytest.mark.parametrize(("setting", "fault"), ONE_OUTSIDE_SOAK)
def test_a_fault_at_any_single_step_of_a_history_is_survived(setting: Setting, fault: str) -> None:
    steps = steps_of(setting, {})
    assert steps > 40, "the history is too short to show anything"
    for step in range(steps):
        steps_of(setting, {step: fault})


PAIRS_APART = 12
"""`make soak` tries one pair in so many, spread over the history; `make endurance` any of them."""


@pytest.mark.soak
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_faults_at_any_two_steps_of_a_history_are_survived(setting: Setting) -> None:
    steps = steps_of(setting, {})
    pairs = itertools.combinations(range(steps), 2)
    for first, second in itertools.islice(pairs, 0, None, PAIRS_APART):
        for other in ("killed before", "late"):
            steps_of(setting, {first: "killed after", second: other})


@pytest.mark.endurance
def test_faults_at_any_two_steps_are_survived_for_hours(endurance: Endurance) -> None:
    steps = {setting.name: steps_of(setting, {}) for setting in SETTINGS}
    for rng in endurance.rounds():
        setting = rng.choice(SETTINGS)
        first, second = sorted(rng.sample(range(steps[setting.name]), 2))
        steps_of(setting, {first: rng.choice(FAULTS), second: rng.choice(FAULTS)})


@pytest.mark.endurance
def test_no_random_walk_finds_a_counterexample_for_hours(endurance: Endurance) -> None:
    for rng in endurance.rounds():
        setting, seed = rng.choice(SETTINGS), rng.randrange(2**32)
        try:
            explore(setting, Knobs(), seed, moves=400)
        except Violation as violation:
            pytest.fail(f"{setting.name}, seed {seed}: {violation}", pytrace=False)


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


@pytest.mark.soak
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
