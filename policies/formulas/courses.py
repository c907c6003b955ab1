"""Turns that follow each other, for policies that read counts alone (`core.ports.Counting`). Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ebbflow.core.observation import Counted
from ebbflow.core.plan import PolicyMemory


@dataclass(frozen=True, slots=True)
class Forgetful:
    """The course of a policy that remembers nothing: each turn is as the first."""

    wanted: Callable[[Counted], int]
    """How many workers there should be."""
    remembers: PolicyMemory = field(default_factory=dict)
