"""A stand-in SwarmUI master, driven as its users do and from outside."""

import asyncio
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx

from ebbflow.adapters.http import IDLE_SECONDS
from tests.e2e.processes import DEADLINE_SECONDS, start_stand_in, until

SOON = ("--is_new", "false", "--websocket_seconds", "0.1")
"""As a master that was started before; what a new one and websockets cost has tests of its own, on a clock."""


class StandInMaster:
    """A stand-in SwarmUI master as a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "master.log"
        self._words = [*SOON, "--data_dir", str(folder / "data"), "--save_delay_seconds", "0.2", *options]
        self._process: subprocess.Popen[bytes] | None = None
        self._user_session: str | None = None
        # A request that meets the moment at which the stand-in closes an idle connection is lost.
        limits = httpx.Limits(keepalive_expiry=IDLE_SECONDS)
        self.http = httpx.AsyncClient(trust_env=False, verify=False, timeout=None, limits=limits)
        self.url = ""

    async def start(self, port: int = 0) -> None:
        """Start it, and wait until it listens."""
        words = ["master", "--port", str(port), *self._words]
        self._process = start_stand_in(words, log=self._log)
        await until(lambda: "listening on " in self._log.read_text(), "the master listens")
        self.url = self._log.read_text().split("listening on ")[1].split()[0]

    @property
    def runs(self) -> bool:
        """Whether it was started and not ended; not whether it answers."""
        return self._process is not None and self._process.poll() is None

    async def stop(self) -> None:
        """End it; `start(port)` brings it back with what it saved."""
        if self._process is None:
            return
        self._process.terminate()
        await asyncio.to_thread(self._process.wait, 10)
        self._process = None

    async def control(self, name: str, **body: object) -> dict[str, Any]:
        """Drive it from outside; see `_own_controls` of the stand-in."""
        answer = await self.http.post(f"{self.url}/Control/{name}", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def requests(self, route: str = "") -> list[dict[str, Any]]:
        """The requests that it received, oldest first."""
        state = await self.control("State")
        return [each for each in state["requests"] if not route or each["route"].lower() == route.lower()]

    async def until_asked(self, route: str, count: int) -> None:
        """Wait until a route has received that many requests."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (seen := len(await self.requests(route))) < count:
            assert time.monotonic() < deadline, f"{route} was asked {seen} times, not {count}"
            await asyncio.sleep(0.05)

    async def call(self, route: str, **body: object) -> dict[str, Any]:
        """Call its API as a user does."""
        if self._user_session is None:
            answer = await self.http.post(f"{self.url}/API/GetNewSession", json={})
            self._user_session = answer.json()["session_id"]
        answer = await self.http.post(f"{self.url}/API/{route}", json={**body, "session_id": self._user_session})
        return dict(answer.json())

    async def entries(self) -> dict[str, dict[str, Any]]:
        """Its real entries by title."""
        listed = await self.call("ListBackends", nonreal=True, full_data=True)
        return {row["title"]: row for row in listed.values() if row["id"] >= 0}

    async def close(self) -> None:
        """End it whatever state it is in."""
        await self.http.aclose()
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait, 10)
            self._process = None
