"""What must stand before a fleet can run: server, work pool, blocks, deployments, Prefect worker, SwarmUI master."""

import asyncio
import re
import sys
import time

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate

from ebbflow.demo.blocks import NAME, ProviderKind, master_block, provider_block, save_blocks
from ebbflow.demo.children import Children
from ebbflow.demo.errors import StepFailed
from ebbflow.demo.place import MARK, PROJECT, Place
from ebbflow.demo.project import fleet_of_demo, text_of_demo
from ebbflow.fleet.deployed import PREFECT_WORKER, schedule_key
from ebbflow.flows.deploying import switch_schedules
from ebbflow.standins.process import PREFECT_WITHOUT_PAUSES

SERVER, MASTER, WORKER, DEPLOY = "prefect-server", "swarmui-master", "prefect-worker", "prefect-deploy"
LOAD = "load"

SERVER_SECONDS = 180.0
MASTER_SECONDS = 60.0
DEPLOY_SECONDS = 120.0
POLL_SECONDS = 0.2

LISTENING = re.compile(r"^listening on (\S+)$", re.MULTILINE)


class Stage:
    """Puts everything up, in the order in which a person would."""

    def __init__(self, place: Place, children: Children) -> None:
        self._place = place
        self._children = children

    def start_servers(self) -> None:
        """Start the Prefect server and the master; both take a while."""
        python = sys.executable
        serve = ["server", "start", "--host", "127.0.0.1", "--port", str(self._place.port)]
        self._children.start(SERVER, [python, "-c", PREFECT_WITHOUT_PAUSES, *serve])
        data = str(self._place.folder / "swarmui")
        # As a master that was started before: a new one begins with each worker only seconds after it is told to.
        words = ["--data_dir", data, "--is_new", "false", "--websocket_seconds", "0.2"]
        self._children.start(MASTER, [python, "-m", "ebbflow.standins.swarmui.server", "master", *words])

    async def wait_for_server(self) -> None:
        """Return once it answers.

        Raises:
            StepFailed: it does not answer in time.
        """
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            deadline = time.monotonic() + SERVER_SECONDS
            while not await _is_healthy(client, f"{self._place.api_url}/health"):
                self._check_time(deadline, "the Prefect server did not answer", SERVER)
                await asyncio.sleep(POLL_SECONDS)

    async def wait_for_master(self) -> str:
        """The master's address, once it has said it.

        Raises:
            StepFailed: as above.
        """
        deadline = time.monotonic() + MASTER_SECONDS
        while not (said := LISTENING.search(self._place.log(MASTER).read_text(encoding="utf-8"))):
            self._check_time(deadline, "the SwarmUI master did not say its address", MASTER)
            await asyncio.sleep(POLL_SECONDS)
        return said[1]

    async def deploy(self, client: PrefectClient, pool: str, master_url: str, provider: ProviderKind) -> None:
        """Work pool, blocks, deployments and a Prefect worker.

        Raises:
            StepFailed: names the step and its log.
        """
        await client.create_work_pool(WorkPoolCreate(name=pool, type="process"))
        await save_blocks(
            master_block(master_url), provider_block(provider, self._place.workers_folder, {MARK: self._place.word})
        )
        prefect = [sys.executable, "-m", "prefect"]
        project = self._place.folder / "prefect.yaml"
        project.write_text(text_of_demo(provider), encoding="utf-8")
        deploy = [*prefect, "--no-prompt", "deploy", "--all", "--prefect-file", str(project)]
        await self._children.run(DEPLOY, deploy, cwd=PROJECT, seconds=DEPLOY_SECONDS)
        worker = [*prefect, *PREFECT_WORKER, "--pool", pool, "--name", "demo"]
        self._children.start(WORKER, worker)
        on = {f"autoscale/{NAME}": (schedule_key({"interval": fleet_of_demo(provider).interval_seconds}),)}
        await switch_schedules(client, on)

    def start_load(self, master_url: str) -> None:
        """A little load that goes on, for a fleet that is left alive."""
        self._children.start(LOAD, [sys.executable, "-m", "ebbflow.demo.trickle", "--master", master_url])

    def _check_time(self, deadline: float, what: str, name: str) -> None:
        if time.monotonic() > deadline:
            raise StepFailed(what, self._place.log(name))


async def _is_healthy(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url)).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
