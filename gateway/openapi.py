"""What the gateway can be asked, as OpenAPI 3.1 and as a page. Pure; a client that we did not write holds us to it."""

from html import escape
from typing import Any

from ebbflow.gateway.asking import MOST_COST, MOST_LEASE_SECONDS, MOST_PRIORITY
from ebbflow.gateway.journal import KEPT
from ebbflow.gateway.reports import MOST, MOST_REQUESTS
from ebbflow.gateway.wire import ADDRESS, ENDPOINT

Node = dict[str, Any]
"""A part of the document. Any: JSON."""

_TEXT: Node = {"type": "string"}
_NUMBER: Node = {"type": "number"}
_WHOLE: Node = {"type": "integer"}
_YES: Node = {"type": "boolean"}
_COUNT: Node = {"type": "number", "minimum": 0}
_FIGURE: Node = {"type": "number", "minimum": -MOST, "maximum": MOST}
_ADDRESS: Node = {"type": "string", "pattern": f"^{ADDRESS.pattern}$", "maxLength": 300}
_ERROR: Node = {"type": "object", "required": ["error"], "properties": {"error": _TEXT}}
_NAME: Node = {"type": "string", "pattern": f"^{ENDPOINT.pattern}$"}
_REFUSALS = {400: "A field is not what it should be", 401: "Authentication failed", 429: "Ask again later"}
_SERVER = {503: "The database does not answer: ask again"}


def _object(properties: Node, required: list[str] | None = None) -> Node:
    return {"type": "object", "properties": properties, "required": list(properties) if required is None else required}


def _list(items: Node) -> Node:
    return {"type": "array", "items": items}


def _maybe(node: Node) -> Node:
    return {"anyOf": [node, {"type": "null"}]}


def _json(description: str, schema: Node, *, headers: bool = False) -> Node:
    shown: Node = {"description": description, "content": {"application/json": {"schema": schema}}}
    if headers:
        shown["headers"] = {"Retry-After": {"schema": _TEXT}}
    return shown


def _plain(description: str, kind: str) -> Node:
    return {"description": description, "content": {kind: {"schema": _TEXT}}}


def _asked(
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
    refusals = {**(more or {}), **(_REFUSALS if tag != "everybody" else {})}
    if body is not None:
        refusals |= {400: _REFUSALS[400], 408: "The body did not come", 413: "The body is too long"}
    answers = {str(status): answer}
    answers |= {str(code): _json(words, _ERROR, headers=code in (429, 503)) for code, words in sorted(refusals.items())}
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


def _path(name: str, schema: Node) -> Node:
    return {"name": name, "in": "path", "required": True, "schema": schema}


_TICKET = _object(
    {
        "endpoint": _TEXT,
        "url": _TEXT,
        "cost": _NUMBER,
        "reqnum": _WHOLE,
        "request_idx": _WHOLE,
        "signature": _TEXT,
        "__request_id": _TEXT,
    }
)
_WAIT = _object(
    {
        "endpoint": _TEXT,
        "status": _TEXT,
        "request_idx": _WHOLE,
        "position": _WHOLE,
        "expected_wait_seconds": _maybe(_NUMBER),
        "__request_id": _TEXT,
    }
)
_WAIT["not"] = {"required": ["url"]}
_ROUTE = _object(
    {
        "endpoint": _NAME,
        "api_key": _TEXT,
        "cost": {**_NUMBER, "minimum": 0, "maximum": MOST_COST, "default": 1},
        "request_idx": {**_WHOLE, "minimum": 0, "maximum": 2**53, "default": 0},
        "replay_timeout": {**_NUMBER, "default": 60},
        "priority": {**_WHOLE, "minimum": -MOST_PRIORITY, "maximum": MOST_PRIORITY, "default": 0},
    },
    ["endpoint"],
)
_REPORT = _object(
    {
        "id": {"anyOf": [{**_WHOLE, "minimum": 0, "maximum": 2**63}, {"type": "string", "pattern": "^[ -~]{0,64}$"}]},
        "mtoken": _TEXT,
        "version": _TEXT,
        "loadtime": _FIGURE,
        "cur_load": _FIGURE,
        "new_load": _FIGURE,
        "rej_load": _FIGURE,
        "max_perf": _FIGURE,
        "cur_perf": _FIGURE,
        "num_requests_working": _FIGURE,
        "num_requests_recieved": _FIGURE,
        "working_request_idxs": {**_list({**_WHOLE, "minimum": 0, "maximum": MOST}), "maxItems": MOST_REQUESTS},
        "disk_usage": _FIGURE,
        "error_msg": _TEXT,
        "url": _TEXT,
    },
    ["mtoken"],
)
_ENDPOINT_ROW = _object(
    {
        "name": _TEXT,
        "number": _WHOLE,
        "max_queue_seconds": _NUMBER,
        "most_waiting": _WHOLE,
        "routes_per_second": _NUMBER,
    }
)
_WORKER = _object(
    {
        "worker_id": _TEXT,
        "home": _TEXT,
        "url": _TEXT,
        "is_draining": _YES,
        "is_leased": _YES,
        "ready": _YES,
        "loaded": _YES,
        "busy": _maybe(_YES),
        "error": _TEXT,
        "error_seconds": _maybe(_COUNT),
        "other_url": _TEXT,
        "report_age_seconds": _maybe(_NUMBER),
        "load_seconds": _maybe(_NUMBER),
        "max_perf": _NUMBER,
        "cur_load": _maybe(_NUMBER),
        "offered_per_second": _maybe(_NUMBER),
        "rejected_per_second": _maybe(_NUMBER),
        "restarts": _WHOLE,
    }
)
_ACCOUNT = _object(
    {
        "queued_requests": _COUNT,
        "in_flight_requests": _COUNT,
        "arrived": _COUNT,
        "served": _COUNT,
        "served_units": _COUNT,
        "queued_units": _COUNT,
        "oldest_seconds": _maybe(_COUNT),
        "in_flight_units": _COUNT,
        "usual_load_seconds": _maybe(_COUNT),
        "workers": _list(_WORKER),
    }
)
_SEEN = _object({"id": _WHOLE, "status": {"enum": ["idle", "model_loading", "error"]}, "perf": _COUNT})
_VENDORS = _object({"id": _WHOLE, "endpoint_name": _TEXT, "api_key": _TEXT, "user_id": _WHOLE, "created_at": _NUMBER})
_LEASE = {**_NUMBER, "minimum": 1, "maximum": MOST_LEASE_SECONDS, "default": 600}
_OK = _object({"ok": {"const": True}})
_ABSENT = {404: "There is no such endpoint or worker"}
_WORKER_ID = _path("worker_id", {"type": "string", "minLength": 1})
_ENDPOINT_NAME = _path("name", _NAME)
_OWN = _object({"id": _WHOLE, "api_key": _TEXT, "tail": {**_WHOLE, "minimum": 0, "maximum": KEPT}}, [])

_PATHS: dict[str, Node] = {
    "/route/": {
        "post": _asked(
            "Ask for a worker, or ask again; without the key `url`, wait and ask again under `request_idx`",
            "clients",
            _json("A ticket, or a place in the queue", {"anyOf": [_TICKET, _WAIT]}),
            body=_ROUTE,
            more=_SERVER,
        )
    },
    "/get_endpoint_workers/": {
        "post": _asked(
            "The workers of the key's endpoint", "clients", _json("Them", _list(_SEEN)), body=_OWN, more=_ABSENT
        )
    },
    "/get_endpoint_logs/": {
        "post": _asked(
            "What happened at the key's endpoint",
            "clients",
            _json("Lines, the same at each level", {"type": "object", "additionalProperties": _TEXT}),
            body=_OWN,
            more=_ABSENT,
        )
    },
    "/api/v0/endptjobs/": {
        "get": _asked(
            "The key's endpoint, as a list of one",
            "clients",
            _json("It", _object({"success": _YES, "results": _list(_VENDORS)})),
        )
    },
    "/api/v0/endptjobs/{number}/": {
        "get": _asked(
            "The key's endpoint",
            "clients",
            _json("It", _object({"success": _YES, "result": _VENDORS})),
            more=_ABSENT,
            parameters=[_path("number", {**_WHOLE, "minimum": 0})],
        )
    },
    "/pubkey/": {
        "get": _asked("The key by which workers check tickets", "everybody", _plain("PEM", "text/plain; charset=utf-8"))
    },
    "/worker_status/": {
        "post": _asked("A worker tells how it does", "workers", _json("It was taken", _object({})), body=_REPORT)
    },
    "/delete_requests/": {
        "post": _asked(
            "A worker has requests no more",
            "workers",
            _json("It was taken", _object({})),
            body=_object(
                {
                    "mtoken": _TEXT,
                    "requests": {
                        **_list({"type": "object", "properties": {"request_idx": _WHOLE, "success": _YES}}),
                        "maxItems": MOST_REQUESTS,
                    },
                }
            ),
        )
    },
    "/lease/": {
        "post": _asked(
            "Whether anybody still wants this worker, and what it has said of itself",
            "workers",
            _json("For how long", _object({"leased": _YES, "seconds": _COUNT, "broken": _YES})),
            body=_object({"mtoken": _TEXT}),
        )
    },
    "/operator/endpoints": {
        "get": _asked(
            "All endpoints",
            "operators",
            _json("Them", _object({"endpoints": _list(_object({"name": _TEXT, "number": _WHOLE}))})),
        )
    },
    "/operator/endpoints/{name}": {
        "parameters": [_ENDPOINT_NAME],
        "get": _asked("Its work, and who does it", "operators", _json("The account", _ACCOUNT), more=_ABSENT),
        "put": _asked(
            "Make an endpoint, or change it",
            "operators",
            _json("As it is now", _ENDPOINT_ROW),
            body=_object(
                {
                    "max_queue_seconds": {**_NUMBER, "minimum": 0.001, "maximum": 86_400, "default": 30},
                    "most_waiting": {**_WHOLE, "minimum": 1, "maximum": 1_000_000, "default": 20_000},
                    "routes_per_second": {**_NUMBER, "minimum": 1, "maximum": 1e6, "default": 10_000},
                },
                [],
            ),
            more=_SERVER,
        ),
    },
    "/operator/endpoints/{name}/keys": {
        "parameters": [_ENDPOINT_NAME],
        "post": _asked(
            "Make a client key; with an overlap, those of before end after it",
            "operators",
            _json("It, told once", _object({"key": _TEXT})),
            body=_object({"overlap_seconds": _maybe({**_NUMBER, "minimum": 0, "maximum": 316_224_000})}, []),
            more={**_ABSENT, **_SERVER},
            status=201,
        ),
    },
    "/operator/endpoints/{name}/log": {
        "parameters": [_ENDPOINT_NAME],
        "get": _asked(
            "What happened at an endpoint",
            "operators",
            _json("Lines", _object({"lines": _list(_object({"at": _NUMBER, "worker_id": _TEXT, "words": _TEXT}))})),
            more=_ABSENT,
        ),
    },
    "/operator/endpoints/{name}/leases": {
        "parameters": [_ENDPOINT_NAME],
        "post": _asked(
            "Let workers be routed to for so long from now",
            "operators",
            _json("By worker id, whether it spoke of late", {"type": "object", "additionalProperties": _YES}),
            body=_object({"worker_ids": _list(_TEXT), "lease_seconds": _LEASE}, ["worker_ids"]),
            more={**_ABSENT, **_SERVER},
        ),
    },
    "/operator/endpoints/{name}/workers/{worker_id}": {
        "parameters": [_ENDPOINT_NAME, _WORKER_ID],
        "put": _asked(
            "Let a worker that speaks be routed to at this address",
            "operators",
            _json("Whether it speaks", _object({"heard": _YES, "ready": _YES})),
            body=_object({"url": _ADDRESS, "home": {**_TEXT, "maxLength": 20}, "lease_seconds": _LEASE}, ["url"]),
            more={**_ABSENT, **_SERVER},
        ),
        "delete": _asked("Forget a worker", "operators", _json("It is forgotten", _object({})), more=_SERVER),
    },
    "/operator/workers/{worker_id}/drain": {
        "parameters": [_WORKER_ID],
        "put": _asked(
            "Route nothing more to a worker",
            "operators",
            _json("Whether it works", _object({"busy": _YES})),
            more={**_ABSENT, **_SERVER},
        ),
        "delete": _asked(
            "Route to it again",
            "operators",
            _json("Whether it works", _object({"busy": _YES})),
            more={**_ABSENT, **_SERVER},
        ),
    },
    "/metrics": {
        "get": _asked("Figures for Prometheus", "operators", _plain("Its text format", "text/plain; version=1.0.0"))
    },
    "/healthz": {"get": _asked("Whether it runs", "everybody", _json("It does", _OK))},
    "/readyz": {"get": _asked("Whether it can keep what it is told", "everybody", _json("It can", _OK), more=_SERVER)},
}

DOCUMENT: Node = {
    "openapi": "3.1.0",
    "info": {
        "title": "Ebbflow gateway",
        "version": "1",
        "description": "Tells clients which worker to use, by what workers tell of themselves. Paths of workers and "
        "clients are those of Vast's software.",
    },
    "paths": _PATHS,
    "components": {
        "securitySchemes": {
            "clients": {"type": "http", "scheme": "bearer", "description": "A key of one endpoint."},
            "operators": {"type": "http", "scheme": "bearer", "description": "EBBFLOW_GATEWAY_OPERATOR_KEY."},
        }
    },
}


def page() -> str:
    """The same for people: a table that needs no network."""
    rows = "".join(
        f"<tr><td>{method.upper()}</td><td><code>{escape(path)}</code></td>"
        f"<td>{escape(operation['tags'][0])}</td><td>{escape(operation['summary'])}</td>"
        f"<td>{escape(', '.join(operation['responses']))}</td></tr>"
        for path, operations in _PATHS.items()
        for method, operation in operations.items()
        if method != "parameters"
    )
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>Ebbflow gateway</title>"
        "<style>body{font:15px sans-serif;margin:2rem}td,th{padding:.3rem .8rem;text-align:left;"
        "border-bottom:1px solid #ccc}</style>"
        f"<h1>Ebbflow gateway</h1><p>{escape(DOCUMENT['info']['description'])} "
        "With all shapes: <a href='/openapi.json'>openapi.json</a>.</p>"
        "<table><tr><th>Method</th><th>Path</th><th>For</th><th>What</th><th>Answers</th></tr>"
        f"{rows}</table></html>"
    )
