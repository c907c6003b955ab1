"""Polls: looks at masters' queues alone, between turns. Where work begins to wait, a turn comes before it is due.

A poll decides nothing and keeps nothing: what it asks for is a turn as any other, and nothing leans on its coming.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import anyio
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.responses import DeploymentResponse

from ebbflow.blocks.client import going_on
from ebbflow.blocks.opening import open_master
from ebbflow.core.errors import ConfigError, FleetError
from ebbflow.core.member import Demand
from ebbflow.core.ports import Master
from ebbflow.core.text import one_line
from ebbflow.decision.sooner import can_change, waits
from ebbflow.fleet.model import Fleet
from ebbflow.flows.following import ask_after, written
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.standings import deployed_fleets, inputs_of, is_on
from ebbflow.turn.chain_reader import ChainReader

ROUND_SECONDS = 60.0
"""Between two looks at what is deployed, and the life of a master's adapter."""
AGAIN_SECONDS = 10.0
"""The same where a fleet is gone: whoever deploys it anew switches its schedule off for some seconds."""
NOT_LOOKED = "nobody polls until the next look at what is deployed"
NOT_ASKED = "no turn could be asked for; the next poll tries again"


@dataclass(frozen=True, slots=True)
class Polled:
    """A deployed fleet whose master is polled."""

    deployment: DeploymentResponse
    fleet: Fleet
    every_seconds: float


class QueuePoller:
    """Polls for the fleets of one work pool.

    Args:
        client: of the server.
        pool: whose deployments of `autoscale` count.
        log: takes what could not be done; nothing is raised for it.
        clock: monotonic seconds.
        sleep: lets so many seconds pass.
    """

    def __init__(
        self,
        client: PrefectClient,
        pool: str,
        log: logging.Logger,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._client, self._pool, self._log = client, pool, log
        self._clock, self._sleep = clock, sleep
        self._polls_for: dict[UUID, str] = {}
        """By deployment, in words."""
        self._next_at: dict[UUID, float] = {}
        """When the next poll of a deployment is due, by the clock."""
        self._told: set[UUID] = set()
        """Deployments whose turns know of the work that waits."""
        self._asked_after: dict[UUID, int] = {}
        """The record after which a turn of a deployment was asked for last, or could do nothing."""
        self._unknown: dict[UUID, str] = {}
        """Why the last poll told nothing; said once."""

    async def round(self) -> None:
        """Look at what is deployed, and poll for those fleets for a minute."""
        began_at = self._clock()
        found: Sequence[Polled] = ()
        home = ""
        try:
            with going_on(self._log, NOT_LOOKED):
                if found := await self._polled():
                    home = await PrefectLedger(self._client).home(create=False)
        except ConfigError as error:
            found = ()
            self._log.warning("%s: %s", NOT_LOOKED, error)
        is_one_gone = self._take_over(found)
        ends_at = began_at + (AGAIN_SECONDS if is_one_gone else ROUND_SECONDS)
        async with anyio.create_task_group() as group:
            for each in found:
                group.start_soon(self._poll_until, each, home, ends_at)
        if (left := ends_at - self._clock()) > 0:
            await self._sleep(left)

    def _take_over(self, found: Sequence[Polled]) -> bool:
        """Poll for these fleets from now on, and forget the others; whether one is gone."""
        now = {each.deployment.id: f"{each.fleet.name} every {each.every_seconds:g} s" for each in found}
        if now != self._polls_for:
            self._log.info("polls between turns: %s", ", ".join(sorted(now.values())) or "of no fleet")
        gone = self._polls_for.keys() - now.keys()
        self._polls_for = now
        self._told -= gone
        for name in gone:
            self._next_at.pop(name, None)
            self._asked_after.pop(name, None)
            self._unknown.pop(name, None)
        return bool(gone)

    async def _polled(self) -> Sequence[Polled]:
        """The fleets of this pool whose turns come by a schedule, and that want polls."""
        by_name = await deployed_fleets(self._client, flow="autoscale")
        return [
            Polled(each.response, each.fleet, each.fleet.poll_interval_seconds)
            for deployed in by_name.values()
            for each in deployed
            if each.fleet is not None
            and each.fleet.poll_interval_seconds is not None
            and each.response.work_pool_name == self._pool
            and is_on(each.response)
        ]

    async def _poll_until(self, polled: Polled, home: str, ends_at: float) -> None:
        """Poll when it is due, which may be in a later round."""
        what, name = (
            f"fleet {polled.fleet.name} is not polled until the next look at what is deployed",
            polled.deployment.id,
        )
        if self._next_at.get(name, 0.0) >= ends_at:
            return
        try:
            with going_on(self._log, what):
                async with open_master(self._client, polled.fleet, home) as master:
                    while master.caps.takes_polls and (at := self._next_at.get(name, self._clock())) < ends_at:
                        if (left := at - self._clock()) > 0:
                            await self._sleep(left)
                        await self._poll(polled, master)
                        self._next_at[name] = self._clock() + polled.every_seconds
        except FleetError as error:
            self._log.warning("%s: %s", what, one_line(error))
        except Exception:
            # Of an adapter of somebody else's: the other fleets are polled all the same.
            self._log.exception(what)

    async def _poll(self, polled: Polled, master: Master) -> None:
        """One poll. Where nobody knows, what was seen before stands."""
        demand, name = await master.demand(), polled.deployment.id
        self._tell_unknown(polled, "" if demand.complete else demand.detail or "it does not say")
        if not demand.complete:
            return
        if not waits(demand):
            self._told.discard(name)
        elif name not in self._told:
            with going_on(self._log, NOT_ASKED):
                if await self._is_told(polled, demand):
                    self._told.add(name)

    def _tell_unknown(self, polled: Polled, why: str) -> None:
        before = self._unknown.pop(polled.deployment.id, "")
        if why:
            self._unknown[polled.deployment.id] = why
        if why and not before:
            self._log.warning("a poll of %s tells nothing: %s", polled.fleet.master, why)

    async def _is_told(self, polled: Polled, demand: Demand) -> bool:
        """Whether turns know of the work that waits; else one was asked for, where any can do anything.

        Whoever asks in the middle of a turn cannot know what that one has seen: only its record tells.
        """
        fleet, ledger, name = polled.fleet, PrefectLedger(self._client), polled.deployment.id
        reader = ChainReader(ledger)
        head = await reader.head(fleet.name)
        seen = await inputs_of(reader, head)
        if seen is not None and waits(seen.demand):
            return True
        if head is None or head.record is None or self._asked_after.get(name) == head.claim.number:
            return False
        number, memory = head.claim.number, head.record.memory
        if not can_change(fleet, memory.workers, memory.overrides):
            self._asked_after[name] = number
            return False
        deployment = await self._client.read_deployment(name)
        if written(deployment) != written(polled.deployment) or not is_on(deployment):
            # The next round knows what it is now.
            return False
        soonest_seconds = (fleet.waiting_interval_seconds or 0.0) - head.claim.age_seconds
        await ask_after(
            self._client,
            deployment,
            fleet=fleet.name,
            chain=head.record.chain,
            number=number,
            at_seconds=await ledger.now() + max(0.0, soonest_seconds),
            why=f"a poll after turn {number} saw work wait at {fleet.master} (queue {demand.total})",
        )
        self._asked_after[name] = number
        self._log.info("work waits at %s: a turn of %s comes sooner", fleet.master, fleet.name)
        return False
