"""The ledger on a real Prefect server obeys the same words as the one in memory."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient, get_client

from ebbflow.contracts import LedgerContract
from ebbflow.core.ports import Ledger
from ebbflow.flows.ledger import PrefectLedger, claim_number
from tests.e2e.prefect_house import pass_time


@dataclass
class PrefectWorld:
    """A fleet's name on a server, whose database a test can reach."""

    client: PrefectClient
    environment: dict[str, str]
    fleet: str

    def ledger(self) -> Ledger:
        return PrefectLedger(self.client)

    async def pass_time(self, seconds: float) -> None:
        pass_time(self.environment, self.fleet, seconds)

    async def delete(self, artifact_id: str) -> None:
        await self.client.delete_artifact(UUID(artifact_id))

    async def edit(self, artifact_id: str) -> None:
        await self.client.request(
            "PATCH", "/artifacts/{id}", path_params={"id": artifact_id}, json={"data": {"record": "edited"}}
        )

    async def numbers(self) -> set[int]:
        # By name: a server that many tests share holds more Variables than one page shows.
        mine = {"variables": {"name": {"like_": f"ebbflow_{self.fleet}_"}}, "limit": 200}
        found = await self.client.request("POST", "/variables/filter", json=mine)
        numbers = (claim_number(self.fleet, variable["name"]) for variable in found.json())
        return {number for number in numbers if number is not None}


class TestPrefectLedger(LedgerContract):
    @pytest.fixture
    async def world(self, prefect_server: str, prefect_environment: dict[str, str]) -> AsyncIterator[PrefectWorld]:
        async with get_client() as client:
            yield PrefectWorld(client, prefect_environment, f"c{secrets.token_hex(4)}")
