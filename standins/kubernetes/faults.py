"""Faults that a test switches on in a stand-in Kubernetes API server."""

from dataclasses import dataclass, replace
from enum import Enum

from starlette.responses import JSONResponse, Response

from ebbflow.standins.kubernetes.objects import Refused


class FaultKind(Enum):
    """What goes wrong with a request."""

    FAIL = "fail"
    """Answered with a status of the test's choice, before anything is done."""
    FAIL_AFTER = "fail_after"
    """Done, and then answered with that status."""
    HANG = "hang"
    """Never answered, and nothing is done."""
    LOSE_ANSWER = "lose_answer"
    """Done, and never answered."""
    SLOW = "slow"
    """Done and answered, `seconds` later."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that is switched on."""

    kind: FaultKind
    method: str = ""
    """Empty for every method."""
    within: str = ""
    """A part of path and query, such as `/pods` or `continue=`."""
    status: int = 500
    message: str = "switched on by a test"
    retry_after: int | None = None
    seconds: float = 0.0
    times: int | None = None
    """How many requests it still hits; None: all."""

    def hits(self, method: str, address: str) -> bool:
        """Whether a request is struck."""
        return self.method in ("", method) and self.within in address


def take_fault(faults: list[Fault], method: str, address: str) -> Fault | None:
    """Return the oldest fault that strikes a request, and count it."""
    for index, fault in enumerate(faults):
        if fault.hits(method, address):
            if fault.times is not None and fault.times <= 1:
                del faults[index]
            elif fault.times is not None:
                faults[index] = replace(fault, times=fault.times - 1)
            return fault
    return None


def failure(fault: Fault) -> Response:
    """The answer of a request that is made to fail."""
    reasons = {401: "Unauthorized", 403: "Forbidden", 410: "Expired", 429: "TooManyRequests", 503: "ServiceUnavailable"}
    refused = Refused(fault.status, reasons.get(fault.status, "InternalError"), fault.message)
    headers = {} if fault.retry_after is None else {"retry-after": str(fault.retry_after)}
    return JSONResponse(refused.status, fault.status, headers=headers)
