"""How a turn ends. Who runs turns makes of it what it shows: a Prefect state, a line of a command, nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from ebbflow.core.plan import Outcome
from ebbflow.core.record import Record
from ebbflow.decision.evaluate import Evaluation


class SkipReason(Enum):
    """Why a turn did nothing. Nothing is lost by it: the next one observes again."""

    TOO_EARLY = "too_early"
    """The last turn is younger than two turns are apart (`Fleet.least_apart_seconds`)."""
    TOO_LATE = "too_late"
    """Its look outlasted the turn's budget, and is too old to act on."""
    CALLED_OFF = "called_off"
    """A turn had asked for it, and a person has stopped or changed what it is of since."""
    NOT_CLAIMED = "not_claimed"
    """Another run claimed its number."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """The turn kept workers alive, and did nothing else."""

    reason: SkipReason
    text: str
    """The same for people."""


@dataclass(frozen=True, slots=True)
class DryRun:
    """The turn looked and decided, and changed nothing anywhere."""

    number: int
    """The claim that it would have gone for."""
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Held:
    """The turn decided, and there was nothing to do."""

    record: Record
    evaluation: Evaluation


@dataclass(frozen=True, slots=True)
class Acted:
    """The turn decided and acted."""

    record: Record
    evaluation: Evaluation
    outcomes: Sequence[Outcome]
    logs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By worker id, what those printed that were ended in this turn, where their provider keeps it."""


TurnResult = Skipped | DryRun | Held | Acted
