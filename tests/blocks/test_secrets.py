"""What is secret in a block is hidden wherever Prefect shows the block, and is there where an adapter needs it."""

from typing import Any

import pytest
from prefect.blocks.core import Block
from prefect.client.orchestration import get_client
from pydantic import SecretStr

from ebbflow.blocks import LocalProvider, SwarmUIMaster
from tests.canaries import BLOCKS, MARK, SECRETS, block_with_canaries, found_in, secret_fields


@pytest.mark.parametrize("block", BLOCKS)
def test_every_secret_field_has_a_canary(block: type[Block]) -> None:
    assert secret_fields(block) == set(SECRETS[block])


@pytest.mark.parametrize("block", BLOCKS)
def test_a_secret_is_not_in_what_a_block_shows_of_itself(block: type[Block]) -> None:
    made = block_with_canaries(block)
    assert list(found_in(f"{made!r} {made} {made.model_dump_json()} {made.model_dump()}")) == []


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("block", [block for block in BLOCKS if SECRETS[block]])
async def test_regression_headers_and_environments_could_be_read_through_the_blocks_api(block: type[Block]) -> None:
    made = block_with_canaries(block)
    identity, slug = await made.asave("hidden", overwrite=True), block.get_block_type_slug()
    async with get_client() as client:
        answers = [
            await client.request("GET", "/block_documents/{id}", path_params={"id": identity}),
            await client.request(
                "POST", "/block_documents/filter", json={"block_documents": {"name": {"any_": ["hidden"]}}}
            ),
            await client.request(
                "GET",
                "/block_types/slug/{slug}/block_documents/name/{block_document_name}",
                path_params={"slug": slug, "block_document_name": "hidden"},
            ),
        ]
    said = "".join(answer.text for answer in answers)
    assert '"hidden"' in said
    assert list(found_in(said)) == []
    loaded: Block = await block.aload("hidden")
    assert loaded.model_dump(context={"include_secrets": True}) == made.model_dump(context={"include_secrets": True})
    assert MARK in str(loaded.model_dump(context={"include_secrets": True})), "an adapter gets it"


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize(
    ("block", "needed", "field"),
    [
        (SwarmUIMaster, {"address": "http://127.0.0.1:7801"}, "other_headers"),
        (LocalProvider, {"command": ["true"], "state_folder": "/tmp/x"}, "secret_environment"),
    ],
)
async def test_a_block_that_was_changed_in_the_ui_keeps_its_hidden_values(
    block: type[Block], needed: dict[str, Any], field: str
) -> None:
    made = block.model_validate({**needed, field: {"X-A": "first", "X.B": "second"}})
    identity = await made.asave("changed", overwrite=True)
    async with get_client() as client:
        shown = (await client.request("GET", "/block_documents/{id}", path_params={"id": identity})).json()["data"]
        await client.request("PATCH", "/block_documents/{id}", path_params={"id": identity}, json={"data": shown})
    kept: dict[str, SecretStr] = getattr(await block.aload("changed"), field)
    assert {name: value.get_secret_value() for name, value in kept.items()} == {"X-A": "first", "X.B": "second"}


@pytest.mark.anyio
@pytest.mark.oldest_prefect
@pytest.mark.usefixtures("prefect_server")
async def test_a_block_without_any_is_saved_and_read_as_it_is() -> None:
    await LocalProvider(command=["true"], state_folder="/tmp/x").asave("none", overwrite=True)
    loaded: LocalProvider = await LocalProvider.aload("none")
    assert loaded.secret_environment == {}
    async with get_client() as client:
        document = await client.read_block_document_by_name("none", "local-provider", include_secrets=False)
    assert document.data.get("secret_environment", {}) == {}
