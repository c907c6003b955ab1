"""Our adapter of a scheduler of opengris-scaler passes the suite of masters that workers join."""

from collections.abc import AsyncIterator

import pytest

from ebbflow.contracts import JoinMasterContract
from tests.adapters.masters.scaler.played_world import ScalerWorld, scaler_world


class TestManagerOfScaler29(JoinMasterContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[ScalerWorld]:
        async with scaler_world() as world:
            yield world


class TestAdapterOfScaler115(JoinMasterContract):
    @pytest.fixture
    async def world(self) -> AsyncIterator[ScalerWorld]:
        async with scaler_world("1.15") as world:
            yield world
