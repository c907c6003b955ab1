"""When simulated clients ask, and for how many tokens: drawn from a seed, or as a trace has it. Pure.

Source: users, probability and ticks are those of autoscaler-py's `sim.py`.
"""

import math
from dataclasses import dataclass
from random import Random

from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.trace import SECONDS_PER_DECODE_TOKEN

MOST_ARRIVALS = 1_000_000
"""Of one run; each is kept until its end."""
MOST_TOKENS = 100_000
"""Of one request."""


class ArrivalsError(ValueError):
    """A number cannot be used: names its option, its value and what would be right."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """One request."""

    at_seconds: float
    """From the beginning of the run."""
    tokens: int
    """That it asks for, and its cost."""


def of_users(
    users: int, probability: float, tick_seconds: float, rounds: int, *, mean_tokens: float, draw: Random
) -> tuple[Arrival, ...]:
    """Each user asks at each tick with a probability, for so many ticks.

    Raises:
        ArrivalsError: one of the numbers cannot be.
    """
    _check("users", users, users >= 1, "a number from 1 on")
    _check("probability", probability, 0 < probability <= 1, "a number above 0, and at most 1")
    _check("tick", tick_seconds, 0 < tick_seconds < math.inf, "seconds above 0")
    _check("rounds", rounds, rounds >= 1, "a number from 1 on")
    _check_count("--users x --rounds", users * rounds)
    _check_tokens(mean_tokens)
    return tuple(
        Arrival(number * tick_seconds, _tokens(mean_tokens, draw))
        for number in range(rounds)
        for _ in range(users)
        if draw.random() < probability
    )


def of_rate(per_second: float, seconds: float, *, mean_tokens: float, draw: Random) -> tuple[Arrival, ...]:
    """Requests that know nothing of each other (Poisson), for so long.

    Raises:
        ArrivalsError: one of the numbers cannot be.
    """
    _check("rate", per_second, 0 < per_second < math.inf, "requests per second, above 0")
    _check("seconds", seconds, 0 < seconds < math.inf, "seconds above 0")
    _check_count("--rate x --seconds", per_second * seconds)
    _check_tokens(mean_tokens)
    arrivals: list[Arrival] = []
    at = draw.expovariate(per_second)
    while at < seconds:
        arrivals.append(Arrival(at, _tokens(mean_tokens, draw)))
        at += draw.expovariate(per_second)
    return tuple(arrivals)


def of_trace(trace: Trace, *, speed: float, seconds: float | None) -> tuple[Arrival, ...]:
    """What a trace recorded, `speed` times faster; a request asks for the tokens whose decoding is its work.

    Args:
        trace: whose service times stand for tokens, as `ebbflow.simulation.trace` says.
        speed: 2 lets an hour come in half an hour; tokens stay as they are.
        seconds: how long requests come in this run; None: to the end of the trace.

    Raises:
        ArrivalsError: one of the numbers cannot be.
    """
    _check("speed", speed, 0 < speed < math.inf, "a factor above 0, such as 10")
    _check("seconds", seconds, seconds is None or 0 < seconds < math.inf, "seconds above 0")
    found = tuple(
        Arrival(at / speed, min(MOST_TOKENS, max(1, round(service / SECONDS_PER_DECODE_TOKEN))))
        for at, service in zip(trace.at_seconds, trace.service_seconds, strict=True)
        if seconds is None or at / speed < seconds
    )
    _check_count("the number of requests", len(found))
    return found


def _check(name: str, value: float | None, is_right: bool, what: str) -> None:
    if not is_right:
        raise ArrivalsError(f"--{name} is {value}: {what} would be right")


def _check_count(name: str, count: float) -> None:
    if count > MOST_ARRIVALS:
        raise ArrivalsError(f"{name} is {count:g}: at most {MOST_ARRIVALS} would be right")


def _check_tokens(mean: float) -> None:
    _check("tokens", mean, 1 <= mean <= MOST_TOKENS, f"a number from 1 to {MOST_TOKENS}")


def _tokens(mean: float, draw: Random) -> int:
    """Many short answers and a few long ones (geometric), with this mean."""
    if mean == 1:
        return 1
    return min(MOST_TOKENS, 1 + int(math.log(1.0 - draw.random()) / math.log1p(-1.0 / mean)))
