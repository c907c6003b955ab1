"""Faults that a test switches on in a stand-in Vast API.

Source of the answers: vast-ai/docs, "Rate limits and errors"; what users of the real service reported.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum

from starlette.responses import JSONResponse, PlainTextResponse, Response

from ebbflow.standins.vast.refusals import Json


class FaultKind(Enum):
    """What goes wrong with a request."""

    ANSWER = "answer"
    """Answered as the test says, before anything is done."""
    ANSWER_AFTER = "answer_after"
    """Done, and then answered so."""
    DROP = "drop"
    """The connection ends without an answer, before anything is done."""
    DROP_AFTER = "drop_after"
    """Done, and then the connection ends without an answer."""
    HANG = "hang"
    """Never answered, and nothing is done."""
    LOSE_ANSWER = "lose_answer"
    """Done, and never answered."""
    SLOW = "slow"
    """Done and answered, `seconds` later."""
    TWICE = "twice"
    """A create makes two instances; besides any other fault."""
    LAG = "lag"
    """A create is not listed for `reads` listings; besides any other fault."""
    SHORT = "short"
    """A page of the listing lacks its last row, while `total_instances` counts it."""


BESIDES = (FaultKind.TWICE, FaultKind.LAG)


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer."""

    status: int
    body: Json | list[Json] | str
    """Text is sent as text."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> Response:
        """As it is sent."""
        if isinstance(self.body, str):
            return PlainTextResponse(self.body, self.status, headers=dict(self.headers))
        return JSONResponse(self.body, self.status, headers=dict(self.headers))


def _error(error: str, message: str) -> Json:
    return {"success": False, "error": error, "msg": message}


TOO_FREQUENT = "API requests too frequent: endpoint threshold=4.5"
PAGE: Json = {"success": True, "total_instances": 1, "next_token": None}
ANSWERS: Mapping[str, Answer] = {
    "no_such_ask_404": Answer(404, _error("invalid_args", "error 404/3603: no_such_ask is not available")),
    "no_such_ask_410": Answer(410, _error("no_such_ask", "Instance type is not available")),
    "invalid_args": Answer(400, _error("invalid_args", "disk: below the minimum")),
    "missing_billing": Answer(400, _error("missing_billing", "Your account has no credit.")),
    "bad_key_401": Answer(401, _error("auth_error", "Invalid user key")),
    "bad_key_404": Answer(404, _error("auth_error", "Invalid user key")),
    "session_expired": Answer(404, _error("auth_error", "Session expired. Please log in again.")),
    "no_rights": Answer(403, _error("auth_error", "This key is not allowed to do that.")),
    "not_your_own": Answer(403, _error("invalid_args", "not your own")),
    "no_such_instance": Answer(404, _error("no_such_instance", "Instance not found.")),
    "not_found": Answer(404, "<html>404 Not Found</html>"),
    "deprecated": Answer(410, _error("deprecated_endpoint", "Use /api/v1/instances/")),
    "too_frequent_text": Answer(429, TOO_FREQUENT),
    "too_frequent_json": Answer(429, {"detail": TOO_FREQUENT}),
    "too_frequent_retry_after": Answer(429, {"msg": TOO_FREQUENT}, {"retry-after": "2"}),
    "server_error": Answer(500, "Internal Server Error"),
    "bad_gateway": Answer(502, "<html>502 Bad Gateway</html>"),
    "unavailable": Answer(503, "Service Unavailable"),
    "unreadable": Answer(200, "<html>hello</html>"),
    "not_done": Answer(200, _error("unknown", "The request was not carried out.")),
    "only_said": Answer(200, {"success": True}),
    "no_instances": Answer(200, PAGE),
    "instances_not_a_list": Answer(200, {**PAGE, "instances": {"id": 1}}),
}
"""Answers by name. `only_said` claims a success, and nothing is done."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that is switched on."""

    kind: FaultKind
    method: str = ""
    """Empty for every method."""
    path: str = ""
    """A regular expression that is found in path and query, such as `/asks/` or `after_token=`."""
    times: int | None = None
    """How many requests it still hits; None: all."""
    answer: Answer = ANSWERS["server_error"]
    seconds: float = 0.0
    reads: int = 0

    def hits(self, method: str, address: str) -> bool:
        """Whether a request is struck."""
        return self.method in ("", method) and re.search(self.path, address) is not None


def answering(name: str, method: str = "", path: str = "", *, times: int | None = None, after: bool = False) -> Fault:
    """A fault that answers with one of `ANSWERS`, instead of doing anything or after it."""
    kind = FaultKind.ANSWER_AFTER if after else FaultKind.ANSWER
    return Fault(kind, method, path, times, answer=ANSWERS[name])


def take_faults(faults: list[Fault], method: str, address: str) -> tuple[Fault | None, list[Fault]]:
    """Count and return the oldest fault that strikes a request, and those that come besides."""
    main: Fault | None = None
    besides: list[Fault] = []
    for fault in list(faults):
        is_beside = fault.kind in BESIDES
        if not fault.hits(method, address) or (main is not None and not is_beside):
            continue
        if is_beside:
            besides.append(fault)
        else:
            main = fault
        _count(faults, fault)
    return main, besides


def _count(faults: list[Fault], fault: Fault) -> None:
    index = next(index for index, each in enumerate(faults) if each is fault)
    if fault.times is not None and fault.times <= 1:
        del faults[index]
    elif fault.times is not None:
        faults[index] = replace(fault, times=fault.times - 1)
