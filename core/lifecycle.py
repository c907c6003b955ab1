"""The life of a worker, as one table.

The diagram in `docs/lifecycle.md` is drawn from `TRANSITIONS`; a test fails when it is stale. A state that does not
change is always allowed; any other pair that is not in the table is a mistake of ours and raises.
"""

from enum import Enum
from types import MappingProxyType


class WorkerState(Enum):
    """What the scaler believes about one worker."""

    WISHED = "wished"
    """A record asks for its launch; no listing has shown it yet. Supply; limits count it."""
    PENDING = "pending"
    """Accepted by the provider, not started. Supply; may be ended only by a call that fails once it runs."""
    STARTING = "starting"
    """It runs and does not serve yet. Supply; never a victim, but given up after its launch timeout."""
    READY = "ready"
    """The master gives it work. Supply; a victim when idle."""
    DRAINING = "draining"
    """Marked: takes no new work. Policies do not count it, limits do."""
    TERMINATING = "terminating"
    """The provider is ending it. Policies do not count it, limits do until it is gone."""
    GONE = "gone"
    """The provider says so. Counts nowhere; kept until the master has forgotten it too; back if it is listed again."""
    FAILED = "failed"
    """It will not serve: refused, crashed, or never ready in time. Torn down; limits count it until it is gone."""
    LOST = "lost"
    """Neither serving nor seen to be gone. Not supply; limits count it; it may come back."""

    # There is one object of each, so its identity will do: whoever counts a thousand workers hashes a thousand states.
    __hash__ = object.__hash__


_S = WorkerState

TRANSITIONS = MappingProxyType(
    {
        _S.WISHED: frozenset(
            {_S.PENDING, _S.STARTING, _S.READY, _S.DRAINING, _S.TERMINATING, _S.GONE, _S.FAILED, _S.LOST}
        ),
        _S.PENDING: frozenset({_S.STARTING, _S.READY, _S.DRAINING, _S.TERMINATING, _S.GONE, _S.FAILED, _S.LOST}),
        _S.STARTING: frozenset({_S.PENDING, _S.READY, _S.DRAINING, _S.TERMINATING, _S.GONE, _S.FAILED, _S.LOST}),
        _S.READY: frozenset({_S.PENDING, _S.STARTING, _S.DRAINING, _S.TERMINATING, _S.GONE, _S.FAILED, _S.LOST}),
        _S.DRAINING: frozenset({_S.STARTING, _S.READY, _S.TERMINATING, _S.GONE, _S.FAILED, _S.LOST}),
        _S.TERMINATING: frozenset({_S.GONE, _S.FAILED, _S.LOST}),
        _S.FAILED: frozenset({_S.TERMINATING, _S.GONE, _S.LOST}),
        _S.LOST: frozenset({_S.PENDING, _S.STARTING, _S.READY, _S.DRAINING, _S.TERMINATING, _S.GONE, _S.FAILED}),
        _S.GONE: frozenset({_S.PENDING, _S.STARTING, _S.READY, _S.DRAINING, _S.TERMINATING, _S.FAILED, _S.LOST}),
    }
)
"""From each state, the states that one turn may find next. Listings are sparse, so steps in between may be skipped."""

SUPPLY = frozenset({_S.WISHED, _S.PENDING, _S.STARTING, _S.READY})
"""What policies count: who serves or starts."""

JOINING = frozenset({_S.WISHED, _S.PENDING, _S.STARTING})
"""Who is on the way to serving; the launch timeout runs in these states."""


class LifecycleError(ValueError):
    """Two states that cannot follow each other: a mistake of ours."""


def move(current: WorkerState, following: WorkerState, *, worker_id: str = "worker") -> WorkerState:
    """Check one step of a worker's life and return where it leads.

    Raises:
        LifecycleError: names the worker, its state and the state that cannot follow.
    """
    if following is not current and following not in TRANSITIONS[current]:
        allowed = ", ".join(sorted(state.value for state in TRANSITIONS[current])) or "nothing"
        raise LifecycleError(
            f"{worker_id} is {current.value} and cannot become {following.value}; may become: {allowed}"
        )
    return following
