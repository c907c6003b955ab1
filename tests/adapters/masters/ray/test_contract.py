"""Our adapter of a Ray head passes the suite of masters that workers join."""

from collections.abc import AsyncIterator

import pytest

from ebbflow.contracts import JoinMasterContract
from tests.adapters.masters.ray.played_head import RayWorld, ray_world


class TestRayAdapter(JoinMasterContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[RayWorld]:
        async with ray_world() as world:
            yield world
