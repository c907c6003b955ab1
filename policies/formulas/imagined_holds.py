"""Whether to hold workers longer than usual, judged by fleets that are only imagined. Pure.

How long to hold depends on when demand comes back, and every fleet has its own bursts. So the same requests are served
by a few fleets that differ in nothing but how long they hold: not request by request, but as an even flow, in a few
steps a boot. What each would have cost, paid and waited, is compared in blocks of time. Another hold is taken where it
was cheaper by more than blocks differ by chance, so that one crowd changes nothing.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import itemgetter

from ebbflow.core.plan import PolicyMemory
from ebbflow.policies.formulas.boot_times import Boots
from ebbflow.policies.formulas.marginal_staffing import FORESEEN, MOST_SWING, Tuning, margin
from ebbflow.policies.formulas.peaks import highest_since, noted

TIMES = (1.0, 3.0, 9.0)
"""How many times as long as usual each imagined fleet holds."""
STEPS_A_BOOT = 2
BLOCK_SECONDS = 1200.0
REMEMBERED_SECONDS = 86_400.0
SURE = 1.75
"""So many standard deviations cheaper is no chance: about three blocks that say the same."""
STILL_SURE = 0.875
"""The same for the one that is taken."""
KEPT_NEEDED = 6
SOMEBODY = 0.5
"""A flow of less than so much of a request that waits is nobody."""
YOUNG, OLD = 0.25, 0.75
"""How far workers on their way are, of a boot."""

Imaginary = tuple[float, ...]
"""One imagined fleet: workers that are ready, in the first half of their boot and in the second; requests; mean square
of how far these were off the load; what it cost in this block; what it cost more than the first fleet, summed and the
squares of that summed; then what it was staffed to of late, as `peaks.Peaks`."""
NOBODY: Imaginary = (0.0,) * 8
NUMBERS = len(NOBODY)


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What imagined fleets share with the real one."""

    clock: float
    load: float
    rate: float
    """Arrivals per second that there are at least."""
    service_seconds: float
    boots: Boots
    held_seconds: float
    """For which the first of them holds."""
    worth: float
    tuned: Tuning


@dataclass(frozen=True, slots=True)
class _Step:
    """What is the same for all of them in one step."""

    at: Circumstances
    came: float
    seconds: float
    services: float
    """The time in mean services."""
    stays: float
    """Share of the work in service that is still there at its end, if nobody waits."""
    moved: float
    """Share of one half of a boot that is over."""
    swings: float
    """How much of a swing is averaged in."""
    rests: float
    """Share of those that need not stay who go."""
    haste: float
    """Workers for each request that will still wait after a boot."""


@dataclass(slots=True)
class Imagined:
    """What is remembered of them."""

    came: float = 0.0
    """Requests since the last step."""
    seconds: float = 0.0
    block_seconds: float = 0.0
    chosen: int = 0
    """Whose hold is taken."""
    fleets: tuple[Imaginary, ...] = (NOBODY,) * len(TIMES)

    @classmethod
    def read(cls, remembered: PolicyMemory) -> "Imagined":
        """Take it up from memory; what is not there, or of another form, begins anew."""
        try:
            numbers, *fleets = _series(remembered)
        except KeyError:
            return cls()
        if len(numbers) != 4 or not 0 <= numbers[3] < len(TIMES):
            return cls()
        return cls(numbers[0], numbers[1], numbers[2], int(numbers[3]), tuple(fleets))

    def series(self) -> Mapping[str, tuple[float, ...]]:
        """For memory; nothing where nobody imagines."""
        if not self.seconds and self.fleets[0] is NOBODY:
            return {}
        numbers = (self.came, self.seconds, self.block_seconds, float(self.chosen))
        return dict(zip(("imagined", *NAMES), (numbers, *self.fleets), strict=True))

    def is_due(self, came: float, elapsed_seconds: float, boot_seconds: float) -> bool:
        """Note what came; whether it is time for a step."""
        self.came += came
        self.seconds += elapsed_seconds
        return self.seconds >= boot_seconds / STEPS_A_BOOT

    def step(self, at: Circumstances) -> None:
        """Let the imagined fleets serve what came since the last step, and judge them where a block ends."""
        if any(len(fleet) < NUMBERS or len(fleet) % 2 for fleet in self.fleets):
            # Memory of another form.
            self.fleets, self.chosen, self.block_seconds = (NOBODY,) * len(TIMES), 0, 0.0
        step = _step(at, max(0.0, self.came), self.seconds)
        self.came = self.seconds = 0.0
        self.block_seconds += step.seconds
        longest = at.tuned.longest_hold
        self.fleets = tuple(
            _stepped(fleet, step, at.held_seconds * min(times, longest))
            for fleet, times in zip(self.fleets, TIMES, strict=True)
        )
        if self.block_seconds >= BLOCK_SECONDS:
            self._judge()

    def _judge(self) -> None:
        keeps = math.exp(-self.block_seconds / REMEMBERED_SECONDS)
        usual = self.fleets[0][5]
        self.block_seconds = 0.0
        judged, least, chosen = [], 0.0, 0
        for place, fleet in enumerate(self.fleets):
            more = fleet[5] - usual
            summed, squares = fleet[6] * keeps + more, fleet[7] * keeps + more * more
            doubted = summed + (STILL_SURE if place == self.chosen else SURE) * math.sqrt(squares)
            if doubted < least:
                least, chosen = doubted, place
            judged.append((*fleet[:5], 0.0, round(summed), round(squares), *fleet[NUMBERS:]))
        self.fleets, self.chosen = tuple(judged), chosen


NAMES = tuple(f"imagined_{times:.0f}" for times in TIMES)
"""Series of a memory, one for each imagined fleet."""
_series: Callable[[PolicyMemory], tuple[tuple[float, ...], ...]] = itemgetter("imagined", *NAMES)


def _step(at: Circumstances, came: float, seconds: float) -> _Step:
    services, tuned, boots = seconds / at.service_seconds, at.tuned, at.boots
    return _Step(
        at,
        came,
        seconds,
        services=services,
        stays=math.exp(-services),
        moved=-math.expm1(-2 * seconds / boots.lead_seconds),
        swings=-math.expm1(-seconds / tuned.swing_seconds),
        rests=-math.expm1(-seconds / max(1.0, tuned.rested_seconds)),
        haste=tuned.haste * math.sqrt(at.worth * at.service_seconds / (2 * boots.paid_seconds)),
    )


def _stepped(fleet: Imaginary, step: _Step, held_seconds: float) -> Imaginary:
    """One imagined fleet after a step: served, booted, launched and retired by the rule of the real one."""
    ready, young, old, present, swing, cost, summed, squares = fleet[:NUMBERS]
    at, moved = step.at, step.moved
    tuned, boots, load = at.tuned, at.boots, at.load
    waited = present - ready if present > ready else 0.0
    # Requests come and are served as an even flow, by everybody who is ready or as if nobody had to wait.
    free = present * step.stays + step.came * (1 - step.stays) / step.services
    present = max(free, present + step.came - ready * step.services)
    # Two halves, each left at a constant rate, so that boots are spread.
    ready, old, young = ready + old * moved, old * (1 - moved) + young * moved, young * (1 - moved)
    waits, supply = present - ready if present > ready else 0.0, ready + young + old
    cost += (supply + at.worth * (waits + waited) / 2) * step.seconds
    off = present - load
    swing += step.swings * (min(off * off, MOST_SWING * MOST_SWING * (load + 0.25)) - swing)
    staffed = max(0, math.ceil(load + margin(load, swing, tuned, at.service_seconds) - tuned.rounding))
    needed = noted(fleet[NUMBERS:], round(at.clock, 1), staffed, at.clock - held_seconds, KEPT_NEEDED)
    wanted = float(staffed)
    if waits > SOMEBODY:
        coming = (ready + YOUNG * young + OLD * old) * boots.lead_seconds / at.service_seconds
        left = max(0.0, waits + FORESEEN * (at.rate * boots.lead_seconds - coming))
        # However little that is worth: somebody comes.
        wanted = max(1.0, staffed, min(staffed + step.haste * left, 1 + tuned.spare * max(0.0, present - 1)))
    if wanted > supply:
        young += wanted - supply
        cost += (wanted - supply) * (boots.paid_seconds - boots.lead_seconds)
    elif waits <= SOMEBODY:
        spare = supply - max(highest_since(needed, at.clock - held_seconds), wanted, present)
        if spare > 0 and ready > present:
            ready -= min(spare, ready - present) * step.rests
    numbers = (round(ready, 3), round(young, 3), round(old, 3), round(present, 3), round(swing, 3), round(cost, 1))
    return (*numbers, summed, squares, *needed)
