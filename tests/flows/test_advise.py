"""The flow `advise` on a real Prefect server: called with a fleet, and as a deployment, whose page a browser shows."""

import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact

from ebbflow.fleet.model import Fleet
from ebbflow.flows.advice_page import advice_key
from ebbflow.flows.advise import advise
from ebbflow.flows.the_fleet import GivenFleet
from ebbflow.standins.process import running
from tests.browser import HOW_TO_INSTALL, Page, is_installed, opened_browser
from tests.e2e.deploying import BY_A_WORKER, deploy, deployments, write_prefect_file
from tests.e2e.prefect_house import flow_run
from tests.e2e.together import together
from tests.e2e.world import PrefectWorld, PrefectWorlds
from tests.flows.test_backtest import fleet

pytestmark = pytest.mark.anyio

QUESTIONS = (
    "What do I pay now?",
    "How long do users wait now?",
    "What would each other setting cost, and how long would users wait then?",
    "How sure is that?",
    "What exactly do I change?",
)


async def advised(over: GivenFleet, **parameters: Any) -> State[Any]:
    return await advise(fleet=over, return_state=True, **parameters)


async def left(name: str) -> dict[str, Artifact]:
    """What the flow has left of a fleet, the newest of each key."""
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(like_=f"{advice_key(name)}%"))
        found = await client.read_artifacts(artifact_filter=wanted, limit=200)
    return {str(each.key): each for each in sorted(found, key=lambda each: str(each.created))}


async def lives(world: PrefectWorld) -> None:
    """A fleet that is asked for something, and rests."""
    await world.acted()
    await world.acts_until_serving(1)
    work = world.generate(images=6)
    await world.busy_worker()
    await world.acted()
    await world.finished(work)
    while (await world.record()).number < 8:
        await world.acted()


@pytest.mark.oldest_prefect
@together
async def test_a_fleets_own_past_leaves_a_page_that_answers_every_question(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await world.save(usd_per_hour=0.4)
    await lives(world)
    before = (await world.record()).number
    state = await advised(world.fleet(), service_seconds=5, plays=2, settings=6)
    assert state.name == "Advised", state.message
    assert (await world.record()).number == before, "it claims nothing"
    found = await left(world.name)
    page = str(found[advice_key(world.name)].data)
    assert [question for question in QUESTIONS if f"\n## {question}\n" not in page] == []
    assert "| 1 | as it is" in page
    assert "more than 6 settings" in page
    assert "each request is taken for 5 s of work, as was asked for" in page
    assert str(found[f"{advice_key(world.name)}-cost"].data).startswith("data:image/svg+xml;base64,")
    assert str(found[advice_key(world.name)].description) in page


@pytest.mark.parametrize(
    ("over", "parameters", "name", "words"),
    [
        ("no-such-fleet", {}, "Refused", "no turns of a fleet 'no-such-fleet' are deployed here"),
        (fleet("silent"), {}, "Failed", "fleet 'silent' has no record of this time"),
        (fleet("silent"), {"waiting_worth": 1, "wait_p95_seconds": 9}, "Refused", "one of them says what is wanted"),
    ],
    ids=["unknown", "nothing recorded", "two goals"],
)
async def test_what_cannot_be_advised_is_refused_in_words(
    prefect_server: str, over: GivenFleet, parameters: dict[str, Any], name: str, words: str
) -> None:
    state = await advised(over, **parameters)
    assert state.is_failed(), state
    assert (state.name, words in str(state.message)) == (name, True), state.message
    assert await left(over.name if isinstance(over, Fleet) else over) == {}


@pytest.fixture
async def page(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Page]:
    """A browser's page."""
    if not is_installed():
        pytest.skip(HOW_TO_INSTALL)
    (tmp_path / "browser").mkdir()
    async with opened_browser(tmp_path / "browser") as opened:
        yield opened


@pytest.mark.soak
@pytest.mark.oldest_prefect
async def test_its_deployment_is_run_by_a_worker_and_its_page_is_read_in_the_ui(
    prefect_worlds: PrefectWorlds,
    page: Page,
    prefect_server: str,
    prefect_environment: dict[str, str],
    tmp_path: Path,
) -> None:
    world = await prefect_worlds()
    await lives(world)
    row, *_ = deployments(world, scheduled=False, pool="advised")
    entrypoint = "ebbflow.flows.advise:advise"
    advising = {
        **row,
        "entrypoint": entrypoint,
        "parameters": {"fleet": world.name, "plays": 2},
        "work_pool": {"name": "advised", "job_variables": {"command": f"{BY_A_WORKER} {entrypoint}"}},
    }
    write_prefect_file(tmp_path, [row, advising])
    environment = {**prefect_environment, "PREFECT_WORKER_QUERY_SECONDS": "1"}
    await deploy(environment, tmp_path, pool="advised")
    worker = [sys.executable, "-m", "prefect", "worker", "start", "--pool", "advised", "--type", "process"]
    async with get_client() as client:
        deployment = await client.read_deployment_by_name(f"advise/{world.name}")
        run = await client.create_flow_run_from_deployment(deployment.id)
    with running(worker, environment=environment, log=tmp_path / "worker.log"):
        deadline = time.monotonic() + 120
        while not (state := (await flow_run(run.id)).state) or not state.is_final():
            assert time.monotonic() < deadline, f"{state}; {(tmp_path / 'worker.log').read_text()[-3000:]}"
            await anyio.sleep(0.2)
    assert state.name == "Advised", state
    assert (await flow_run(run.id)).name == f"{world.name}: advice from its past"
    artifact = (await left(world.name))[advice_key(world.name)]
    await page.open(f"{prefect_server.removesuffix('/api')}/artifacts/artifact/{artifact.id}", height=2600)
    seen = await page.shows(f"{world.name}: advice from its past", *QUESTIONS, "as it is", "Nothing is ever applied")
    assert "Cost against wait" not in seen, "the picture is drawn, and its address is no text"
    drawn = "[...document.images].some(each => each.alt === 'Cost against wait' && each.naturalWidth > 0)"
    assert await page.evaluate(drawn)
