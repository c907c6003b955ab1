"""A service without its Hypha server: a desk, its rounds and a played head, on a clock that a test moves."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from ebbflow.services.hypha.audit import Audit
from ebbflow.services.hypha.board import Board
from ebbflow.services.hypha.cluster import Cluster
from ebbflow.services.hypha.desk import Desk
from ebbflow.services.hypha.head import Head
from ebbflow.services.hypha.rounds import Rounds
from ebbflow.services.hypha.settings import Settings
from ebbflow.services.hypha.store import Store
from tests.services.hypha.played_head import PlayedHead

RAY = "http://ray.example:8265"


def context(user: str, **more: Any) -> dict[str, Any]:
    """What a Hypha server says of a call of somebody with an account."""
    said: dict[str, Any] = {
        "id": user,
        "email": f"{user}@example.org",
        "parent": None,
        "roles": [],
        "is_anonymous": False,
        "scope": {"workspaces": {f"ws-user-{user}": "a"}},
    }
    return {"from": f"ws-user-{user}/client", "ws": f"ws-user-{user}", "user": {**said, **more}}


def settings(folder: Path, **more: Any) -> Settings:
    """Of a service that ada and bob may use, and whose admin is root-ada."""
    people = {"allow": ["user:ada", "email:bob@example.org"], "admins": ["user:grace"]}
    given = {"hypha": "http://hypha.example", "ray": RAY, "state_folder": folder / "state", **people, **more}
    return Settings.model_validate(given)


class DeskWorld:
    """One service, from a start to an end that may be sudden."""

    def __init__(self, chosen: Settings, head: PlayedHead, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.now = 1_800_000_000.0
        self.settings, self.head = chosen, head
        self.store = Store(chosen.state_folder)
        self.board = Board(self.store, chosen.limits, lambda: self.now)
        asked = Head(
            RAY,
            token=None,
            timeout_seconds=5,
            driver_cpus=chosen.driver_cpus,
            transport=transport or httpx.MockTransport(head.respond),
            now=lambda: self.now,
        )
        self.said: list[str] = []
        self.rounds = Rounds(self.board, asked, interval_seconds=0.01, monotonic=lambda: self.now, say=self.said.append)
        audit = Audit(chosen.state_folder, None)
        self.desk = Desk(chosen, self.board, Cluster(asked, self.rounds, None), audit)
        self._asked = asked

    async def open(self) -> None:
        """As a service that starts."""
        await self.store.open()
        await self.board.open()

    async def aclose(self) -> None:
        """As one that ends, also by a kill: nothing is written then."""
        await self._asked.aclose()
        await self.store.aclose()

    async def call(self, user: str, function: str, *words: object, **given: object) -> dict[str, Any]:
        """A call of a user with an account. Any: JSON is what it is."""
        return await self.desk.call(function, context(user), words, given)

    async def submit(self, user: str = "ada", **given: object) -> str:
        """The id of a job that was submitted."""
        return str((await self.call(user, "submit", **{"entrypoint": "python train.py", **given}))["job_id"])

    async def state(self, job_id: str, user: str = "ada") -> str:
        """Of a job, as its submitter is told."""
        return str((await self.call(user, "status", job_id))["state"])

    def audited(self) -> str:
        """What the file of the service says of calls."""
        return (self.settings.state_folder / "audit.jsonl").read_text()


@asynccontextmanager
async def desk_world(
    folder: Path, head: PlayedHead | None = None, *, transport: httpx.AsyncBaseTransport | None = None, **more: Any
) -> AsyncIterator[DeskWorld]:
    """One that runs until the block ends."""
    world = DeskWorld(settings(folder, **more), head or PlayedHead(), transport)
    await world.open()
    try:
        yield world
    finally:
        await world.aclose()
