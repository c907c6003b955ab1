"""Workers and demand of the last hours, a bar each few minutes, as text: what a fleet's page plots. Pure.

It rides beside the page and not in the record: a decision never reads it, and who loses it loses a picture.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

BAR_SECONDS = 300
BARS = 48
"""Four hours."""
MOST = 9_999_999
"""Of one number: a queue may be longer, and its bar is as high."""
LEVELS = "▁▂▃▄▅▆▇█"
NOTHING, NO_LOOK = "·", " "
_BEGAN, _WORKERS, _DEMAND = "past_began", "past_workers", "past_demand"


@dataclass(frozen=True, slots=True)
class PastHours:
    """The most that was seen in each few minutes.

    Args:
        began: number of the first bar, counted from 1970 in `BAR_SECONDS`.
        workers: how many served or started, a number a bar; None: no turn looked.
        demand: how much was queued and running; None: no turn looked, or the master did not say.
    """

    began: int = 0
    workers: tuple[int | None, ...] = ()
    demand: tuple[int | None, ...] = ()

    def seen(self, at_seconds: float, workers: int, demand: int | None) -> "PastHours":
        """The same with one look more; what is older than all bars is forgotten.

        Args:
            at_seconds: when, as epoch seconds; where that is before the last bar, the clock was set back, and the look
                counts for the last one.
            workers: how many serve or start.
            demand: queued and running; None: unknown.
        """
        if not self.workers:
            bar = _bar(at_seconds)
            return PastHours(bar, (_capped(workers),), (_capped(demand),))
        missing = _bar(at_seconds) - self.began + 1 - len(self.workers)
        if missing >= BARS:
            return PastHours().seen(at_seconds, workers, demand)
        empty = (None,) * max(0, missing)
        served, asked = [*self.workers, *empty], [*self.demand, *empty]
        served[-1], asked[-1] = _most(served[-1], _capped(workers)), _most(asked[-1], _capped(demand))
        forgotten = max(0, len(served) - BARS)
        return PastHours(self.began + forgotten, tuple(served[forgotten:]), tuple(asked[forgotten:]))

    def kept(self) -> Mapping[str, str]:
        """As few short texts, of which `past_of` makes it again."""
        return {_BEGAN: str(self.began), _WORKERS: _spelled(self.workers), _DEMAND: _spelled(self.demand)}

    def plot(self) -> str:
        """Two rows of bars, and what they are, for a font in which all letters are as wide."""
        ends_at = datetime.fromtimestamp((self.began + len(self.workers)) * BAR_SECONDS, UTC)
        rows = {"workers": self.workers, "demand": self.demand}
        told = {name: f"{name:7s}  {_told(values)}" for name, values in rows.items()}
        # The bars come last: not every browser's font has them as wide as its other letters.
        width = max(len(text) for text in told.values())
        lines = [f"{told[name]:{width}s}  {_bars(values)}" for name, values in rows.items()]
        return "\n".join([*lines, f"{BAR_SECONDS // 60} minutes a bar, until {ends_at:%H:%M} UTC"])


def past_of(kept: Mapping[str, object] | None) -> PastHours:
    """What was kept; nothing where somebody wrote anything else there."""
    texts = {name: (kept or {}).get(name) for name in (_BEGAN, _WORKERS, _DEMAND)}
    began = re.fullmatch(r"\d{1,9}", str(texts[_BEGAN]))
    workers, demand = (_read(texts[name]) for name in (_WORKERS, _DEMAND))
    if began is None or workers is None or demand is None or len(workers) != len(demand):
        return PastHours()
    return PastHours(int(began[0]), workers, demand)


def _read(text: object) -> tuple[int | None, ...] | None:
    """None: it is no such row."""
    parts = text.split(",") if isinstance(text, str) else []
    if not 1 <= len(parts) <= BARS or not all(re.fullmatch(r"\d{0,7}", part, re.ASCII) for part in parts):
        return None
    return tuple(int(part) if part else None for part in parts)


def _spelled(values: tuple[int | None, ...]) -> str:
    return ",".join("" if value is None else str(value) for value in values)


def _bar(at_seconds: float) -> int:
    return max(0, int(at_seconds // BAR_SECONDS))


def _capped(value: int | None) -> int | None:
    return None if value is None else min(max(0, value), MOST)


def _most(first: int | None, second: int | None) -> int | None:
    known = [value for value in (first, second) if value is not None]
    return max(known, default=None)


def _bars(values: tuple[int | None, ...]) -> str:
    highest = max((value for value in values if value is not None), default=0)

    def letters() -> Iterator[str]:
        for value in values:
            if not value:
                yield NO_LOOK if value is None else NOTHING
            else:
                yield LEVELS[math.ceil(value * len(LEVELS) / highest) - 1]

    return "".join(letters())


def _told(values: tuple[int | None, ...]) -> str:
    known = [value for value in values if value is not None]
    last = values[-1] if values else None
    return f"last {'unknown' if last is None else last}, most {max(known)}" if known else "unknown"
