"""How a SwarmUI master talks to a worker.

Source: SwarmUI src/Backends/SwarmSwarmBackend.cs `ValidateAndBuild`, `RunWithSession`, `ReviseRemoteDataList`.
"""

from collections.abc import Mapping

import httpx

from ebbflow.standins.clock import Clock, within
from ebbflow.standins.swarmui.backend import Backend
from ebbflow.standins.swarmui.http import JsonObject


class RemoteFailure(Exception):
    """The worker did not answer, or answered with an error."""


class SelfConnection(RemoteFailure):
    """The address is the master's own."""


class Remote:
    """Requests to workers, each with the session and headers of the entry it is for."""

    def __init__(self, client: httpx.AsyncClient, clock: Clock, server_id: str) -> None:
        self._client = client
        self._clock = clock
        self._server_id = server_id

    async def connect(self, entry: Backend) -> None:
        """Open a session on the worker.

        Raises:
            RemoteFailure: no answer in time, or no session.
            SelfConnection: the worker is this master.
        """
        answer = await self._look(entry, "GetNewSession", {})
        if answer.get("server_id") == self._server_id:
            raise SelfConnection("Swarm connected to itself, backend load failed.")
        if "session_id" not in answer:
            raise RemoteFailure(f"GetNewSession at {entry.settings.base_url}: answered {answer}")
        entry.session_id = str(answer["session_id"])

    async def backends(self, entry: Backend) -> list[JsonObject]:
        """Return the worker's own backends."""
        answer = await self._ask(entry, "ListBackends", {"nonreal": True, "full_data": True})
        return [backend for backend in answer.values() if isinstance(backend, dict)]

    async def models(self, entry: Backend) -> frozenset[str]:
        """Return the names of the models that the worker lists."""
        answer = await self._ask(entry, "ListModels", {"path": "", "depth": 999})
        files = answer.get("files")
        return frozenset(str(file["name"]) for file in files) if isinstance(files, list) else frozenset()

    async def generate(self, entry: Backend, body: Mapping[str, object]) -> list[object]:
        """Run one image and return what the worker made of it; takes as long as it takes."""
        try:
            answer = await self._post(entry, "GenerateText2Image", _with_session(entry, body))
        except _SessionInvalid:
            await self.connect(entry)
            answer = await self._post(entry, "GenerateText2Image", _with_session(entry, body))
        images = answer.get("images")
        if not isinstance(images, list):
            raise RemoteFailure(f"GenerateText2Image answered without images: {answer}")
        return images

    async def _ask(self, entry: Backend, route: str, body: Mapping[str, object]) -> JsonObject:
        try:
            return await self._look(entry, route, _with_session(entry, body))
        except _SessionInvalid:
            await self.connect(entry)
            return await self._look(entry, route, _with_session(entry, body))

    async def _look(self, entry: Backend, route: str, body: Mapping[str, object]) -> JsonObject:
        seconds = entry.settings.connection_attempt_timeout_seconds
        try:
            return await within(self._clock, seconds, self._post(entry, route, body))
        except TimeoutError as error:
            raise RemoteFailure(f"{route} at {entry.settings.base_url}: {error}") from error

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
