"""Our blocks, as Prefect and its UI see them."""

from importlib.metadata import entry_points
from pathlib import Path

import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from pydantic import ValidationError

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.providers.host.adapter import HostAdapter
from ebbflow.adapters.providers.kubernetes.adapter import KubernetesAdapter
from ebbflow.adapters.providers.slurm.adapter import SlurmAdapter
from ebbflow.blocks import (
    KubernetesProvider,
    LaunchScriptProvider,
    LocalProvider,
    SlurmProvider,
    SwarmUIMaster,
)
from ebbflow.blocks.opening import load_provider, open_fleet
from ebbflow.blocks.sessions import BlockSessionStore
from ebbflow.core.errors import ConfigError
from ebbflow.fleet.model import Fleet
from tests.canaries import BLOCKS


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_tells_a_person_what_it_is_for(block: type[Block]) -> None:
    assert block.get_description(), f"{block.__name__} has no description"
    slugs = {
        "ebbflow-sessions",
        "kubernetes-provider",
        "launch-script-provider",
        "local-provider",
        "ray-master",
        "scaler-master",
        "gateway-master",
        "slurm-provider",
        "swarmui-master",
        "vast-provider",
    }
    assert block.get_block_type_slug() in slugs
    undescribed = [name for name, field in block.model_fields.items() if not field.description]
    assert undescribed == []


def test_prefect_finds_our_blocks_by_entry_point() -> None:
    (found,) = [entry for entry in entry_points(group="prefect.collections") if entry.name == "ebbflow"]
    registered = found.load()
    assert [block for block in BLOCKS if getattr(registered, block.__name__, None) is not block] == []


@pytest.mark.parametrize("block", BLOCKS)
def test_an_unknown_key_is_refused_and_named(block: type[Block]) -> None:
    with pytest.raises(ValidationError, match="adress"):
        block(adress="http://127.0.0.1:7801")


def test_blocks_build_adapters_that_know_no_prefect(tmp_path: Path) -> None:
    provider = LocalProvider(command=["true"], state_folder=tmp_path).get_provider()
    assert isinstance(provider, HostAdapter)
    assert provider.caps.fingerprint.startswith("local-")
    by_script = LaunchScriptProvider(script=Path("/opt/launch.sh"), state_folder=tmp_path).get_provider()
    assert isinstance(by_script, HostAdapter)
    assert by_script.caps.fingerprint.startswith("launch-script-")
    template = {"spec": {"containers": [{"name": "worker", "image": "swarmui"}]}}
    by_pod = KubernetesProvider(pod_template=template, namespace="gpu").get_provider()
    assert isinstance(by_pod, KubernetesAdapter)
    assert isinstance(SlurmProvider(command=["/opt/worker.sh"]).get_provider(), SlurmAdapter)
    master = SwarmUIMaster(address="http://127.0.0.1:7801").get_master(fleet="demo", home="abcde")
    assert isinstance(master, SwarmUIAdapter)


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
async def test_a_saved_provider_is_loaded_by_its_reference(tmp_path: Path) -> None:
    await LocalProvider(command=["true"], state_folder=tmp_path, usd_per_hour=0.3).asave("by-reference")
    async with get_client() as client:
        provider = await load_provider(client, "local-provider/by-reference")
    assert provider.caps.usd_per_hour == 0.3


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
async def test_a_kubeconfig_is_saved_as_a_secret_and_loaded_whole() -> None:
    cluster = {"name": "c", "cluster": {"server": "https://10.0.0.1:6443"}}
    context = {"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "gpu"}}
    user = {"name": "u", "user": {"token": "hush"}}
    config = {"current-context": "x", "clusters": [cluster], "contexts": [context], "users": [user]}
    template = {"spec": {"containers": [{"name": "worker", "image": "swarmui"}]}}
    block = KubernetesProvider.model_validate({"pod_template": template, "kubeconfig": config})
    assert "hush" not in repr(block) + str(block) + block.model_dump_json()
    await block.asave("secret-kubeconfig")
    async with get_client() as client:
        document = await client.read_block_document_by_name("secret-kubeconfig", "kubernetes-provider", False)
        assert "hush" not in str(document.data)
        provider = await load_provider(client, "kubernetes-provider/secret-kubeconfig")
    assert provider.caps.fingerprint == block.get_provider().caps.fingerprint


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
async def test_a_reference_that_does_not_exist_lists_those_that_do(tmp_path: Path) -> None:
    await LocalProvider(command=["true"], state_folder=tmp_path).asave("listed")
    await SwarmUIMaster(address="http://127.0.0.1:7801").asave("not-a-provider")
    async with get_client() as client:
        with pytest.raises(ConfigError) as refused:
            await load_provider(client, "local-provider/lsited")
    said = str(refused.value)
    assert "'local-provider/lsited'" in said
    assert "local-provider/listed" in said
    assert "swarmui-master" not in said, "only what could stand there is listed"


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
async def test_a_master_where_a_provider_belongs_is_refused() -> None:
    await SwarmUIMaster(address="http://127.0.0.1:7801").asave("misplaced")
    async with get_client() as client:
        with pytest.raises(ConfigError, match="'swarmui-master/misplaced' is not a provider"):
            await load_provider(client, "swarmui-master/misplaced")


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
async def test_invalid_values_that_were_saved_elsewhere_are_named_by_field(tmp_path: Path) -> None:
    block = LocalProvider(command=["true"], state_folder=tmp_path)
    identity = await block.asave("edited")
    async with get_client() as client:
        # As a save in the UI or by REST: none of our code runs.
        await client.request(
            "PATCH",
            "/block_documents/{id}",
            path_params={"id": identity},
            json={"data": {"command": ["true"], "state_folder": str(tmp_path), "stop_grace_seconds": -5}},
        )
        with pytest.raises(ConfigError, match="stop_grace_seconds"):
            await load_provider(client, "local-provider/edited")


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
async def test_sessions_are_kept_from_run_to_run_and_not_readable_without_secrets(tmp_path: Path) -> None:
    await SwarmUIMaster(address="http://127.0.0.1:1").asave("sessions")
    await LocalProvider(command=["true"], state_folder=tmp_path).asave("sessions")
    fleet = Fleet.model_validate(
        {"name": "sess", "master": "swarmui-master/sessions", "providers": [{"block": "local-provider/sessions"}]}
    )
    store = BlockSessionStore("sess-abcde")
    await store.put("http://127.0.0.1:1", "5e55-10n")
    await store.save()
    assert await BlockSessionStore("sess-abcde").get("http://127.0.0.1:1") == "5e55-10n"
    async with get_client() as client:
        async with open_fleet(client, fleet, "abcde", dry_run=False):
            pass
        documents = await client.read_block_documents(include_secrets=False)
    assert "5e55-10n" not in str([document.data for document in documents])
