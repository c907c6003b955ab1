"""Work by what it requires, in order of first appearance, and wants by what is to be had. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from ebbflow.core.capabilities import amounts
from ebbflow.core.member import Demand, Shape
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, PolicyMemory, Reason, Want
from ebbflow.core.text import counted

MOST = 10_000
"""Workers of one kind that a policy asks for at most; no fleet may hold more."""


@dataclass(frozen=True, slots=True)
class Need:
    """Tasks that require the same."""

    capabilities: tuple[str, ...] = ()
    count: int = 0


def queued_shapes(demand: Demand) -> tuple[Shape, ...]:
    """Waiting work by shape; what the master does not tell by shape requires nothing."""
    return _whole(demand.shapes, demand.queued)


def unfinished(demand: Demand) -> tuple[Need, ...]:
    """Queued and running work by what it requires: the `T` of opengris-scaler, which counts both."""
    running = _whole(demand.running_shapes, demand.running)
    return merged(Need(shape.requires, shape.count) for shape in (*queued_shapes(demand), *running))


def merged(needs: Iterable[Need]) -> tuple[Need, ...]:
    """One need per capability set, each where it first appears; what is none is left out."""
    counts: dict[tuple[str, ...], int] = {}
    for need in needs:
        if need.count > 0:
            counts[need.capabilities] = counts.get(need.capabilities, 0) + need.count
    return tuple(Need(words, count) for words, count in counts.items())


def wants(sets: Iterable[tuple[str, ...]]) -> tuple[Want, ...]:
    """One want per capability set, each where it first appears, counting how often."""
    return tuple(Want(need.capabilities, need.count) for need in merged(Need(words, 1) for words in sets))


@lru_cache(maxsize=1024)
def any_workers(count: int) -> tuple[Want, ...]:
    """So many of whatever kind."""
    return (Want(count=count),)


def spelt(words: Sequence[str]) -> str:
    """A capability set for a reason."""
    return "{" + ", ".join(words) + "}"


def tasks(shapes: Iterable[Shape]) -> str:
    """Work for a reason, by what it requires."""
    return ", ".join(f"{shape.count} x {spelt(shape.requires)}" for shape in shapes)


def serving(observation: Observation) -> int:
    """Workers that have joined, as far as they are supply; the others of it are on their way."""
    return observation.serving


def names(words: Iterable[str]) -> frozenset[str]:
    """What a capability set names, amounts left aside."""
    return _names(tuple(words))


@lru_cache(maxsize=4096)
def _names(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(amounts(words))


def demand_unknown(kind: str, observation: Observation) -> Decision:
    """The one answer to unknown demand: everything stays, what is remembered too."""
    detail = observation.demand.detail or "no answer"
    text = f"demand is unknown ({detail}), which is not zero: {counted(observation.supply, 'worker', 'stay')}"
    return Decision(None, "demand unknown", (Reason(f"policy.{kind}", text),), carried(observation))


def carried(observation: Observation) -> PolicyMemory:
    """What is remembered, for a decision that learns nothing: with the time that it leaves unseen."""
    if not observation.remembered:
        return {}
    return {**observation.remembered, "unseen_seconds": (seconds_since_seen(observation),)}


def seconds_since_seen(observation: Observation) -> float:
    """Time since the decision that last saw demand: turns that did not are part of it."""
    unseen = observation.remembered.get("unseen_seconds")
    return observation.elapsed_seconds + sum(unseen) if unseen else observation.elapsed_seconds


def _whole(shapes: Sequence[Shape], count: int) -> tuple[Shape, ...]:
    untold = count - sum(shape.count for shape in shapes)
    return (*shapes, Shape(count=untold)) if untold > 0 else tuple(shapes)
