"""The whole loop in virtual time: real turns, the real gateway, rented machines, and clients one after another.

A machine boots, loads its model and serves one request at a time. One that was stopped has its model on its disk.
"""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ebbflow.adapters.masters.gateway.adapter import GatewayAdapter
from ebbflow.core.instance import Instance, InstanceList, InstanceState, LaunchRequest, ProviderCaps
from ebbflow.core.record import Record
from ebbflow.fleet.model import Fleet
from ebbflow.gateway.wire import token_of
from ebbflow.turn.memory_ledger import MemoryLedger
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.results import Acted, Held
from ebbflow.turn.surroundings import RunIdentity, Surroundings
from ebbflow.turn.turn import take_turn
from tests.adapters.masters.gateway.gateway_world import ENDPOINT, FLEET, HOME, SECRET, GatewayWorld

MASTER, MACHINES = "gateway-master/main", "machines/a"
UNITS_PER_SECOND, COST = 10.0, 100.0
"""A request keeps a worker for ten seconds."""
LOAD_SECONDS = {False: 60.0, True: 12.0}
"""Until a machine serves, by whether it was stopped before."""
USD_PER_HOUR, STORAGE_USD_PER_HOUR = 0.4, 0.01
REPORT_SECONDS, POLL_SECONDS = 2.0, 3.0


@dataclass
class _Machine:
    instance_id: str
    worker_id: str
    url: str
    runs_at: float
    """When its model is loaded."""
    is_stopped: bool = False
    work: list[tuple[int, float]] = field(default_factory=list)
    """Numbers of requests, and when each is done."""


@dataclass
class _Client:
    number: int = 0
    """Of its request; 0: it has none."""
    asks_at: float = 0.0
    is_served: bool = False
    """It is at a worker."""


class Machines:
    """A provider that rents machines and keeps stopped ones."""

    caps = ProviderCaps(
        "account", settle_seconds=10.0, keeps_stopped=True, usd_per_hour=USD_PER_HOUR, warm_start_seconds=120.0
    )

    def __init__(self, world: "Loop") -> None:
        self._world = world
        self.rented: dict[str, _Machine] = {}
        self.made = 0
        self.started_again = 0
        self.lost: list[int] = []
        """Requests that were worked on when their machine was stopped or ended."""

    async def launch(self, request: LaunchRequest) -> Instance:
        machine = self.rented.get(request.start_instance_id)
        now = self._world.now
        if machine is None:
            self.made += 1
            url = f"http://10.1.{self.made // 250}.{1 + self.made % 250}:3000"
            machine = _Machine(f"i{self.made}", request.worker_id, url, now + LOAD_SECONDS[False])
            self.rented[machine.instance_id] = machine
        elif machine.is_stopped:
            self.started_again += 1
            machine.worker_id, machine.is_stopped = request.worker_id, False
            machine.runs_at = now + LOAD_SECONDS[True]
        return self._shown(machine)

    async def list_instances(self, fleet: str) -> InstanceList:
        return InstanceList(tuple(self._shown(machine) for machine in self.rented.values()))

    async def terminate(self, instance: Instance) -> None:
        machine = self.rented.pop(instance.instance_id, None)
        self.lost += [number for number, _ in machine.work] if machine else []

    async def stop(self, instance: Instance) -> None:
        machine = self.rented[instance.instance_id]
        self.lost += [number for number, _ in machine.work]
        machine.is_stopped, machine.work = True, []

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        return {}

    async def aclose(self) -> None:
        return

    def _shown(self, machine: _Machine) -> Instance:
        shown = Instance(machine.worker_id, machine.instance_id, InstanceState.RUNNING, FLEET, HOME, machine.url)
        if machine.is_stopped:
            return replace(
                shown, state=InstanceState.STOPPED, url=None, is_warm=True, usd_per_hour=STORAGE_USD_PER_HOUR
            )
        return replace(shown, usd_per_hour=USD_PER_HOUR)


@dataclass(frozen=True)
class Look:
    """The set of instances at one instant, in the words of autoscaler-py."""

    busy: int
    hot: int
    """Registered and loaded, busy or not, and not leaving."""
    running: int
    """Rented and not stopped: hot ones, and those that load or leave."""
    stopped: int


class Loop(GatewayWorld):
    """Everything, and a clock that passes only here."""

    def __init__(self, folder: Path) -> None:
        super().__init__(f"sqlite+aiosqlite:///{folder / 'gateway.sqlite'}")
        self.machines = Machines(self)
        self._ledger = MemoryLedger(clock=lambda: self.now, kept_home=HOME)
        self._clients: list[_Client] = []
        self._most_clients = 0
        self.served = 0

    def let_clients_come(self, count: int) -> None:
        """So many ask one request after the other from now on; those who are being served are served to their end."""
        leave = self._clients[count:]
        self._clients = self._clients[:count]
        self._clients += [client for client in leave if client.is_served]
        self._clients += [_Client(asks_at=self.now) for _ in range(count - len(self._clients))]
        self._most_clients = count

    async def turns(self, fleet: Fleet, seconds: float) -> list[tuple[Record, Look]]:
        """Take turns at the fleet's interval for so long; what each recorded, and how things stood after it."""
        taken = []
        end = self.now + seconds
        while self.now < end:
            began = self.now
            around = Surroundings(
                ledger=self._ledger,
                open_fleet=self._opened,
                run=RunIdentity("autoscale", f"run-{began:g}"),
                clock=lambda: self.now,
                sleep=self._sleep,
            )
            result = await take_turn(fleet, around)
            assert isinstance(result, Acted | Held), result
            await self._sleep(max(0.0, began + fleet.interval_seconds - self.now))
            taken.append((result.record, await self._look()))
        return taken

    @asynccontextmanager
    async def _opened(
        self, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
    ) -> AsyncIterator[OpenFleet]:
        master: GatewayAdapter = self.adapter(lease_seconds=600)
        try:
            yield OpenFleet(fleet, home, master, {MACHINES: self.machines}, {})
        finally:
            await master.aclose()

    async def _look(self) -> Look:
        rows: list[dict[str, Any]] = (await self.operator("GET", f"endpoints/{ENDPOINT}"))["workers"]
        serves = [row for row in rows if row["ready"] and not row["is_draining"]]
        stopped = sum(machine.is_stopped for machine in self.machines.rented.values())
        return Look(sum(row["busy"] for row in serves), len(serves), len(self.machines.rented) - stopped, stopped)

    async def _sleep(self, seconds: float) -> None:
        end = self.now + seconds
        while self.now < end:
            self.now += min(1.0, end - self.now)
            await self._second()

    async def _second(self) -> None:
        for machine in self.machines.rented.values():
            if not machine.is_stopped:
                await self._work(machine)
        for client in self._clients:
            if not client.is_served and client.asks_at <= self.now:
                await self._ask(client)

    async def _work(self, machine: _Machine) -> None:
        done = [number for number, ends_at in machine.work if ends_at <= self.now]
        if done:
            machine.work = [(number, ends_at) for number, ends_at in machine.work if number not in done]
            entries = [{"request_idx": number, "success": True, "status": "Success"} for number in done]
            await self._say("/delete_requests/", mtoken=token_of(machine.worker_id, SECRET), requests=entries)
            self._finished(done)
        if done or self.now % REPORT_SECONDS < 1:
            await self._tell(machine)

    def _finished(self, numbers: Sequence[int]) -> None:
        """These requests are served."""
        self.served += len(numbers)
        for client in self._clients:
            if client.number in numbers:
                client.number, client.is_served, client.asks_at = 0, False, self.now + 1
        self._clients = self._clients[: self._most_clients] + [
            client for client in self._clients[self._most_clients :] if client.is_served
        ]

    async def _tell(self, machine: _Machine) -> None:
        is_loaded = self.now >= machine.runs_at
        await self._say(
            "/worker_status/",
            id=machine.instance_id,
            version="1.1.0",
            mtoken=token_of(machine.worker_id, SECRET),
            url=machine.url,
            loadtime=30.0 if is_loaded else 0.0,
            max_perf=UNITS_PER_SECOND if is_loaded else 0.0,
            cur_load=COST * len(machine.work),
            num_requests_working=len(machine.work),
            working_request_idxs=[number for number, _ in machine.work],
            error_msg="",
        )

    async def _ask(self, client: _Client) -> None:
        answer = await self._say("/route/", endpoint=ENDPOINT, api_key=self.key, cost=COST, request_idx=client.number)
        client.number = answer["request_idx"]
        client.asks_at = self.now + POLL_SECONDS
        if "url" not in answer:
            return
        machine = next(each for each in self.machines.rented.values() if each.url == answer["url"])
        begins = max([self.now, *(ends_at for _, ends_at in machine.work)])
        machine.work.append((client.number, begins + COST / UNITS_PER_SECOND))
        client.is_served = True

    async def _say(self, path: str, **body: object) -> dict[str, Any]:
        answer = await self._http.post(path, json=body)
        assert answer.is_success, answer.text
        return dict(answer.json()) if answer.content and answer.text.startswith("{") else {}


L = TypeVar("L", bound=Loop)


@asynccontextmanager
async def opened(world: L) -> AsyncIterator[L]:
    """A world whose gateway has its endpoint, and its clients a key."""
    await world.open()
    try:
        # One request at a time: nobody waits at a worker.
        await world.operator("PUT", f"endpoints/{ENDPOINT}", max_queue_seconds=1)
        world.key = (await world.operator("POST", f"endpoints/{ENDPOINT}/keys"))["key"]
        yield world
    finally:
        await world.close()
