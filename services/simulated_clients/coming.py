"""Who comes, as a person says it: users, a rate, or a trace, and what goes with each."""

import csv
import gzip
import io
import zlib
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ebbflow.services.simulated_clients.arrivals import Arrival, ArrivalsError, of_rate, of_trace, of_users
from ebbflow.simulation.recorded import (
    RECORDED,
    SERVICE_COLUMNS,
    STEP_COLUMNS,
    Trace,
    from_arrivals,
    load,
    parse_services,
    parse_steps,
)
from ebbflow.simulation.trace import COLUMNS, TraceError, parse_trace

PROBABILITY, TICK_SECONDS, ROUNDS, SPEED, TOKENS = 0.25, 2.0, 50, 1.0, 100.0
"""Where a person says nothing; the first three are autoscaler-py's."""
WAYS = ("users", "rate", "trace")
GOES_WITH = {
    "probability": ("users",),
    "tick": ("users",),
    "rounds": ("users",),
    "tokens": ("users", "rate"),
    "seconds": ("rate", "trace"),
    "speed": ("trace",),
}


@dataclass(frozen=True, slots=True)
class Coming:
    """One of `WAYS`, and what `GOES_WITH` it; None: not said.

    Raises:
        ArrivalsError: none or several of them are said, or something that does not go with it.
    """

    users: int | None = None
    rate: float | None = None
    """Requests per second."""
    trace: str | None = None
    """The name of a recorded one, or the path of a file."""
    probability: float | None = None
    tick: float | None = None
    """Seconds."""
    rounds: int | None = None
    tokens: float | None = None
    """Of a request, on average."""
    seconds: float | None = None
    speed: float | None = None

    def __post_init__(self) -> None:
        """Refuse what a person cannot mean."""
        chosen = [way for way in WAYS if getattr(self, way) is not None]
        if len(chosen) != 1:
            said = " and ".join(f"--{way}" for way in chosen) or "nothing"
            raise ArrivalsError(f"{said} says who comes: one of --users, --rate and --trace would be right")
        for name, ways in GOES_WITH.items():
            if getattr(self, name) is not None and chosen[0] not in ways:
                with_them = " and ".join(f"--{way}" for way in ways)
                raise ArrivalsError(f"--{name} goes with {with_them}, and not with --{chosen[0]}")
        if self.rate is not None and self.seconds is None:
            raise ArrivalsError("--rate needs --seconds: how long requests come, such as 60")

    def arrivals(self, draw: Random) -> tuple[Arrival, ...]:
        """The requests, in order.

        Raises:
            ArrivalsError: a number cannot be, or nobody would come.
            TraceError: the trace cannot be used.
        """
        tokens = TOKENS if self.tokens is None else self.tokens
        if self.users is not None:
            probability = PROBABILITY if self.probability is None else self.probability
            tick = TICK_SECONDS if self.tick is None else self.tick
            rounds = ROUNDS if self.rounds is None else self.rounds
            found = of_users(self.users, probability, tick, rounds, mean_tokens=tokens, draw=draw)
        elif self.trace is not None:
            speed = SPEED if self.speed is None else self.speed
            found = of_trace(read_trace(self.trace), speed=speed, seconds=self.seconds)
        else:
            found = of_rate(self.rate or 0.0, self.seconds or 0.0, mean_tokens=tokens, draw=draw)
        if not found:
            raise ArrivalsError("nobody would come in that time: more of it, or another --seed, would be right")
        return found


def read_trace(name: str) -> Trace:
    """A recorded trace by its name, or a file by its path, plain or `.gz`, in one of the three forms that there are.

    Raises:
        TraceError: there is none, or it cannot be used; names field, value and what would be right.
    """
    if name in RECORDED:
        return load(name)
    path = Path(name)
    if not path.is_file():
        raise TraceError(f"{name} is no file and no recorded trace: there are {', '.join(RECORDED)}")
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise TraceError(f"{name} cannot be read: {error}") from error
    header = next(csv.reader(io.StringIO(text)), [])
    forms = [columns for columns in (COLUMNS, SERVICE_COLUMNS, STEP_COLUMNS) if columns[0] in header]
    if not forms:
        known = "; ".join(",".join(columns) for columns in (COLUMNS, SERVICE_COLUMNS, STEP_COLUMNS))
        raise TraceError(f"{name}: its first line is {header}; one of these would be right: {known}")
    columns, lines = forms[0], io.StringIO(text, newline="")
    try:
        if columns is COLUMNS:
            return from_arrivals(path.name, parse_trace(lines, name=path.name))
        return (parse_services if columns is SERVICE_COLUMNS else parse_steps)(lines, name=path.name)
    except (TraceError, csv.Error) as error:
        raise TraceError(
            f"{error}; right would be a number for {', '.join(columns)} in each line, and {columns[0]} from 0 on, "
            "never falling"
        ) from error
