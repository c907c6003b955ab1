"""Whole fleets whose workers are jobs of a real Slurm, through what happens to clusters."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from ebbflow.blocks import SlurmProvider
from ebbflow.flows.scale_down import scale_down
from tests.e2e.world import NOTED_START, WORKER_PROGRAM, PrefectWorlds, World, Worlds
from tests.slurm.cluster import Cluster
from tests.slurm.fixtures import slurm, slurm_session

__all__ = ["slurm", "slurm_session"]

pytestmark = pytest.mark.anyio

TURN_PROCESS = Path(__file__).with_name("turn_process.py")
PATIENCE_SECONDS = 40.0


class Fleet:
    """One fleet on the cluster."""

    def __init__(self, world: World, slurm: Cluster) -> None:
        self.world = world
        self.slurm = slurm

    async def save(self, block: str = "", **settings: Any) -> str:
        """Save a provider block; its reference."""
        name = block or self.world.name
        plain: dict[str, Any] = {
            "command": ["/bin/sh", "-c", NOTED_START, str(self.world.folder / "starts"), *WORKER_PROGRAM],
            "slurm_conf": str(self.slurm.conf),
            "time_minutes": 30,
            "output_folder": str(self.world.folder),
            **settings,
        }
        return await self.world.keep(SlurmProvider.model_validate(plain), name)

    def jobs(self, *states: str) -> dict[str, str]:
        """Worker ids by job id: the fleet's live jobs, or those in some states."""
        start = f"ebbflow.{self.world.name}."
        found = self.slurm.names(start)
        return {
            job_id: name.removeprefix(start) for job_id, (name, state) in found.items() if state in (states or state)
        }

    async def until_jobs(self, count: int, *states: str) -> dict[str, str]:
        """Wait until that many jobs are live, or in some states."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(found := self.jobs(*states)) != count:
            assert time.monotonic() < deadline, f"{found}, not {count} {states}; {await self.world.last_words()}"
            await asyncio.sleep(0.1)
        return found

    async def until_announced(self, count: int) -> None:
        """Wait until that many jobs carry an address."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            comments = self.slurm.run("squeue", "-h", "-t", "RUNNING", "-o", "%j %k")
            mine = comments.split(f"ebbflow.{self.world.name}.")[1:]
            if sum("NewURL" in comment for comment in mine) == count:
                return
            assert time.monotonic() < deadline, comments
            await asyncio.sleep(0.1)

    async def serving(self, count: int) -> None:
        """Bring the fleet to that many workers, all of which take work."""
        fleet = self.world.fleet(limits={"min_workers": count, "max_workers": max(4, count)})
        await self.world.acted(fleet=fleet)
        await self.until_announced(count)
        await self.world.acted(fleet=fleet)
        await self.world.acts_until_serving(count, fleet=fleet)
        await self.is_right(count)

    async def is_right(self, count: int) -> None:
        """Jobs and members agree, and no worker was ever started twice."""
        jobs, members, starts = await self.until_jobs(count), await self.world.members(), self.world.starts()
        told = f"jobs {jobs}, members {members}, started {starts}; {await self.world.last_words()}"
        assert sorted(jobs.values()) == sorted(members), told
        assert set(starts.values()) <= {1}, told

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


async def on_slurm(worlds: Worlds, slurm: Cluster, provider: dict[str, Any] | None = None, **sections: Any) -> Fleet:
    """A world whose fleet has one provider, the cluster."""
    world = await worlds(elsewhere=True, **sections)
    fleet = Fleet(world, slurm)
    world.changes["providers"] = [{"block": await fleet.save(**(provider or {})), "max_workers": 12}]
    return fleet


@pytest.mark.soak
async def test_a_fleet_of_jobs_lives_through_demand_kill_9_and_a_restart_of_the_controller(
    prefect_worlds: PrefectWorlds, slurm: Cluster
) -> None:
    fleet = await on_slurm(prefect_worlds, slurm, limits={"max_workers": 2})
    world = fleet.world
    theirs = slurm.submit(
        f"ebbflow.{world.name}.{world.name}-3f9c-1-0", comment=f"wid={world.name}-3f9c-1-0;home=zzzzz"
    )
    foreign = slurm.submit("somebody-elses", "--array=1-20", "--hold")
    others = fleet.jobs()
    assert set(others) == {theirs}

    def ours() -> dict[str, str]:
        return {job_id: worker for job_id, worker in fleet.jobs().items() if job_id != theirs}

    # Killed right after sbatch was started, and once more before the outcome was noted: nothing is lost or doubled.
    await fleet.killed(die_at_start=1)
    await world.acted()
    await fleet.until_announced(1)
    await world.acted()
    await world.acts_until_serving(1)
    assert len(ours()) == 1

    # Enough for half a minute: on a busy machine a flow's process takes long to start.
    work = world.generate(images=20, steps=40)
    await world.busy_worker()
    await fleet.killed(die_at=r"PATCH /api/artifacts/", before=True)
    await fleet.until_announced(2)
    slurm.stop_controller()
    slurm.repair()
    raised = await world.acted()
    await world.acts_until_serving(2)
    assert len(ours()) == 2, raised.said
    assert len((await work)["images"]) == 20
    for _ in range(2):
        await world.acted()
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(ours()) != 1:
        assert time.monotonic() < deadline, await world.last_words()
        await asyncio.sleep(0.1)
    settled = await world.acted()
    assert set(ours().values()) == await world.members(), settled.said
    assert set(world.starts().values()) == {1}
    assert len(world.starts()) == 2
    reasons = [reason.text for reason in (await world.record()).plan.reasons if reason.rule == "roster.foreign"]
    assert reasons, "another home's job is shown"
    assert "zzzzz" in reasons[0]
    assert theirs in fleet.jobs()
    assert len(slurm.run("squeue", "-h", "-r", "-j", foreign, "-o", "%i").splitlines()) == 20


@pytest.mark.soak
@pytest.mark.parametrize("fault", ["frozen", "stopped", "restarted"])
async def test_a_controller_that_fails_in_the_middle_of_a_turn_costs_no_worker_and_doubles_none(
    worlds: Worlds, slurm: Cluster, fault: str
) -> None:
    fleet = await on_slurm(worlds, slurm)
    world = fleet.world
    await world.master.control("Slow", route="GetGlobalStatus", seconds=3.0, times=1)
    turn = asyncio.ensure_future(world.turn())
    await world.master.until_asked("GetGlobalStatus", 1)
    # The listing has been answered by now, the submission has not begun.
    if fault == "frozen":
        slurm.freeze()
    else:
        slurm.stop_controller()
    if fault == "restarted":
        slurm.repair()
    acted = await turn
    assert [row["action"] for row in await acted.rows()] == ["launch"], acted.said
    if fault != "restarted":
        blind = await world.turn()
        assert blind.state.name == "Held", blind.said
        assert "listing unknown" in str([reason.text for reason in (await world.record()).plan.reasons])
    slurm.repair()
    await world.acted()
    await fleet.until_announced(1)
    await world.acted()
    await world.acts_until_serving(1)
    await fleet.is_right(1)


@pytest.mark.soak
async def test_a_job_that_waits_in_a_full_queue_is_supply_and_is_ended_before_it_starts(
    worlds: Worlds, slurm: Cluster
) -> None:
    fleet = await on_slurm(worlds, slurm, {"partition": "n4only", "exclusive": True})
    world = fleet.world
    slurm.occupy("blocker", "--partition=n4only", "--exclusive")
    at_most = world.fleet(limits={"min_workers": 0}, master=await _from_zero(world))
    await world.acted()
    await fleet.until_jobs(1, "PENDING")
    held = await world.acted()
    assert held.state.name == "Held", f"it waits, and nothing more is launched: {held.said}"
    await world.turn(scale_down, fleet=at_most, count=1)
    await world.acted(fleet=at_most)
    await fleet.until_jobs(0)
    await world.acted(fleet=at_most)
    assert (await world.record()).memory.workers == ()
    assert sum(world.starts().values()) == 0


async def _from_zero(world: World) -> str:
    await world.save(master={"allow_start_from_zero": True})
    return f"swarmui-master/{world.name}"


@pytest.mark.soak
async def test_a_partition_that_does_not_exist_is_named_and_the_next_provider_is_tried(
    worlds: Worlds, slurm: Cluster
) -> None:
    fleet = await on_slurm(worlds, slurm, limits={"min_seconds_after_failure": 600})
    world = fleet.world
    good = world.changes["providers"][0]["block"]
    bad = await fleet.save(f"{world.name}-bad", partition="nowhere")
    world.changes["providers"] = [{"block": bad, "max_workers": 4}, {"block": good, "max_workers": 4}]
    await world.acted()
    assert fleet.jobs() == {}
    claims = await world.claims()
    assert len(claims) == 1
    await world.acted()
    await fleet.until_announced(1)
    await world.acted()
    await world.acts_until_serving(1)
    await fleet.is_right(1)
    texts = str([reason.text for reason in (await world.record()).plan.reasons]) + str((await world.record()).memory)
    assert "partition='nowhere'" in texts


@pytest.mark.soak
async def test_a_job_that_an_operator_cancels_is_replaced_and_forgotten_at_the_master(
    prefect_worlds: PrefectWorlds, slurm: Cluster
) -> None:
    fleet = await on_slurm(prefect_worlds, slurm)
    await fleet.serving(1)
    ((job_id, worker),) = fleet.jobs().items()
    slurm.run("scancel", job_id)
    await fleet.until_jobs(0)
    await _is_replaced(fleet, worker)


async def _is_replaced(fleet: Fleet, worker: str) -> None:
    """Later turns put one worker in the place of one that ended without us."""
    await fleet.world.acted()
    await fleet.until_announced(1)
    for _ in range(2):
        await fleet.world.acted()
    await fleet.world.acts_until_serving(1)
    await fleet.is_right(1)
    assert worker not in fleet.jobs().values()


@pytest.mark.soak
async def test_a_job_that_is_preempted_is_replaced(worlds: Worlds, slurm: Cluster) -> None:
    fleet = await on_slurm(worlds, slurm, {"partition": "lowc", "gpus": 8, "extra_arguments": ["--nodelist=n2"]})
    await fleet.serving(1)
    ((_, worker),) = fleet.jobs().items()
    urgent = slurm.occupy("urgent", "--partition=high", "--nodelist=n2", "--gres=gpu:8")
    await fleet.until_jobs(0)
    slurm.run("scancel", urgent)
    await _is_replaced(fleet, worker)


@pytest.mark.soak
async def test_a_job_whose_node_goes_down_is_replaced(worlds: Worlds, slurm: Cluster) -> None:
    fleet = await on_slurm(worlds, slurm)
    await fleet.serving(1)
    ((job_id, worker),) = fleet.jobs().items()
    node = slurm.run("squeue", "-h", "-j", job_id, "-o", "%N")
    slurm.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    await fleet.until_jobs(0)
    await _is_replaced(fleet, worker)


@pytest.mark.soak
async def test_a_job_that_a_site_requeues_is_ended_before_it_comes_back_and_replaced(
    worlds: Worlds, slurm: Cluster
) -> None:
    fleet = await on_slurm(worlds, slurm)
    await fleet.serving(1)
    await fleet.world.acted()
    ((job_id, worker),) = fleet.jobs().items()
    slurm.run("scontrol", "update", f"JobId={job_id}", "Requeue=1")
    slurm.run("scontrol", "requeue", job_id)
    await fleet.until_jobs(1, "PENDING")
    await fleet.world.until_noticed(worker)
    # It had served: who is idle, and then silent for a minute, is ended.
    await fleet.world.acts_until(lambda: worker not in fleet.jobs("RUNNING", "PENDING").values(), "it is ended")
    await _is_replaced(fleet, worker)


@pytest.mark.soak
async def test_while_the_controller_is_down_nothing_is_launched_and_nobody_is_given_up(
    worlds: Worlds, slurm: Cluster
) -> None:
    fleet = await on_slurm(worlds, slurm)
    await fleet.serving(1)
    jobs = fleet.jobs()
    slurm.stop_controller()
    for _ in range(2):
        blind = await fleet.world.acted(fleet=fleet.world.fleet(limits={"min_workers": 2}))
        assert blind.state.name == "Held", blind.said
        assert await fleet.world.members() == set(jobs.values())
    slurm.repair()
    await fleet.world.acted()
    await fleet.is_right(1)
    assert fleet.jobs() == jobs


@pytest.mark.soak
async def test_a_controller_that_forgets_a_new_job_leaves_one_worker(worlds: Worlds, slurm: Cluster) -> None:
    fleet = await on_slurm(worlds, slurm)
    world = fleet.world
    await world.acted()
    await fleet.until_jobs(1, "RUNNING")
    # Within seconds of a submission it is not on disk: the job is forgotten, or starts a second time.
    slurm.stop_controller(signal.SIGKILL)
    slurm.repair()
    for _ in range(3):
        await world.acted()
        # A job takes seconds to start, and longer after its controller.
        await asyncio.sleep(3)
    await world.acts_until_serving(1)
    await world.acts_until(lambda: len(fleet.jobs()) == len(world.processes()) == 1, "one job is left", turns=12)
    assert await world.members() == set(fleet.jobs().values())


@pytest.mark.soak
async def test_a_job_that_does_not_start_within_its_window_is_given_up_for_the_next_provider(
    worlds: Worlds, slurm: Cluster
) -> None:
    full = {"partition": "n4only", "exclusive": True, "time_minutes": 1, "start_within_seconds": 60}
    fleet = await on_slurm(worlds, slurm, full, limits={"min_seconds_after_failure": 600})
    world = fleet.world
    other = await fleet.save(f"{world.name}-other")
    world.changes["providers"] = [*world.changes["providers"], {"block": other, "max_workers": 4}]
    slurm.occupy("blocker", "--partition=n4only", "--exclusive")
    await world.acted()
    ((late, worker),) = (await fleet.until_jobs(1, "PENDING")).items()
    deadline = time.monotonic() + 150
    while late in fleet.jobs():
        assert time.monotonic() < deadline, fleet.jobs()
        await asyncio.sleep(1)
    await world.acted()
    assert "start window" in str((await world.record()).memory)
    await _is_replaced(fleet, worker)


@pytest.mark.soak
async def test_a_node_that_dies_takes_its_worker_out_of_service(worlds: Worlds, slurm: Cluster) -> None:
    fleet = await on_slurm(worlds, slurm)
    await fleet.serving(1)
    ((job_id, worker),) = fleet.jobs().items()
    node = slurm.run("squeue", "-h", "-j", job_id, "-o", "%N")
    slurm.send(f"slurmd-{node}", signal.SIGKILL)
    deadline = time.monotonic() + 120
    while job_id in fleet.jobs():
        assert time.monotonic() < deadline, fleet.jobs()
        await asyncio.sleep(1)
    await _is_replaced(fleet, worker)
    slurm.repair()
    await fleet.world.acted()
    await fleet.is_right(1)
