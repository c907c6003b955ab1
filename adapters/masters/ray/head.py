"""The dashboard of a Ray head over HTTP: one call each, and what its refusals mean."""

import json
from collections.abc import Mapping, Sequence

from ebbflow.adapters.http import HttpClient, NoAnswer
from ebbflow.adapters.masters.ray.settings import RaySettings
from ebbflow.core.errors import ConfigError, MasterRejected, MasterUnavailable
from ebbflow.core.text import one_line

TOKEN = {
    401: "it asks for a token: set the master's token to that of RAY_AUTH_MODE=token at the head",
    403: "it does not take this token: set the one that the head was started with",
}
NO_AGENT = "No available agent to submit job"
"""It says so after half a minute, or longer than anybody waits."""
TAKES_NO_JOB = (
    "it takes no job; if that stays so, another Ray head of its host has its agent's port: start it with "
    "--dashboard-agent-listen-port=0"
)


class RayHead:
    """One head.

    Args:
        settings: where, and with which token.
        http: makes the calls.
    """

    def __init__(self, settings: RaySettings, http: HttpClient) -> None:
        self._settings = settings
        self._http = http

    async def get(self, path: str) -> Mapping[str, object]:
        """The object at a path.

        Raises:
            ConfigError: it wants a token, or another one.
            MasterUnavailable: no usable answer.
        """
        return _object(await self._send("GET", path, None, repeats=1), self._where(path))

    async def rows(self, path: str) -> Sequence[object]:
        """The list at a path, with the same errors."""
        said = await self._send("GET", path, None, repeats=1)
        if not isinstance(said, list):
            raise MasterUnavailable(f"{self._where(path)}: no JSON list; is this the address of a Ray dashboard?")
        return said

    async def post(self, path: str, body: Mapping[str, object]) -> Mapping[str, object]:
        """The same, for what changes something; sent once.

        Raises:
            MasterRejected: it refuses what was asked.
        """
        return _object(await self._send("POST", path, body, repeats=0), self._where(path))

    def _where(self, path: str) -> str:
        return f"Ray head {self._settings.address}: {path.partition('?')[0]}"

    async def _send(self, method: str, path: str, body: Mapping[str, object] | None, *, repeats: int) -> object:
        token, where = self._settings.token, self._where(path)
        headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
        try:
            answer = await self._http.send(
                method,
                f"{self._settings.address}{path}",
                headers=headers,
                body=body,
                timeout_seconds=self._settings.call_timeout_seconds,
                repeats=repeats,
            )
        except NoAnswer as error:
            hint = f"; {TAKES_NO_JOB}" if method == "POST" else ""
            raise MasterUnavailable(f"{where}: {error}{hint}") from error
        if answer.status_code in TOKEN:
            raise ConfigError(f"{where}: HTTP {answer.status_code}: {TOKEN[answer.status_code]}")
        if NO_AGENT in answer.text:
            raise MasterUnavailable(f"{where}: {TAKES_NO_JOB}")
        if answer.status_code >= 500 or answer.status_code == 429:
            raise MasterUnavailable(f"{where}: HTTP {answer.status_code}: {one_line(answer.text, 200)}")
        if answer.status_code != 200:
            raise MasterRejected(f"{where}: HTTP {answer.status_code}: {one_line(answer.text, 200)}")
        try:
            return json.loads(answer.content)
        except (ValueError, RecursionError):
            return None


def _object(said: object, where: str) -> Mapping[str, object]:
    if not isinstance(said, dict):
        raise MasterUnavailable(f"{where}: no JSON object; is this the address of a Ray dashboard?")
    return said
