"""Pack waiting work into the room that there is and that new workers would bring. Pure.

First fit, the largest first: as few new workers as possible where amounts divide one another (1, 2, 4, 8 GPUs), so that
more work never needs fewer workers.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ebbflow.core.capabilities import amounts, fits
from ebbflow.core.member import Shape
from ebbflow.policies.formulas.needs import MOST


@dataclass(slots=True)
class Room:
    """What one worker can take, while it is being filled."""

    capabilities: tuple[str, ...] = ()
    is_new: bool = False
    is_used: bool = False
    left: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is taken yet."""
        self.left = amounts(self.capabilities)

    def fitting(self, shape: Shape, used_up: Sequence[str]) -> int:
        """How many more of a shape it takes; work that uses nothing up has a worker for itself."""
        if not fits(self.capabilities, shape.requires):
            return 0
        consumed = _consumed(shape, used_up)
        if not consumed:
            return int(not self.is_used)
        # Parts of a GPU add up: three of 0.1 must fit into 0.3.
        return min(math.floor(self.left.get(name, 0.0) / amount + 1e-9) for name, amount in consumed.items())

    def take(self, shape: Shape, count: int, used_up: Sequence[str]) -> None:
        """Fill it."""
        consumed = _consumed(shape, used_up)
        for name, amount in consumed.items():
            self.left[name] -= count * amount
        if not consumed:
            self.left = dict.fromkeys(self.left, 0.0)
        self.is_used = True


@dataclass(frozen=True, slots=True)
class Packed:
    """Where waiting work can go."""

    new: tuple[tuple[str, ...], ...]
    """What each new worker must offer."""
    unused: tuple[bool, ...]
    """Of each worker that has room: whether it was left wholly free."""
    unplaced: tuple[Shape, ...] = ()
    """Work that no new worker could do."""


def pack(
    shapes: Iterable[Shape],
    free: Sequence[tuple[str, ...]],
    *,
    offers: tuple[str, ...] = (),
    used_up: Sequence[str] = (),
) -> Packed:
    """Fill free workers first, then new ones.

    Source: the rule of the Ray-on-Slurm autoscaler of aicell, one job per pending task; it counted tasks that no worker
    could run, and a free GPU kept it from launching for a task that needs two.

    Args:
        shapes: waiting work. Those of a gang go to as many workers, since together may mean spread.
        free: what each worker offers that is free or starting, in the order in which they are to be filled.
        offers: what a new worker offers; empty: exactly what the task requires that it is launched for.
        used_up: capabilities of which running work takes its amount away; others are only compared.
    """
    rooms = [Room(words) for words in free]
    unplaced: list[Shape] = []
    for shape in sorted(shapes, key=lambda shape: _order(shape, used_up)):
        left = shape.count
        gangs = math.ceil(shape.count / shape.gang) if shape.gang > 1 else shape.count
        for room in rooms:
            share = min(left, gangs, room.fitting(shape, used_up))
            if share > 0:
                room.take(shape, share, used_up)
                left -= share
        fresh = Room(offers or shape.requires)
        if left and not fresh.fitting(shape, used_up):
            unplaced.append(Shape(shape.requires, left, shape.gang, shape.kind))
            continue
        while left and len(rooms) - len(free) < MOST:
            room = Room(offers or shape.requires, is_new=True)
            share = min(left, gangs, room.fitting(shape, used_up))
            room.take(shape, share, used_up)
            left -= share
            rooms.append(room)
    return Packed(
        tuple(room.capabilities for room in rooms if room.is_new),
        tuple(not room.is_used for room in rooms[: len(free)]),
        tuple(unplaced),
    )


def _consumed(shape: Shape, used_up: Sequence[str]) -> dict[str, float]:
    return {name: amount for name, amount in amounts(shape.requires).items() if name in used_up}


def _order(shape: Shape, used_up: Sequence[str]) -> tuple[object, ...]:
    """What uses up most goes first, and what any worker can do last: it has the most places to go."""
    return (-sum(_consumed(shape, used_up).values()), -len(shape.requires), shape.requires)
