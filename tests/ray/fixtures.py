"""A head for the tests of a module that takes it into itself."""

from collections.abc import AsyncIterator

import pytest

from tests.ray.cluster import RayCluster, ray_cluster


@pytest.fixture(scope="module")
async def ray(anyio_backend: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RayCluster]:
    """A real Ray head without workers, one for the tests of a module."""
    async with ray_cluster(tmp_path_factory.mktemp("ray")) as cluster:
        yield cluster
