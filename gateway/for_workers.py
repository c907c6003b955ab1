"""What workers ask and tell.

Source: paths and bodies are those of Vast's worker software, in three generations; `/lease/` is ours.
"""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from ebbflow.gateway.asking import Problem, body, text
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.guard import Guard, answered
from ebbflow.gateway.reports import MOST_REQUESTS, read

MOST_TOKEN = 300


class ForWorkers:
    """The routes.

    Args:
        desk: what the gateway knows.
        guard: answers for what goes wrong.
    """

    def __init__(self, desk: Desk, guard: Guard) -> None:
        self._desk = desk
        self.routes = [
            Route("/pubkey/", guard(self._public_key)),
            Route("/worker_status/", guard(self._worker_status), methods=["POST"]),
            Route("/delete_requests/", guard(self._delete_requests), methods=["POST"]),
            Route("/lease/", guard(self._lease), methods=["POST"]),
        ]

    async def _public_key(self, request: Request) -> Response:
        # As text: workers import it as it is.
        return PlainTextResponse(self._desk.public_key)

    async def _worker_status(self, request: Request) -> Response:
        try:
            data = await body(request)
        except Problem:
            # A worker's start script pastes its words in unescaped.
            self._desk.counts.bad_reports += 1
            raise
        self._desk.report(read(data))
        return answered({})

    async def _delete_requests(self, request: Request) -> Response:
        data = await body(request)
        token, entries = text(data, "mtoken", MOST_TOKEN), data.get("requests")
        if not isinstance(entries, list) or len(entries) > MOST_REQUESTS:
            raise Problem(400, f"requests: a list of at most {MOST_REQUESTS} is expected")
        settled = [
            # A client that left is done with; one that was rejected comes back.
            (number, entry.get("success") is True)
            for entry in entries
            if isinstance(entry, dict) and type(number := entry.get("request_idx")) is int
        ]
        self._desk.settle(token, settled)
        return answered({})

    async def _lease(self, request: Request) -> Response:
        """Whether anybody still wants the worker, and whether it has reported an error.

        By the first its start script ends one whose fleet has no turns any more, by the second it starts it anew.
        """
        seconds, is_broken = self._desk.lease_of(text(await body(request), "mtoken", MOST_TOKEN))
        return answered({"leased": seconds > 0, "seconds": seconds, "broken": is_broken})
