"""One fleet of a test: a stand-in SwarmUI, saved blocks, real worker processes, and the house where its turns run."""

import asyncio
import json
import secrets
import shlex
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal

from prefect.blocks.core import Block
from typing_extensions import TypeVar

from ebbflow.blocks import LaunchScriptProvider, LocalProvider, SwarmUIMaster
from ebbflow.core.chain import Claim, Stored
from ebbflow.core.record import Record
from ebbflow.fleet.model import Fleet
from ebbflow.flows.autoscale import autoscale
from tests.e2e.houses import AnyFlow, House, Turn
from tests.e2e.master import StandInMaster
from tests.e2e.prefect_house import PrefectHouse, PrefectTurn
from tests.e2e.processes import DEADLINE_SECONDS, end_all, processes_with

T_co = TypeVar("T_co", bound=Turn, default=Turn, covariant=True)

WORKER_PROGRAM = (sys.executable, "-m", "ebbflow.standins.swarmui.server", "worker", "--no_persist")
CONTROL = ("--require_control_within", "10")
"""The dead-man's switch, which a launch script gives its worker by itself."""

LOOPBACK = "127.0.0.0/8"
"""Where the workers of a stand-in, and of a cluster on this one machine, are."""

ProviderKind = Literal["local", "launch-script"]

# Notes each start before it becomes the worker, so that a test can count how often an id was started.
NOTED_START = 'echo "$EBBFLOW_WORKER_ID $$" >> "$0"; exec "$@"'

POLLED_SECONDS = 20.0
"""By then a master has polled each of its workers once more, also on a loaded machine."""

SOON_SECONDS = 3.0
"""A master that was given a worker has asked it by then, unless the machine is loaded."""


def worker_of(title: str) -> str:
    """The worker's id in the title of an entry of ours; what follows it is for people."""
    return title.partition(" - ")[0].rpartition("/")[2]


@dataclass
class World(Generic[T_co]):
    """One fleet with everything around it. A `World` may be in any house, a `PrefectWorld` is in one with Prefect."""

    name: str
    folder: Path
    house: House[T_co]
    master: StandInMaster
    changes: dict[str, Any] = field(default_factory=dict)
    provider: ProviderKind = "local"
    elsewhere: bool = False
    """Whether its workers are on other machines, as far as their providers know."""
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
            await self.keep(LocalProvider.model_validate(local), name)
        else:
            script = self.write_script(f"launch-{name}.sh", shlex.join(["exec", *command, *CONTROL]))
            by_script = {
                "script": script,
                "lives_while": "script",
                "shutdown_wait_seconds": 1,
                "kill_grace_seconds": 1,
                **values,
            }
            await self.keep(LaunchScriptProvider.model_validate(by_script), name)
        if not block:
            settings = {"address": self.master.url, "call_timeout_seconds": 3, **(master or {})}
            if self.elsewhere:
                settings = {"worker_networks": [LOOPBACK], **settings}
            await self.keep(SwarmUIMaster.model_validate(settings))
        return f"{self.provider}-provider/{name}"

    async def keep(self, block: Block, name: str = "") -> str:
        """Save any block, under the fleet's name or another; its reference."""
        await self.house.save(block, name or self.name)
        return f"{block.get_block_type_slug()}/{name or self.name}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What another process needs to talk to this world's Prefect server."""
        assert isinstance(self.house, PrefectHouse), "this world's house has no Prefect: take `prefect_world`"
        return self.house.environment

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

    async def turn(self, flow: AnyFlow = autoscale, *, after: float | None = 60.0, **parameters: Any) -> T_co:
        """Take a turn as a flow takes it, `after` that many seconds of the fleet's own time."""
        if after:
            await self.pass_time(after)
        return await self.house.turn(flow, {"fleet": self.fleet(), **parameters})

    async def acted(self, flow: AnyFlow = autoscale, *, after: float | None = 60.0, **parameters: Any) -> T_co:
        """Take a turn that must decide, whatever it decides."""
        turn = await self.turn(flow, after=after, **parameters)
        assert turn.state.name in ("Acted", "Held"), turn.said
        return turn

    async def acts_until(self, holds: Callable[[], object], what: str, *, turns: int = 8, **parameters: Any) -> None:
        """Run turns until something holds: a look that fails on a loaded machine puts what it decides off by one."""
        said: list[str] = []
        while not holds():
            assert len(said) < turns, f"not within {turns} turns: {what}; {said}"
            said.append((await self.acted(**parameters)).said)
            # A turn takes a moment, and processes take longer to end.
            await asyncio.sleep(0.2)

    async def pass_time(self, seconds: float) -> None:
        """Let this fleet's claims become older, once the master has seen what it sees in that time."""
        polled_at = time.monotonic() + POLLED_SECONDS
        while self.master.runs and time.monotonic() < polled_at:
            if not (await self.master.control("State"))["childless"]:
                break
            await asyncio.sleep(0.05)
        self.house.pass_time(self.name, seconds)

    async def claims(self) -> dict[int, Claim]:
        """The fleet's claims by number."""
        return await self.house.claims(self.name)

    async def stored(self, number: int | None = None) -> Stored:
        """What the ledger keeps under one number; under the newest without one."""
        claims = await self.claims()
        claim = claims[max(claims) if number is None else number]
        async with self.house.ledger(self.name) as ledger:
            stored = await ledger.stored(claim.artifact_id)
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
            worker_of(title)
            for title, row in (await self.master.entries()).items()
            if title.startswith(f"ebbflow/{self.name}/")
            and worker_of(title) != "waiting-room"
            and enabled in (None, row["enabled"])
        }

    async def until_noticed(self, worker_id: str) -> None:
        """Wait until the master has seen that a worker is dead: in a test's time turns are faster than its polls."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while any(
            row["status"] == "running"
            for title, row in (await self.master.entries()).items()
            if worker_of(title) == worker_id
        ):
            assert time.monotonic() < deadline, f"the master still shows {worker_id} running"
            await asyncio.sleep(0.1)

    async def is_right(self, count: int) -> None:
        """Processes, listing and members agree, and nothing was ever started twice."""
        provider = await self.house.provider(f"{self.provider}-provider/{self.name}")
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
                    return worker_of(rows[row["settings"]["Address"]])
            await asyncio.sleep(0.05)
        raise AssertionError("no worker took the work")

    async def until_serving(self, count: int) -> None:
        """Wait until the master has that many workers that take work."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (serving := await self._serving()) != count:
            assert time.monotonic() < deadline, f"{serving} of {count} serve; {await self.last_words()}"
            await asyncio.sleep(0.05)

    async def acts_until_serving(self, count: int, *, turns: int = 8, **parameters: Any) -> None:
        """Run turns until that many take work: on a loaded machine a turn is over before its worker has started."""
        for _ in range(turns):
            soon = time.monotonic() + SOON_SECONDS
            while time.monotonic() < soon:
                if await self._serving() == count:
                    return
                await asyncio.sleep(0.05)
            await self.acted(**parameters)
        await self.until_serving(count)

    async def acts_until_serving_any(self, *, turns: int = 8) -> None:
        """Run turns until somebody takes work."""
        for _ in range(turns):
            if await self._serving():
                return
            await self.acted()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not await self._serving():
            assert time.monotonic() < deadline, await self.last_words()
            await asyncio.sleep(0.05)

    async def _serving(self) -> int:
        listed = await self.master.call("ListBackends", nonreal=True, full_data=True)
        return sum(row["id"] < 0 and row["status"] == "running" for row in listed.values())

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
                # Between the two calls of a registration an entry has no address.
                if address := row["settings"]["Address"]:
                    await self.worker_control(address, "Finish")
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


PrefectWorld = World[PrefectTurn]


class Worlds(Generic[T_co]):
    """Makes worlds of one test, all in one house."""

    def __init__(self, folder: Path, house: House[T_co], stack: AsyncExitStack) -> None:
        self._folder = folder
        self._house = house
        self._stack = stack

    async def __call__(
        self,
        *worker_options: str,
        provider: ProviderKind = "local",
        elsewhere: bool = False,
        master: Mapping[str, Any] | None = None,
        options: Sequence[str] = (),
        name: str = "",
        **fleet: Any,
    ) -> World[T_co]:
        """Start a master, save blocks, and return a world whose fleet has these sections."""
        name = name or f"t{secrets.token_hex(4)}"
        folder = self._folder / name
        server = StandInMaster(folder, *options)
        world = World(name, folder, self._house, server, fleet, provider, elsewhere)
        self._stack.push_async_callback(world.close)
        await server.start()
        await world.save(*worker_options, master=master)
        return world


PrefectWorlds = Worlds[PrefectTurn]


@asynccontextmanager
async def opened_worlds(folder: Path, house: House[T_co]) -> AsyncIterator[Worlds[T_co]]:
    """Make worlds, and end all of them whatever happens."""
    async with AsyncExitStack() as stack:
        yield Worlds(folder, house, stack)


def read_lines(path: Path) -> list[Any]:
    """The values of a file of JSON lines."""
    return [json.loads(line) for line in path.read_text().splitlines()]
