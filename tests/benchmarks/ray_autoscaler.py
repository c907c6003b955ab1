"""Ray's own autoscaler and ours on one load script: a burst at a real head, at most four nodes, processes of this host.

Ray starts its nodes by the provider that it has for one host (`fake_multinode`), ours by the local provider. A node is
paid for from its start until nothing of it runs.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from tests.benchmarks.bursts import each, paid_seconds
from tests.benchmarks.world import World, tell
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import end_all
from tests.ray.cluster import STORE_BYTES, RayCluster, Work, ray_cluster
from tests.ray.fleet import RayFleet

TASKS, TASK_SECONDS = 20, 10
MOST_NODES = 4
TURN_SECONDS = 23.0
"""The shortest interval that a fleet of these times takes; Ray's own is 5 s."""
CALL_SECONDS = 2.0
IDLE_SECONDS = 60.0
"""For both. Ray's default is 300 s, with which its nodes cost so much more."""
HEAD_ID = "f" * 51 + "00000"


@dataclass(frozen=True)
class Outcome:
    """What one burst cost, and how long its tasks waited."""

    waits: list[float]
    """Seconds from submit to the beginning of each task."""
    node_seconds: float
    begun_twice: int

    @property
    def p95_seconds(self) -> float:
        """Of the waits."""
        return statistics.quantiles(self.waits, n=20, method="inclusive")[-1]


async def measure(running: World) -> None:
    """Print the ratios."""
    ours = await _ours(running)
    _tell("ours", IDLE_SECONDS, ours)
    theirs = await _theirs(IDLE_SECONDS)
    _tell("Ray's own", IDLE_SECONDS, theirs)
    tell(
        f"  against it: node-seconds {ours.node_seconds / theirs.node_seconds:.2f} (goal 0.9), "
        f"p95 wait {ours.p95_seconds / theirs.p95_seconds:.2f} (goal 1)"
    )


def _tell(who: str, idle_seconds: float, outcome: Outcome) -> None:
    tell(
        f"Ray burst of {TASKS}, {who}, idle {idle_seconds:.0f} s: {outcome.node_seconds:.0f} node-seconds, "
        f"p95 wait {outcome.p95_seconds:.1f} s, {outcome.begun_twice} tasks begun twice"
    )


async def _ours(running: World) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        async with ray_cluster(Path(name)) as cluster:
            limits = {"max_workers": MOST_NODES, "min_idle_seconds": IDLE_SECONDS, "min_seconds_between_stops": 0}
            policy = {"kind": "pending_tasks", "idle_seconds": IDLE_SECONDS}
            fleet = RayFleet(
                cluster,
                PrefectHouse(running.environment),
                Path(name),
                most_each=MOST_NODES,
                call_timeout_seconds=CALL_SECONDS,
                interval_seconds=TURN_SECONDS,
                policy=policy,
                limits=limits,
            )
            await fleet.save()
            try:
                async with each(TURN_SECONDS, fleet.turn_now):
                    return await _burst(cluster, lambda: len(fleet.workers()))
            finally:
                await end_all("EBBFLOW_FLEET", fleet.name)


async def _theirs(idle_seconds: float) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        async with ray_cluster(Path(name), _with_autoscaler(Path(name), idle_seconds)) as cluster:
            return await _burst(cluster, lambda: len(_raylets(cluster)) - 1)


def _with_autoscaler(folder: Path, idle_seconds: float) -> Callable[[RayCluster], None]:
    def change(cluster: RayCluster) -> None:
        worker = {"CPU": 2, "GPU": 1, "object_store_memory": STORE_BYTES}
        config = {
            "cluster_name": "bench",
            "max_workers": MOST_NODES,
            "idle_timeout_minutes": idle_seconds / 60,
            "provider": {
                "type": "fake_multinode",
                "head_node_id": HEAD_ID,
                "gcs_address": cluster.join_address,
                "launch_multiple": True,
                "use_node_id_as_ip": True,
                "disable_node_updaters": True,
                "disable_launch_config_check": True,
            },
            "auth": {"ssh_user": "nobody"},
            # Read without a default.
            "file_mounts": {},
            "cluster_synced_files": [],
            "worker_setup_commands": [],
            "worker_start_ray_commands": [],
            "head_node_type": "head",
            "available_node_types": {
                "head": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
                "worker": {"resources": worker, "node_config": {}, "min_workers": 0, "max_workers": MOST_NODES},
            },
        }
        path = folder / "autoscaler.yaml"
        path.write_text(yaml.safe_dump(config))
        cluster.command.append(f"--autoscaling-config={path}")
        cluster.more_environment |= {"RAY_FAKE_CLUSTER": "1", "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID}

    return change


def _raylets(cluster: RayCluster) -> list[int]:
    """Pids of the nodes of a cluster, its head too."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or [""]
        if words[0].endswith("/raylet") and any(str(cluster.temporary) in word for word in words):
            found.append(process.pid)
    return found


async def _burst(cluster: RayCluster, nodes: Callable[[], int]) -> Outcome:
    """Submit the burst, and look until its tasks are done and every node has gone."""
    submitted = time.time()
    work = await cluster.work(TASKS, TASK_SECONDS)
    paid = await paid_seconds(lambda: len(work.began()) == TASKS, nodes)
    await work.is_done()
    return Outcome([at - submitted for at in work.beginnings()], paid, _twice(work))


def _twice(work: Work) -> int:
    return sum(len(nodes) > 1 for nodes in work.began().values())
