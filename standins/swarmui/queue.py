"""The image requests of a SwarmUI master's users, from the queue to a worker and back.

Source: SwarmUI src/Backends/BackendHandler.cs `T2IBackendRequest.TryFind`, src/WebAPI/T2IAPI.cs.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass, field

from ebbflow.standins.clock import Clock
from ebbflow.standins.swarmui.auto_scaling import AutoScaling
from ebbflow.standins.swarmui.backend import Backend
from ebbflow.standins.swarmui.http import PLAYS_WEBSOCKET, JsonObject
from ebbflow.standins.swarmui.load import BackendState, Load
from ebbflow.standins.swarmui.reading import Refusal
from ebbflow.standins.swarmui.remote import Remote, RemoteFailure
from ebbflow.standins.swarmui.table import BackendTable

LOOK_SECONDS = 1.0
"""A look at the queue comes this long after the last one, and with each image that is asked for or done."""
GRACE_SECONDS = 0.2
"""What an image's first hopeless look costs; the next one later than that fails it."""
NO_BACKENDS = "No backends available!"
NO_MATCH = "No backends match the settings of the request given!"
TIMED_OUT = "Timeout! All backends are occupied with other tasks."
WORKER_FAILED = "Something went wrong while generating images."


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
    hopeless_at: float | None = None
    """The first look that found no backend which could ever take it; never forgotten, though one came meanwhile."""
    has_asked: bool = False
    """Whether it has asked an auto-scaling backend for more."""
    waits_for_launch: bool = False
    """Whether that launches for it."""

    def launched(self) -> None:
        """That launch is over, and what it brought serves at the next looks, or not."""
        self.waits_for_launch, self.hopeless_at = False, None


class RequestQueue:
    """First come, first served, as far as a backend fits.

    Args:
        tally: outlives the process: it is the test's count, not the master's.
        websocket_seconds: how much longer than the work an image holds its child.
        own_models: what the master itself has; a request for what nobody has is refused at once.
        scaler: the master's auto-scaling backend, which a request asks for more once.
        max_timeout_minutes: so long after the last image that was served everything that waits fails.
    """

    def __init__(
        self,
        table: BackendTable,
        *,
        clock: Clock,
        remote: Remote,
        tally: Tally,
        websocket_seconds: float = 0.0,
        own_models: Collection[str] = (),
        max_timeout_minutes: float = 120.0,
        scaler: AutoScaling | None = None,
    ) -> None:
        self._scaler = scaler
        self._timeout_seconds = 60.0 * max_timeout_minutes
        self._served_at = clock.now()
        self._own_models = frozenset(own_models)
        self._websocket_seconds = websocket_seconds
        self._table = table
        self._clock = clock
        self._remote = remote
        self._tally = tally
        self._tickets: list[Ticket] = []
        self._looked_at = clock.now()
        self._waited_for: Backend | None = None

    async def watch(self) -> None:
        """Look at the queue again and again: a backend may have come, or a request may have to fail."""
        while True:
            await self._clock.sleep(self._looked_at + LOOK_SECONDS - self._clock.now())
            if self._clock.now() >= self._looked_at + LOOK_SECONDS:
                self._look()

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
            except Refusal as error:
                errors.append(str(error))
            except RemoteFailure:
                errors.append(WORKER_FAILED)
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
        return 1 + 2 * running + sum(entry.state is BackendState.LOADING for entry in self._table)

    def _refuse_unknown_model(self, model: str) -> None:
        listed = self._own_models.union(*(entry.models for entry in self._table if entry.parent is None))
        if model and model not in listed:
            raise Refusal(
                f"Invalid value for parameter Model: Invalid model value for param Model - '{model}' - are you sure "
                "that model name is correct?"
            )

    async def _one_image(self, load: Load, generation: Generation) -> list[object]:
        ticket = Ticket(generation, self._clock.now(), asyncio.get_running_loop().create_future())
        backend = await self._claim(load, ticket)
        self._tally.wait_seconds.append(self._clock.now() - ticket.asked_at)
        load.live_gens += 1
        try:
            made = await self._remote.generate(backend, _body_for(backend, generation))
            if backend.settings.allow_websocket and self._websocket_seconds:
                # The worker's own counters are at nothing by now.
                await self._clock.sleep(self._websocket_seconds)
            return made
        finally:
            load.live_gens -= 1
            self._served_at = self._clock.now()
            backend.release(self._served_at)
            if self._waited_for is backend:
                self._waited_for = None
            self._look()

    async def _claim(self, load: Load, ticket: Ticket) -> Backend:
        load.waiting_backends += 1
        self._tickets.append(ticket)
        self._look()
        try:
            return await ticket.granted
        finally:
            load.waiting_backends -= 1
            if ticket in self._tickets:
                self._tickets.remove(ticket)

    def _look(self) -> None:
        """Look at every image that waits, and once more whenever one of them went."""
        self._looked_at = self._clock.now()
        if not self._tickets:
            self._served_at = self._looked_at
        is_any_gone = True
        while is_any_gone:
            for ticket in self._tickets:
                if not ticket.granted.done():
                    self._try(ticket)
            waiting = [ticket for ticket in self._tickets if not ticket.granted.done()]
            is_any_gone, self._tickets = len(waiting) < len(self._tickets), waiting

    def _try(self, ticket: Ticket) -> None:
        if self._clock.now() - self._served_at > self._timeout_seconds:
            ticket.granted.set_exception(Refusal(TIMED_OUT))
            return
        if self._waited_for is not None:
            return
        possible = [entry for entry in self._table if entry.may_run]
        if not possible and not self._is_scaler_running():
            if not self._is_any_starting():
                self._fail_when_due(ticket, NO_BACKENDS)
            return
        fitting = [entry for entry in possible if _fits(entry, ticket.generation.model)]
        if not fitting:
            self._fail_when_due(ticket, NO_MATCH)
            return
        free = sorted((entry for entry in fitting if not entry.is_in_use), key=lambda entry: entry.usages)
        loaded = [entry for entry in free if entry.current_model == ticket.generation.model]
        if free:
            self._grant(ticket, (loaded or free)[0])

    def _grant(self, ticket: Ticket, backend: Backend) -> None:
        backend.claim(self._clock.now())
        backend.current_model = ticket.generation.model or backend.current_model
        # Without a websocket the loop that looks at the queue waits for the image itself, and nobody else is served.
        self._waited_for = None if backend.settings.allow_websocket else backend
        ticket.granted.set_result(backend)

    def _fail_when_due(self, ticket: Ticket, error: str) -> None:
        # SwarmUI tries once, for each request, to get more backends.
        now = self._clock.now()
        if ticket.waits_for_launch:
            return
        if ticket.hopeless_at is None:
            ticket.hopeless_at = now
            if self._scaler is not None and not ticket.has_asked:
                ticket.has_asked = True
                waiting = sum(not each.granted.done() for each in self._tickets)
                ticket.waits_for_launch = self._scaler.wants_more(waiting, ticket.launched)
        elif now - ticket.hopeless_at >= GRACE_SECONDS:
            ticket.granted.set_exception(Refusal(error))

    def _is_scaler_running(self) -> bool:
        """Whether an entry runs that takes no work: nothing waits then, whatever else is loading."""
        return self._scaler is not None and self._scaler.state is BackendState.RUNNING

    def _is_any_starting(self) -> bool:
        return any(entry.state in (BackendState.WAITING, BackendState.LOADING) for entry in self._table)


def _fits(entry: Backend, model: str) -> bool:
    """Work runs only on children, and only where the model is listed."""
    return entry.parent is not None and (not model or model in entry.parent.models)


def _body_for(backend: Backend, generation: Generation) -> JsonObject:
    body: JsonObject = {
        "images": 1,
        "steps": generation.steps,
        "exactbackendid": backend.remote_id,
        "donotsave": True,
        PLAYS_WEBSOCKET: backend.settings.allow_websocket,
    }
    return body | ({"model": generation.model} if generation.model else {})
