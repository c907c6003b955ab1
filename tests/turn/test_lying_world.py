"""A fleet among liars: what providers, masters, clocks and ledgers say that is not so must cost nobody their work.

The turn is the real one. Each case is a fleet's life of some fifteen turns, drawn from a seed: turns are killed at any
outside call, late, doubled and asked for by persons, while one or several kinds of lies are told. A judge who knows
how everything really is holds the rules of docs/architecture.md: never one that works is stopped, except silent
through its whole drain deadline or by force; nobody who is silent earlier than the rules allow; never more than
`max_workers`; never a stranger touched; nobody left without a sign of life; and two good turns after the last lie
everything is right again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.endurance import Endurance
from tests.turn.lies import Lie, told_in
from tests.turn.lying_world import ROUNDS, Times, live
from tests.turn.model_world import BY_NAME, SETTINGS, Knobs, Setting, Violation
from tests.turn.scenes import (
    Scene,
    late_registration,
    launched_late_in_its_turn,
    record_lost_before_listing,
    surplus_while_pending,
)
from tests.turn.search import Schedule
from tests.turn.virtual_time import run

Tells = Callable[[str, Mapping[str, int]], None]

CASES, SOAK_CASES = 2, 40
"""Per family of lies and kind of provider: about four hundred in all, and six thousand."""

STOPPED = "was ended while it worked"
FORGOTTEN = "works, and was deregistered"
TOO_MANY = "workers exist, 3 may"
NOT_RIGHT = "not right after"
FAILS = "a turn fails"
ALONE = "got no sign of life"
TOO_EARLY = "was ended too early"

FAMILIES: dict[str, tuple[Lie, ...]] = {
    "nothing but faults": (),
    **{lie.value: (lie,) for lie in Lie},
    "two instances, unknown state": (Lie.DOUBLE, Lie.UNKNOWN),
    "two instances, other address": (Lie.DOUBLE, Lie.ADDRESS),
    "two instances, chain lost": (Lie.DOUBLE, Lie.LOST_CHAIN),
    "chain lost, rows missing": (Lie.LOST_CHAIN, Lie.VANISHED),
    "chain lost, empty list": (Lie.LOST_CHAIN, Lie.EMPTY),
    "silence, master restarted": (Lie.SILENCE, Lie.FORGETFUL),
}


@dataclass(frozen=True)
class Lived:
    """What came of many lives."""

    cases: int
    told: Counter[str]
    """How many launches, drains, stops, refusals and lies of each kind there were."""
    faults: tuple[str, ...]

    @property
    def counts(self) -> Mapping[str, int]:
        """For the end of the session."""
        return {"lives": self.cases, **dict(sorted(self.told.items()))}


def lived(setting: Setting, lies: tuple[Lie, ...], seeds: Iterable[int]) -> Lived:
    """Live through as many lives as there are seeds."""
    told, faults, cases = Counter[str](), [], 0
    for seed in seeds:
        cases += 1
        try:
            # Half of them are short: more of them see more than longer ones do.
            rounds = 1 + seed % ROUNDS
            run(partial(live, setting=setting, lies=lies, seed=seed, knobs=Knobs(), tally=told, rounds=rounds))
        except Violation as violation:
            faults.append(f"seed {seed}: {violation}")
    return Lived(cases, told, tuple(faults))


def judge(family: str, came: Lived) -> None:
    """Fail with what was seen."""
    if came.faults:
        pytest.fail(f"{family}: {len(came.faults)} of {came.cases} lives; {came.faults[0]}", pytrace=False)


def check_none_is_rare(came: Lived, lies: tuple[Lie, ...], setting: Setting) -> None:
    """A search in which nothing happens finds nothing."""
    there = told_in(lies, self_joining=setting.self_joining)
    # A fleet whose demand is unknown, or whose home is another one, moves nobody; it does so after the last lie.
    moves = 0.05 if Lie.LOST_HOME in lies else 0.2 if Lie.DEMAND_NUMBERS in lies else 0.4
    happens = {"launches": 2, "drains": 2 * moves, "stops": moves, **{lie.value: 1 for lie in there}}
    rare = [what for what, least in happens.items() if came.told[what] < least * came.cases / max(1, 2 * len(lies) - 2)]
    assert not rare, f"too rare: {rare} in {came.counts}"


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_no_lie_stops_who_works_or_keeps_a_fleet_wrong(setting: Setting, family: str, tells: Tells) -> None:
    came = lived(setting, FAMILIES[family], range(CASES))
    tells(setting.name, came.counts)
    judge(family, came)


@pytest.mark.soak
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_no_lie_of_thousands_stops_who_works_or_keeps_a_fleet_wrong(
    setting: Setting, family: str, tells: Tells
) -> None:
    came = lived(setting, FAMILIES[family], range(1000, 1000 + SOAK_CASES))
    tells(setting.name, came.counts)
    judge(family, came)
    check_none_is_rare(came, FAMILIES[family], setting)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_all_lies_together_stop_nobody_who_works(setting: Setting, tells: Tells) -> None:
    came = lived(setting, tuple(Lie), range(30))
    tells(setting.name, came.counts)
    judge("all together", came)
    check_none_is_rare(came, tuple(Lie), setting)


USUAL = Times()
QUICK = Times(30.0, 45.0, 100.0)
SLURM, VAST = Times(30.0, 45.0, 600.0), Times(30.0, 45.0, 200.0)


@dataclass(frozen=True)
class Lesson:
    """A rule of DESIGN section 4, and the lives that show what happens without it."""

    rule: str
    setting: str
    without: Knobs
    finds: str
    lies: tuple[Lie, ...] = ()
    scene: Scene = Schedule.warm_up
    times: Times = USUAL

    @property
    def life(self) -> dict[str, Any]:
        """What `live` is given besides. Any: each is typed there."""
        return {"lies": self.lies, "knobs": self.without, "scene": self.scene, "times": self.times}


UNHEARD = (Lie.LOST_CHAIN, Lie.MISSING_MEMBERS)

LESSONS = (
    Lesson("claim", "vast", Knobs(claims=False), "was launched twice for one wish"),
    Lesson("outcome", "vast", Knobs(notes=False), NOT_RIGHT),
    Lesson("budget of a mark", "local", Knobs(budgets=False), STOPPED, scene=late_registration, times=QUICK),
    Lesson("budget of a launch", "vast", Knobs(budgets=False), TOO_MANY, scene=launched_late_in_its_turn, times=VAST),
    Lesson("ids", "vast", Knobs(new_names=False), "was launched twice for one wish", lies=(Lie.LOST_CHAIN,)),
    Lesson("a wish counts", "vast", Knobs(wishes_count=False), TOO_MANY),
    Lesson("a wish is sent once", "vast", Knobs(sends_once=False), "launched twice for one wish", lies=(Lie.VANISHED,)),
    Lesson("ours", "local", Knobs(homes=False), "of another home was touched", lies=(Lie.STRANGERS,)),
    Lesson("adopted", "local", Knobs(adopts=False), NOT_RIGHT, lies=(Lie.LOST_CHAIN,)),
    Lesson("absent once is unknown", "local", Knobs(absent_once_is_unknown=False), TOO_MANY, lies=(Lie.VANISHED,)),
    Lesson("half a fleet at once is unknown", "local", Knobs(half_lost_is_unknown=False), TOO_MANY, lies=(Lie.EMPTY,)),
    Lesson("partial is unknown", "local", Knobs(partial_is_unknown=False), TOO_MANY, lies=UNHEARD),
    Lesson("durations", "vast", Knobs(ages_are_capped=False), TOO_EARLY, lies=(Lie.CLOCK_FORWARD, Lie.SILENCE)),
    Lesson("settle time", "slurm", Knobs(settles=False), TOO_MANY, scene=record_lost_before_listing, times=SLURM),
    Lesson("marked stay out", "local", Knobs(marked_stay_out=False), "although it is marked", lies=(Lie.FORGETFUL,)),
    Lesson("later claim", "local", Knobs(later_claim=False), STOPPED, scene=late_registration, times=QUICK),
    Lesson("two looks", "slurm", Knobs(looks_apart_seconds=0.0), STOPPED),
    Lesson("only the master and the worker say it", "slurm", Knobs(asks_first=False), STOPPED),
    Lesson("back into service", "kubernetes", Knobs(back_in_service=False), STOPPED, lies=(Lie.FORGETFUL,)),
    Lesson("silence", "local", Knobs(silence_seconds=False), "idle, then silent", lies=(Lie.SILENCE,)),
    Lesson("pending", "slurm", Knobs(guards_pending=False), STOPPED, scene=surplus_while_pending, times=SLURM),
    Lesson("the last one", "kubernetes", Knobs(last_one_stays=False), "the last that serves is", lies=(Lie.ENDS_SOON,)),
    Lesson("switch of a person", "local", Knobs(persons_count=False), "goes for an old reason", lies=(Lie.SWITCHED,)),
    Lesson("keep alive", "local", Knobs(keeps_alive=False), ALONE),
)
MOST_LIVES = 400


@pytest.mark.parametrize("lesson", LESSONS, ids=lambda lesson: lesson.rule)
def test_without_this_rule_liars_do_harm(lesson: Lesson) -> None:
    seen = Counter[str]()
    for seed in range(MOST_LIVES):
        try:
            run(partial(live, setting=BY_NAME[lesson.setting], seed=seed, **lesson.life))
        except Violation as violation:
            first = str(violation).split("\n")[0]
            if lesson.finds in first:
                return
            seen[first] += 1
    pytest.fail(f"{MOST_LIVES} lives without the rule showed nothing of the kind; they showed {seen}")


@pytest.mark.endurance
def test_no_lie_stops_who_works_for_hours(endurance: Endurance) -> None:
    for rng in endurance.rounds():
        setting, family = rng.choice(SETTINGS), rng.choice(list(FAMILIES))
        came = lived(setting, FAMILIES[family], [rng.randrange(2**32)])
        judge(family, came)


@pytest.mark.endurance
def test_any_lies_together_stop_nobody_who_works_for_hours(endurance: Endurance) -> None:
    for rng in endurance.rounds():
        lies = tuple(rng.sample(list(Lie), rng.randint(2, len(Lie))))
        came = lived(rng.choice(SETTINGS), lies, [rng.randrange(2**32)])
        judge(" and ".join(lie.value for lie in lies), came)
