"""The ledger on a real Prefect server obeys the same words as the one in memory."""

import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate

from ebbflow.contracts import LedgerContract
from ebbflow.contracts.ledger import claim_once, record_of
from ebbflow.core.errors import ConfigError
from ebbflow.core.ports import Ledger
from ebbflow.flows.ledger import PrefectLedger, claim_name, claim_number
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


@pytest.mark.oldest_prefect
class TestPrefectLedger(LedgerContract):
    @pytest.fixture
    async def world(self, prefect_server: str, prefect_environment: dict[str, str]) -> AsyncIterator[PrefectWorld]:
        async with get_client() as client:
            yield PrefectWorld(client, prefect_environment, f"c{secrets.token_hex(4)}")

    @pytest.mark.parametrize(
        ("number", "value"), [(7, "mine"), (7, {"artifact": "x"}), (10**40, {"artifact": "x"}), (36**6 + 1, None)]
    )
    async def test_regression_a_claim_made_by_hand_hid_the_last_one_that_can_be_read(
        self, world: PrefectWorld, number: int, value: object
    ) -> None:
        won = await claim_once(world.ledger(), record_of(world.fleet, 6))
        assert won is not None
        if value is None:
            # In everything but its number it is one of ours.
            value = {"artifact": won.artifact_id, "sha256": won.sha256, "budget_seconds": 48.0}
        made = VariableCreate.model_validate({"name": claim_name(world.fleet, number), "value": value})
        await world.client.create_variable(made)
        with pytest.raises(ConfigError, match=r"was made or edited by hand, and holds .*: delete it"):
            await world.ledger().newest_claim(world.fleet)
        assert [claim.number for claim in await world.ledger().readable_claims(world.fleet)] == [6]
