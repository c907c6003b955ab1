"""API sessions of one SwarmUI master and its workers: what is kept from run to run, by whom, and what is not.

A server keeps a session for a month, so that a run which made its own each time would leave thousands behind.
"""

from typing import Protocol


class SessionStore(Protocol):
    """Where sessions are, by the server's address. What is kept is a secret: whoever has it acts as our user.

    Beside them is, in words that are no address, where a look at very many workers stopped.
    """

    async def get(self, address: str) -> str | None:
        """The session for one server, or None."""
        ...

    async def put(self, address: str, session: str | None) -> None:
        """Remember a session, or forget it with None."""
        ...

    async def aclose(self) -> None:
        """Keep what changed; what changes after that is kept by another call.

        Best effort: what cannot be kept is made anew by the next run.
        """
        ...


class InMemorySessionStore:
    """Sessions that last as long as the process: for tests, and for use without saved blocks."""

    def __init__(self) -> None:
        self._sessions: dict[str, str] = {}

    async def get(self, address: str) -> str | None:
        """The session for one server, or None."""
        return self._sessions.get(address)

    async def put(self, address: str, session: str | None) -> None:
        """Remember a session, or forget it with None."""
        if session is None:
            self._sessions.pop(address, None)
        else:
            self._sessions[address] = session

    async def aclose(self) -> None:
        """Nothing to do: a later adapter finds them here."""


class ReadOnlySessions:
    """Sessions that are read and never stored; one that has to be renewed is kept for this run alone."""

    def __init__(self, sessions: SessionStore) -> None:
        self._sessions = sessions
        self._fresh: dict[str, str | None] = {}

    async def get(self, address: str) -> str | None:
        """This run's session, else the stored one."""
        if address in self._fresh:
            return self._fresh[address]
        return await self._sessions.get(address)

    async def put(self, address: str, session: str | None) -> None:
        """Keep it for this run."""
        self._fresh[address] = session

    async def aclose(self) -> None:
        """Keep nothing."""
