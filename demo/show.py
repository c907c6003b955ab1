"""The demo itself: put up, load, watch, wind down."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient, get_client

from ebbflow.core.lifecycle import WorkerState
from ebbflow.demo import stage, wind_down
from ebbflow.demo.blocks import ProviderKind, provider_block
from ebbflow.demo.children import Children
from ebbflow.demo.display import Display
from ebbflow.demo.errors import StepFailed
from ebbflow.demo.fixed_fleet import fixed_fleet
from ebbflow.demo.history import History, HistoryReader
from ebbflow.demo.load import Tally, arrivals_for, replay
from ebbflow.demo.place import Place
from ebbflow.demo.project import pool_of_demo
from ebbflow.demo.steps import Pace, Step
from ebbflow.demo.summary import Summary
from ebbflow.demo.sweep import end_gpu_workers
from ebbflow.demo.view import MasterState, View, read_master
from ebbflow.fleet.model import Fleet
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.turn.costing import read_costs

LOOK_SECONDS = 1.0
READY_SECONDS = 120.0
DRAINED_SECONDS = 240.0
WIND_DOWN_TURNS = 3
FAR_BACK_SECONDS = 86_400.0
"""Before any demo began."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a person may choose."""

    load_seconds: float
    keep: bool
    """Leave the fleet alive, with a little load."""
    provider: ProviderKind = "local"


@dataclass(slots=True)
class Show:
    """One demo while it runs."""

    place: Place
    options: Options
    children: Children
    display: Display
    fleet: Fleet
    began_at: float = field(default_factory=time.monotonic)
    step: str = ""
    doing: Step = Step.START
    step_at: float = field(default_factory=time.monotonic)
    tally: Tally = field(default_factory=Tally)
    view: View = field(default_factory=lambda: View(0.0, ""))

    async def play(self) -> Summary:
        """Everything up to the summary.

        Raises:
            StepFailed: a step did not succeed; says which, and where its log is.
        """
        return await self.children.watched(self._play())

    async def _play(self) -> Summary:
        put_up = stage.Stage(self.place, self.children)
        self._begin(Step.START, "starting the Prefect server and the SwarmUI master")
        put_up.start_servers()
        await put_up.wait_for_server()
        master_url = await put_up.wait_for_master()
        async with get_client() as client, httpx.AsyncClient(base_url=master_url, timeout=5, trust_env=False) as master:
            self._begin(Step.DEPLOY, "saving blocks, deploying prefect.yaml, starting a Prefect worker")
            await put_up.deploy(client, pool_of_demo(), master_url, self.options.provider)
            watch = _Watch(self, HistoryReader(client, self.fleet.name), master)
            await self._bring_up(watch)
            await self._load(watch, master_url)
            await self._bring_back(watch)
            counted, keep = await read_master(master), self.options.keep
            if keep:
                put_up.start_load(master_url)
            else:
                await self._wind_down(watch, client, master_url)
            view = await watch.look()
            arrivals = arrivals_for(self.options.load_seconds)
            cost = await read_costs(PrefectLedger(client), [self.fleet.name], seconds=FAR_BACK_SECONDS)
            return Summary(
                tally=self.tally,
                master=counted,
                history=view.history,
                least=self.fleet.limits.min_workers,
                still_alive=0 if keep else await self._end_gpu_workers(),
                seconds=time.monotonic() - self.began_at,
                fixed=fixed_fleet(self.fleet.limits.max_workers, arrivals),
                cost=cost.sum,
                lives_on=keep,
            )

    async def _bring_up(self, watch: "_Watch") -> None:
        least = self.fleet.limits.min_workers
        self._begin(Step.BRING_UP, f"waiting for the first turns, until min_workers = {least} serves")
        await watch.until(
            lambda view: view.workers[WorkerState.READY] >= least, READY_SECONDS, "the fleet's minimum did not serve"
        )

    async def _load(self, watch: "_Watch", master_url: str) -> None:
        arrivals = arrivals_for(self.options.load_seconds)
        said = f"replaying {len(arrivals)} recorded requests in {self.options.load_seconds:g} s"
        self._begin(Step.LOAD, said)
        load = asyncio.create_task(replay(master_url, arrivals, self.tally))
        try:
            await watch.until(
                lambda _: load.done(), self.options.load_seconds + DRAINED_SECONDS, "the load did not end"
            )
            await load
        finally:
            load.cancel()

    async def _bring_back(self, watch: "_Watch") -> None:
        least = self.fleet.limits.min_workers
        self._begin(Step.BRING_BACK, f"all requests are answered; waiting until the fleet is back at {least}")
        await watch.until(
            lambda view: view.workers == {WorkerState.READY: least}, DRAINED_SECONDS, "the fleet did not shrink"
        )

    async def _wind_down(self, watch: "_Watch", client: PrefectClient, master_url: str) -> None:
        """End the fleet as a person would; `wind_down` says how."""
        self._begin(Step.WIND_DOWN, "ending the fleet: schedule paused, scale-down to zero")
        await watch.during(wind_down.pause_schedule(client))
        await wind_down.allow_zero(master_url)
        parameters = {"fleet": wind_down.ending(self.fleet)}
        asked = {**parameters, "count": self.fleet.limits.min_workers, "reason": "the demo is over"}
        await watch.during(wind_down.run(client, "scale-down", asked))
        for _ in range(WIND_DOWN_TURNS):
            # Only a later turn ends a marked worker, once the marking turn can do nothing more.
            await watch.during(asyncio.sleep(self.fleet.budget_seconds))
            await watch.during(wind_down.run(client, "autoscale", parameters))
            if not (await watch.look()).history.states:
                return

    async def _end_gpu_workers(self) -> int:
        provider = provider_block(self.options.provider, self.place.workers_folder).get_provider()
        return await end_gpu_workers(provider, self.fleet.name)

    def _begin(self, doing: Step, step: str) -> None:
        self.doing, self.step, self.step_at = doing, step, time.monotonic()
        self.show(MasterState(self.view.queued, self.view.running, 0, 0), self.view.history)

    def show(self, master: MasterState, history: History) -> View:
        """Show how it is now."""
        now = time.monotonic()
        pace = Pace(self.options.load_seconds, keeps=self.options.keep)
        left_seconds = pace.left_seconds(self.doing, now - self.step_at)
        elapsed_seconds = now - self.began_at
        self.view = View(elapsed_seconds, self.step, left_seconds, master.queued, master.running, self.tally, history)
        self.display.show(self.view)
        return self.view


@dataclass(slots=True)
class _Watch:
    """Looks at everything once a second while something is waited for."""

    show: Show
    history: HistoryReader
    master: httpx.AsyncClient
    _state: MasterState = field(default_factory=lambda: MasterState(0, 0, 0, 0))

    async def look(self) -> View:
        """Look once, and show it."""
        show = self.show
        with suppress(httpx.HTTPError):  # on a busy machine one look may be missed
            self._state = await read_master(self.master)
        return show.show(self._state, await self.history.read())

    async def until(self, done: Callable[[View], bool], seconds: float, otherwise: str) -> None:
        """Look until something is so.

        Raises:
            StepFailed: it took longer than `seconds`.
        """
        deadline = time.monotonic() + seconds
        while not done(await self.look()):
            if time.monotonic() > deadline:
                raise StepFailed(f"{otherwise} within {seconds:g} s", self.show.place.log(stage.WORKER))
            await asyncio.sleep(LOOK_SECONDS)

    async def during(self, work: Coroutine[Any, Any, object]) -> None:
        """Look while something is done."""
        task = asyncio.ensure_future(work)
        try:
            await self.until(lambda _: task.done(), 2 * wind_down.RUN_SECONDS, "it did not end")
            await task
        finally:
            task.cancel()
