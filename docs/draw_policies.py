"""Draws the plots of `docs/policies.md` from the policies themselves: `python docs/draw_policies.py` renews them.

Each shows how many workers a fleet comes to rest at, as demand rises from nothing and as it falls again: a worker has
one task at a time, busy ones never go, and each amount of work stays until nothing moves any more.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import cast

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Shape
from ebbflow.core.observation import Observation
from ebbflow.core.plan import PolicyMemory
from ebbflow.core.ports import Policy
from ebbflow.core.worker import Worker
from ebbflow.decision.schedule import Schedule, floors
from ebbflow.fleet.nameable import ours

PAGE = Path(__file__).with_name("policies.md")
IMAGES = PAGE.parent / "images"

TASKS = 60
TURNS = 12
"""After so many minutes without a move a fleet rests, whatever its policy remembers."""

KIND_OF_WORK = ("gpu",)
OFFICE_HOURS = Schedule(cron="0 8 * * 1-5", duration_seconds=36_000, min_workers=4)
WEDNESDAY = datetime(2026, 11, 25, tzinfo=UTC).timestamp()

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 420, 190, 44, 12, 14, 38


def images() -> dict[str, Callable[[], str]]:
    """File name to what draws the picture, of every policy that the page has a section for."""
    found = ours()
    kinds = re.findall(r"^## `(\w+)`$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    drawn = {f"policy-{kind}.svg": partial(draw, cast(Policy, found[kind]())) for kind in kinds if kind in found}
    return {**drawn, "policy-schedule.svg": partial(draw_schedule, OFFICE_HOURS)}


def draw(policy: Policy) -> str:
    """Workers against demand."""
    up, down = curves(policy)
    return _picture(
        "queued and running tasks",
        [("rising", "", up), ("falling", ' stroke-dasharray="5 4"', down)],
        [(float(tasks), str(tasks)) for tasks in range(0, TASKS + 1, 10)],
    )


def draw_schedule(schedule: Schedule) -> str:
    """The floor against the hour of a working day."""
    hours = [float(hour) for hour in range(25)]
    held = [sum(floor.count for floor in floors([schedule], WEDNESDAY + 3600 * hour)) for hour in hours]
    marks = [(float(hour), f"{hour}:00") for hour in range(0, 25, 6)]
    return _picture("hour of a Wednesday", [("floor", "", held)], marks)


def curves(policy: Policy) -> tuple[list[int], list[int]]:
    """Workers at rest for each number of tasks: as it rises, and as it falls again."""
    rest = _resting(policy)
    up = [rest(tasks) for tasks in range(TASKS + 1)]
    down = [rest(tasks) for tasks in range(TASKS, -1, -1)]
    return up, down[::-1]


def _resting(policy: Policy) -> Callable[[int], int]:
    """What carries a fleet from one number of tasks to the next."""
    workers = 0
    remembered: PolicyMemory = {}

    def rest(tasks: int) -> int:
        nonlocal workers, remembered
        still = 0
        while still < TURNS:
            running = min(tasks, workers)
            decision = policy.decide(
                Observation(
                    Demand(
                        queued=tasks - running,
                        running=running,
                        shapes=(Shape(KIND_OF_WORK, tasks - running),),
                        running_shapes=(Shape(KIND_OF_WORK, running),),
                    ),
                    tuple(_worker(place, place < running) for place in range(workers)),
                    elapsed_seconds=60.0,
                    remembered=remembered,
                )
            )
            before, workers = workers, workers if decision.total is None else max(running, decision.total)
            still = still + 1 if workers == before else 0
            remembered = decision.remembers
        return workers

    return rest


def _worker(place: int, busy: bool) -> Worker:
    idle = None if busy else 9000.0
    return Worker(f"w-{place}", "local/a", WorkerState.READY, KIND_OF_WORK, busy=busy, idle_seconds=idle)


def _picture(unit: str, lines: Sequence[tuple[str, str, Sequence[int]]], marks: Sequence[tuple[float, str]]) -> str:
    most = max(1, *(count for _, _, counts in lines for count in counts))
    last = marks[-1][0]
    width, height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def at(x: float, y: float) -> str:
        return f"{LEFT + width * x / last:.1f} {TOP + height * (1 - y / most):.1f}"

    def parts() -> Iterator[str]:
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
            f'height="{HEIGHT}" font-family="sans-serif" font-size="11">'
        )
        yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
        yield f'<path d="M{at(0, most)} L{at(0, 0)} L{at(last, 0)}" fill="none" stroke="#888"/>'
        for count in sorted({0, round(most / 2), most}):
            x, y = at(0, count).split()
            yield f'<text x="{float(x) - 6:.1f}" y="{float(y) + 4:.1f}" text-anchor="end">{count}</text>'
        for place, label in marks:
            x, y = at(place, 0).split()
            yield f'<text x="{x}" y="{float(y) + 15:.1f}" text-anchor="middle">{label}</text>'
        yield f'<text x="{LEFT + width / 2:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{unit}</text>'
        yield f'<text x="{-(TOP + height / 2):.1f}" y="12" transform="rotate(-90)" text-anchor="middle">workers</text>'
        for number, (name, dashes, counts) in enumerate(lines):
            steps = " ".join(f"L{at(place, count)}" for place, count in _steps(counts))
            colour = ("#1f6f8b", "#c2571a")[number]
            yield f'<path d="M{at(0, counts[0])} {steps}" fill="none" stroke="{colour}" stroke-width="1.8"{dashes}/>'
            yield f'<text x="{WIDTH - RIGHT - 44}" y="{TOP + height - 24 + 14 * number}" fill="{colour}">{name}</text>'
        yield "</svg>\n"

    return "\n".join(parts())


def _steps(counts: Sequence[int]) -> Iterator[tuple[int, int]]:
    """The corners of a line of steps."""
    before = counts[0]
    for place, count in enumerate(counts):
        if count != before:
            yield place, before
            yield place, count
        before = count
    yield len(counts) - 1, before


if __name__ == "__main__":
    for name, picture in images().items():
        (IMAGES / name).write_text(picture(), encoding="utf-8")
