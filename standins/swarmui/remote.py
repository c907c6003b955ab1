"""How a SwarmUI master talks to a worker.

Source: SwarmUI src/Backends/SwarmSwarmBackend.cs `ValidateAndBuild`, `RunWithSession`, `ReviseRemoteDataList`.
"""

from collections.abc import Mapping

import httpx

from ebbflow.standins.clock import Clock, within
from ebbflow.standins.swarmui.backend import Backend
from ebbflow.standins.swarmui.http import JsonObject

HTTP_LIMIT_SECONDS = 600.0
"""How long a master's HTTP client waits for an answer, where nothing shorter is set."""


class RemoteFailure(Exception):
    """The worker did not answer, or answered with an error."""


class Remote:
    """Requests to workers, each with the session and headers of the entry it is for."""

    def __init__(self, client: httpx.AsyncClient, clock: Clock, server_id: str) -> None:
        self._client = client
        self._clock = clock
        self._server_id = server_id
        self.questions = 0
        """How many questions wait for their answer, generations aside."""

    async def connect(self, entry: Backend) -> None:
        """Open a session on the worker.

        Raises:
            RemoteFailure: no answer in time, no session, or the worker is this master.
        """
        answer = await self._look(entry, "GetNewSession", {})
        if "session_id" not in answer:
            raise RemoteFailure(f"GetNewSession at {entry.settings.base_url}: answered {answer}")
        # Taken first: the polls of an entry that leads to its own master have a good session, and so find it running.
        entry.session_id = str(answer["session_id"])
        if answer.get("server_id") == self._server_id:
            raise RemoteFailure("Swarm connected to itself, backend load failed.")

    async def backends(self, entry: Backend, limit_seconds: float | None = None) -> list[JsonObject]:
        """Return the worker's own backends; without a limit, within the entry's time to connect."""
        answer = await self._ask(entry, "ListBackends", {"nonreal": True, "full_data": True}, limit_seconds)
        return [backend for backend in answer.values() if isinstance(backend, dict)]

    async def models(self, entry: Backend, limit_seconds: float | None = None) -> frozenset[str]:
        """Return the names of the models that the worker lists."""
        answer = await self._ask(entry, "ListModels", {"path": "", "depth": 999}, limit_seconds)
        files = answer.get("files")
        return frozenset(str(file["name"]) for file in files) if isinstance(files, list) else frozenset()

    async def take_control(self, entry: Backend) -> None:
        """Hold the worker's dead-man's switch.

        Raises:
            RemoteFailure: it did not say so.
        """
        if (await self._ask(entry, "AdminTakeControl", {}, None)).get("success") is not True:
            raise RemoteFailure("AdminTakeControl was not answered with success")

    async def shut_down(self, entry: Backend) -> None:
        """Ask the worker to end."""
        await self._ask(entry, "ShutdownServer", {}, None)

    async def generate(self, entry: Backend, body: Mapping[str, object]) -> list[object]:
        """Run one image and return what the worker made of it; over a websocket it takes as long as it takes."""
        seconds = None if entry.settings.allow_websocket else HTTP_LIMIT_SECONDS
        try:
            answer = await self._generate(entry, body, seconds)
        except _SessionInvalid:
            await self.connect(entry)
            answer = await self._generate(entry, body, seconds)
        images = answer.get("images")
        if not isinstance(images, list):
            raise RemoteFailure(f"GenerateText2Image answered without images: {answer}")
        return images

    async def _generate(self, entry: Backend, body: Mapping[str, object], limit_seconds: float | None) -> JsonObject:
        if limit_seconds is None:
            return await self._post(entry, "GenerateText2Image", _with_session(entry, body))
        request = self._post(entry, "GenerateText2Image", _with_session(entry, body))
        try:
            return await within(self._clock, limit_seconds, request)
        except TimeoutError as error:
            raise RemoteFailure(f"GenerateText2Image at {entry.settings.base_url}: {error}") from error

    async def _ask(
        self, entry: Backend, route: str, body: Mapping[str, object], limit_seconds: float | None
    ) -> JsonObject:
        try:
            return await self._look(entry, route, _with_session(entry, body), limit_seconds)
        except _SessionInvalid:
            await self.connect(entry)
            return await self._look(entry, route, _with_session(entry, body), limit_seconds)

    async def _look(
        self, entry: Backend, route: str, body: Mapping[str, object], limit_seconds: float | None = None
    ) -> JsonObject:
        seconds = limit_seconds or entry.settings.connection_attempt_timeout_seconds
        self.questions += 1
        try:
            return await within(self._clock, seconds, self._post(entry, route, body))
        except TimeoutError as error:
            raise RemoteFailure(f"{route} at {entry.settings.base_url}: {error}") from error
        finally:
            self.questions -= 1

    async def _post(self, entry: Backend, route: str, body: Mapping[str, object]) -> JsonObject:
        url = f"{entry.settings.base_url}/API/{route}"
        try:
            response = await self._client.post(url, json=body, headers=entry.settings.headers())
            answer = response.json()
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise RemoteFailure(f"{route} at {url}: {error!r}") from error
        if not isinstance(answer, dict):
            raise RemoteFailure(f"{route} at {url}: answered {answer!r}")
        if answer.get("error_id") == "invalid_session_id":
            raise _SessionInvalid(f"{route} at {url}: session is unknown there")
        if "error" in answer:
            raise RemoteFailure(f"Remote swarm gave error: {answer['error']}")
        return answer


def _with_session(entry: Backend, body: Mapping[str, object]) -> JsonObject:
    # An entry that never connected sends an empty id: the worker then asks for a new session, as an unknown id does.
    return {**body, "session_id": entry.session_id}


class _SessionInvalid(RemoteFailure):
    """The worker has forgotten the session id."""
