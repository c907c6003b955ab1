"""What the gateway must know of a kind of model server that reports nothing: what to ask it, and what its answers mean.

One kind is one file beside this one, pure, with a `KIND` in it; nothing else names it. What a server cannot tell is
None, never 0. A probe must neither wake a model, nor load one, nor run anybody's code.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class KeyHeader(Enum):
    """Where a server looks for its key."""

    BEARER = "Authorization"
    X_API_KEY = "X-API-Key"


class Port(Enum):
    """Which port of the server is asked."""

    MAIN = "main"
    """Of its registered address."""
    METRICS = "metrics"
    """Beside it, where the person has named one; without one nothing is asked."""


class Standing(Enum):
    """How a server is, by its own word."""

    LOADING = "loading"
    """Refused, silent, 503, or its model is on its way: all alike until the loading time is over."""
    READY = "ready"
    """It answers, and its model is in memory as far as it can tell."""
    ASLEEP = "asleep"
    """It answers, and its model is not in memory; the next request would load it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a person says of the servers of a fleet."""

    model: str = ""
    """As its answers name it; empty: whichever it has."""
    prompt: str = ""
    """For the test: a text, or a JSON body where only the person knows what the model takes; empty: the kind's own."""
    prompt_path: str = ""
    """Where the prompt is posted, where only the person knows; empty: the kind's own."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to a server."""

    path: str
    method: str = "GET"
    body: Mapping[str, object] | None = None
    """JSON."""
    port: Port = Port.MAIN


@dataclass(frozen=True, slots=True)
class Said:
    """What came of one request."""

    status: int | None
    """None: refused, silent beyond the time limit, or broken off."""
    text: str = ""
    """At most some megabytes; what is longer is cut off."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one look at a server showed."""

    standing: Standing
    running: int | None = None
    """Requests that it works on; None: it does not tell."""
    queued: int | None = None
    """Requests that wait in it; where it counts both together, they are in `running`."""
    served: float | None = None
    """A counter that only grows while its process lives, of requests or tokens; None: it has none."""
    detail: str = ""
    """A sentence for people, where it is not ready."""


class Verdict(Enum):
    """What the answer to a test prompt means."""

    HOT = "hot"
    """The model answered."""
    NOT_YET = "not yet"
    """Ask again later: it loads, or has no room now."""
    WRONG = "wrong"
    """It will not do: another model answered, the key is refused, the prompt is not understood."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with its reason, or with what to ask next."""

    verdict: Verdict
    detail: str = ""
    next_ask: Ask | None = None
    """For `NOT_YET`: ask this a second later instead of the prompt anew, as where an answer is fetched by a number."""


class Kind(Protocol):
    """One kind of model server. Every method is pure; what it is given is hostile text."""

    @property
    def name(self) -> str:
        """As people write it, for instance `vllm`."""
        ...

    @property
    def key_header(self) -> KeyHeader:
        """Where its key goes."""
        ...

    @property
    def lag_seconds(self) -> float:
        """How old its figures may be."""
        ...

    @property
    def usual_port(self) -> int:
        """That it listens on where nobody says another."""
        ...

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """What one look asks, by a name that `read` knows it by."""
        ...

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """What the answers of one look mean; an ask without an answer is missing from them."""
        ...

    def test(self, wanted: Wanted) -> Ask | None:
        """A prompt that costs as little as can be; None: only a person knows one, and has not said it."""
        ...

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """What the answer to the test, or to what it asked next, means."""
        ...
