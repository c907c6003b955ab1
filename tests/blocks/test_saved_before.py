"""Blocks that an earlier release saved, and fleets that it deployed, are still read.

`data/saved_before.json` holds both as commit 39d6d59 made them: each block's schema with every kind of value, and the
parameters of all ready-made deployments.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import PrefectClient, get_client

from ebbflow.blocks import SwarmUIMaster
from ebbflow.blocks.opening import ServerBlocks, provider_from
from ebbflow.fleet.model import Fleet
from tests.canaries import BLOCKS

BEFORE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "saved_before.json").read_text("utf-8"))
SAVED: dict[str, dict[str, Any]] = BEFORE["blocks"]
DEPLOYED = {
    f"{path}: {each['entrypoint']}": each["parameters"] for path, rows in BEFORE["deployments"].items() for each in rows
}


async def save_as_before(client: PrefectClient, slug: str, name: str) -> None:
    """Save one as the earlier release did: with its own schema."""
    block = next(block for block in BLOCKS if block.get_block_type_slug() == slug)
    await block.register_type_and_schema(client=client)
    kind = await client.read_block_type_by_slug(slug)
    schema = {**{key: SAVED[slug][key] for key in ("fields", "capabilities")}, "block_type_id": str(kind.id)}
    made = (await client.request("POST", "/block_schemas/", json=schema)).json()
    document = {"name": name, "data": SAVED[slug]["data"], "block_schema_id": made["id"], "block_type_id": str(kind.id)}
    await client.request("POST", "/block_documents/", json=document)


NEW = {"ray-master", "scaler-master", "gateway-master"}
"""Types that came since then."""


def test_all_that_were_saved_before_are_ours_still() -> None:
    assert {block.get_block_type_slug() for block in BLOCKS} - NEW == set(SAVED)


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("slug", sorted(SAVED))
async def test_a_block_that_was_saved_before_is_read_with_all_its_values(slug: str) -> None:
    async with get_client() as client:
        await save_as_before(client, slug, "before")
        block = await ServerBlocks(client).load(f"{slug}/before")
        assert block is not None
        shown = json.loads(json.dumps(block.model_dump(mode="json", context={"include_secrets": True}), default=str))
        lost = {name: value for name, value in SAVED[slug]["data"].items() if shown.get(name) != value}
        assert lost == {}
        if slug.endswith("-provider"):
            provider = await provider_from(ServerBlocks(client), f"{slug}/before")
            assert provider.caps.fingerprint
            await provider.aclose()


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
async def test_a_block_that_is_saved_again_hides_what_it_showed_before() -> None:
    async with get_client() as client:
        await save_as_before(client, "swarmui-master", "again")
        block: SwarmUIMaster = await SwarmUIMaster.aload("again")
        await block.asave("again", overwrite=True)
        document = await client.read_block_document_by_name("again", "swarmui-master", include_secrets=False)
    assert "hush" not in str(document.data)


@pytest.mark.parametrize("name", sorted(DEPLOYED))
def test_a_fleet_that_was_deployed_before_is_read(name: str) -> None:
    fleet = Fleet.model_validate(DEPLOYED[name]["fleet"])
    assert fleet.providers
