"""What the gateway can be asked, as OpenAPI 3.1 and as a page. Pure; a client that we did not write holds us to it."""

from html import escape

from ebbflow.gateway.reports import MOST_REQUESTS
from ebbflow.gateway.shapes import (
    A_URL,
    ABSENT,
    ACCOUNT,
    COUNT,
    ENDPOINT_NAME,
    ENDPOINT_ROW,
    LEASE,
    NAME,
    NOT_SO,
    NUMBER,
    OK,
    OWN,
    PLAIN_SERVER,
    REPORT,
    ROUTE,
    SEEN,
    SERVER,
    TEXT,
    TICKET,
    VENDORS,
    WAIT,
    WHOLE,
    WORKER_ID,
    YES,
    Node,
    a_list,
    an_object,
    answer_of,
    asked,
    in_path,
    maybe,
    text_of,
)

_PATHS: dict[str, Node] = {
    "/route/": {
        "post": asked(
            "Ask for a worker, or ask again; without the key `url`, wait and ask again under `request_idx`",
            "clients",
            answer_of("A ticket, or a place in the queue", {"anyOf": [TICKET, WAIT]}),
            body=ROUTE,
        )
    },
    "/done/": {
        "post": asked(
            "A client is done at a server that reports nothing, or was not served there",
            "clients",
            answer_of("Whether it was open", an_object({"settled": YES})),
            body=an_object(
                {
                    "endpoint": NAME,
                    "api_key": TEXT,
                    "request_idx": {**WHOLE, "minimum": 1, "maximum": 2**53},
                    "success": YES,
                },
                ["endpoint", "request_idx"],
            ),
        )
    },
    "/get_endpoint_workers/": {
        "post": asked(
            "The workers of the key's endpoint", "clients", answer_of("Them", a_list(SEEN)), body=OWN, more=ABSENT
        )
    },
    "/get_endpoint_logs/": {
        "post": asked(
            "What happened at the key's endpoint",
            "clients",
            answer_of("Lines, the same at each level", {"type": "object", "additionalProperties": TEXT}),
            body=OWN,
            more=ABSENT,
        )
    },
    "/api/v0/endptjobs/": {
        "get": asked(
            "The key's endpoint, as a list of one",
            "clients",
            answer_of("It", an_object({"success": YES, "results": a_list(VENDORS)})),
        )
    },
    "/api/v0/endptjobs/{number}/": {
        "get": asked(
            "The key's endpoint",
            "clients",
            answer_of("It", an_object({"success": YES, "result": VENDORS})),
            more=ABSENT,
            parameters=[in_path("number", {**WHOLE, "minimum": 0})],
        )
    },
    "/pubkey/": {
        "get": asked(
            "The key by which workers check tickets",
            "everybody",
            text_of("PEM", "text/plain; charset=utf-8"),
            more=SERVER,
        )
    },
    "/worker_status/": {
        "post": asked("A worker tells how it does", "workers", answer_of("It was taken", an_object({})), body=REPORT)
    },
    "/delete_requests/": {
        "post": asked(
            "A worker has requests no more",
            "workers",
            answer_of("It was taken", an_object({})),
            body=an_object(
                {
                    "mtoken": TEXT,
                    "requests": {
                        **a_list({"type": "object", "properties": {"request_idx": WHOLE, "success": YES}}),
                        "maxItems": MOST_REQUESTS,
                    },
                }
            ),
        )
    },
    "/lease/": {
        "post": asked(
            "Whether anybody still wants this worker, and what it has said of itself",
            "workers",
            answer_of("For how long", an_object({"leased": YES, "seconds": COUNT, "broken": YES})),
            body=an_object({"mtoken": TEXT}),
        )
    },
    "/operator/endpoints": {
        "get": asked(
            "All endpoints",
            "operators",
            answer_of("Them", an_object({"endpoints": a_list(an_object({"name": TEXT, "number": WHOLE}))})),
        )
    },
    "/operator/endpoints/{name}": {
        "parameters": [ENDPOINT_NAME],
        "get": asked("Its work, and who does it", "operators", answer_of("The account", ACCOUNT), more=ABSENT),
        "put": asked(
            "Make an endpoint, or change it",
            "operators",
            answer_of("As it is now", ENDPOINT_ROW),
            body=an_object(
                {
                    "max_queue_seconds": {**NUMBER, "minimum": 0.001, "maximum": 86_400, "default": 30},
                    "most_waiting": {**WHOLE, "minimum": 1, "maximum": 1_000_000, "default": 20_000},
                    "routes_per_second": {**NUMBER, "minimum": 1, "maximum": 1e6, "default": 10_000},
                },
                [],
            ),
        ),
    },
    "/operator/endpoints/{name}/keys": {
        "parameters": [ENDPOINT_NAME],
        "post": asked(
            "Make a client key; with an overlap, those of before end after it",
            "operators",
            answer_of("It, told once", an_object({"key": TEXT})),
            body=an_object({"overlap_seconds": maybe({**NUMBER, "minimum": 0, "maximum": 316_224_000})}, []),
            more=ABSENT,
            status=201,
        ),
    },
    "/operator/endpoints/{name}/log": {
        "parameters": [ENDPOINT_NAME],
        "get": asked(
            "What happened at an endpoint",
            "operators",
            answer_of(
                "Lines", an_object({"lines": a_list(an_object({"at": NUMBER, "worker_id": TEXT, "words": TEXT}))})
            ),
            more=ABSENT,
        ),
    },
    "/operator/endpoints/{name}/leases": {
        "parameters": [ENDPOINT_NAME],
        "post": asked(
            "Let workers be routed to for so long from now",
            "operators",
            answer_of("By worker id, whether it spoke of late", {"type": "object", "additionalProperties": YES}),
            body=an_object({"worker_ids": a_list(TEXT), "lease_seconds": LEASE}, ["worker_ids"]),
            more=ABSENT,
        ),
    },
    "/operator/endpoints/{name}/workers/{worker_id}": {
        "parameters": [ENDPOINT_NAME, WORKER_ID],
        "put": asked(
            "Let a worker that speaks be routed to at this address",
            "operators",
            answer_of("Whether it speaks", an_object({"heard": YES, "ready": YES, "error": TEXT})),
            body=an_object(
                {
                    "url": A_URL,
                    "home": {**TEXT, "maxLength": 20},
                    "lease_seconds": LEASE,
                    "server": maybe(PLAIN_SERVER),
                },
                ["url"],
            ),
            more={**ABSENT, **NOT_SO},
        ),
        "delete": asked("Forget a worker", "operators", answer_of("It is forgotten", an_object({}))),
    },
    "/operator/workers/{worker_id}/drain": {
        "parameters": [WORKER_ID],
        "put": asked(
            "Route nothing more to a worker",
            "operators",
            answer_of("Whether it works; null: it is silent", an_object({"busy": maybe(YES)})),
            more=ABSENT,
        ),
        "delete": asked(
            "Route to it again",
            "operators",
            answer_of("Whether it works; null: it is silent", an_object({"busy": maybe(YES)})),
            more=ABSENT,
        ),
    },
    "/operator/servers/check": {
        "post": asked(
            "Whether servers that report nothing can be looked after as this says",
            "operators",
            answer_of("They can", OK),
            body=PLAIN_SERVER,
            more=NOT_SO,
        )
    },
    "/metrics": {
        "get": asked("Figures for Prometheus", "operators", text_of("Its text format", "text/plain; version=1.0.0"))
    },
    "/healthz": {"get": asked("Whether it runs", "everybody", answer_of("It does", OK))},
    "/readyz": {"get": asked("Whether it can keep what it is told", "everybody", answer_of("It can", OK), more=SERVER)},
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
