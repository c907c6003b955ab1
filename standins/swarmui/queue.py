"""The image requests of a SwarmUI master's users, from the queue to a worker and back.

Source: SwarmUI src/Backends/BackendHandler.cs `T2IBackendRequest.TryFind`, src/WebAPI/T2IAPI.cs.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from ebbflow.standins.clock import Clock
from ebbflow.standins.swarmui.backend import Backend
from ebbflow.standins.swarmui.http import JsonObject, Refusal
from ebbflow.standins.swarmui.load import BackendState, Load
from ebbflow.standins.swarmui.remote import Remote, RemoteFailure
from ebbflow.standins.swarmui.table import BackendTable

GIVE_UP_SECONDS = 1.0
NO_BACKENDS = "No backends available!"
NO_MATCH = "No backends match the settings of the request given!"


@dataclass(slots=True)
class Tally:
    """What became of the images that were asked for."""

    served: int = 0
    lost: int = 0
    wait_seconds: list[float] = field(default_factory=list)
    """From the request for a backend to the claim of one, per served or lost image that got one."""


@dataclass(frozen=True, slots=True)
class Generation:
    """What one request asks for, per image."""

    steps: int
    model: str


@dataclass(slots=True, eq=False)
class Ticket:
    """One image that waits for a backend."""

    generation: Generation
    asked_at: float
    granted: "asyncio.Future[Backend]"
    hopeless_since: float | None = None
    """When no backend was found that could ever take it, if that is still so."""


class RequestQueue:
    """First come, first served, as far as a backend fits.

    Args:
        tally: outlives the process: it is the test's count, not the master's.
    """

    def __init__(self, table: BackendTable, *, clock: Clock, remote: Remote, tally: Tally) -> None:
        self._table = table
        self._clock = clock
        self._remote = remote
        self._tally = tally
        self._tickets: list[Ticket] = []

    async def watch(self) -> None:
        """Look at the queue again and again: a backend may have come, or a request may have to fail."""
        while True:
            await self._clock.sleep(GIVE_UP_SECONDS)
            self._match()

    async def generate(self, load: Load, generation: Generation, images: int) -> JsonObject:
        """Make the images; the first failure fails the request, and images that have not begun are lost with it.

        Raises:
            Refusal: no model of that name, no backend, or a worker that failed.
        """
        self._refuse_unknown_model(generation.model)
        places = asyncio.Semaphore(self._places())
        errors: list[str] = []
        made: list[object] = []

        async def one() -> None:
            try:
                async with places:
                    if not errors:
                        made.extend(await self._one_image(load, generation))
                        self._tally.served += 1
            except (Refusal, RemoteFailure) as error:
                errors.append(str(error))
            finally:
                load.waiting_gens -= 1

        load.waiting_gens += images
        await asyncio.gather(*(one() for _ in range(images)))
        if errors:
            self._tally.lost += images - len(made)
            raise Refusal(errors[0])
        return {"images": made}

    def _places(self) -> int:
        """How many images of one request may look for a backend at a time: this is why demand saturates."""
        running = sum(entry.max_usages for entry in self._table if entry.state is BackendState.RUNNING)
        return max(1, 2 * running)

    def _refuse_unknown_model(self, model: str) -> None:
        listed = frozenset[str]().union(*(entry.models for entry in self._table if entry.parent is None))
        if model and listed and model not in listed:
            raise Refusal(f"Invalid model value '{model}': no such model")

    async def _one_image(self, load: Load, generation: Generation) -> list[object]:
        ticket = Ticket(generation, self._clock.now(), asyncio.get_running_loop().create_future())
        backend = await self._claim(load, ticket)
        self._tally.wait_seconds.append(self._clock.now() - ticket.asked_at)
        load.live_gens += 1
        try:
            return await self._remote.generate(backend, _body_for(backend, generation))
        finally:
            load.live_gens -= 1
            backend.release(self._clock.now())
            self._match()

    async def _claim(self, load: Load, ticket: Ticket) -> Backend:
        load.waiting_backends += 1
        self._tickets.append(ticket)
        self._match()
        try:
            return await ticket.granted
        finally:
            load.waiting_backends -= 1
            if ticket in self._tickets:
                self._tickets.remove(ticket)

    def _match(self) -> None:
        for ticket in list(self._tickets):
            if ticket.granted.done():
                continue
            self._try(ticket)
        self._tickets = [ticket for ticket in self._tickets if not ticket.granted.done()]

    def _try(self, ticket: Ticket) -> None:
        possible = [entry for entry in self._table if entry.may_run]
        if not possible:
            self._fail_when_due(ticket, NO_BACKENDS, unless=self._is_any_starting)
            return
        fitting = [entry for entry in possible if _fits(entry, ticket.generation.model)]
        if not fitting:
            self._fail_when_due(ticket, NO_MATCH)
            return
        ticket.hopeless_since = None
        free = sorted((entry for entry in fitting if not entry.is_in_use), key=lambda entry: entry.usages)
        loaded = [entry for entry in free if entry.current_model == ticket.generation.model]
        if free:
            backend = (loaded or free)[0]
            backend.claim(self._clock.now())
            backend.current_model = ticket.generation.model or backend.current_model
            ticket.granted.set_result(backend)

    def _fail_when_due(self, ticket: Ticket, error: str, unless: Callable[[], bool] = lambda: False) -> None:
        # SwarmUI tries once to get more backends, which takes it about a second, before it fails a request.
        if unless():
            ticket.hopeless_since = None
            return
        if ticket.hopeless_since is None:
            ticket.hopeless_since = self._clock.now()
        if self._clock.now() - ticket.hopeless_since >= GIVE_UP_SECONDS:
            ticket.granted.set_exception(Refusal(error))

    def _is_any_starting(self) -> bool:
        return any(entry.state in (BackendState.WAITING, BackendState.LOADING) for entry in self._table)


def _fits(entry: Backend, model: str) -> bool:
    """Work runs only on children, and only where the model is listed."""
    return entry.parent is not None and (not model or model in entry.parent.models)


def _body_for(backend: Backend, generation: Generation) -> JsonObject:
    body: JsonObject = {"images": 1, "steps": generation.steps, "exactbackendid": backend.remote_id, "donotsave": True}
    return body | ({"model": generation.model} if generation.model else {})
