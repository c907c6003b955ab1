"""A SwarmUI master whose own auto-scaling backend starts and ends the workers, by a start script of ours.

It makes an entry for the address that the script printed, pings its worker each second, and asks it to end when it is
thought idle. Such an entry is lost with the master's process; whoever it is lost for is pinged by nobody.
Source: SwarmUI src/Backends/AutoScalingBackend.cs; measured on 0.9.8.2.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import anyio

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.answers import Entry, Listing
from ebbflow.adapters.masters.swarmui.ownership import address_of
from ebbflow.core.errors import FleetError, MasterRejected, RegistrationRejected
from ebbflow.core.member import DrainAnswer, MasterCaps, Registration
from ebbflow.core.worker import Worker


class SwarmUIAutoScaledAdapter(SwarmUIAdapter):
    """The same master, in which nothing is registered by us."""

    @property
    def caps(self) -> MasterCaps:
        """What SwarmUI can do; with how many workers it begins is its own affair."""
        return replace(super().caps, owns_workers=True, can_start_from_zero=True)

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        """Whether the worker can serve, and the auto-scaling backend has taken it. Changes nothing."""
        ready = await self.readiness(worker, connect_timeout_seconds=connect_timeout_seconds)
        if not ready.registered:
            return ready
        with self._time_limit("register"):
            if self._launched_at(address_of(worker), await self._backends.listing()):
                return Registration(True)
        return Registration(False, f"no auto-scaling backend has taken {worker.worker_id} yet")

    async def readiness(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        """Whether a worker can be handed to the auto-scaling backend: a backend of it runs, and none loads.

        Raises:
            RegistrationRejected: it answers, and waiting does not help.
        """
        address = self._address_of(worker)
        try:
            return (await self._workers.readiness_of(address, connect_timeout_seconds)).registration
        except MasterRejected as error:
            raise RegistrationRejected(f"{worker.worker_id} at {address}: {error}") from error

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        """Take the entry away that the auto-scaling backend made; what runs goes on, and nothing puts it back."""
        with self._time_limit("drain"):
            entries = self._launched_at(address_of(worker), await self._backends.listing())
            for entry in entries:
                await self._backends.delete(entry)
            if entries:
                return DrainAnswer.ACCEPTED
            busy = await self._entries.is_busy(worker, ())
            if busy and not force:
                return DrainAnswer.HELD
            return DrainAnswer.SILENT if busy is None else DrainAnswer.GONE

    async def deregister(self, worker: Worker) -> None:
        """Delete what is left of a worker that is gone."""
        with self._time_limit("deregister"):
            address = address_of(worker)
            for entry in self._launched_at(address, await self._backends.listing()):
                await self._backends.delete(entry)
            if address and address != self._settings.address:
                await self._workers.at(address).forget()

    async def mend(self, worker: Worker) -> Registration:
        """Nothing: an entry that is not ours cannot be switched off and on."""
        return Registration(False, f"the auto-scaling backend holds {worker.worker_id}, and mends or ends it")

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        """Hold the dead-man's switch of whoever has not been taken yet, or is let go: the others are pinged.

        Nobody is before the backend has its minimum.
        """
        is_pinging = False
        # A master that is silent must leave time for its workers.
        with suppress(FleetError), anyio.move_on_after(self.caps.call_seconds / 3):
            is_pinging = not (await self._backends.listing()).fills_up
        asked = [each for each in workers if not (is_pinging and each.registered and each.mark is None)]
        return await super().keepalive(asked)

    def _as_ours(self, listing: Listing, known: Sequence[Worker]) -> Listing:
        """Where no auto-scaling backend is switched on, nobody pings what it has left: that is no member."""
        if not listing.has_scaler:
            return replace(listing, entries=tuple(entry for entry in listing.entries if not entry.is_launched))
        ids = {address_of(worker): worker.worker_id for worker in known if worker.url and worker.may_exist}
        ownership = self._entries.ownership()
        entries = tuple(
            replace(entry, title=str(ownership.title(ids[entry.address])))
            if entry.is_launched and entry.address in ids
            else entry
            for entry in listing.entries
        )
        return replace(listing, entries=entries)

    @staticmethod
    def _launched_at(address: str, listing: Listing) -> list[Entry]:
        return [entry for entry in listing.entries if entry.is_launched and entry.address == address]
