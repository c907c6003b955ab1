"""A limit for a method of a master's adapter: each of its calls has one of its own, and there may be several."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from ebbflow.adapters.redaction import Redaction
from ebbflow.core.errors import FleetError, MasterUnavailable


@contextmanager
def time_limit(call_seconds: float, what: str, hide: Redaction) -> Iterator[None]:
    """End what is done within the time that one call of the port may take, with a little left for the answer.

    Args:
        call_seconds: the port's own limit.
        what: master and method, for people.
        hide: takes secrets out of errors: what a server says may quote what it was sent.

    Raises:
        MasterUnavailable: it took longer.
    """
    seconds = 0.95 * call_seconds
    try:
        with anyio.fail_after(seconds):
            yield
    except FleetError as error:
        cleaned = hide.cleaned(error)
        raise cleaned from cleaned.__cause__
    except TimeoutError as error:
        raise MasterUnavailable(f"{what} took longer than {seconds:g} s") from error


def seconds_given(call_seconds: float) -> float:
    """What a call may take that asks all workers one by one: the time that its caller has for it, where that is longer.

    Args:
        call_seconds: the port's own limit for one call.
    """
    left_seconds = anyio.current_effective_deadline() - anyio.current_time()
    return max(call_seconds, left_seconds) if math.isfinite(left_seconds) else call_seconds
