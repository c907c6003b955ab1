"""What becomes of one simulated request, from its arrival to its answer or its loss."""

from dataclasses import dataclass, field
from enum import Enum


class Lost(Enum):
    """Why a request was not served; the names stand in the JSON of a summary."""

    GATEWAY_REFUSED = "gateway_refused"
    """A key, a name or a number that it does not take."""
    GATEWAY_UNREACHABLE = "gateway_unreachable"
    """No answer: clients of the vendor do not ask again either."""
    GATEWAY_NONSENSE = "gateway_nonsense"
    """What it answered is no answer of a gateway."""
    OUT_OF_PATIENCE = "out_of_patience"
    """Nobody had served it when its patience was over."""
    WORKER_REFUSED = "worker_refused"
    """A status with which no other worker is asked."""
    WORKER_NONSENSE = "worker_nonsense"
    """What it answered is no answer of a model."""
    WORKER_TOO_LONG = "worker_too_long"
    """The answer did not end in the time, or within the bytes, that there are for one."""
    CUT_OFF = "cut_off"
    """The run was ended before it."""


class GivenUp(Exception):
    """A client stops asking.

    Attributes:
        lost: why.
        words: what was answered, for a person.
    """

    def __init__(self, lost: Lost, words: str) -> None:
        super().__init__(words)
        self.lost, self.words = lost, words


@dataclass(slots=True)
class Life:
    """One request while it goes on, and what came of it; points of time are those of the run's clock."""

    due_at: float
    """When it was to come: what it took counts from here, so that a slow simulator flatters nobody."""
    began_at: float
    """When it came; its patience counts from here."""
    tokens_asked: int
    ended_at: float | None = None
    tokens: int = 0
    """Of the answer so far."""
    wasted_tokens: int = 0
    """Of answers that broke off, which came again from another worker."""
    first_token_at: float | None = None
    """Of the answer that it got; without a stream, when that was there."""
    queue_seconds: float = 0.0
    """That it was told to wait, in all."""
    is_waiting: bool = False
    worker_url: str = ""
    """Where it was sent last; empty: nowhere."""
    sent_at: float | None = None
    """When that was."""
    failed_at: list[str] = field(default_factory=list)
    """Addresses of workers that did not serve it, in order."""
    reroutes: int = 0
    """How often it asked for another worker."""
    lost: Lost | None = None
    words: str = ""
    """What was answered to a request that is lost."""

    @property
    def is_served(self) -> bool:
        """Whether its answer came, wholly."""
        return self.ended_at is not None and self.lost is None
