"""The workers of a SwarmUI master, asked directly: only they know whether they work.

Source: SwarmUI src/WebAPI/AdminAPI.cs (GetGlobalStatus, AdminTakeControl, ShutdownServer).
"""

import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit

import anyio
import httpx

from ebbflow.adapters.guarded import Judge
from ebbflow.adapters.http import HttpClient, base_url
from ebbflow.adapters.masters.swarmui.answers import (
    Activity,
    has_gate,
    names_of_running,
    own_backends,
    parse_activity,
    sum_activity,
)
from ebbflow.adapters.masters.swarmui.api import SwarmUIServer, Unanswered, UnknownRoute
from ebbflow.adapters.masters.swarmui.asking import LEAST_SECONDS, MOST_OPEN, Rota, ask_each, patience_with
from ebbflow.adapters.masters.swarmui.membership import Word
from ebbflow.adapters.masters.swarmui.sessions import SessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings, secret_texts, worker_headers
from ebbflow.core.addresses import (
    IPAddress,
    address_problem,
    is_within,
    literal,
    names_this_machine,
    worker_url_problem,
)
from ebbflow.core.errors import ConfigError, FleetError, MasterRejected, MasterUnavailable, RegistrationRejected
from ebbflow.core.member import Registration

logger = logging.getLogger(__name__)

UNKEPT = httpx.Limits(max_connections=MOST_OPEN, max_keepalive_connections=0)
"""A worker is asked once in a while: a thousand connections that are kept are as many files, open for nothing."""

SECONDS_FOR_THE_SILENT = 1.0
"""For asking one again that was silent before in the same turn: its silence is waited for once."""

Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a worker can be registered, and how its child will come to the master."""

    registration: Registration
    has_gate: bool = False
    """Its entry in the master loads until its child runs there."""
    seconds: float = 0.0
    """How long it took to list its backends."""


PERMISSIONS = ("automated_control", "shutdown", "view_backends_list", "read_server_info_panels")


class SwarmUIWorkers:
    """The worker side of the adapter: one server per address, many of them asked within one call's time."""

    def __init__(
        self, settings: SwarmUISettings, sessions: SessionStore, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self._http = HttpClient(transport=transport, judge=judge_of(settings.worker_networks), limits=UNKEPT)
        self._settings = settings
        self._sessions = sessions
        self._servers: dict[str, SwarmUIServer] = {}
        self._signs, self._words = Rota(sessions, "next sign of life"), Rota(sessions, "next word")
        self._heard: set[str] = set()
        """Addresses that have answered anything to this object."""
        self._silent: set[str] = set()
        """Addresses that were asked by it, and have answered nothing."""

    def at(self, address: str) -> SwarmUIServer:
        """The server at one address, as `worker_address` gives it."""
        if address not in self._servers:
            self._servers[address] = self._server(address, self._settings.call_timeout_seconds)
        return self._servers[address]

    def _server(self, address: str, timeout_seconds: float) -> SwarmUIServer:
        return SwarmUIServer(
            self._http,
            address,
            role="worker",
            headers=worker_headers(self._settings),
            must_prove_itself=True,
            may_refuse=is_within(urlsplit(address).hostname or "", self._settings.worker_networks),
            secrets=secret_texts(self._settings),
            sessions=self._sessions,
            timeout_seconds=timeout_seconds,
        )

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def words_of(self, addresses: Collection[str]) -> dict[str, Word]:
        """What each worker says of itself; one that there was no time for says nothing, and is not silent."""
        answers = await self._ask(addresses, _is_busy, self._words)
        return {address: Word(busy, is_silent=address in self._silent) for address, busy in answers.items()}

    async def take_control(self, addresses: Collection[str]) -> dict[str, bool | None]:
        """Hold the dead-man's switch of each worker; True where it said so."""
        return await self._ask(addresses, _take_control, self._signs)

    async def backends_of(self, addresses: Collection[str]) -> dict[str, Counter[str]]:
        """The names of the running backends of each worker that answers."""
        answers = await self._ask(addresses, _running_backends)
        return {address: names for address, names in answers.items() if names is not None}

    async def readiness_of(self, address: str, seconds: float) -> Readiness:
        """Whether a worker can be registered: it answers, our account may do what we need, and nothing is loading.

        Args:
            address: as `worker_address` gives it.
            seconds: for one attempt to reach it, which may be longer than calls to it take later.

        Raises:
            RegistrationRejected: it answers, and waiting does not help.
        """
        server = self._server(address, seconds)
        with anyio.move_on_after(seconds):
            try:
                lacking = (await server.session()).lacks(PERMISSIONS)
                began = anyio.current_time()
                listed = await server.call("ListBackends")
                took = anyio.current_time() - began
            except ConfigError as error:
                raise RegistrationRejected(str(error)) from error
            except (MasterUnavailable, MasterRejected) as error:
                return Readiness(Registration(False, str(error), reached=False))
            if lacking:
                await server.forget()  # so that the next attempt sees what has been permitted meanwhile
                raise RegistrationRejected(f"worker {address}: our account lacks {', '.join(lacking)}")
            return Readiness(_readiness(f"worker {address}", own_backends(listed)), has_gate(listed), took)
        return Readiness(Registration(False, f"worker {address}: no answer within {seconds:g} s", reached=False))

    def _may_be(self, address: str) -> bool:
        """Whether a worker may be there, as far as the text tells; whose it is and may be loopback, the turn judges."""
        return not worker_url_problem(address, networks=self._settings.worker_networks, is_this_host=True)

    async def _ask(
        self,
        addresses: Collection[str],
        question: Callable[[SwarmUIServer], Awaitable[Answer]],
        rota: Rota | None = None,
    ) -> dict[str, Answer | None]:
        """What each answers; None where that is nothing, or nothing useful, or there was no time to ask."""
        answers: dict[str, Answer | None] = dict.fromkeys(addresses)
        # The master's own address is never a worker's: its session belongs to another account.
        asked = [address for address in answers if address != self._settings.address and self._may_be(address)]
        # Who was silent a moment ago comes last: it is most likely to be so again.
        order = sorted(await rota.in_order(asked) if rota else asked, key=self._silent.__contains__)
        seconds = 0.9 * (anyio.current_effective_deadline() - anyio.current_time())
        patience = patience_with(len(order), seconds=seconds, call_seconds=self._settings.call_timeout_seconds)
        is_proof = patience >= min(LEAST_SECONDS, self._settings.call_timeout_seconds)
        reached: set[str] = set()

        async def ask_one(address: str, scope: anyio.CancelScope) -> None:
            if address in self._silent:
                scope.deadline = min(scope.deadline, anyio.current_time() + SECONDS_FOR_THE_SILENT)
            has_answered = False
            with scope:
                try:
                    answers[address] = await question(self.at(address))
                    has_answered = True
                except FleetError as error:
                    logger.debug("worker %s did not answer usefully: %s", address, error)
                    has_answered = not isinstance(error, Unanswered)
                except Exception as error:
                    # One worker's answer must not keep the others from their sign of life.
                    logger.warning("worker %s: a mistake in asking it: %s", address, type(error).__name__)
                    has_answered = True
            if is_proof or not scope.cancelled_caught:
                self._note(address, has_answered=has_answered)

        try:
            with anyio.move_on_after(seconds):
                await ask_each(order, ask_one, patience, reached)
        finally:
            missed = next((address for address in order if address not in reached), None)
            if rota is not None and missed is not None:
                await rota.stop_at(missed)
        return answers

    def _note(self, address: str, *, has_answered: bool) -> None:
        if has_answered:
            self._heard.add(address)
        # What answers one route and not another is not silent.
        if address in self._heard:
            self._silent.discard(address)
        else:
            self._silent.add(address)


def judge_of(networks: Sequence[str]) -> Judge:
    """The rule for addresses of workers. Whose worker announced a loopback address itself, the turn has judged."""

    def judge(host: str, address: IPAddress) -> str:
        is_own_name = not networks and names_this_machine(host, socket.gethostname())
        is_judged = literal(host) is not None or is_own_name
        return address_problem(address, networks=networks, is_this_host=is_judged)

    return judge


async def activity_of(server: SwarmUIServer) -> Activity:
    """What a server does, over all its users.

    Raises:
        MasterUnavailable: no usable answer.
    """
    try:
        return parse_activity(await server.call("GetGlobalStatus", repeats=1))
    except UnknownRoute:
        return sum_activity(await server.call("ListConnectedUsers", repeats=1))


def worker_address(url: str | None) -> str:
    """A worker's URL as SwarmUI has it; empty where it is none."""
    try:
        return base_url(url or "")
    except ValueError:
        return ""


def _readiness(who: str, backends: Mapping[str, int]) -> Registration:
    """Whether it has a backend that works. The master would call it `running` without one, and fail what it gets."""
    loading, running = backends.get("loading", 0) + backends.get("waiting", 0), backends.get("running", 0)
    if loading:
        return Registration(False, f"{who}: {loading} of its backends still loading")
    if running:
        return Registration(True)
    if errored := backends.get("errored", 0):
        return Registration(False, f"{who}: {errored} of its backends errored, and none runs", reached=False)
    return Registration(False, f"{who}: none of its backends runs")


async def _running_backends(server: SwarmUIServer) -> Counter[str]:
    return names_of_running(await server.call("ListBackends", repeats=1))


async def _is_busy(server: SwarmUIServer) -> bool:
    return (await activity_of(server)).is_busy


async def _take_control(server: SwarmUIServer) -> bool:
    return (await server.call("AdminTakeControl", repeats=1)).get("success") is True
