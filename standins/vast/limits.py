"""Rate limits of a stand-in Vast API: so many requests per endpoint and identity, and so many searches a day.

Source: vast-ai/docs, `x-rate-limit` of each YAML file; "Rate limits and errors" for the answers.
"""

from collections import defaultdict, deque
from dataclasses import dataclass

from starlette.responses import JSONResponse, PlainTextResponse, Response

DAY_SECONDS = 86400.0


@dataclass(frozen=True, slots=True)
class Rate:
    """So many requests within so many seconds."""

    requests: int
    seconds: float

    @property
    def threshold_seconds(self) -> float:
        """As the answer names it."""
        return self.seconds / self.requests


RATES = {
    "search": Rate(10, 60.0),
    "create": Rate(1, 4.5),
    "list": Rate(1, 1.0),
    "show": Rate(1, 2.0),
    "update": Rate(1, 1.0),
    "update_several": Rate(1, 2.0),
    "destroy": Rate(1, 3.0),
    "restart": Rate(1, 1.0),
    "bid": Rate(1, 5.5),
}
"""By endpoint; the others have none that is known."""


class RateLimits:
    """Who has asked how often.

    Attributes:
        are_on: whether the rates count.
        searches_per_day: the quota of an identity, until midnight UTC; None: no quota.
    """

    def __init__(self, *, are_on: bool = False, searches_per_day: int | None = None) -> None:
        self.are_on = are_on
        self.searches_per_day = searches_per_day
        self._times: defaultdict[tuple[str, str], deque[float]] = defaultdict(deque)
        self._searches: defaultdict[tuple[str, int], int] = defaultdict(int)

    def refusal(self, endpoint: str, identity: str, now: float) -> Response | None:
        """Count a request of an endpoint, or return the 429 that it gets."""
        rate = RATES.get(endpoint)
        if self.are_on and rate is not None:
            times = self._times[endpoint, identity]
            while times and times[0] <= now - rate.seconds:
                times.popleft()
            if len(times) >= rate.requests:
                text = f"API requests too frequent: endpoint threshold={rate.threshold_seconds:.1f}"
                return PlainTextResponse(text, 429)
            times.append(now)
        if endpoint == "search" and self.searches_per_day is not None:
            return self._quota_refusal(identity, now)
        return None

    def _quota_refusal(self, identity: str, now: float) -> Response | None:
        assert self.searches_per_day is not None
        day = int(now // DAY_SECONDS)
        if self._searches[identity, day] >= self.searches_per_day:
            body = {"success": False, "error": "search_quota_exceeded", "msg": "Daily search quota exceeded."}
            return JSONResponse(body, 429, headers={"x-ratelimit-reset": str(int((day + 1) * DAY_SECONDS))})
        self._searches[identity, day] += 1
        return None
