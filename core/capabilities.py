"""What a worker can do and what work requires, in one spelling: `a100`, or `gpu=4` where there is an amount.

A set of them is a tuple of such words, sorted, each name once. A worker fits work when it has every name that the work
requires, and at least as much of it. Source: opengris-scaler compares names only, so that work for four GPUs goes to a
worker with one; here amounts are compared.
"""

import math
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from functools import lru_cache

from ebbflow.core.errors import ConfigError

_WORD = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9_.:/-]{0,62})(?:=(?P<amount>[0-9]+(?:\.[0-9]+)?))?")


def amounts(words: Iterable[str]) -> dict[str, float]:
    """Take a set apart: name to amount; a name without an amount counts as one.

    Raises:
        ConfigError: names the word that is not one, or the name that stands twice.
    """
    return dict(_amounts(tuple(words)))


# The same few sets are compared many times in every decision about a large fleet.
@lru_cache(maxsize=4096)
def _amounts(words: tuple[str, ...]) -> Mapping[str, float]:
    found: dict[str, float] = {}
    for word in words:
        parts = _WORD.fullmatch(word)
        if parts is None:
            raise ConfigError(f"capability {word!r}: expected a name, or name=amount, for instance 'a100' or 'gpu=4'")
        if parts["name"] in found:
            raise ConfigError(f"capability {parts['name']!r} stands twice; give it once, with its whole amount")
        found[parts["name"]] = float(parts["amount"] or 1)
    return found


def capability_set(given: Mapping[str, float]) -> tuple[str, ...]:
    """Spell a set: sorted, an amount of one without its number."""
    return tuple(
        name if amount == 1 else f"{name}={_number(amount)}" for name, amount in sorted(given.items()) if amount > 0
    )


def fits(offered: Iterable[str], required: Iterable[str]) -> bool:
    """Whether a worker that offers this can do work that requires that; everything fits work that requires nothing."""
    return _fits(tuple(offered), tuple(required))


@lru_cache(maxsize=16_384)
def _fits(offered: tuple[str, ...], required: tuple[str, ...]) -> bool:
    wanted = _amounts(required)
    if not wanted:
        return True
    have = _amounts(offered)
    return all(have.get(name, 0.0) >= amount for name, amount in wanted.items())


def largest(sets: Iterable[Iterable[str]]) -> tuple[str, ...]:
    """The smallest set that fits all of these: each name at its largest amount."""
    most: dict[str, float] = {}
    for words in sets:
        for name, amount in amounts(words).items():
            most[name] = max(amount, most.get(name, 0.0))
    return capability_set(most)


def _number(amount: float) -> str:
    if not math.isfinite(amount):
        return str(amount)
    # Never with an exponent, which is no amount.
    return str(int(amount)) if float(amount).is_integer() else format(Decimal(repr(amount)), "f")
