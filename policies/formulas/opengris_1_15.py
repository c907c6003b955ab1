"""The rules of opengris-scaler 1.15.0 in its own terms: tasks T, workers W, tracked groups, a cap M. Pure.

Source: opengris-scaler 1.15.0, `scaler/scheduler/controllers/policies/` (vanilla, capability, fixed_elastic). T counts
queued and running tasks, W every worker with a live heartbeat, the groups are those whose start was answered with
Success, M is `maxWorkerGroups` of the heartbeat. Comparisons with ratios are strict. With `LIBRARY` each function
answers as the library does; what `CORRECTED` changes is said in `corrections`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ebbflow.core.capabilities import fits
from ebbflow.policies.formulas.corrections import CORRECTED, Corrections
from ebbflow.policies.formulas.needs import Need, merged, names

UNLIMITED = 1_000_000
"""For a caller whose cap is applied later, by the limits."""


@dataclass(frozen=True, slots=True)
class Group:
    """A group of workers whose start was answered with Success. Ours are groups of one worker."""

    name: str
    capabilities: tuple[str, ...] = ()
    queued: int = 0
    """Tasks queued at its connected workers."""
    worker_ids: int = 1
    """How many ids the answer to its start named."""
    connected: int = 1
    """How many of its workers have a live heartbeat."""
    is_idle: bool = True
    is_stopping: bool = False
    """A stop was sent."""
    is_primary: bool = False
    """Of `fixed_elastic`: belongs to the adapter with M = 1."""


@dataclass(frozen=True, slots=True)
class Start:
    """`startWorkerGroup`."""

    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Stop:
    """`shutdownWorkerGroup`."""

    group: str


Command = Start | Stop


def vanilla(
    tasks: int | None,
    workers: int,
    groups: Sequence[Group],
    most: int,
    *,
    upper: float = 10.0,
    lower: float = 1.0,
    starting: int = 0,
    corrections: Corrections = CORRECTED,
) -> tuple[Command, ...]:
    """At most one command: start while T/W > upper (or without workers), stop the least busy group while T/W < lower.

    Args:
        tasks: T; None: unknown.
        workers: W, also static ones.
        groups: tracked ones, the oldest first.
        most: M.
        upper: tasks per worker above which one more is started.
        lower: tasks per worker below which one is stopped.
        starting: starts that no answer has confirmed yet.
        corrections: which of our corrections hold.
    """
    known = _known(tasks, corrections)
    if known is None:
        return ()
    serving, held = _counted(workers, groups, starting, corrections)
    ratio = known / serving if serving else 0.0
    if (ratio > upper or (serving == 0 and known > 0)) and held < most:
        return (Start(),)
    if serving and ratio < lower:
        return _stop(groups, corrections)
    return ()


def fixed_elastic(
    tasks: int | None,
    workers: int,
    groups: Sequence[Group],
    most: int,
    *,
    was_asked: bool = False,
    has_succeeded: bool = False,
    upper: float = 10.0,
    lower: float = 1.0,
    starting: int = 0,
    corrections: Corrections = CORRECTED,
) -> tuple[Command, ...]:
    """At most one command for the adapter of this heartbeat: with M = 1 the primary, with any other M a secondary.

    The primary is started once and never stopped. The secondary follows `vanilla`; its cap counts the primary's group.

    Args:
        tasks: T; None: unknown.
        workers: W.
        groups: tracked ones of both, the oldest first.
        most: M of the adapter that is asked.
        was_asked: the primary's start was sent at some time.
        has_succeeded: and was answered with Success.
        upper: as in `vanilla`.
        lower: as in `vanilla`.
        starting: starts of this adapter that no answer has confirmed yet.
        corrections: which of our corrections hold.
    """
    known = _known(tasks, corrections)
    if known is None:
        return ()
    serving, held = _counted(workers, groups, starting, corrections)
    ratio = known / serving if serving else 0.0
    is_short = ratio > upper or (serving == 0 and known > 0)
    if most == 1:
        done = (has_succeeded or starting > 0) if corrections.retry_primary else was_asked
        return (Start(),) if is_short and not done else ()
    if is_short and held < most:
        return (Start(),)
    if serving and ratio < lower and corrections.stop_secondary:
        return _stop([group for group in groups if not group.is_primary], corrections)
    return ()


def capability(
    tasks: Sequence[Need] | None,
    workers: Sequence[tuple[str, ...]],
    groups: Sequence[Group],
    most: int,
    *,
    upper: float = 5.0,
    lower: float = 0.5,
    starting: Sequence[tuple[str, ...]] = (),
    corrections: Corrections = CORRECTED,
) -> tuple[Command, ...]:
    """Start for each kind of task that has too few workers which can do it; where nothing is started, stop per kind.

    A group is only stopped if what is left can do the tasks that its kind could, at no more than `upper` per worker.

    Args:
        tasks: what unfinished tasks require, in order of first appearance; None: unknown.
        workers: what each connected worker offers.
        groups: tracked ones, the oldest first.
        most: M.
        upper: tasks per capable worker above which one more is started.
        lower: tasks per capable worker below which one is stopped.
        starting: what starts that no answer has confirmed yet will offer.
        corrections: which of our corrections hold.
    """
    if tasks is None and corrections.unknown_holds:
        return ()
    needs = merged(tasks or ())
    can_do, key = _matching(corrections)
    # Many offer the same.
    offers = Counter([*workers, *(_not_joined(groups, starting) if corrections.count_starting else ())])
    held = len(groups) + (len(starting) if corrections.count_starting else 0)
    starts: list[Command] = []
    for kind in _distinct(key(need.capabilities) for need in needs):
        alike = [need for need in needs if key(need.capabilities) == kind]
        words, count = alike[0].capabilities, sum(need.count for need in alike)
        capable = _capable(offers, words, can_do)
        is_short = count / capable > upper if capable else not any(can_do(g.capabilities, words) for g in groups)
        if is_short and held < most:
            starts.append(Start(words))
            held += corrections.cap_batch
            # What was just asked for is in flight too.
            offers[words] += int(corrections.count_starting)
    return tuple(starts) or tuple(_stops(needs, offers, groups, upper, lower, corrections))


def _stops(
    needs: Sequence[Need],
    offers: Mapping[tuple[str, ...], int],
    groups: Sequence[Group],
    upper: float,
    lower: float,
    corrections: Corrections,
) -> Iterable[Stop]:
    can_do, key = _matching(corrections)
    kinds: dict[frozenset[str], list[Group]] = {}
    for group in groups:
        kinds.setdefault(key(group.capabilities), []).append(group)
    for alike in kinds.values():
        words = alike[0].capabilities
        count = sum(need.count for need in needs if can_do(words, need.capabilities))
        capable = _capable(offers, words, can_do) - _leaving(groups, words, can_do, corrections)
        if capable <= 0 or count / capable >= lower:
            continue
        victim = _least_busy(alike, corrections)
        if victim is None:
            continue
        rest = capable - _size(victim, corrections)
        if (count > 0 and rest == 0) or (rest > 0 and count / rest > upper):
            continue
        yield Stop(victim.name)


def _capable(
    offers: Mapping[tuple[str, ...], int],
    words: tuple[str, ...],
    can_do: Callable[[Iterable[str], Iterable[str]], bool],
) -> int:
    """How many of those that offer something can do it."""
    return sum(times for offer, times in offers.items() if can_do(offer, words))


def _size(group: Group, corrections: Corrections) -> int:
    """How many capable workers go with a group."""
    if not corrections.guard_connected:
        return group.worker_ids
    return group.connected or int(corrections.count_starting)


def _leaving(
    groups: Sequence[Group],
    words: tuple[str, ...],
    can_do: Callable[[Iterable[str], Iterable[str]], bool],
    corrections: Corrections,
) -> int:
    """Capable workers that a stop was sent to already."""
    if not corrections.stop_idle_only:
        return 0
    return sum(_size(group, corrections) for group in groups if group.is_stopping and can_do(group.capabilities, words))


def _matching(
    corrections: Corrections,
) -> tuple[Callable[[Iterable[str], Iterable[str]], bool], Callable[[Iterable[str]], frozenset[str]]]:
    """How an offer is compared with a need, and what makes two of them the same kind."""
    if corrections.compare_amounts:
        return fits, frozenset
    return (lambda offered, required: names(required) <= names(offered)), names


def _not_joined(groups: Sequence[Group], starting: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    return [*(group.capabilities for group in groups if not group.connected), *starting]


def _known(tasks: int | None, corrections: Corrections) -> int | None:
    return 0 if tasks is None and not corrections.unknown_holds else tasks


def _counted(workers: int, groups: Sequence[Group], starting: int, corrections: Corrections) -> tuple[int, int]:
    """The workers and the groups that a ratio and a cap are compared with."""
    serving, held = workers, len(groups)
    if corrections.count_starting:
        serving += starting + sum(not group.connected for group in groups)
        held += starting
    if corrections.stop_idle_only:
        serving -= sum(max(1, group.connected) for group in groups if group.is_stopping)
    return max(0, serving), held


def _stop(groups: Sequence[Group], corrections: Corrections) -> tuple[Command, ...]:
    victim = _least_busy(groups, corrections)
    return () if victim is None else (Stop(victim.name),)


def _least_busy(groups: Sequence[Group], corrections: Corrections) -> Group | None:
    """The group with the fewest queued tasks, the oldest of several."""
    if corrections.stop_idle_only:
        groups = [group for group in groups if group.is_idle and not group.queued and not group.is_stopping]
    return min(groups, key=lambda group: group.queued, default=None)


def _distinct(kinds: Iterable[frozenset[str]]) -> tuple[frozenset[str], ...]:
    return tuple(dict.fromkeys(kinds))
