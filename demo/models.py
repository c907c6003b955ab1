"""`make demo DEMO_ARGS=gateway`: clients of a gateway bring rented model servers, from none and back.

The fleet is deployments/vast-model-server, with shorter times; the machines are a stand-in market's, whose instances
run here; workers and clients are the vendor's own software, installed into the demo's folder.
"""

import asyncio
import re
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import yaml
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate

from ebbflow.blocks.from_file import blocks_of
from ebbflow.demo import stage
from ebbflow.demo.children import Children
from ebbflow.demo.errors import StepFailed
from ebbflow.demo.interruption import EXIT_CODE, Interruption
from ebbflow.demo.place import MARK, PROJECT, Place
from ebbflow.demo.sweep import sweep
from ebbflow.fleet.deployed import PREFECT_WORKER, schedule_key
from ebbflow.fleet.model import Fleet
from ebbflow.flows.deploying import switch_schedules
from ebbflow.standins.process import PREFECT_WITHOUT_PAUSES, free_port
from ebbflow.standins.vast.server import KEY

FOLDER = PROJECT / "deployments" / "vast-model-server"
GATEWAY, MARKET, INSTALL, CLIENTS = "gateway", "market", "vendor-software", "clients"
INTERVAL_SECONDS = 35
CLIENTS_AT_ONCE, TOKENS = 10, 300
STEP_SECONDS = 300.0
LOOK_SECONDS = 2.0
PYTHON = """#!/bin/sh
# In a container the worker listens at the block's port; here, at the one that is mapped.
export "VAST_TCP_PORT_$VAST_TCP_PORT_3000=$VAST_TCP_PORT_3000" WORKER_PORT="$VAST_TCP_PORT_3000" WORKER_HOST=127.0.0.1
export WORKER_HTTP_PORT="$((VAST_TCP_PORT_3000 + 1))" MODEL_PORT="$((VAST_TCP_PORT_3000 + 2))"
exec {python} "$@"
"""


@dataclass(frozen=True, slots=True)
class Figures:
    """What it came to."""

    requests: int
    served: int
    most_workers: int
    wait_seconds: float
    """From the first request to the first worker that serves."""
    seconds: float


class ModelsDemo:
    """One demo.

    Args:
        place: its folder and port.
        children: what it starts.
        say: tells a person how far it is.
    """

    def __init__(self, place: Place, children: Children, say: Callable[[str], None]) -> None:
        self._place, self._children, self._say = place, children, say
        self._keys = {name: secrets.token_urlsafe(32) for name in ("operator_key", "worker_secret")}
        self._gateway = f"http://127.0.0.1:{free_port()}"
        self._vendor = place.folder / "vendor"
        self._told = ""

    async def play(self) -> Figures:
        """From nothing to nothing.

        Raises:
            StepFailed: names the step and its log.
        """
        began = time.monotonic()
        self._say("starting a Prefect server, a gateway and a stand-in market; installing the vendor's software")
        await asyncio.gather(self._start(), self._install())
        market = await self._market()
        self._say("making the endpoint, saving the blocks, deploying the fleet")
        key = await self._endpoint()
        await self._deploy(market)
        self._say(f"{CLIENTS_AT_ONCE} clients ask for {TOKENS} tokens each; nobody serves yet")
        wait_seconds, most = await self._serve(key)
        self._say("all are served; idle workers go")
        await self._until(self._is_empty, "the last worker did not go", watched=True)
        account = await self._account()
        return Figures(account["arrived"], account["served"], most, wait_seconds, time.monotonic() - began)

    async def _start(self) -> None:
        python = sys.executable
        serve = ["server", "start", "--host", "127.0.0.1", "--port", str(self._place.port)]
        self._children.start(stage.SERVER, [python, "-c", PREFECT_WITHOUT_PAUSES, *serve])
        self._children.start(MARKET, [python, "-m", "ebbflow.standins.vast.server", "--stop_grace_seconds", "1"])
        port = self._gateway.rpartition(":")[2]
        self._children.start(
            GATEWAY,
            [python, "-m", "ebbflow.cli", "gateway", "--port", port],
            EBBFLOW_GATEWAY_OPERATOR_KEY=self._keys["operator_key"],
            EBBFLOW_GATEWAY_WORKER_SECRET=self._keys["worker_secret"],
        )
        await stage.Stage(self._place, self._children).wait_for_server()
        await self._until(self._is_there, "the gateway did not answer")

    async def _install(self) -> None:
        """As the image has it."""
        (wanted,) = re.findall(r"vastai==\S+", (FOLDER / "Dockerfile").read_text(encoding="utf-8"))
        make = [sys.executable, "-m", "venv", str(self._vendor)]
        await self._children.run(INSTALL, make, cwd=self._place.folder, seconds=STEP_SECONDS)
        pip = [str(self._vendor / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", wanted]
        await self._children.run(INSTALL, pip, cwd=self._place.folder, seconds=STEP_SECONDS)
        wrapper = self._place.folder / "python"
        wrapper.write_text(PYTHON.format(python=shlex.quote(str(self._vendor / "bin" / "python"))), encoding="utf-8")
        wrapper.chmod(0o755)

    async def _market(self) -> str:
        """Its address, once it has said it."""

        async def has_said() -> bool:
            return bool(stage.LISTENING.search(self._place.log(MARKET).read_text(encoding="utf-8")))

        await self._until(has_said, "the market did not say its address")
        found = stage.LISTENING.search(self._place.log(MARKET).read_text(encoding="utf-8"))
        assert found is not None, "it was just there"
        return str(found[1])

    async def _endpoint(self) -> str:
        """Made as `ebbflow endpoint` does; its client key."""
        await self._asked("PUT", "/operator/endpoints/llama")
        return str((await self._asked("POST", "/operator/endpoints/llama/keys"))["key"])

    async def _deploy(self, market: str) -> None:
        given = {
            "EBBFLOW_GATEWAY_OPERATOR_KEY": self._keys["operator_key"],
            "EBBFLOW_GATEWAY_WORKER_SECRET": self._keys["worker_secret"],
            "VAST_API_KEY": KEY,
        }
        master, provider = blocks_of((FOLDER / "blocks.yaml").read_text(encoding="utf-8"), FOLDER, environment=given)
        here = {
            "address": self._gateway,
            "report_address": None,
            "worker_networks": ["127.0.0.1/32"],
            "call_timeout_seconds": 2,
        }
        environment = {
            "FOLDER": str(FOLDER),
            "STATE_FOLDER": "state",
            "PYTHON": str(self._place.folder / "python"),
            "VAST_API": market,
            "LOOK_SECONDS": "5",
            "MODEL_LOAD_SECONDS": "3",
            MARK: self._place.word,
        }
        rented = {"address": market, "environment": environment, "settle_seconds": 10, "call_timeout_seconds": 12}
        ours = changed(master.block, here), changed(provider.block, rented)
        fleet = Fleet.model_validate(fleet_with_short_times()["definitions"]["fleet"])
        for reference, block in zip((fleet.master, fleet.providers[0].block), ours, strict=True):
            await block.asave(reference.partition("/")[2], overwrite=True)
        project = self._place.folder / "prefect.yaml"
        project.write_text(yaml.safe_dump(fleet_with_short_times()), encoding="utf-8")
        async with get_client() as client:
            await client.create_work_pool(WorkPoolCreate(name="vast-flows", type="process"))
            prefect = [sys.executable, "-m", "prefect"]
            deploy = [*prefect, "--no-prompt", "deploy", "--all", "--prefect-file", str(project)]
            await self._children.run(stage.DEPLOY, deploy, cwd=self._place.folder, seconds=STEP_SECONDS)
            self._children.start(stage.WORKER, [*prefect, *PREFECT_WORKER, "--pool", "vast-flows", "--name", "demo"])
            key = schedule_key({"interval": INTERVAL_SECONDS})
            await switch_schedules(client, {"autoscale/model-vast": (key,)})

    async def _serve(self, key: str) -> tuple[float, int]:
        """Until every client is served: seconds until somebody served, and how many did at most."""
        words = [str(self._vendor / "bin" / "python"), str(FOLDER / "client.py"), str(CLIENTS_AT_ONCE), str(TOKENS)]
        given = {"GATEWAY": self._gateway, "ENDPOINT": "llama", "ENDPOINT_KEY": key}
        began, first, most = time.monotonic(), 0.0, 0
        asking = asyncio.ensure_future(
            self._children.run(
                CLIENTS,
                ["env", *(f"{name}={value}" for name, value in given.items()), *words],
                cwd=self._place.folder,
                seconds=STEP_SECONDS,
            )
        )
        try:
            while not asking.done():
                await asyncio.sleep(LOOK_SECONDS)
                ready = sum(row["ready"] for row in (await self._tell())["workers"])
                most = max(most, ready)
                first = first or (time.monotonic() - began if ready else 0.0)
            await asking
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        return first, most

    async def _tell(self) -> Mapping[str, Any]:
        """Say how the endpoint stands."""
        account = await self._account()
        ready = sum(row["ready"] for row in account["workers"])
        told = (
            f"  {account['queued_requests']} wait, {account['in_flight_requests']} run, {account['served']} served; "
            f"{len(account['workers'])} workers, {ready} ready"
        )
        if told != self._told:
            self._told = told
            self._say(told)
        return account

    async def _account(self) -> Mapping[str, Any]:
        return await self._asked("GET", "/operator/endpoints/llama")

    async def _is_empty(self) -> bool:
        return not (await self._tell())["workers"]

    async def _is_there(self) -> bool:
        async with httpx.AsyncClient(timeout=2, trust_env=False) as http:
            try:
                return (await http.get(f"{self._gateway}/healthz")).is_success
            except httpx.HTTPError:
                return False

    async def _asked(self, method: str, path: str) -> Mapping[str, Any]:
        headers = {"Authorization": f"Bearer {self._keys['operator_key']}"}
        async with httpx.AsyncClient(base_url=self._gateway, headers=headers, timeout=10, trust_env=False) as http:
            answer = await http.request(method, path, json={} if method != "GET" else None)
            answer.raise_for_status()
            return dict(answer.json())

    async def _until(self, holds: Callable[[], Awaitable[bool]], what: str, *, watched: bool = False) -> None:
        deadline = time.monotonic() + STEP_SECONDS
        while not await holds():
            if time.monotonic() > deadline:
                raise StepFailed(f"{what} within {STEP_SECONDS:g} s", self._place.log(GATEWAY))
            await asyncio.sleep(LOOK_SECONDS if watched else stage.POLL_SECONDS)


def changed(block: Block, changes: Mapping[str, Any]) -> Block:
    """The same with other values, which are checked as a person's are."""
    plain = block.model_dump(exclude={"block_type_slug"})
    return type(block).model_validate({**plain, **changes})


def fleet_with_short_times() -> Mapping[str, Any]:
    """The deployment's own file, for a demo of minutes."""
    project = yaml.safe_load((FOLDER / "prefect.yaml").read_text(encoding="utf-8"))
    # The file's anchor: what is changed here is changed where it is deployed.
    fleet = project["definitions"]["fleet"]
    fleet |= {"interval_seconds": INTERVAL_SECONDS, "drain": {"deadline_seconds": 60}}
    fleet["providers"] = [{**fleet["providers"][0], "max_workers": 2, "warm_workers": 0}]
    fleet["policy"] |= {"target_queue_time_seconds": 10, "inactivity_timeout_seconds": 20, "cold_mult": 1}
    fleet["limits"] |= {
        "max_workers": 2,
        "min_seconds_between_starts": 0,
        "min_seconds_between_stops": 0,
        "min_idle_seconds": 10,
    }
    for deployment in project["deployments"]:
        for schedule in deployment.get("schedules", ()):
            schedule["interval"] = INTERVAL_SECONDS
    return dict(project)


def run(place: Place, environment: Mapping[str, str], interruption: Interruption) -> int:
    """Play it, clear up, and return the exit code."""
    children = Children(place, environment)
    figures: Figures | None = None
    problem = ""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:5.0f} s  {text}", flush=True)

    try:
        figures = interruption.run(children.watched(ModelsDemo(place, children, say).play()))
    except asyncio.CancelledError:
        problem = "it was interrupted"
    except (StepFailed, httpx.HTTPError) as error:
        problem = str(error) or repr(error)
    finally:
        children.end()
        strays = sweep(place.word)
    if interruption.received:
        print("\nInterrupted; everything that the demo had started has been ended.", flush=True)
        shutil.rmtree(place.folder, ignore_errors=True)
        return EXIT_CODE
    if figures is not None:
        lost = figures.requests - figures.served
        print(
            f"\nEbbflow demo\n  requests      {figures.requests}, {lost} lost\n"
            f"  workers       {figures.most_workers} at most, 0 before and after\n"
            f"  first served  {figures.wait_seconds:.0f} s after the first request\n"
            f"  took          {figures.seconds:.0f} s"
        )
        problem = f"{lost} of {figures.requests} requests were lost" if lost else ""
    if problem or strays:
        print(f"The demo failed: {problem or f'processes {strays} were left and had to be killed'}")
        print(f"All logs are in {place.folder}")
        return 1
    shutil.rmtree(place.folder, ignore_errors=True)
    return 0
