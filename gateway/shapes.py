"""The shapes of what is asked and answered, and how one operation is written down, in OpenAPI 3.1. Pure."""

from typing import Any

from ebbflow.gateway.asking import MOST_COST, MOST_LEASE_SECONDS, MOST_PRIORITY
from ebbflow.gateway.journal import KEPT
from ebbflow.gateway.kinds import KINDS
from ebbflow.gateway.plain import LOADING_SECONDS, REQUEST_SECONDS
from ebbflow.gateway.registration import KEY, MOST_KEY, MOST_PATH, MOST_PROMPT, PATH
from ebbflow.gateway.reports import MOST, MOST_REQUESTS
from ebbflow.gateway.wire import ADDRESS, ENDPOINT

Node = dict[str, Any]
"""A part of the document. Any: JSON."""

TEXT: Node = {"type": "string"}
NUMBER: Node = {"type": "number"}
WHOLE: Node = {"type": "integer"}
YES: Node = {"type": "boolean"}
COUNT: Node = {"type": "number", "minimum": 0}
FIGURE: Node = {"type": "number", "minimum": -MOST, "maximum": MOST}
A_URL: Node = {"type": "string", "pattern": f"^{ADDRESS.pattern}$", "maxLength": 300}
ERROR: Node = {"type": "object", "required": ["error"], "properties": {"error": TEXT}}
NAME: Node = {"type": "string", "pattern": f"^{ENDPOINT.pattern}$"}
SERVER = {503: "No gateway decides now, or the database does not answer: ask again"}
REFUSALS = {400: "A field is not what it should be", 401: "Authentication failed", 429: "Ask again later", **SERVER}


def an_object(properties: Node, required: list[str] | None = None) -> Node:
    """An object with these properties; all are required, unless some are named."""
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required}


def a_list(items: Node) -> Node:
    """A list of these."""
    return {"type": "array", "items": items}


def maybe(node: Node) -> Node:
    """This, or null."""
    return {"anyOf": [node, {"type": "null"}]}


def answer_of(description: str, schema: Node, *, headers: bool = False) -> Node:
    """An answer in JSON."""
    shown: Node = {"description": description, "content": {"application/json": {"schema": schema}}}
    if headers:
        shown["headers"] = {"Retry-After": {"schema": TEXT}}
    return shown


def text_of(description: str, kind: str) -> Node:
    """An answer of another kind."""
    return {"description": description, "content": {kind: {"schema": TEXT}}}


def asked(
    summary: str,
    tag: str,
    answer: Node,
    *,
    body: Node | None = None,
    more: dict[int, str] | None = None,
    parameters: list[Node] | None = None,
    status: int = 200,
) -> Node:
    """One operation, with the refusals that its kind may get."""
    refusals = {**(more or {}), **(REFUSALS if tag != "everybody" else {})}
    if body is not None:
        refusals |= {400: REFUSALS[400], 408: "The body did not come", 413: "The body is too long"}
    answers = {str(status): answer}
    answers |= {
        str(code): answer_of(words, ERROR, headers=code in (429, 503)) for code, words in sorted(refusals.items())
    }
    operation: Node = {"summary": summary, "tags": [tag], "responses": answers}
    if body is not None:
        operation["requestBody"] = {
            "required": bool(body["required"]),
            "content": {"application/json": {"schema": body}},
        }
    if parameters:
        operation["parameters"] = parameters
    # A worker's proof is in its body.
    operation["security"] = [{tag: []}] if tag in ("clients", "operators") else []
    return operation


def in_path(name: str, schema: Node) -> Node:
    """A parameter of the path."""
    return {"name": name, "in": "path", "required": True, "schema": schema}


TICKET = an_object(
    {
        "endpoint": TEXT,
        "url": TEXT,
        "cost": NUMBER,
        "reqnum": WHOLE,
        "request_idx": WHOLE,
        "signature": TEXT,
        "__request_id": TEXT,
        "kind": TEXT,
        "model": TEXT,
    },
    ["endpoint", "url", "cost", "reqnum", "request_idx", "signature", "__request_id"],
)
WAIT = an_object(
    {
        "endpoint": TEXT,
        "status": TEXT,
        "request_idx": WHOLE,
        "position": WHOLE,
        "expected_wait_seconds": maybe(NUMBER),
        "__request_id": TEXT,
    }
)
WAIT["not"] = {"required": ["url"]}
ROUTE = an_object(
    {
        "endpoint": NAME,
        "api_key": TEXT,
        "cost": {**NUMBER, "minimum": 0, "maximum": MOST_COST, "default": 1},
        "request_idx": {**WHOLE, "minimum": 0, "maximum": 2**53, "default": 0},
        "replay_timeout": {**NUMBER, "default": 60},
        "priority": {**WHOLE, "minimum": -MOST_PRIORITY, "maximum": MOST_PRIORITY, "default": 0},
    },
    ["endpoint"],
)
REPORT = an_object(
    {
        "id": {"anyOf": [{**WHOLE, "minimum": 0, "maximum": 2**63}, {"type": "string", "pattern": "^[ -~]{0,64}$"}]},
        "mtoken": TEXT,
        "version": TEXT,
        "loadtime": FIGURE,
        "cur_load": FIGURE,
        "new_load": FIGURE,
        "rej_load": FIGURE,
        "max_perf": FIGURE,
        "cur_perf": FIGURE,
        "num_requests_working": FIGURE,
        "num_requests_recieved": FIGURE,
        "working_request_idxs": {**a_list({**WHOLE, "minimum": 0, "maximum": MOST}), "maxItems": MOST_REQUESTS},
        "disk_usage": FIGURE,
        "error_msg": TEXT,
        "url": TEXT,
    },
    ["mtoken"],
)
ENDPOINT_ROW = an_object(
    {
        "name": TEXT,
        "number": WHOLE,
        "max_queue_seconds": NUMBER,
        "most_waiting": WHOLE,
        "routes_per_second": NUMBER,
    }
)
WORKER = an_object(
    {
        "worker_id": TEXT,
        "home": TEXT,
        "url": TEXT,
        "is_draining": YES,
        "is_leased": YES,
        "ready": YES,
        "loaded": YES,
        "busy": maybe(YES),
        "error": TEXT,
        "error_seconds": maybe(COUNT),
        "other_url": TEXT,
        "report_age_seconds": maybe(NUMBER),
        "load_seconds": maybe(NUMBER),
        "max_perf": NUMBER,
        "cur_load": maybe(NUMBER),
        "offered_per_second": maybe(NUMBER),
        "rejected_per_second": maybe(NUMBER),
        "restarts": WHOLE,
        "kind": TEXT,
    }
)
NOT_SO = {422: "Servers of this kind cannot be tested so"}
KIND_NAMES = sorted(KINDS)
"""Of servers that report nothing."""
PLAIN_SERVER = an_object(
    {
        "kind": {"enum": KIND_NAMES},
        "model": {**TEXT, "maxLength": 300},
        "prompt": {**TEXT, "maxLength": MOST_PROMPT},
        "prompt_path": {**TEXT, "maxLength": MOST_PATH, "pattern": f"^{PATH.pattern}$"},
        "api_key": {**TEXT, "maxLength": MOST_KEY, "pattern": f"^{KEY.pattern}$"},
        "metrics_port": maybe({**WHOLE, "minimum": 1, "maximum": 65_535}),
        "units_per_second": {**NUMBER, "minimum": 1e-6, "maximum": MOST_COST, "default": 1},
        "loading_seconds": {**NUMBER, "minimum": 1, "maximum": 86_400, "default": LOADING_SECONDS},
        "request_seconds": {**NUMBER, "minimum": 1, "maximum": 86_400, "default": REQUEST_SECONDS},
    },
    ["kind"],
)
PLAIN_SERVER["additionalProperties"] = False
ACCOUNT = an_object(
    {
        "queued_requests": COUNT,
        "in_flight_requests": COUNT,
        "arrived": COUNT,
        "served": COUNT,
        "served_units": COUNT,
        "queued_units": COUNT,
        "oldest_seconds": maybe(COUNT),
        "in_flight_units": COUNT,
        "usual_load_seconds": maybe(COUNT),
        "workers": a_list(WORKER),
    }
)
SEEN = an_object({"id": WHOLE, "status": {"enum": ["idle", "model_loading", "error"]}, "perf": COUNT})
VENDORS = an_object({"id": WHOLE, "endpoint_name": TEXT, "api_key": TEXT, "user_id": WHOLE, "created_at": NUMBER})
LEASE = {**NUMBER, "minimum": 1, "maximum": MOST_LEASE_SECONDS, "default": 600}
OK = an_object({"ok": {"const": True}})
ABSENT = {404: "There is no such endpoint or worker"}
WORKER_ID = in_path("worker_id", {"type": "string", "minLength": 1})
ENDPOINT_NAME = in_path("name", NAME)
OWN = an_object({"id": WHOLE, "api_key": TEXT, "tail": {**WHOLE, "minimum": 0, "maximum": KEPT}}, [])
