"""One fleet of a test: a stand-in SwarmUI, saved blocks, real worker processes, and a clock on the Prefect server.

Every age that a turn reasons with comes from the server's timestamps of its claims, so moving those back lets time
pass for one fleet and for nobody else.
"""

import asyncio
import json
import os
import secrets
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterFlowRunId,
)
from prefect.client.schemas.objects import Artifact, FlowRun, State

from ebbflow.blocks import LaunchScriptProvider, LocalProvider, SwarmUIMaster
from ebbflow.core.chain import Stored
from ebbflow.core.record import Record
from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from ebbflow.flows.ledger import PrefectLedger

DEADLINE_SECONDS = 30.0
"""How long a test waits for something that happens in a moment; many tests may share the machine."""

WORKER_PROGRAM = (sys.executable, "-m", "ebbflow.standins.swarmui.server", "worker", "--no_persist")
CONTROL = ("--require_control_within", "10")
"""The dead-man's switch, which a launch script gives its worker by itself."""

ProviderKind = Literal["local", "launch-script"]

# Notes each start before it becomes the worker, so that a test can count how often an id was started.
NOTED_START = 'echo "$EBBFLOW_WORKER_ID $$" >> "$0"; exec "$@"'


async def until(holds: Callable[[], object], what: str, seconds: float = DEADLINE_SECONDS) -> None:
    """Wait for something that no event tells."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(0.05)


def processes_with(name: str, value: str) -> dict[int, dict[str, str]]:
    """Live processes whose environment holds a variable: their environments by pid. Zombies have none."""
    found = {}
    wanted = f"{name}={value}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            words = path.read_bytes().split(b"\0")
            if wanted in words:
                pairs = (word.decode("utf-8", "replace").partition("=") for word in words)
                found[int(path.parent.name)] = {key: text for key, _, text in pairs}
    return found


def start_stand_in(
    words: Sequence[str], *, log: Path, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start a stand-in SwarmUI in a session of its own."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "ebbflow.standins.swarmui.server", *words],
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


class StandInMaster:
    """A stand-in SwarmUI master as a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "master.log"
        self._words = ["--data_dir", str(folder / "data"), "--save_delay_seconds", "0.2", *options]
        self._process: subprocess.Popen[bytes] | None = None
        self._user_session: str | None = None
        self.http = httpx.AsyncClient(trust_env=False, verify=False, timeout=None)
        self.url = ""

    async def start(self, port: int = 0) -> None:
        """Start it, and wait until it listens."""
        words = ["master", "--port", str(port), *self._words]
        self._process = start_stand_in(words, log=self._log)
        await until(lambda: "listening on " in self._log.read_text(), "the master listens")
        self.url = self._log.read_text().split("listening on ")[1].split()[0]

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


@dataclass
class Turn:
    """One run of a flow, as Prefect remembers it."""

    state: State[Any]
    run: FlowRun

    @property
    def said(self) -> str:
        """Name and message of the final state."""
        return f"{self.run.name} | {self.state.name}: {self.state.message}"

    async def tasks(self) -> list[str]:
        """The names of its task runs. They travel as events, and arrive a moment after the run has ended."""
        wanted = TaskRunFilter(flow_run_id=TaskRunFilterFlowRunId(any_=[self.run.id]))
        names: list[str] = []
        async with get_client() as client:
            for _ in range(20):
                runs = await client.read_task_runs(task_run_filter=wanted)
                before, names = names, sorted(run.name for run in runs)
                if (_ >= 2 and not names) or (names and names == before):
                    break
                await asyncio.sleep(0.1)
        return names

    async def artifacts(self) -> list[Artifact]:
        """What it left."""
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[self.run.id]))
        async with get_client() as client:
            return await client.read_artifacts(artifact_filter=wanted)


def pass_time(environment: Mapping[str, str], fleet: str, seconds: float) -> None:
    """Let the server's timestamps of one fleet's claims become older.

    Turns read the server's clock off its `Date` header, which lags by up to two seconds: leave such a margin.
    """
    database = Path(environment["PREFECT_HOME"]) / "prefect.db"
    with _connected(database) as connection:
        connection.execute(
            "UPDATE variable SET created = strftime('%Y-%m-%d %H:%M:%f', created, ?) || '000' "
            "WHERE name GLOB ? AND name NOT GLOB ?",
            (f"-{seconds} seconds", f"ebbflow_{fleet}_[0-9]*", f"ebbflow_{fleet}_*[^0-9]*"),
        )


@dataclass
class World:
    """One fleet with everything around it."""

    name: str
    folder: Path
    environment: Mapping[str, str]
    master: StandInMaster
    changes: dict[str, Any] = field(default_factory=dict)
    provider: ProviderKind = "local"
    _work: "set[asyncio.Task[dict[str, Any]]]" = field(default_factory=set)

    async def save(
        self, *worker_options: str, block: str = "", master: Mapping[str, Any] | None = None, **provider: Any
    ) -> str:
        """Save the provider block, under the fleet's name or another, and the master block; returns the reference."""
        name = block or self.name
        command = ["/bin/sh", "-c", NOTED_START, str(self.folder / "starts"), *WORKER_PROGRAM, *worker_options]
        values: dict[str, Any] = {"state_folder": self.folder / "state" / name, **provider}
        if self.provider == "local":
            local = {"command": command, "stop_grace_seconds": 1, **values}
            await LocalProvider.model_validate(local).asave(name, overwrite=True)
        else:
            script = self.write_script(f"launch-{name}.sh", shlex.join(["exec", *command, *CONTROL]))
            by_script = {
                "script": script,
                "lives_while": "script",
                "shutdown_wait_seconds": 1,
                "kill_grace_seconds": 1,
                **values,
            }
            await LaunchScriptProvider.model_validate(by_script).asave(name, overwrite=True)
        if not block:
            settings = {"address": self.master.url, "call_timeout_seconds": 3, **(master or {})}
            await SwarmUIMaster.model_validate(settings).asave(self.name, overwrite=True)
        return f"{self.provider}-provider/{name}"

    def write_script(self, name: str, text: str) -> Path:
        """An executable of this world's folder."""
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{text}\n", encoding="utf-8")
        path.chmod(0o755)
        return path

    def fleet_json(self, **sections: Any) -> dict[str, Any]:
        """The fleet as a person writes it. Sections that are mappings are merged into the usual ones."""
        plain: dict[str, Any] = {
            "name": self.name,
            "interval_seconds": 60,
            "master": f"swarmui-master/{self.name}",
            "providers": [{"block": f"{self.provider}-provider/{self.name}", "max_workers": 12}],
            "policy": {"kind": "vanilla", "upper_task_ratio": 4, "lower_task_ratio": 1},
            "limits": {
                "min_workers": 1,
                "max_workers": 4,
                "min_seconds_between_stops": 0,
                "min_idle_seconds": 0,
                "min_seconds_after_failure": 0,
            },
            "readiness": {
                "connect_timeout_seconds": 2,
                "retries": 240,
                "retry_wait_seconds": 0.5,
                "launch_timeout_seconds": 600,
            },
            "drain": {"deadline_seconds": 600},
        }
        for key, value in {**self.changes, **sections}.items():
            merges = isinstance(value, Mapping) and key in plain and "kind" not in value
            plain[key] = {**plain[key], **value} if merges else value
        return plain

    def fleet(self, **sections: Any) -> Fleet:
        """The fleet, read as every flow reads it."""
        return Fleet.model_validate(self.fleet_json(**sections))

    async def turn(self, flow: Any = autoscale, *, after: float | None = 60.0, **parameters: Any) -> Turn:
        """Run a flow in this process, `after` that many seconds of the fleet's own time."""
        if after:
            self.pass_time(after)
        parameters = {"fleet": self.fleet(), **parameters}
        state = await flow(**parameters, return_state=True)
        return await self.turn_of(state)

    async def acted(self, flow: Any = autoscale, *, after: float | None = 60.0, **parameters: Any) -> Turn:
        """Run a flow that must decide, whatever it decides."""
        turn = await self.turn(flow, after=after, **parameters)
        assert turn.state.name in ("Acted", "Held"), turn.said
        return turn

    async def acts_until(self, holds: Callable[[], object], what: str, *, turns: int = 8, **parameters: Any) -> None:
        """Run turns until something holds: a look that fails on a loaded machine puts what it decides off by one."""
        said: list[str] = []
        while not holds():
            assert len(said) < turns, f"not within {turns} turns: {what}; {said}"
            said.append((await self.acted(**parameters)).said)

    async def turn_of(self, state: State[Any]) -> Turn:
        """Everything that Prefect has of the run that ended in a state."""
        run_id = state.state_details.flow_run_id
        assert run_id is not None
        async with get_client() as client:
            run = await client.read_flow_run(run_id)
            return Turn(state, run)

    def pass_time(self, seconds: float) -> None:
        """Let the server's timestamps of this fleet's claims become older."""
        pass_time(self.environment, self.name, seconds)

    async def claims(self) -> dict[int, dict[str, Any]]:
        """The fleet's claims by number."""
        async with get_client() as client:
            return (await PrefectLedger(client)._claims(self.name))[0]

    async def stored(self, number: int | None = None) -> Stored:
        """What the ledger keeps under one number; under the newest without one."""
        claims = await self.claims()
        claim = claims[max(claims) if number is None else number]
        async with get_client() as client:
            stored = await PrefectLedger(client).stored(claim["value"]["artifact"])
        assert stored is not None
        return stored

    async def record(self, number: int | None = None) -> Record:
        """One record of the chain; the newest without a number."""
        return (await self.stored(number)).record()

    def processes(self) -> dict[str, int]:
        """Live worker processes of this fleet: pid by worker id."""
        return {
            environment["EBBFLOW_WORKER_ID"]: pid
            for pid, environment in processes_with("EBBFLOW_FLEET", self.name).items()
        }

    def starts(self) -> Counter[str]:
        """How often each worker id was started."""
        with suppress(FileNotFoundError):
            return Counter(line.split()[0] for line in (self.folder / "starts").read_text().splitlines())
        return Counter()

    async def members(self, *, enabled: bool | None = None) -> set[str]:
        """Worker ids of the master's entries of this fleet."""
        return {
            title.split("/")[3]
            for title, row in (await self.master.entries()).items()
            if title.startswith(f"ebbflow/{self.name}/") and enabled in (None, row["enabled"])
        }

    async def is_right(self, count: int) -> None:
        """Processes, listing and members agree, and nothing was ever started twice."""
        from ebbflow.blocks.opening import load_provider

        async with get_client() as client:
            provider = await load_provider(client, f"{self.provider}-provider/{self.name}")
        listing = await provider.list_instances(self.name)
        gone = {"gone"}
        listed = {each.worker_id for each in listing.instances if each.state.value not in gone}
        alive, members, starts = set(self.processes()), await self.members(), self.starts()
        told = f"processes {alive}, listed {listed}, members {members}, started {starts}; {await self.last_words()}"
        assert alive == listed == members, told
        assert len(alive) == count, told
        assert set(starts.values()) <= {1}, told

    async def last_words(self) -> str:
        """What the last two turns decided and what came of it, for a test that fails."""
        lines = []
        for number in sorted(await self.claims())[-2:]:
            stored = await self.stored(number)
            record = stored.record()
            reasons = [f"{reason.rule}: {reason.text}" for reason in record.plan.reasons]
            lines.append(f"record {number}: {record.plan.actions} because {reasons}; {stored.note}")
        return "\n".join(lines)

    def generate(self, images: int = 1, steps: int = 100_000) -> "asyncio.Task[dict[str, Any]]":
        """Ask the master for images in the background; each step takes a worker 0.05 s."""
        task = asyncio.ensure_future(self.master.call("GenerateText2Image", images=images, steps=steps))
        self._work.add(task)
        return task

    async def busy_worker(self) -> str:
        """The id of the worker that runs a generation, once one does."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while time.monotonic() < deadline:
            usages = (await self.master.control("State"))["usages"]
            listed = await self.master.call("ListBackends", nonreal=True, full_data=True)
            rows = {row["settings"].get("Address"): row["title"] for row in listed.values() if row["id"] >= 0}
            for row in listed.values():
                if row["id"] < 0 and usages.get(str(row["id"])):
                    return str(rows[row["settings"]["Address"]].split("/")[3])
            await asyncio.sleep(0.05)
        raise AssertionError("no worker took the work")

    async def until_serving(self, count: int) -> None:
        """Wait until the master has that many workers that take work."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            listed = await self.master.call("ListBackends", nonreal=True, full_data=True)
            serving = sum(row["id"] < 0 and row["status"] == "running" for row in listed.values())
            if serving == count:
                return
            assert time.monotonic() < deadline, f"{serving} of {count} serve: {listed}"
            await asyncio.sleep(0.05)

    async def worker_control(self, url: str, name: str, **body: object) -> dict[str, Any]:
        """Drive a stand-in worker from outside."""
        answer = await self.master.http.post(f"{url}/Control/{name}", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def finished(self, work: "asyncio.Task[dict[str, Any]]") -> int:
        """Let its images be done as soon as a worker has taken them; how many there were."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not work.done():
            entries = await self.master.entries()
            assert time.monotonic() < deadline, f"the images are not done; entries {entries}"
            for row in entries.values():
                await self.worker_control(row["settings"]["Address"], "Finish")
            await asyncio.sleep(0.05)
        return len((await work)["images"])

    async def finish_work(self) -> None:
        """Give up waiting for images; the master goes on with those that it has."""
        for task in self._work:
            task.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        self._work.clear()

    async def close(self) -> None:
        """End everything of this fleet, and make sure that nothing is left."""
        await self.finish_work()
        await self.master.close()
        await end_all("EBBFLOW_FLEET", self.name)


async def end_all(variable: str, value: str) -> None:
    """Kill every process that carries a variable of that value, and see it gone."""

    def left() -> dict[int, dict[str, str]]:
        found = processes_with(variable, value)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        return found

    await until(lambda: not left(), f"no process has {variable}={value}")


@contextmanager
def _connected(database: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(database, timeout=120, isolation_level=None)
    try:
        yield connection
    finally:
        connection.close()


@asynccontextmanager
async def opened_worlds(folder: Path, environment: Mapping[str, str]) -> AsyncIterator["Worlds"]:
    """Make worlds, and end all of them whatever happens."""
    async with AsyncExitStack() as stack:
        yield Worlds(folder, environment, stack)


class Worlds:
    """Makes worlds of one test."""

    def __init__(self, folder: Path, environment: Mapping[str, str], stack: AsyncExitStack) -> None:
        self._folder = folder
        self._environment = environment
        self._stack = stack

    async def __call__(
        self,
        *worker_options: str,
        provider: ProviderKind = "local",
        master: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        **fleet: Any,
    ) -> World:
        """Start a master, save blocks, and return a world whose fleet has these sections."""
        name = f"t{secrets.token_hex(4)}"
        folder = self._folder / name
        server = StandInMaster(folder, *options)
        world = World(name, folder, self._environment, server, fleet, provider)
        self._stack.push_async_callback(world.close)
        await server.start()
        await world.save(*worker_options, master=master)
        return world


def read_lines(path: Path) -> list[Any]:
    """The values of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]


async def flow_run(run_id: UUID) -> FlowRun:
    """One flow run, as the server has it now."""
    async with get_client() as client:
        (run,) = await client.read_flow_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))
        return run
