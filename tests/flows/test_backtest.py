"""The backtest flow on a real Prefect server: on a fleet's own past, and on a trace."""

from pathlib import Path
from typing import Any

import pytest
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from pydantic import TypeAdapter

from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import FleetPolicy
from ebbflow.flows.backtest import OWN_PAST, TraceName, backtest
from ebbflow.simulation.recorded import RECORDED
from tests.e2e.together import together
from tests.e2e.world import PrefectWorld

pytestmark = pytest.mark.anyio

CANDIDATES = [{"kind": "marginal", "waiting_worth": 10}, {"kind": "vanilla", "upper_task_ratio": 2}]


def fleet(name: str = "nobody", **sections: Any) -> Fleet:
    given = {"name": name, "master": "swarmui-master/x", "providers": [{"block": "local-provider/x"}], **sections}
    return Fleet.model_validate(given)


async def compare(over: Fleet, **parameters: Any) -> State[Any]:
    given = TypeAdapter(tuple[FleetPolicy, ...]).validate_python(parameters.pop("policies", CANDIDATES))
    return await backtest(fleet=over, policies=given, return_state=True, **parameters)


async def left(name: str) -> dict[str, Artifact]:
    """What a fleet's backtests have left, the newest of each key."""
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(like_=f"ebbflow-{name}-backtest%"))
        found = await client.read_artifacts(artifact_filter=wanted, limit=200)
    newest: dict[str, Artifact] = {}
    for artifact in sorted(found, key=lambda artifact: str(artifact.created)):
        newest[str(artifact.key).removeprefix(f"ebbflow-{name}-backtest")] = artifact
    return newest


@pytest.mark.oldest_prefect
@together
async def test_a_fleets_own_past_is_played_with_its_own_policy_and_the_candidates(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await world.acted()
    await world.acts_until_serving(1)
    work = world.generate(images=6)
    await world.busy_worker()
    await world.acted()
    await world.finished(work)
    await world.acted()
    before = (await world.record()).number
    state = await compare(world.fleet(), service_seconds=5)
    assert state.name == "Compared", state.message
    assert "k=0.1: " in str(state.message)
    assert (await world.record()).number == before, "it claims nothing"
    found = await left(world.name)
    assert {"", "-cost", "-workers-1", "-workers-2", "-workers-3", "-page"} <= set(found)
    table, page = found[""], found["-page"]
    assert "recorded boots" in str(table.description)
    candidates = [row["candidate"] for row in TypeAdapter(list[dict[str, Any]]).validate_json(str(table.data))]
    deployed = [name for name in candidates if name.endswith(", as deployed")]
    assert len(deployed) == 1
    assert deployed[0].startswith("vanilla")
    assert {"marginal (waiting_worth=10.0)", "vanilla (upper_task_ratio=2.0)"} <= set(candidates)
    assert str(page.data).count("data:image/svg+xml;base64,") == 4
    assert str(found["-cost"].data).startswith("data:image/svg+xml;base64,")


async def test_a_recorded_trace_is_played_for_a_fleet_that_has_never_run(prefect_server: str, tmp_path: Path) -> None:
    never = fleet("never", limits={"min_workers": 1, "max_workers": 20})
    state = await compare(never, trace="vidur_conv", first_requests=300, seeds=1)
    assert state.name == "Compared", state.message
    found = await left(never.name)
    assert "vidur_conv: 300 requests" in str(found[""].description)
    assert "a guess" in str(found[""].description)


async def test_a_trace_of_ones_own_is_read_from_a_file(prefect_server: str, tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("arrival_s,service_s\n" + "".join(f"{10 * place},5\n" for place in range(50)))
    name = "from-file"
    state = await compare(fleet(name), trace_file=str(own), seeds=1)
    assert state.name == "Compared", state.message
    assert "own.csv: 50 requests" in str((await left(name))[""].description)


@pytest.mark.parametrize(
    ("text", "parameters", "words"),
    [
        (None, {}, ["0 recorded looks", "choose a recorded trace"]),
        ("arrival_s,service_s\n5,1\n4,1\n", {}, ["request 2", "before the request above it", "mend the file"]),
        ("arrival_s,service_s\n-1,1\n", {}, ["request 1", "numbers from 0 on"]),
        ("arrival_s,service_s\n", {}, ["holds no request"]),
        ("when,what\n1,1\n", {}, ["no column arrival_s"]),
        ("missing", {}, ["trace_file", "cannot be read"]),
        (None, {"policies": [{"kind": "capability"}]}, ["capability", "leave it out"]),
    ],
    ids=["no past", "unsorted", "negative", "empty", "other columns", "no file", "needs requirements"],
)
async def test_what_cannot_be_played_is_refused_with_what_would_be_right(
    prefect_server: str, tmp_path: Path, text: str | None, parameters: dict[str, Any], words: list[str]
) -> None:
    if text is not None:
        file = tmp_path / "trace.csv"
        if text != "missing":
            file.write_text(text)
        parameters = {**parameters, "trace_file": str(file)}
    state = await compare(fleet("refused"), **parameters)
    assert state.is_failed(), state
    for word in words:
        assert word in str(state.message), state.message
    assert await left("refused") == {}


def test_the_form_offers_every_recorded_trace_and_the_fleets_own_past() -> None:
    assert TypeAdapter(TraceName).json_schema()["enum"] == [OWN_PAST, *RECORDED]
