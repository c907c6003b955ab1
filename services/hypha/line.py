"""The service at a Hypha server: registered, looked after, and registered again whenever the server comes back.

The only module that knows `hypha_rpc`. Its own way of coming back keeps a token that has ended, and tells nobody; so a
connection that is lost is closed here, and a new one made with the token of that moment.
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
from hypha_rpc.rpc import RPC
from hypha_rpc.websocket_client import WebsocketRPCConnection, normalize_server_url
from pydantic import SecretStr

from ebbflow.core.errors import ConfigError, FleetError
from ebbflow.core.text import one_line
from ebbflow.services.hypha.asked import Denied, Refused, Unknown
from ebbflow.services.hypha.desk import Answer, plain
from ebbflow.services.hypha.guard import NotTaken, checked, sender
from ebbflow.services.hypha.tokens import Tokens

logger = logging.getLogger(__name__)

ANSWER_SECONDS = 20.0
LOOK_SECONDS = 20.0
"""Between two questions whether the server still knows the service."""
MOST_OF_A_MESSAGE = 20_000_000
"""More than the server itself takes of anybody."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
Function = Callable[[object, Sequence[object], Mapping[str, object]], Awaitable[Answer]]
"""Takes the context of a call, and its arguments without and with names."""
KINDS: Mapping[type[FleetError], type[Exception]] = {Denied: PermissionError, Unknown: LookupError, Refused: ValueError}
"""What callers read at the beginning of an error, the first that fits."""


class Lost(Exception):
    """The connection is no more, or never was; says why."""


class RefusedByServer(Lost):
    """The server answered, and does not let the service in."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the service is registered."""

    url: str
    workspace: str | None
    """None: the token's own."""
    service: str


class _Connection(WebsocketRPCConnection):  # type: ignore[misc]  # the package has no types
    """The package's connection, whose messages are looked at, and whose end is told.

    Args:
        refused: is told of each message that is not taken.
    """

    def __init__(self, *words: Any, refused: Callable[[Mapping[str, object], str], None], **more: Any) -> None:
        super().__init__(*words, **more)
        self._refused = refused
        self.lost = asyncio.Event()

    def _ws_connect_kwargs(self) -> dict[str, Any]:
        # By default a message of more than a megabyte closes the connection, and anybody can send one.
        return {**super()._ws_connect_kwargs(), "max_size": MOST_OF_A_MESSAGE}

    def on_message(self, handler: Callable[[object], None]) -> None:
        """Let the handler see what may be taken."""

        def looked_at(message: object) -> None:
            if isinstance(message, bytes):
                try:
                    message = checked(message)
                except NotTaken as error:
                    self._refused(sender(message), str(error))
                    return
            handler(message)

        super().on_message(looked_at)

    def on_disconnected(self, handler: Callable[[object], None]) -> None:
        """Let the handler know, and us."""

        def told(reason: object = None) -> None:
            self.lost.set()
            handler(reason)

        super().on_disconnected(told)


class ServerLine:
    """Keeps the service registered.

    Args:
        place: where.
        tokens: by which it may.
        functions: what it offers.
        refused: is told of each message that is not taken, with the context that the server gave it.
        token_seconds: how long a token is to live that is asked for.
        say: is told what a person should know.
    """

    def __init__(
        self,
        place: Place,
        tokens: Tokens,
        functions: Mapping[str, Function],
        *,
        refused: Callable[[Mapping[str, object], str], None],
        token_seconds: float,
        say: Callable[[str], None],
    ) -> None:
        self._place, self._tokens, self._functions = place, tokens, functions
        self._refused, self._token_seconds, self._say = refused, token_seconds, say
        self._told = ""

    async def run(self) -> None:
        """Go on for ever; a server that is away is waited for.

        Raises:
            ConfigError: there was no token, or the server let it in not once.
        """
        pause, was_in = FIRST_PAUSE_SECONDS, False
        while True:
            try:
                async with self._registered(await self._tokens.current()) as (connection, manager, address):
                    self._tell(f"registered as {address}")
                    pause, was_in = FIRST_PAUSE_SECONDS, True
                    await self._looked_after(connection, manager, address)
                    continue
            except (Lost, ConfigError) as error:
                if not was_in and isinstance(error, RefusedByServer | ConfigError):
                    raise ConfigError(str(error)) from error
                self._tell(f"{error}; jobs go on, and it is tried again")
            await anyio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _tell(self, text: str) -> None:
        """Say it, and not again where nothing has changed since."""
        if text != self._told:
            self._told = text
            self._say(text)

    @asynccontextmanager
    async def _registered(self, token: SecretStr) -> AsyncIterator[tuple[_Connection, Any, str]]:
        """The connection, the server's own functions (Any: they come from there), and the address of the service."""
        url, name = normalize_server_url(self._place.url), self._place.service
        connection = _Connection(
            url,
            name,
            workspace=self._place.workspace,
            token=token.get_secret_value(),
            timeout=ANSWER_SECONDS,
            refused=self._refused,
            logger=None,
        )
        rpc: Any = None
        try:
            with _told(f"the Hypha server at {self._place.url}"):
                info = await connection.open()
                rpc = RPC(
                    connection,
                    client_id=name,
                    workspace=info["workspace"],
                    default_context={"connection_type": "websocket"},
                    # Without its name for itself, the server takes our functions for a stranger's and calls them in
                    # the place of whoever asks: every caller would be the server.
                    server_base_url=info.get("public_base_url"),
                    method_timeout=ANSWER_SECONDS,
                    logger=None,
                )
                await rpc.wait_for("services_registered", timeout=ANSWER_SECONDS)
                manager = await rpc.get_manager_service({"timeout": ANSWER_SECONDS, "case_conversion": "snake"})
                await rpc.register_service(self._service(), {"overwrite": True})
            yield connection, manager, f"{info['workspace']}/{name}:{name}"
        finally:
            with anyio.move_on_after(ANSWER_SECONDS, shield=True), suppress(Exception):
                # Also where the package itself is just coming back by the old token.
                await (connection if rpc is None else rpc).disconnect()

    async def _looked_after(self, connection: _Connection, manager: Any, address: str) -> None:
        """Return once another token is there; until then see that the server knows the service.

        Raises:
            Lost: it does not, or the connection is gone.
        """
        token = await self._tokens.current()
        wait, loop = self._tokens.renew_in_seconds(token), asyncio.get_running_loop()
        renew_at = loop.time() + wait
        while True:
            with anyio.move_on_after(min(LOOK_SECONDS, max(0.0, renew_at - loop.time()))):
                await connection.lost.wait()
                raise Lost(f"the Hypha server at {self._place.url} has closed the connection")
            if loop.time() >= renew_at:
                if await self._renewed(manager, token):
                    return
                renew_at = loop.time() + LOOK_SECONDS
            with _told(f"the Hypha server at {self._place.url} does not know {address} any more"):
                await asyncio.wait_for(manager.get_service_info(address), ANSWER_SECONDS)

    async def _renewed(self, manager: Any, before: SecretStr) -> bool:
        """Get another token, from the server or from the operator's file; whether there is one."""
        with suppress(ConfigError):
            if (await self._tokens.current()).get_secret_value() != before.get_secret_value():
                return True
        wanted = {"expires_in": math.ceil(self._token_seconds), "permission": "admin"}
        try:
            made = await asyncio.wait_for(manager.generate_token(wanted), ANSWER_SECONDS)
            await self._tokens.keep(str(made))
        except Exception as error:
            self._tell(
                f"no new token from the Hypha server ({one_line(_last(error), 200)}): put one in place of the old"
            )
            return False
        self._tell("a new token of the Hypha server is used from now on")
        return True

    def _service(self) -> dict[str, Any]:
        offered: dict[str, Any] = {name: _offered(function) for name, function in self._functions.items()}
        # Found by whoever is told its name, in no list; who may call, each function looks at.
        config = {"visibility": "unlisted", "require_context": True}
        return {"id": self._place.service, "name": "Ray cluster", "type": "ebbflow", "config": config, **offered}


def _offered(function: Function) -> Callable[..., Awaitable[Answer]]:
    """A function as the package calls it.

    What is raised within a coroutine goes to the caller with its traceback, and so with our files and lines. What a
    future holds goes as it is.
    """

    def call(*words: object, context: object = None, **given: object) -> Awaitable[Answer]:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def answered(task: asyncio.Task[Answer]) -> None:
            # Whoever called may have gone.
            if answer.done() or task.cancelled():
                answer.cancel()
            elif (error := task.exception()) is None:
                answer.set_result(task.result())
            else:
                answer.set_exception(_for_callers(error))

        task = asyncio.ensure_future(_named(function, words, context, given))
        # The loop itself holds tasks weakly.
        held.add(task)
        task.add_done_callback(answered)
        task.add_done_callback(held.discard)
        return answer

    held: set[asyncio.Task[Answer]] = set()
    return call


async def _named(function: Function, words: tuple[object, ...], context: object, given: Mapping[str, object]) -> Answer:
    return plain(await function(context, words, given))


def _for_callers(error: BaseException) -> Exception:
    """What they are told; without a traceback, as it was never raised."""
    if isinstance(error, FleetError):
        kind = next((kind for ours, kind in KINDS.items() if isinstance(error, ours)), RuntimeError)
        return kind(one_line(str(error), 1000))
    logger.error("a call failed by a mistake of ours", exc_info=error)
    return RuntimeError("it failed by a mistake of the service, whose log tells which")


@contextmanager
def _told(what: str) -> Iterator[None]:
    """What goes wrong within is `Lost`, in words."""
    try:
        yield
    except FleetError:
        raise
    except Exception as error:
        said = one_line(_last(error), 200) or type(error).__name__
        # The package says so of a token that is none, or has ended, and of a workspace that is another's.
        refuses = ConnectionAbortedError | PermissionError | AssertionError
        lost = RefusedByServer if isinstance(error, refuses) else Lost
        raise lost(f"{what}: {said}") from error


def _last(error: BaseException) -> str:
    """What it says in the end: errors of others come with their traceback as text."""
    return str(error).strip().rpartition("\n")[2]
