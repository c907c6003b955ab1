"""One look at the demo: what the display shows, and what its steps wait for."""

from collections import Counter
from dataclasses import dataclass, field

import httpx

from ebbflow.core.lifecycle import WorkerState
from ebbflow.demo.history import History
from ebbflow.demo.load import Tally


@dataclass(frozen=True, slots=True)
class View:
    """The demo at one instant."""

    elapsed_seconds: float
    step: str
    left_seconds: float = 0.0
    """About how long the rest takes."""
    queued: int = 0
    running: int = 0
    tally: Tally = field(default_factory=Tally)
    history: History = field(default_factory=History)

    @property
    def workers(self) -> Counter[WorkerState]:
        """How many workers are in each state."""
        return Counter(self.history.states.values())


@dataclass(frozen=True, slots=True)
class MasterState:
    """What the stand-in master says of itself: of its queue, and its own count of what became of requests."""

    queued: int
    running: int
    served: int
    lost: int


async def read_master(client: httpx.AsyncClient) -> MasterState:
    """Ask the stand-in.

    Raises:
        httpx.HTTPError: it does not answer.
    """
    response = await client.post("/Control/State", json={})
    response.raise_for_status()
    state = response.json()
    status = state["status"]
    running = int(status["live_gens"])
    return MasterState(int(status["waiting_gens"]) - running, running, int(state["served"]), int(state["lost"]))
