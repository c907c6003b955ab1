"""The endpoints of a gateway: what clients name, who may ask, and the numbers that their requests get."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ebbflow.gateway.client_keys import ClientKeys
from ebbflow.gateway.rates import Rate
from ebbflow.gateway.routing import Issue, Numbers, Routing
from ebbflow.gateway.store import EndpointRow, Store
from ebbflow.gateway.terms import Refused, Unknown

BLOCK = 1_000_000
"""Numbers reserved at once: a quarter of an hour at a thousand requests a second, while the database is away."""


@dataclass(slots=True)
class Endpoint:
    """One endpoint with its queue."""

    row: EndpointRow
    routing: Routing
    rate: Rate


class Endpoints:
    """All of them.

    Args:
        store: the database.
        wall: seconds since 1970.
        note: keeps a line of an endpoint's log.
    """

    def __init__(self, store: Store, wall: Callable[[], float], note: Callable[[str, str], None]) -> None:
        self._store, self._wall, self._note = store, wall, note
        self._issue = Issue(Numbers(0, 0), Numbers(0, 0))
        self._endpoints: dict[str, Endpoint] = {}
        self._keys = ClientKeys(store, (), wall)

    def __iter__(self) -> Iterator[Endpoint]:
        """Each."""
        return iter(self._endpoints.values())

    async def open(self) -> None:
        """Read what was kept.

        Raises:
            StoreError: the database cannot be used.
        """
        await self.reserve()
        for row in await self._store.endpoints():
            self._endpoints[row.name] = self._made(row)
        self._keys = ClientKeys(self._store, await self._store.keys(), self._wall)

    def named(self, name: str) -> Endpoint:
        """The one of this name.

        Raises:
            Unknown: there is none.
        """
        if name not in self._endpoints:
            raise Unknown(name)
        return self._endpoints[name]

    def for_client(self, name: str, key: str) -> Endpoint:
        """The one of this name, for whoever has a key of it.

        Raises:
            Refused: it is none of this endpoint's, which may not even be there.
        """
        found = self._endpoints.get(name)
        if not self._keys.is_of(key, name) or found is None:
            raise Refused
        return found

    def of_key(self, key: str) -> Endpoint:
        """Whose key it is.

        Raises:
            Refused: nobody's.
        """
        name = self._keys.endpoint_of(key)
        if name not in self._endpoints:
            raise Refused
        return self._endpoints[name]

    async def make(
        self,
        name: str,
        *,
        max_queue_seconds: float = 30.0,
        most_waiting: int = 20_000,
        routes_per_second: float = 10_000.0,
    ) -> EndpointRow:
        """Make an endpoint, or change it.

        Raises:
            StoreError: it could not be kept, so nothing has changed.
        """
        known = self._endpoints.get(name)
        number = known.row.number if known else await self._store.reserve("endpoints", 1)
        row = EndpointRow(name, number, max_queue_seconds, most_waiting, routes_per_second)
        await self._store.keep_endpoint(row)
        if known is None:
            self._endpoints[name] = self._made(row)
        else:
            known.row, known.routing.max_queue_seconds = row, max_queue_seconds
            known.rate = self._made(row).rate
        return row

    async def make_key(self, endpoint: str, *, overlap_seconds: float | None = None) -> str:
        """A new client key, told once; with an overlap, those of before end after it.

        Raises:
            Unknown: there is no such endpoint.
            StoreError: it could not be kept, so there is none.
        """
        self.named(endpoint)
        self._note(endpoint, "a client key was made")
        return await self._keys.make(endpoint, overlap_seconds=overlap_seconds)

    async def tend(self) -> None:
        """Reserve numbers before they are used up, and forget keys that are over.

        Raises:
            StoreError: the database did not do it; it is tried again.
        """
        await self.reserve()
        await self._keys.drop_ended()

    async def reserve(self) -> None:
        """Have numbers for the next minutes, of which nobody else has any: each block follows some other."""
        for name, numbers in (("requests", self._issue.requests), ("tickets", self._issue.tickets)):
            if numbers.left > BLOCK // 2:
                continue
            first = await self._store.reserve(name, BLOCK)
            if numbers.left <= 0:
                numbers.next, numbers.end, numbers.later = first, first + BLOCK, None
            else:
                numbers.later = first, first + BLOCK

    def _made(self, row: EndpointRow) -> Endpoint:
        rate = Rate(row.routes_per_second, 2 * row.routes_per_second)
        return Endpoint(row, Routing(self._issue, max_queue_seconds=row.max_queue_seconds), rate)
