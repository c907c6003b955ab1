"""The keys by which clients may ask for workers: each of one endpoint, and only its hash is kept."""

import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable
from dataclasses import replace

from ebbflow.gateway.store import KeyRow, Store


def digest(key: str) -> str:
    """What is kept of a key; keys are random and long, so a plain hash tells nothing of them."""
    return hashlib.sha256(key.encode()).hexdigest()


class ClientKeys:
    """All that hold.

    Args:
        store: the database.
        rows: what it has.
        wall: seconds since 1970.
    """

    def __init__(self, store: Store, rows: Iterable[KeyRow], wall: Callable[[], float]) -> None:
        self._store, self._wall = store, wall
        self._rows = {row.digest: row for row in rows}

    def endpoint_of(self, key: str) -> str:
        """Of which endpoint it is; empty: nobody's, or over."""
        row = self._rows.get(digest(key))
        return row.endpoint if row is not None and self._holds(row) else ""

    def is_of(self, key: str, endpoint: str) -> bool:
        """Whether it is a key of this endpoint."""
        return hmac.compare_digest(self.endpoint_of(key).encode(), endpoint.encode()) and bool(endpoint)

    async def make(self, endpoint: str, *, overlap_seconds: float | None = None) -> str:
        """A new one, told once; with an overlap, those of before end after it.

        Raises:
            StoreError: it could not be kept, so there is none.
        """
        key = secrets.token_urlsafe(32)
        row = KeyRow(digest(key), endpoint)
        await self._store.keep_key(row)
        before = [each for each in self._rows.values() if each.endpoint == endpoint and each.ends_at is None]
        self._rows[row.digest] = row
        for each in before if overlap_seconds is not None else ():
            assert overlap_seconds is not None, "as was just looked"
            ending = replace(each, ends_at=self._wall() + overlap_seconds)
            await self._store.keep_key(ending)
            self._rows[each.digest] = ending
        return key

    async def drop_ended(self) -> None:
        """Forget those that are over.

        Raises:
            StoreError: they are forgotten the next time.
        """
        for row in [row for row in self._rows.values() if not self._holds(row)]:
            await self._store.drop_key(row.digest)
            del self._rows[row.digest]

    def _holds(self, row: KeyRow) -> bool:
        return row.ends_at is None or row.ends_at > self._wall()
