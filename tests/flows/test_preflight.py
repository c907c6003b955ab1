"""What `ebbflow check` finds about blocks on a real server."""

from pathlib import Path

import pytest
from prefect.client.orchestration import PrefectClient, get_client

from ebbflow.blocks import LocalProvider, SlurmProvider, SwarmUIMaster
from ebbflow.core.instance import InstanceState, LaunchRequest
from ebbflow.fleet.model import Fleet
from ebbflow.flows.preflight import Level, fleet_findings, misfit

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect, pytest.mark.usefixtures("prefect_server")]

PROVIDERS = (("slurm", "nowhere"), ("local", "here"))
MASTER, PROVIDER = "swarmui-master/of-tomorrow", "local-provider/of-today"
FLEET = Fleet.model_validate(
    {
        "name": "sdxl",
        "interval_seconds": 60,
        "master": MASTER,
        "providers": [{"block": PROVIDER, "max_workers": 3}],
        "limits": {"min_workers": 1, "max_workers": 3},
    }
)


async def save_with_a_field_of_tomorrow(client: PrefectClient) -> None:
    """As a later release saves it."""
    document = await SwarmUIMaster(address="http://127.0.0.1:9").asave("of-tomorrow", overwrite=True, client=client)
    data = {"data": {"invented_in_2027": True}, "merge_existing_data": True}
    (await client.request("PATCH", "/block_documents/{id}", path_params={"id": document}, json=data)).raise_for_status()


async def test_a_block_that_another_release_saved_is_saved_anew_or_named(tmp_path: Path) -> None:
    async with get_client() as client:
        await save_with_a_field_of_tomorrow(client)
        await LocalProvider(command=["true"], state_folder=tmp_path).asave("of-today", overwrite=True)
        (mended,) = await fleet_findings(client, FLEET, {MASTER, PROVIDER})
        assert (mended.level, mended.what) == (Level.TO_MAKE, f"block {MASTER}")
        assert "`ebbflow up` saves it anew" in mended.text
        assert "invented_in_2027" in mended.text
        (named,) = await fleet_findings(client, FLEET)
        assert named.level is Level.WRONG
        assert MASTER in named.text
        assert "invented_in_2027" in named.text


async def test_regression_a_fleet_that_does_not_go_with_its_blocks_was_deployed_and_every_turn_failed(
    tmp_path: Path,
) -> None:
    async with get_client() as client:
        await SwarmUIMaster(address="http://127.0.0.1:9").asave("hurried", client=client)
        await LocalProvider(command=["true"], state_folder=tmp_path).asave("of-today", overwrite=True, client=client)
        fleet = FLEET.model_copy(update={"master": "swarmui-master/hurried"})
        assert await misfit(client, fleet) == ""
        hurried = fleet.model_copy(update={"interval_seconds": 10.0})
        assert await misfit(client, hurried) == (
            "interval_seconds 10 leaves a turn 8 s: two looks 5 s apart and a call of 10 s to "
            "swarmui-master/hurried do not fit; use an interval of at least 22 s"
        )


async def test_regression_a_provider_that_cannot_be_used_passed_every_check(tmp_path: Path) -> None:
    """A shell's SLURM_CONF is not the fleet's: squeue answered by hand, and to no turn."""
    async with get_client() as client:
        await SwarmUIMaster(address="http://127.0.0.1:9").asave("deaf", client=client)
        nowhere = SlurmProvider(partition="gpu", command=["true"], prefix=[str(tmp_path / "no-shell")])
        await nowhere.asave("nowhere", client=client)
        await LocalProvider(command=["true"], state_folder=tmp_path).asave("here", client=client)
        providers = [{"block": f"{kind}-provider/{name}", "max_workers": 3} for kind, name in PROVIDERS]
        fleet = {**FLEET.model_dump(), "master": "swarmui-master/deaf", "providers": providers}
        _, slurm, local, _ = await fleet_findings(client, Fleet.model_validate(fleet))
    assert (slurm.level, slurm.what) == (Level.WRONG, "slurm-provider/nowhere")
    assert "does not answer" in slurm.text
    assert (local.level, local.text) == (Level.FINE, "answers; of this fleet it has nothing")


async def test_a_worker_that_has_ended_and_is_still_listed_is_not_counted_as_there(tmp_path: Path) -> None:
    block = LocalProvider(command=["true"], state_folder=tmp_path)
    async with get_client() as client:
        await SwarmUIMaster(address="http://127.0.0.1:9").asave("away", client=client)
        await block.asave("ended", client=client)
        provider = block.get_provider()
        await provider.terminate(await provider.launch(LaunchRequest("sdxl-a1b2-1-0", "sdxl", "a1b2c")))
        listed = (await provider.list_instances("sdxl")).instances
        await provider.aclose()
        assert [each.state for each in listed] == [InstanceState.GONE]
        providers = [{"block": "local-provider/ended", "max_workers": 3}]
        fleet = Fleet.model_validate({**FLEET.model_dump(), "master": "swarmui-master/away", "providers": providers})
        _, local, _ = await fleet_findings(client, fleet)
    assert local.text == "answers; of this fleet it has nothing"
