"""Two evaluators at once: one acts. Claims are made with what the flows use, against a real Prefect server."""

import asyncio
import json
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import VariableCreate

from ebbflow.contracts.ledger import claim_once, record_of
from ebbflow.core.chain import Claim
from ebbflow.core.record import Record
from ebbflow.flows.ledger import MOST_TIDIED, PrefectLedger, claim_name
from ebbflow.turn.chain_reader import ChainReader
from tests.e2e.relay import Relay, relayed
from tests.e2e.world import PrefectWorld

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect]

INTERVAL = 60.0
TURN_PROCESS = Path(__file__).parent.parent / "e2e" / "turn_process.py"


@pytest.fixture
def fleet(prefect_server: str) -> str:
    return f"c{secrets.token_hex(4)}"


async def evaluate_once(client: PrefectClient, record: Record) -> Claim | None:
    """What a turn does between its decision and its actions."""
    return await claim_once(PrefectLedger(client), record)


@pytest.mark.soak
async def test_of_two_evaluators_one_acts_in_each_of_200_rounds(fleet: str) -> None:
    async with get_client() as one, get_client() as other:
        for number in range(1, 201):
            both = await asyncio.gather(
                evaluate_once(one, record_of(fleet, number, headline="one")),
                evaluate_once(other, record_of(fleet, number, headline="other")),
            )
            won = [claim for claim in both if claim is not None]
            assert len(won) == 1, f"round {number}: {both}"
            head = await ChainReader(PrefectLedger(one)).head(fleet) if number % 20 == 0 else None
            if head is not None:
                assert (head.claim.number, head.claim.artifact_id) == (number, won[0].artifact_id)
                assert not head.broken


async def test_of_twenty_evaluators_one_acts(fleet: str) -> None:
    async with get_client() as client:
        records = [record_of(fleet, 1, headline=str(each)) for each in range(20)]
        artifacts = [await PrefectLedger(client).store(record, summary="") for record in records]
        claims = await asyncio.gather(
            *(
                PrefectLedger(client).claim(record, artifact, interval_seconds=INTERVAL)
                for record, artifact in zip(records, artifacts, strict=True)
            )
        )
    assert sum(claim is not None for claim in claims) == 1


@pytest.mark.soak
async def test_of_three_whole_turns_at_once_one_acts(prefect_world: PrefectWorld) -> None:
    options = json.dumps({"flow": "autoscale", "parameters": {"fleet": prefect_world.fleet_json()}})
    for number in (1, 2):
        await prefect_world.pass_time(60)
        runs = await asyncio.gather(
            *(
                anyio.run_process(
                    [sys.executable, str(TURN_PROCESS), options],
                    env=dict(prefect_world.environment),
                    stderr=subprocess.STDOUT,
                )
                for _ in range(3)
            )
        )
        said = [run.stdout.decode() for run in runs]
        assert sum("ended: Skipped" in each for each in said) == 2, said
        assert sum("ended: Acted" in each or "ended: Held" in each for each in said) == 1, said
        assert sorted(await prefect_world.claims()) == list(range(1, number + 1))
    await prefect_world.is_right(1)


@contextmanager
def through(relay: Relay) -> Iterator[None]:
    """Let this process talk to the server through a relay that loses answers."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: relay.url}):
        yield


@pytest.mark.parametrize("how", ["reset", "503", "500"])
async def test_a_claim_whose_answer_is_lost_is_ours_all_the_same(fleet: str, prefect_server: str, how: str) -> None:
    async with relayed(prefect_server) as relay:
        with through(relay):
            async with get_client() as client:
                record = record_of(fleet, 1)
                artifact_id = await PrefectLedger(client).store(record, summary="")
                relay.lose_next("POST", "/api/variables/", how)
                claim = await PrefectLedger(client).claim(record, artifact_id, interval_seconds=INTERVAL)
    assert relay.lost == 1
    assert claim is not None
    assert claim.artifact_id == artifact_id


async def test_a_claim_that_somebody_else_made_meanwhile_is_not_ours(fleet: str) -> None:
    async with get_client() as client:
        assert await evaluate_once(client, record_of(fleet, 1)) is not None
        assert await evaluate_once(client, record_of(fleet, 1)) is None


async def test_a_run_so_late_that_its_number_was_cleared_away_does_not_act(
    fleet: str, prefect_world: PrefectWorld
) -> None:
    async with get_client() as client:
        late = record_of(fleet, 2)
        late_artifact = await PrefectLedger(client).store(late, summary="late")
        for number in (1, 2, 3):
            assert await evaluate_once(client, record_of(fleet, number)) is not None
        await client.delete_variable_by_name(claim_name(fleet, 2))
        assert await PrefectLedger(client).claim(late, late_artifact, interval_seconds=INTERVAL) is None
        head = await ChainReader(PrefectLedger(client)).head(fleet)
        assert head is not None
        assert head.claim.number == 3
        assert sorted((await PrefectLedger(client)._claims(fleet))[0]) == [1, 3], "what it created is gone again"
        assert await evaluate_once(client, record_of(fleet, 4)) is not None


async def test_old_claims_are_cleared_away_and_never_the_head(prefect_world: PrefectWorld) -> None:
    await prefect_world.acted()
    for _ in range(2):
        await prefect_world.acted()
    assert sorted(await prefect_world.claims()) == [1, 2, 3]
    await prefect_world.acted(after=590)
    assert sorted(await prefect_world.claims()) == [3, 4], "ten intervals, at least ten minutes"
    await prefect_world.acted(after=50_000)
    assert sorted(await prefect_world.claims()) == [5]
    await prefect_world.is_right(1)


async def test_many_old_claims_are_cleared_away_over_several_turns(prefect_world: PrefectWorld) -> None:
    async with get_client() as client:
        for number in range(1, MOST_TIDIED + 6):
            assert await evaluate_once(client, record_of(prefect_world.name, number)) is not None
        await prefect_world.pass_time(50_000)
        left = []
        for number in range(MOST_TIDIED + 6, MOST_TIDIED + 8):
            await evaluate_once(client, record_of(prefect_world.name, number))
            left.append(len(await prefect_world.claims()))
    assert left == [6, 2], "a turn has other things to do"


async def test_a_claim_that_is_older_than_everything_stays_as_long_as_it_is_the_head(
    prefect_world: PrefectWorld,
) -> None:
    await prefect_world.acted()
    await prefect_world.pass_time(100_000)
    dry = await prefect_world.turn(after=None, dry_run=True)
    assert dry.state.name == "DryRun"
    assert sorted(await prefect_world.claims()) == [1]


async def test_one_home_is_made_however_many_ask_at_once(prefect_server: str) -> None:
    async with get_client() as client:
        known = await PrefectLedger(client).home(create=True)
        await client.delete_variable_by_name("ebbflow_home")
        homes = await asyncio.gather(*(PrefectLedger(client).home(create=True) for _ in range(10)))
        assert len(set(homes)) == 1
        await client.delete_variable_by_name("ebbflow_home")
        await client.create_variable(VariableCreate(name="ebbflow_home", value=known))
        assert await PrefectLedger(client).home(create=True) == known
