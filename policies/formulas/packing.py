"""Pack waiting work into the room that there is and that new workers would bring. Pure.

First fit, the largest first: as few new workers as possible where amounts divide one another (1, 2, 4, 8 GPUs), so that
more work never needs fewer workers. Gangs go first, as they are harder to place, each wholly or not at all.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

from ebbflow.core.capabilities import amounts, fits
from ebbflow.core.member import Shape
from ebbflow.core.observation import CanLaunch, Offer
from ebbflow.core.plan import Reason
from ebbflow.policies.formulas.needs import MOST, tasks

DEVICES = frozenset({"gpu", "TPU", "NPU", "HPU", "RBLN", "neuron_cores"})
"""What is counted device by device. Source: Ray, GPUs and its unit-instance resources."""
TOLERANCE = 1e-9


@dataclass(slots=True)
class Room:
    """What one worker can take, while it is being filled."""

    capabilities: tuple[str, ...] = ()
    is_used: bool = False
    """Something is on it: what uses nothing up, and so has a worker for itself, goes elsewhere."""
    offer: Offer | None = None
    """Of a new one: what it was made from."""
    left: dict[str, float] = field(init=False)

    def __post_init__(self) -> None:
        """Nothing is taken yet."""
        self.left = amounts(self.capabilities)

    def fitting(self, shape: Shape, used_up: Sequence[str]) -> int:
        """How many more of a shape it takes; work that uses nothing up has a worker for itself."""
        return self.most(_consumed(shape, used_up)) if fits(self.capabilities, shape.requires) else 0

    def most(self, consumed: Mapping[str, float]) -> int:
        """How many more it takes of work that it is able to do.

        Args:
            consumed: what one of it uses up.
        """
        if not consumed:
            return int(not self.is_used)
        found = MOST
        for name, amount in consumed.items():
            left = self.left.get(name, 0.0)
            found = min(found, _most(name, amount, left) if left > 0.0 else 0)
        return found

    def take(self, consumed: Mapping[str, float], count: int) -> None:
        """Fill it with so many, of which one uses that up."""
        for name, amount in consumed.items():
            self.left[name] -= _taken(name, amount, self.left[name], count)
        if not consumed:
            self.left = dict.fromkeys(self.left, 0.0)
        self.is_used = True


@dataclass(frozen=True, slots=True)
class Packed:
    """Where waiting work can go."""

    new: tuple[tuple[str, ...], ...]
    """What each new worker must offer."""
    unused: tuple[bool, ...]
    """Of each free worker: whether it was left wholly free."""
    unplaced: tuple[Shape, ...] = ()
    """Work that no new worker could do."""
    held: tuple[Shape, ...] = ()
    """Gangs that could be done, and for which there is not room enough: nothing is launched for them."""

    def after(self, earlier: "Packed") -> "Packed":
        """The same with what an earlier packing, whose new workers were free in this one, asks for."""
        return Packed(
            (*earlier.new, *self.new),
            self.unused[: len(self.unused) - len(earlier.new)],
            (*earlier.unplaced, *self.unplaced),
            (*earlier.held, *self.held),
        )


def pack(
    shapes: Iterable[Shape],
    free: Sequence[tuple[str, ...]],
    *,
    parts: Sequence[tuple[str, ...]] = (),
    can_launch: CanLaunch | None = None,
    used_up: Sequence[str] = (),
) -> Packed:
    """Fill what busy workers have left, then free workers, then new ones.

    Source: the rule of the Ray-on-Slurm autoscaler of aicell, one job per pending task; it counted tasks that no worker
    could run, and a free GPU kept it from launching for a task that needs two.

    Args:
        shapes: waiting work.
        free: what each worker offers that is free or starting, in the order in which they are to be filled.
        parts: what each busy worker has left.
        can_launch: what new workers offer; None: exactly what the task requires that one is launched for.
        used_up: capabilities of which running work takes its amount away; others are only compared.
    """
    packing = _Packing(parts, free, can_launch, used_up)
    given = tuple(shapes)
    for count, gang in _gangs(given, used_up):
        packing.place_gangs(count, gang)
    for shape in sorted((shape for shape in given if shape.gang <= 1), key=lambda shape: _order(shape, used_up)):
        packing.place(shape)
    return packing.came_to()


def unplaced_reasons(kind: str, packed: Packed, offer: str) -> tuple[Reason, ...]:
    """What is launched for by nobody, and why.

    Args:
        kind: the policy's.
        packed: what it packed.
        offer: what new workers offer, for people.
    """
    reasons = []
    if packed.unplaced:
        text = f"no worker of {offer} can do {tasks(packed.unplaced)}: not counted"
        reasons.append(Reason(f"policy.{kind}.unsatisfiable", text, "unsatisfiable"))
    if packed.held:
        text = f"there is no room for whole gangs of {tasks(packed.held)}: nothing is launched for them"
        reasons.append(Reason(f"policy.{kind}.gang", text, "gang"))
    return tuple(reasons)


class _Packing:
    """Rooms that are being filled."""

    def __init__(
        self,
        parts: Sequence[tuple[str, ...]],
        free: Sequence[tuple[str, ...]],
        can_launch: CanLaunch | None,
        used_up: Sequence[str],
    ) -> None:
        self._rooms = [*(Room(words, is_used=True) for words in parts), *(Room(words) for words in free)]
        self._parts, self._known = len(parts), len(self._rooms)
        self._can_launch = can_launch
        self._used_up = used_up
        self._made: Counter[int] = Counter()
        """New rooms by the identity of what they were made from."""
        self._unplaced: list[Shape] = []
        self._held: list[Shape] = []

    def came_to(self) -> Packed:
        """What was placed where."""
        return Packed(
            tuple(room.capabilities for room in self._rooms[self._known :]),
            tuple(not room.is_used for room in self._rooms[self._parts : self._known]),
            tuple(self._unplaced),
            tuple(self._held),
        )

    def place(self, shape: Shape) -> None:
        """Place single work; what is beyond the limits is asked for too, so that a limit says that it binds."""
        left = self._fill(shape, shape.count, self._rooms)
        beyond = self._offer(shape, within=False) if left else None
        if left and beyond is None:
            self._unplaced.append(replace(shape, count=left))
            return
        while left and beyond is not None and self._new < MOST:
            within = self._offer(shape, within=True)
            offer = within or beyond
            # Of one kind as many as are needed: new ones take the same.
            each = Room(offer.capabilities).fitting(shape, self._used_up)
            consumed = _consumed(shape, self._used_up)
            for _ in range(min(self._more_of(within), math.ceil(left / each))):
                self._make(offer).take(consumed, min(left, each))
                left = max(0, left - each)

    def place_gangs(self, count: int, gang: Sequence[Shape]) -> None:
        """Place so many equal gangs, each wholly or not at all."""
        for placed in range(count):
            before = [(room, dict(room.left), room.is_used) for room in self._rooms]
            if not self._place_gang(gang):
                self._made.subtract(id(room.offer) for room in self._rooms[len(before) :])
                del self._rooms[len(before) :]
                for room, left, is_used in before:
                    room.left, room.is_used = left, is_used
                lacking = [replace(shape, count=shape.count * (count - placed)) for shape in gang]
                (self._held if all(self._can_be_done(shape) for shape in gang) else self._unplaced).extend(lacking)
                return

    def _place_gang(self, gang: Sequence[Shape]) -> bool:
        mine: list[Room] = []
        for shape in gang:
            left = self._fill(shape, shape.count, self._rooms, mine)
            while left:
                offer = self._offer(shape, within=True)
                if offer is None:
                    return False
                left = self._fill(shape, left, [self._make(offer)], mine)
        return True

    def _fill(self, shape: Shape, count: int, rooms: Sequence[Room], mine: list[Room] | None = None) -> int:
        """How much of it is left over by rooms.

        Args:
            shape: the work.
            count: how much of it.
            rooms: in the order in which they are filled.
            mine: of a gang: those that its members are in, which is added to.
        """
        consumed = _consumed(shape, self._used_up)
        able: dict[tuple[str, ...], bool] = {}
        for room in rooms:
            if not count:
                break
            is_able = able.get(room.capabilities)
            if is_able is None:
                is_able = able[room.capabilities] = fits(room.capabilities, shape.requires)
            share = min(count, room.most(consumed)) if is_able else 0
            if shape.apart and mine is not None:
                share = min(share, 0 if any(room is other for other in mine) else 1)
            if share > 0:
                room.take(consumed, share)
                count -= share
                if mine is not None:
                    mine.append(room)
        return count

    @property
    def _new(self) -> int:
        return len(self._rooms) - self._known

    def _more_of(self, within: Offer | None) -> int:
        """How many more there may be of a kind; None: of one beyond its limits."""
        if within is None:
            return MOST - self._new
        most = MOST if self._can_launch is None else min(self._can_launch.most, MOST)
        return min(within.most - self._made[id(within)], most - self._new)

    def _make(self, offer: Offer) -> Room:
        self._made[id(offer)] += 1
        self._rooms.append(Room(offer.capabilities, offer=offer))
        return self._rooms[-1]

    def _offer(self, shape: Shape, *, within: bool) -> Offer | None:
        """The first kind of new worker that takes it; of those, where asked, one of which there may be more."""
        if self._can_launch is None or not shape.requires:
            offers: Sequence[Offer] = (Offer(shape.requires, MOST),)
            most = MOST if self._can_launch is None else self._can_launch.most
        else:
            offers, most = self._can_launch.offers, self._can_launch.most
        if within and self._new >= min(most, MOST):
            return None
        for offer in offers:
            is_left = not within or self._made[id(offer)] < offer.most
            if is_left and Room(offer.capabilities).fitting(shape, self._used_up):
                return offer
        return None

    def _can_be_done(self, shape: Shape) -> bool:
        return self._offer(shape, within=False) is not None or any(
            fits(room.capabilities, shape.requires) for room in self._rooms
        )


def _gangs(shapes: Iterable[Shape], used_up: Sequence[str]) -> Iterator[tuple[int, tuple[Shape, ...]]]:
    """How many equal gangs there are of each kind, and the members of one."""
    kinds: dict[object, list[Shape]] = {}
    for place, shape in enumerate(shapes):
        if shape.gang > 1 and shape.count > 0:
            kinds.setdefault(shape.gang_key or place, []).append(shape)
    for members in kinds.values():
        count = max(1, sum(shape.count for shape in members) // members[0].gang)
        one = (replace(shape, count=math.ceil(shape.count / count)) for shape in members)
        yield count, tuple(sorted(one, key=lambda shape: _order(shape, used_up)))


def _consumed(shape: Shape, used_up: Sequence[str]) -> Mapping[str, float]:
    return _used_of(shape.requires, tuple(used_up))


@lru_cache(maxsize=4096)
def _used_of(requires: tuple[str, ...], used_up: tuple[str, ...]) -> Mapping[str, float]:
    return {name: amount for name, amount in amounts(requires).items() if name in used_up}


def _is_part(name: str, amount: float) -> bool:
    """It comes from one device: of 0.6 one goes on each, and of 0.4 two."""
    return name in DEVICES and amount < 1


def _most(name: str, amount: float, left: float) -> int:
    # Three of 0.1 fit into 0.3, and next to nothing fits any number of times.
    whole = math.floor(left) if _is_part(name, amount) else 0
    each = math.floor(min(MOST, 1 / amount + TOLERANCE)) if whole else 0
    return whole * each + math.floor(min(MOST, (left - whole) / amount + TOLERANCE))


def _taken(name: str, amount: float, left: float, count: int) -> float:
    """Of what is left, with what so many leave unused on whole devices."""
    if not _is_part(name, amount) or left < 1:
        return count * amount
    each = math.floor(min(MOST, 1 / amount + TOLERANCE))
    on_whole = min(count, math.floor(left) * each)
    return on_whole / each + (count - on_whole) * amount


def _order(shape: Shape, used_up: Sequence[str]) -> tuple[object, ...]:
    """What uses up most goes first, and what any worker can do last: it has the most places to go."""
    return (-sum(_consumed(shape, used_up).values()), -len(shape.requires), shape.requires)
