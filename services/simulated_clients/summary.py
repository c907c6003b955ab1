"""What a run came to, in numbers that a program can read: the names stay, units are in them, null is unknown. Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ebbflow.services.simulated_clients.cost import Spent, spent
from ebbflow.services.simulated_clients.crowd import Played
from ebbflow.services.simulated_clients.life import Life, Lost


@dataclass(frozen=True, slots=True)
class Spread:
    """How a duration was distributed; null where nothing had one."""

    min: float | None = None
    avg: float | None = None
    p50: float | None = None
    """Of a hundred, fifty took this long or less: one that was seen, not one between two."""
    p95: float | None = None
    max: float | None = None


@dataclass(frozen=True, slots=True)
class WorkerFigures:
    """One worker, as clients saw it."""

    url: str
    requests: int
    """That it served."""
    failed: int
    """That it refused or broke off."""
    tokens: int
    tokens_per_second: float | None
    """From the first request that it served to the end of the last one."""
    usd: float | None


@dataclass(frozen=True, slots=True)
class Summary:
    """One run."""

    endpoint: str
    seconds: float
    was_interrupted: bool
    due: int
    """Requests that were to come."""
    started: int
    """Of those, the ones that came: all, where the run was not interrupted."""
    finished: int
    """Of those, the ones that were served or gave up; the others were cut off."""
    successful: int
    lost: Mapping[str, int]
    """By reason, each of them also where it is 0."""
    lost_words: Mapping[str, str]
    """What the first request lost for each reason was answered."""
    started_per_second: float | None
    successful_per_second: float | None
    tokens: int
    """Of successful requests."""
    wasted_tokens: int
    """That came, and were of no use: of answers that broke off."""
    tokens_per_second: float | None
    latency_seconds: Spread
    """Of successful requests, from the moment they were due."""
    first_token_seconds: Spread
    queue_seconds: Spread
    """That successful requests were told to wait, of their latency."""
    late_start_seconds_max: float | None
    """How late the simulator itself was: above a little, it is the bottleneck."""
    reroutes: int
    """How often another worker was asked for."""
    usd: float | None
    usd_per_1000_tokens: float | None
    usd_unpriced_seconds: float
    """Of the run, without a known price: not in the sum."""
    workers: tuple[WorkerFigures, ...]


def summary_of(played: Played, *, endpoint: str) -> Summary:
    """Count, from what was seen."""
    lives, seconds = played.lives, played.ended_at - played.began_at
    served = [life for life in lives if life.is_served]
    lost = [life for life in lives if life.lost is not None]
    cost = spent(played.looks, began_at=played.began_at, ended_at=played.ended_at)
    tokens = sum(life.tokens for life in served)
    by_reason = Counter(life.lost for life in lost)
    return Summary(
        endpoint=endpoint,
        seconds=seconds,
        was_interrupted=played.was_interrupted,
        due=played.due,
        started=len(lives),
        finished=len(lives) - by_reason[Lost.CUT_OFF],
        successful=len(served),
        lost={reason.value: by_reason[reason] for reason in Lost},
        lost_words=_words(lost),
        started_per_second=_per(len(lives), seconds),
        successful_per_second=_per(len(served), seconds),
        tokens=tokens,
        wasted_tokens=sum(life.wasted_tokens for life in lives) + sum(life.tokens for life in lost),
        tokens_per_second=_per(tokens, seconds),
        latency_seconds=spread(at - life.due_at for life in served if (at := life.ended_at) is not None),
        first_token_seconds=spread(at - life.due_at for life in served if (at := life.first_token_at) is not None),
        queue_seconds=spread(life.queue_seconds for life in served),
        late_start_seconds_max=max((life.began_at - life.due_at for life in lives), default=None),
        reroutes=sum(life.reroutes for life in lives),
        usd=cost.usd,
        usd_per_1000_tokens=None if cost.usd is None else _per(1000 * cost.usd, tokens),
        usd_unpriced_seconds=cost.unpriced_seconds,
        workers=tuple(_workers(lives, served, cost)),
    )


def spread(durations: Iterable[float]) -> Spread:
    """Of a percentile, the nearest rank."""
    found = sorted(durations)
    if not found:
        return Spread()
    return Spread(found[0], math.fsum(found) / len(found), _rank(found, 50), _rank(found, 95), found[-1])


def _rank(found: Sequence[float], percent: int) -> float:
    return found[max(0, math.ceil(len(found) * percent / 100) - 1)]


def _per(count: float, whole: float) -> float | None:
    return count / whole if whole > 0 else None


def _words(lost: Sequence[Life]) -> dict[str, str]:
    words: dict[str, str] = {}
    for life in lost:
        if life.lost is not None and life.words:
            words.setdefault(life.lost.value, life.words)
    return words


def _workers(lives: Sequence[Life], served: Sequence[Life], cost: Spent) -> Iterable[WorkerFigures]:
    by_url: dict[str, list[Life]] = {}
    for life in served:
        by_url.setdefault(life.worker_url, []).append(life)
    failed = Counter(url for life in lives for url in life.failed_at)
    for url in sorted({*by_url, *failed}):
        theirs = by_url.get(url, [])
        tokens = sum(life.tokens for life in theirs)
        # When it was sent there; a request that was sent twice, the last time.
        begins = min((life.sent_at for life in theirs if life.sent_at is not None), default=0.0)
        ends = max((life.ended_at for life in theirs if life.ended_at is not None), default=0.0)
        yield WorkerFigures(url, len(theirs), failed[url], tokens, _per(tokens, ends - begins), cost.by_url.get(url))
