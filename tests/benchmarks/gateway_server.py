"""One server of `tests.benchmarks.gateway` on one core: our gateway, one that signs anew, or a bare constant.

python -m tests.benchmarks.gateway_server {gateway|signing|constant} PORT DATABASE
"""

import os
import sys
import time
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ebbflow.gateway import tickets
from ebbflow.gateway.app import Gateway
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.reports import Generation
from ebbflow.gateway.store import Store
from ebbflow.gateway.terms import Clocks

OPERATOR, SECRET = "o" * 40, "w" * 40
ANSWER = {
    "endpoint": "llama",
    "url": "http://10.0.0.1:3000",
    "cost": 1,
    "reqnum": 17,
    "request_idx": 42,
    "signature": "s" * 344,
    "__request_id": "5172c95d-b31f-4ba7-9d86-e586c30eca57",
}


def gateway(database: str) -> Starlette:
    """Ours."""
    clocks = Clocks(time.monotonic, time.time)
    desk = Desk(Store(database), worker_secrets=(SECRET,), clocks=clocks)
    return Gateway(desk, operator_keys=(OPERATOR,), clocks=clocks).app


def signing(database: str) -> Starlette:
    """Ours, if it signed each ticket."""
    sign = tickets.Signer.sign

    def anew(self: tickets.Signer, generation: Generation, *, url: str, cost: float, endpoint: str, reqnum: int) -> str:
        self.forget(())
        return sign(self, generation, url=url, cost=cost, endpoint=endpoint, reqnum=reqnum)

    tickets.Signer.sign = anew  # type: ignore[method-assign]
    return gateway(database)


def constant(database: str) -> Starlette:
    """The same framework, and nothing in it."""

    async def answer(request: Request) -> Response:
        return JSONResponse(ANSWER)

    async def health(request: Request) -> Response:
        return JSONResponse({"ok": True})

    return Starlette(routes=[Route("/route/", answer, methods=["POST"]), Route("/healthz", health)])


SERVERS: dict[str, Callable[[str], Starlette]] = {"gateway": gateway, "signing": signing, "constant": constant}

if __name__ == "__main__":
    kind, port, database = sys.argv[1:]
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    uvicorn.run(SERVERS[kind](database), host="127.0.0.1", port=int(port), access_log=False, log_level="warning")
