"""The waiting room over HTTP: a path per fleet and per gate, so that one room serves any number of masters.

| path | who asks | for |
|---|---|---|
| `/` | anybody | what this is |
| `/fleets/HOME/FLEET/API/ROUTE` | a master, by the entry of a fleet | as a SwarmUI whose backend loads |
| `/fleets/HOME/FLEET` | a turn: GET looks, POST tells the features of the workers | |
| `/gates/HOME/FLEET/WORKER/API/ROUTE` | a worker, by its gate | the same, until the gate has opened |
| `/gates/HOME/FLEET/WORKER` | a turn: POST opens it | |
"""

import asyncio
import json
import re
from collections.abc import Mapping

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from ebbflow.services.waiting_room.room import Answer, Room

MOST_BYTES = 64 * 1024
"""Of a question; more is no question of a master, and is answered as if it were empty."""
KEEP_ALIVE_SECONDS = 75
STOP_SECONDS = 2

_PATH = re.compile(
    r"/(?:fleets/(?P<fleet>[a-z0-9]{1,20}/[a-z0-9-]{1,40})"
    r"|gates/(?P<of>[a-z0-9]{1,20}/[a-z0-9-]{1,40})/(?P<gate>[a-z0-9-]{1,40}))"
    r"(?:/API/(?P<route>[A-Za-z0-9]{1,64}))?/?"
)


class WaitingRoom:
    """The ASGI application.

    Args:
        room: what it answers from.
    """

    def __init__(self, room: Room) -> None:
        self.room = room

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak ASGI: HTTP, and a lifespan in which nothing is to be done."""
        if scope["type"] == "lifespan":
            await _nothing_to_prepare(receive, send)
        elif scope["type"] == "http":
            request = Request(scope, receive)
            try:
                # Not of the request's URL, which is made of a header that may hold anything.
                answer = self._answer(scope["method"], scope["path"], await _body(request))
            except ClientDisconnect:
                return
            if answer.hold_seconds:
                await asyncio.sleep(answer.hold_seconds)
            await JSONResponse(answer.body, answer.status)(scope, receive, send)

    def _answer(self, method: str, path: str, body: Mapping[str, object]) -> Answer:
        if path == "/":
            return self.room.greeting()
        found = _PATH.fullmatch(path)
        if found is None:
            return Answer({"error": f"there is no {path[:100]} here", "error_id": "no_such_path"}, status=404)
        fleet, of, gate, route = found["fleet"], found["of"], found["gate"], found["route"]
        if route is not None:
            return self.room.asked(fleet, route, body) if fleet else self.room.gate(of, gate, route, body)
        if fleet:
            features = body.get("features")
            told = features if isinstance(features, list) else []
            return self.room.of_fleet(fleet) if method == "GET" else self.room.tell(fleet, told)
        return self.room.greeting() if method == "GET" else self.room.open_gate(of, gate)


async def _body(request: Request) -> Mapping[str, object]:
    """What came with it; empty where that is no object, or too much."""
    raw = b""
    async for part in request.stream():
        raw += part
        if len(raw) > MOST_BYTES:
            return {}
    try:
        body = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


async def _nothing_to_prepare(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await send({"type": "lifespan.shutdown.complete"})
            return


def serve(room: Room, *, host: str, port: int) -> None:
    """Answer until a signal comes.

    Args:
        room: what it answers from.
        host: where it listens.
        port: 0 takes a free one; the log says which.
    """
    settings = uvicorn.Config(
        WaitingRoom(room),
        host=host,
        port=port,
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        # Whoever waits here waits for nothing that would come.
        timeout_graceful_shutdown=STOP_SECONDS,
        ws="none",
    )
    uvicorn.Server(settings).run()
