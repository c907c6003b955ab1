"""The steps of the demo, and about how long each takes: so that a person knows how long there is to wait."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Step(Enum):
    """One step, in the order in which they come."""

    START = "start"
    DEPLOY = "deploy"
    BRING_UP = "bring up"
    LOAD = "load"
    BRING_BACK = "bring back"
    WIND_DOWN = "wind down"


USUAL_SECONDS: Mapping[Step, float] = {
    Step.START: 12,
    Step.DEPLOY: 8,
    Step.BRING_UP: 20,
    Step.LOAD: 10,
    Step.BRING_BACK: 40,
    Step.WIND_DOWN: 35,
}
"""As they were on two cores; the load takes as long as it is besides."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How long the rest takes, guessed.

    Args:
        load_seconds: how long requests arrive.
        keeps: whether the fleet is left alive, and so not wound down.
    """

    load_seconds: float
    keeps: bool = False

    def left_seconds(self, step: Step, in_step_seconds: float) -> float:
        """From now to the end: what is left of this step if it is a usual one, and those that follow."""
        steps = [each for each in Step if not (self.keeps and each is Step.WIND_DOWN)]
        rest = steps[steps.index(step) + 1 :] if step in steps else []
        return max(0.0, self._usual(step) - in_step_seconds) + sum(self._usual(each) for each in rest)

    def _usual(self, step: Step) -> float:
        return USUAL_SECONDS[step] + (self.load_seconds if step is Step.LOAD else 0.0)
