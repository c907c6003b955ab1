"""What every answer has in common: whoever may not is told so, and what goes wrong gets words and a number."""

from collections.abc import Awaitable, Callable

import orjson
from starlette.requests import Request
from starlette.responses import Response

from ebbflow.gateway.asking import Problem
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.peers import client_of
from ebbflow.gateway.rates import Rate
from ebbflow.gateway.reports import BadReport
from ebbflow.gateway.routing import Exhausted
from ebbflow.gateway.store import StoreError
from ebbflow.gateway.terms import Crowded, Refused, Unknown

Handler = Callable[[Request], Awaitable[Response]]
REFUSALS_PER_SECOND, REFUSALS_AT_ONCE = 5.0, 500
"""Of one address, behind which many may be; who is refused more often is told to wait."""


class Guard:
    """Wraps what answers.

    Args:
        desk: keeps the counts.
        monotonic: seconds of a clock that only goes on.
        operator_keys: by which other gateways prove who they are.
    """

    def __init__(self, desk: Desk, monotonic: Callable[[], float], operator_keys: tuple[str, ...]) -> None:
        self._counts, self._monotonic, self._keys = desk.counts, monotonic, operator_keys
        self._refusals = Rate(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE)

    def __call__(self, handler: Handler) -> Handler:
        """The same, answering for what goes wrong."""

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except Refused:
                return self._refused(request)
            except Unknown as error:
                return said(404, f"there is no {str(error)[:60]!r}")
            except BadReport as error:
                self._counts.bad_reports += 1
                return said(400, str(error))
            except Problem as error:
                return said(error.status, error.words)
            except Crowded as error:
                self._counts.crowded += 1
                return said(429, f"{error}: ask again later", retry_after_seconds=1)
            except Exhausted:
                return said(503, "no numbers are left until the gateway's database answers", retry_after_seconds=5)
            except StoreError:
                return said(503, "the gateway's database does not answer: ask again", retry_after_seconds=5)

        return answer

    def _refused(self, request: Request) -> Response:
        self._counts.refused += 1
        if self._refusals.lets(client_of(request, self._keys), self._monotonic()):
            return said(401, "Authentication failed")
        return said(429, "too many refusals from this address: wait a second", retry_after_seconds=1)


def answered(value: object, status: int = 200) -> Response:
    """A JSON answer."""
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


def said(status: int, words: str, *, retry_after_seconds: int | None = None) -> Response:
    """An error, in the shape that the vendor's client shows."""
    headers = {} if retry_after_seconds is None else {"Retry-After": str(retry_after_seconds)}
    answer = answered({"error": words}, status)
    answer.headers.update(headers)
    return answer
