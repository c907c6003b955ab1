"""Work by what it requires, in order of first appearance, and wants by what is to be had. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ebbflow.core.capabilities import amounts
from ebbflow.core.member import Demand, Shape
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, PolicyMemory, Reason, Want


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


def spelt(words: Sequence[str]) -> str:
    """A capability set for a reason."""
    return "{" + ", ".join(words) + "}"


def names(words: Iterable[str]) -> frozenset[str]:
    """What a capability set names, amounts left aside."""
    return frozenset(amounts(words))


def demand_unknown(kind: str, observation: Observation, remembers: PolicyMemory | None = None) -> Decision:
    """The one answer to unknown demand: everything stays, what is remembered too."""
    detail = observation.demand.detail or "no answer"
    text = f"demand is unknown ({detail}), which is not zero: {observation.supply} workers stay"
    kept = observation.remembered if remembers is None else remembers
    return Decision(None, "demand unknown", (Reason(f"policy.{kind}", text),), kept)


def _whole(shapes: Sequence[Shape], count: int) -> tuple[Shape, ...]:
    untold = count - sum(shape.count for shape in shapes)
    return (*shapes, Shape(count=untold)) if untold > 0 else tuple(shapes)
