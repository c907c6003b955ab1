"""Whole fleets whose workers are rented instances: up, through the warm pool, and back down.

After whatever happens to a market the account holds exactly the instances that the fleet knows.
"""

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from ebbflow.adapters.providers.vast.states import owner_of
from ebbflow.blocks import VastProvider
from ebbflow.core.lifecycle import WorkerState
from ebbflow.standins.vast.server import KEY, Boot, Fault, FaultKind, answering, some_offers
from tests.e2e.houses import Turn
from tests.e2e.world import NOTED_START, WORKER_PROGRAM, PrefectWorlds, World, Worlds
from tests.vast_market import Market, market, shell

pytestmark = pytest.mark.anyio

TURN_PROCESS = Path(__file__).with_name("turn_process.py")
PATIENCE_SECONDS = 40.0
CREATE = "/api/v0/asks/"


class Fleet:
    """One fleet whose workers are instances of a stand-in market."""

    def __init__(self, world: World, account: Market) -> None:
        self.world = world
        self.account = account

    async def save(self, **settings: Any) -> str:
        """Save the provider block; its reference."""
        start = shell("/bin/sh", "-c", NOTED_START, str(self.world.folder / "starts"), *WORKER_PROGRAM)
        plain: dict[str, Any] = {
            "api_key": KEY,
            "address": self.account.url,
            "image": "worker",
            "disk_gb": 20,
            "gpu_names": ["RTX 4090"],
            "onstart": f"{start} --port $VAST_TCP_PORT_7801 $EBBFLOW_ARGUMENTS",
            "settle_seconds": 10,
            "call_timeout_seconds": 15,
            **settings,
        }
        return await self.world.keep(VastProvider.model_validate(plain))

    def held(self) -> dict[str, str]:
        """Status by instance id, of what the account holds of this fleet and home."""
        owners = {each.id: owner_of({"label": each.label}) for each in self.account.api.instances.values()}
        return {
            str(identity): str(self.account.api.row(identity)["actual_status"])
            for identity, owner in owners.items()
            if owner is not None and owner.fleet == self.world.name and owner.home not in ("", "zzzzz")
        }

    async def until_held(self, *statuses: str) -> dict[str, str]:
        """Wait until the account holds just these."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while sorted((held := self.held()).values()) != sorted(statuses):
            assert time.monotonic() < deadline, f"{held}, not {statuses}; {await self.world.last_words()}"
            await asyncio.sleep(0.05)
        return held

    async def settled(self) -> None:
        """Begin a chain; it launches from its second turn on."""
        await self.world.acted()

    async def until(self, holds: Callable[[], Awaitable[bool]], what: str, turns: int = 6) -> Turn:
        """Take turns until it is so."""
        for _ in range(turns):
            turn = await self.world.acted()
            if await holds():
                return turn
            # A turn takes a moment, and what it waits for is done by other processes: containers that start and stop.
            await asyncio.sleep(0.5)
        raise AssertionError(f"not within {turns} turns: {what}; holds {self.held()}; {await self.world.last_words()}")

    async def serving(self, count: int) -> Turn:
        """Take turns until that many workers take work."""

        async def are_ready() -> bool:
            workers = (await self.world.record()).memory.workers
            return sum(worker.state is WorkerState.READY and worker.mark is None for worker in workers) == count

        return await self.until(are_ready, f"{count} serve")

    async def knows_exactly_what_is_held(self) -> bool:
        """Whether each instance of the account is one that the record knows, and the other way round."""
        record = await self.world.record()
        workers = {
            worker.instance_id
            for worker in record.memory.workers
            if worker.may_exist and worker.state is not WorkerState.WISHED
        }
        spare = {
            identity for identity, status in self.held().items() if status == "stopped" and identity not in workers
        }
        wished = [worker for worker in record.memory.workers if worker.state is WorkerState.WISHED]
        warm = sum("kept warm" in reason.text for reason in record.plan.reasons if reason.rule == "roster.warm")
        return not wished and set(self.held()) - spare == workers and bool(spare) <= bool(warm)

    async def killed(self, **options: Any) -> None:
        """Run a turn in a process that dies by SIGKILL at a chosen place."""
        await self.world.pass_time(60)
        parameters = {"fleet": self.world.fleet_json()}
        done = await anyio.run_process(
            [sys.executable, str(TURN_PROCESS), json.dumps({"flow": "autoscale", "parameters": parameters, **options})],
            env=dict(self.world.environment),
            check=False,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == -signal.SIGKILL, done.stdout.decode()[-3000:]


@pytest.fixture
async def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Market]:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    async with market(some_offers(12)) as opened:
        yield opened


async def on_vast(
    worlds: Worlds, account: Market, *, warm_workers: int = 0, settings: dict[str, Any] | None = None, **sections: Any
) -> Fleet:
    """A world whose fleet has one provider, the market."""
    world = await worlds(elsewhere=True, **sections)
    fleet = Fleet(world, account)
    entry = {"block": await fleet.save(**(settings or {})), "max_workers": 6, "warm_workers": warm_workers}
    world.changes["providers"] = [entry]
    return fleet


@pytest.mark.soak
async def test_a_fleet_goes_up_through_the_warm_pool_and_back(prefect_worlds: PrefectWorlds, account: Market) -> None:
    fleet = await on_vast(
        prefect_worlds, account, warm_workers=1, settings={"max_usd_per_hour": 0.5}, limits={"max_workers": 2}
    )
    world = fleet.world
    foreign = [
        account.api.account.create(account.api.offers[offer], _launch(f"ebbflow/{world.name}/{label}"))
        for offer, label in ((1011, f"zzzzz/{world.name}-3f9c-1-0"), (1012, "zzzzz"))
    ]
    first = await world.acted()
    assert "placement.settle" in str((await world.record()).plan.reasons), first.said
    await fleet.serving(1)

    work = world.generate(images=20, steps=60)
    await world.busy_worker()
    await fleet.serving(2)
    assert len((await work)["images"]) == 20

    async def is_warm() -> bool:
        return sorted(fleet.held().values()) == ["running", "stopped"] and len(await world.members()) == 1

    await fleet.until(is_warm, "one is kept warm")
    held = await world.acted()
    plan = (await world.record()).plan
    assert plan.storage_usd_per_hour == pytest.approx(20 * 0.15 / 720, abs=1e-4), held.said
    assert plan.usd_per_hour > plan.storage_usd_per_hour > 0
    assert await fleet.knows_exactly_what_is_held()

    creates = account.api.count("PUT", CREATE)
    again = world.generate(images=20, steps=60)
    await world.busy_worker()
    await fleet.serving(2)
    assert account.api.count("PUT", CREATE) == creates, "the warm instance was started, none was rented"
    assert len((await again)["images"]) == 20
    await fleet.until(is_warm, "one is kept warm again")

    world.changes["providers"] = [{**world.changes["providers"][0], "warm_workers": 0}]

    async def is_alone() -> bool:
        return list(fleet.held().values()) == ["running"]

    await fleet.until(is_alone, "nothing is kept warm")
    assert {each.id for each in foreign} <= set(account.api.instances), "another home's instances are never touched"
    assert set(world.starts().values()) == {1, 2}, "one instance was started twice, by its stop and start"
    await _tells_no_secret(world, account)


@pytest.mark.soak
async def test_a_killed_turn_rents_no_instance_twice(prefect_worlds: PrefectWorlds, account: Market) -> None:
    fleet = await on_vast(prefect_worlds, account)
    await fleet.settled()
    assert not fleet.held()
    await fleet.killed(die_at=rf"PUT {CREATE}", before=True)
    assert not fleet.held()

    async def gave_up_and_serves() -> bool:
        return len(await fleet.world.members()) == 1

    await fleet.until(gave_up_and_serves, "the wish that was never sent is given up, and a new one serves")
    assert account.api.count("PUT", CREATE) == 1

    world = fleet.world
    world.changes["limits"] = {"min_workers": 2}
    await fleet.killed(die_at=rf"PUT {CREATE}")
    assert len(fleet.held()) == 2
    await fleet.serving(2)
    assert account.api.count("PUT", CREATE) == 2
    assert await fleet.knows_exactly_what_is_held()


class Faults:
    """What may happen to a fleet of two; each returns once it has."""

    @staticmethod
    async def the_answer_to_a_create_is_lost(fleet: Fleet) -> None:
        fleet.account.api.faults.append(Fault(FaultKind.DROP_AFTER, "PUT", CREATE, times=1))

    @staticmethod
    async def a_create_is_done_and_answered_with_503(fleet: Fleet) -> None:
        fleet.account.api.faults.append(answering("unavailable", "PUT", CREATE, times=1, after=True))

    @staticmethod
    async def one_create_makes_two_instances(fleet: Fleet) -> None:
        fleet.account.api.faults.append(Fault(FaultKind.TWICE, "PUT", CREATE, times=1))

    @staticmethod
    async def a_lost_create_is_listed_late(fleet: Fleet) -> None:
        fleet.account.api.faults += [
            Fault(FaultKind.DROP_AFTER, "PUT", CREATE, times=1),
            Fault(FaultKind.LAG, "PUT", CREATE, times=1, reads=2),
        ]

    @staticmethod
    async def an_offer_is_taken_by_somebody_else(fleet: Fleet) -> None:
        fleet.account.api.faults.append(answering("no_such_ask_410", "PUT", CREATE, times=1))

    @staticmethod
    async def a_create_comes_too_often(fleet: Fleet) -> None:
        fleet.account.api.faults.append(answering("too_frequent_text", "PUT", CREATE, times=1))

    @staticmethod
    async def an_instance_never_leaves_loading(fleet: Fleet) -> None:
        fleet.account.api.hosts.next_boots.append(Boot(is_stuck=True))

    @staticmethod
    async def a_container_cannot_be_created(fleet: Fleet) -> None:
        fleet.account.api.hosts.next_boots.append(Boot(failure="OCI runtime create failed: no such image"))

    @staticmethod
    async def the_list_is_cut_once(fleet: Fleet) -> None:
        fleet.account.api.faults.append(answering("no_instances", "GET", "/api/v1/instances/", times=1))

    @staticmethod
    async def a_destroy_fails_once(fleet: Fleet) -> None:
        fleet.account.api.faults.append(answering("server_error", "DELETE", times=1))

    @staticmethod
    async def a_destroy_is_only_said(fleet: Fleet) -> None:
        fleet.account.api.faults.append(answering("only_said", "DELETE", times=1))

    @staticmethod
    async def an_instance_is_destroyed_in_the_console(fleet: Fleet) -> None:
        await fleet.serving(2)
        await fleet.account.api.account.destroy(int(min(fleet.held())))

    @staticmethod
    async def a_machine_goes_offline(fleet: Fleet) -> None:
        await fleet.serving(2)
        instance = fleet.account.api.instances[int(min(fleet.held()))]
        fleet.account.api.account.take_offline(instance.offer.machine_id)

    @staticmethod
    async def a_worker_ends_by_itself(fleet: Fleet) -> None:
        await fleet.serving(2)
        process = fleet.account.api.hosts.process_of(int(min(fleet.held())))
        assert process is not None
        process.kill()


FAULTS = [name for name in vars(Faults) if not name.startswith("_")]


@pytest.mark.soak
@pytest.mark.parametrize("name", FAULTS)
async def test_after_a_fault_the_account_holds_what_the_fleet_knows(worlds: Worlds, account: Market, name: str) -> None:
    fleet = await on_vast(worlds, account, limits={"min_workers": 2}, readiness={"launch_timeout_seconds": 200})
    await fleet.settled()
    await getattr(Faults, name)(fleet)

    async def is_whole() -> bool:
        ready = sum(worker.state is WorkerState.READY for worker in (await fleet.world.record()).memory.workers)
        return ready == 2 and len(fleet.held()) == 2 and await fleet.knows_exactly_what_is_held()

    await fleet.until(is_whole, "two serve, and nothing else is held", turns=20)
    world = fleet.world
    world.changes["limits"] = {"min_workers": 1}

    async def is_down() -> bool:
        return len(fleet.held()) == 1 and await fleet.knows_exactly_what_is_held()

    # One that is silent while its master feeds it is ended at its drain deadline, ten of these turns later.
    await fleet.until(is_down, "one serves, and nothing else is held", turns=18)
    assert sorted(set(world.starts().values()))[-1:] <= [2], world.starts()


@pytest.mark.soak
async def test_an_outbid_worker_is_replaced_and_a_spent_credit_is_not_answered_with_launches(
    worlds: Worlds, account: Market
) -> None:
    fleet = await on_vast(worlds, account, settings={"rental": "interruptible"}, limits={"min_workers": 1})
    await fleet.settled()
    await fleet.serving(1)
    (outbid,) = fleet.held()
    account.api.account.outbid(int(outbid))

    async def is_replaced() -> bool:
        return len(await fleet.world.members()) == 1 and outbid not in fleet.held()

    await fleet.until(is_replaced, "the outbid one is gone, another serves", turns=15)
    creates = account.api.count("PUT", CREATE)
    fleet.world.changes["limits"] = {"min_seconds_after_failure": 3600}
    account.api.account.set_credit(is_left=False)
    for _ in range(3):
        await fleet.world.acted()
    assert account.api.count("PUT", CREATE) <= creates + 1, "a spent credit is no reason to ask again and again"
    account.api.account.set_credit(is_left=True)


def _launch(label: str) -> Any:
    from ebbflow.standins.vast.instances import read_launch

    return read_launch({"image": "theirs", "disk": 20, "label": label}, {})


async def _tells_no_secret(world: World, account: Market) -> None:
    """Neither the account's key nor what a listing repeats of a container is in a record or a run."""
    from prefect.client.orchestration import get_client

    secrets = [KEY, "stand-in-jupyter", *(each.key for each in account.api.instances.values())]
    async with get_client() as client:
        artifacts = await client.read_artifacts(limit=200)
        runs = await client.read_flow_runs(limit=200)
    told = [str(each.data) + str(each.description) for each in artifacts] + [str(each.parameters) for each in runs]
    assert any(world.name in text for text in told)
    assert not [secret for secret in secrets for text in told if secret in text]
