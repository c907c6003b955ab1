"""Whole fleets whose master is a real Ray head, with real workers that join it and real tasks that are counted."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.processes import end_all
from tests.ray.cluster import RayCluster
from tests.ray.fixtures import ray
from tests.ray.fleet import RayFleet

__all__ = ["ray"]

pytestmark = [pytest.mark.anyio, pytest.mark.soak]


@pytest.fixture
async def fleet(
    anyio_backend: str, ray: RayCluster, tmp_path: Path, prefect_server: str, prefect_environment: dict[str, str]
) -> AsyncIterator[RayFleet]:
    made = RayFleet(ray, PrefectHouse(prefect_environment), tmp_path)
    await made.save()
    yield made
    await end_all("EBBFLOW_FLEET", made.name)


async def test_tasks_bring_workers_run_once_each_and_idle_workers_go_while_a_busy_one_stays(fleet: RayFleet) -> None:
    await fleet.turn()
    assert fleet.workers() == set(), "nobody is there for nothing"
    burst = await fleet.ray.work(6, 3)
    await fleet.turns_until(lambda: len(burst.began()) == 6, "all tasks have begun")
    await burst.is_done()
    assert {number: len(nodes) for number, nodes in burst.began().items()} == dict.fromkeys(range(6), 1)
    assert 2 <= len(fleet.started()) <= 3
    long = await fleet.ray.work(1, 0, held=True)
    await fleet.turns_until(lambda: long.began(), "the long task has begun")
    await fleet.turns_until(lambda: len(fleet.workers()) == 1, "whoever is idle goes")
    long.release()
    await long.is_done()
    assert [len(nodes) for nodes in long.began().values()] == [1], "and who works is not stopped"
    await fleet.turns_until(lambda: not fleet.workers(), "and then the last one")
    assert set(fleet.started().values()) == {1}
