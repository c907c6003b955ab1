"""API sessions of masters and workers, kept between runs in a block of their own.

Without it each run would leave a session behind in the master, which keeps it for a month.
"""

import json
from contextlib import suppress

import anyio
from prefect.blocks.core import Block
from prefect.logging import get_logger
from pydantic import ConfigDict, Field, SecretStr

from ebbflow.blocks.client import going_on, open_client
from ebbflow.blocks.reading import read_block_of
from ebbflow.core.errors import ConfigError

logger = get_logger("ebbflow")
SLUG = "ebbflow-sessions"


class ApiSessions(Block):
    """Written by the flows: API sessions of one fleet's master and workers. Deleting it is safe; it is made again."""

    _block_type_name = "Ebbflow API sessions"
    _block_type_slug = SLUG
    _description = "Written by Ebbflow's flows. Deleting it is safe: sessions are made again."

    model_config = ConfigDict(extra="forbid")

    sessions: SecretStr = Field(default=SecretStr("{}"), description="JSON: server address to session id.")


class BlockSessionStore:
    """A `SessionStore` of the SwarmUI adapter: reads the block once, and writes it once, when the run ends."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._sessions: dict[str, str] | None = None
        self._is_changed = False
        self._loading = anyio.Lock()

    async def get(self, address: str) -> str | None:
        """The session for one server, or None."""
        return (await self._load()).get(address)

    async def put(self, address: str, session: str | None) -> None:
        """Remember a session, or forget it with None."""
        sessions = await self._load()
        if session is None:
            self._is_changed |= sessions.pop(address, None) is not None
        else:
            self._is_changed |= sessions.get(address) != session
            sessions[address] = session

    async def aclose(self) -> None:
        """Save. A run that has acted must not fail because a session could not be kept for the next one."""
        with going_on(logger, "API sessions were not saved, the next run makes new ones"):
            await self.save()

    async def save(self) -> None:
        """Write what changed. Two runs may overwrite each other: the worst is one session more."""
        if not self._is_changed:
            return
        block = ApiSessions(sessions=SecretStr(json.dumps(self._sessions, sort_keys=True)))
        await block.asave(self._name, overwrite=True)
        self._is_changed = False

    async def _load(self) -> dict[str, str]:
        # Many ask at once, and what one of them has put must not be lost to what the others read.
        async with self._loading:
            if self._sessions is None:
                self._sessions = await self._kept()
        return self._sessions

    async def _kept(self) -> dict[str, str]:
        with going_on(logger, "API sessions were not read, this run makes new ones"), suppress(ValueError, ConfigError):
            async with open_client() as client:
                block = await read_block_of(client, f"{SLUG}/{self._name}", ApiSessions)
            return dict(json.loads(block.sessions.get_secret_value())) if block is not None else {}
        return {}
