"""A line for each call: in a file of the service, and as events of the fleet on its Prefect server.

The file has every line at once. Events go by themselves, so that a server that is away holds nobody up; what changes
nothing is told there once a minute, with how often it was asked.
"""

import json
import os
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
from pydantic import SecretStr

from ebbflow.adapters.http import Body, HttpClient, NoAnswer
from ebbflow.core.text import one_line, without_markdown
from ebbflow.gateway.rates import Rate

FILE = "audit.jsonl"
MOST_BYTES = 64_000_000
CHANGES = frozenset({"submit", "cancel"})
SEND_SECONDS, TOGETHER_SECONDS = 2.0, 60.0
TIMEOUT_SECONDS = 10.0
MOST_HELD = 5_000
"""Events that wait for a server that is away; the oldest go first, and how many is told."""
AT_ONCE = 100
NEVER_TAKEN = 422
"""Of a server that understands events otherwise: the same would come of the same."""
REFUSALS_PER_SECOND, REFUSALS_AT_ONCE = 1.0, 100
"""Of one caller; more are counted, and told with the next one."""
LONGEST = 300


@dataclass(frozen=True, slots=True)
class Line:
    """One call."""

    at: float
    """Seconds since 1970."""
    caller: str
    function: str
    outcome: str
    """`done`, or `refused`."""
    why: str = ""
    job: str = ""
    asked: int = 1
    """How often the same was asked."""

    def shown(self) -> dict[str, Any]:
        """As JSON; what says nothing is left out. Any: texts and numbers."""
        moment = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="milliseconds")
        words = {"caller": self.caller, "function": self.function, "outcome": self.outcome}
        more = {"why": one_line(self.why, LONGEST), "job": self.job}
        count = {"asked": self.asked} if self.asked > 1 else {}
        return {"at": moment, **words, **{name: text for name, text in more.items() if text}, **count}


@dataclass(slots=True)
class Audit:
    """The file.

    Args:
        folder: of the service.
        history: also gets each line.
        most_bytes: then the file is put aside, under the time, and another one is begun.
    """

    folder: Path
    history: "History | None"
    most_bytes: int = MOST_BYTES
    _refusals: Rate = field(default_factory=lambda: Rate(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE))
    _unsaid: int = 0

    def note(self, line: Line) -> None:
        """Write it down. A caller who is refused again and again fills no disk."""
        if line.outcome == "refused":
            if not self._refusals.lets(line.caller, line.at):
                self._unsaid += 1
                return
            line, self._unsaid = replace(line, asked=1 + self._unsaid), 0
        self._write(line)
        if self.history is not None:
            self.history.note(line)

    def _write(self, line: Line) -> None:
        path = self.folder / FILE
        if path.exists() and path.stat().st_size > self.most_bytes:
            path.rename(path.with_suffix(f".{int(line.at)}.jsonl"))
        # One write to a file that is appended to: it is there whole, or not at all, also after a kill.
        file = os.open(path, os.O_CREAT | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        try:
            os.write(file, json.dumps(line.shown()).encode() + b"\n")
        finally:
            os.close(file)


class History:
    """The fleet's events on a Prefect server, and its last decision there, over plain HTTP.

    Args:
        api: of the server.
        fleet: its name.
        now: seconds since 1970.
        authorization: the header of that name; None: the server asks for none.
        transport: replaces the network in tests.
    """

    def __init__(
        self,
        api: str,
        fleet: str,
        *,
        now: Callable[[], float],
        authorization: SecretStr | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._api, self._fleet, self._now = api, fleet, now
        self._http = HttpClient(transport=transport)
        self._authorization = authorization
        self._events: deque[Line] = deque()
        self._asked: dict[tuple[str, str, str], Line] = {}
        self._begun_at = now()
        self._lost = 0
        self.trouble = ""
        """Why events wait; empty: they do not."""

    def note(self, line: Line) -> None:
        """Take a line along."""
        if line.function in CHANGES or line.outcome == "refused":
            self._hold(line)
            return
        same = (line.caller, line.function, line.job)
        before = self._asked.get(same)
        self._asked[same] = replace(line, asked=line.asked + before.asked) if before else line

    def _hold(self, line: Line) -> None:
        self._events.append(line)
        if len(self._events) > MOST_HELD:
            self._events.popleft()
            self._lost += 1

    async def run(self) -> None:
        """Send for ever."""
        while True:
            await anyio.sleep(SEND_SECONDS)
            await self.send()

    async def send(self, *, everything: bool = False) -> None:
        """Send what waits; what the server does not take waits on."""
        if everything or self._now() - self._begun_at >= TOGETHER_SECONDS:
            self._begun_at = self._now()
            asked, self._asked = self._asked, {}
            for line in asked.values():
                self._hold(line)
        while self._events:
            batch = [self._events[place] for place in range(min(AT_ONCE, len(self._events)))]
            try:
                answer = await self._ask("POST", "/events", [self._event(line) for line in batch])
            except NoAnswer as error:
                self.trouble = one_line(str(error))
                return
            said = f"HTTP {answer.status_code}: {one_line(answer.text, 200)}"
            if answer.status_code >= 300 and answer.status_code != NEVER_TAKEN:
                self.trouble = said
                return
            is_taken = answer.status_code != NEVER_TAKEN
            self.trouble, self._lost = ("", 0) if is_taken else (said, self._lost + len(batch))
            for _ in batch:
                self._events.popleft()

    def _event(self, line: Line) -> Mapping[str, object]:
        said = line.shown()
        payload = {**said, **({"events_lost_before": self._lost} if self._lost else {})}
        related = [{"prefect.resource.id": f"ebbflow.job.{line.job}", "prefect.resource.role": "job"}]
        return {
            "id": str(uuid.uuid4()),
            "occurred": said["at"],
            "event": f"ebbflow.hypha.{line.function if line.outcome == 'done' else 'refused'}",
            "resource": {"prefect.resource.id": f"ebbflow.fleet.{self._fleet}"},
            "related": related if line.job else [],
            "payload": payload,
        }

    async def decided(self) -> str:
        """What the fleet's newest record says in a line, with its time; why there is none where there is none."""
        wanted = {"variables": {"tags": {"all_": [f"fleet:{self._fleet}"]}}, "sort": "CREATED_DESC", "limit": 1}
        try:
            (claim,) = await self._read("POST", "/variables/filter", wanted)
            record = await self._read("GET", f"/artifacts/{uuid.UUID(str(claim['value']['artifact']))}")
            # A record's description is Markdown, and this is not.
            return f"{record['created'][:19]}Z: {one_line(without_markdown(record['description']), LONGEST)}"
        except NoAnswer as error:
            return f"the Prefect server does not answer: {one_line(str(error), 100)}"
        except (ValueError, KeyError, TypeError):
            return f"fleet {self._fleet} has no record there"

    async def _read(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        """JSON of the server; Any: it is what it is."""
        return json.loads((await self._ask(method, path, body)).content)

    async def _ask(self, method: str, path: str, body: Body | None) -> httpx.Response:
        known = self._authorization
        headers = {} if known is None else {"Authorization": known.get_secret_value()}
        return await self._http.send(
            method, f"{self._api}{path}", headers=headers, timeout_seconds=TIMEOUT_SECONDS, body=body
        )

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()
