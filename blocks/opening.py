"""From the blocks that a fleet names to live adapters, or to an error that lists what there is."""

from collections.abc import AsyncIterator, Awaitable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar, cast

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument

from ebbflow.adapters.providers.redacted import RedactedProvider
from ebbflow.adapters.redaction import Redaction
from ebbflow.blocks.base import MASTER_CAPABILITY, PROVIDER_CAPABILITY, MasterBlock, ProviderBlock
from ebbflow.blocks.reading import read_block
from ebbflow.core.errors import ConfigError
from ebbflow.core.ports import Master, Provider
from ebbflow.fleet.model import Fleet
from ebbflow.turn.opened import OpenFleet, OpensFleets
from ebbflow.turn.read_only import ReadOnlyProvider, read_only
from ebbflow.turn.together import together

T = TypeVar("T")


class SavedBlocks(Protocol):
    """Where the blocks are that fleets name."""

    async def load(self, name: str) -> Block | None:
        """One block, or None where there is none of that name.

        Raises:
            ConfigError: it holds values that its type refuses.
        """
        ...

    async def names(self, capability: str) -> Sequence[str]:
        """The names, with their types, of all blocks that can stand in one place of a fleet."""
        ...


class ServerBlocks:
    """The blocks of a Prefect server.

    Args:
        client: of that server.
    """

    def __init__(self, client: PrefectClient) -> None:
        self._client = client

    async def load(self, name: str) -> Block | None:
        """One block, as the server has it now."""
        return await read_block(self._client, name)

    async def names(self, capability: str) -> Sequence[str]:
        """Those whose type said so when it was saved."""
        documents = await self._client.read_block_documents(include_secrets=False)
        return [_full_name(document) for document in documents if capability in _capabilities(document)]


def opens_fleets(client: PrefectClient) -> OpensFleets:
    """What a turn opens its fleet with: blocks that the client's server holds."""
    return partial(open_fleet, client)


def open_fleet(
    client: PrefectClient, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
) -> AbstractAsyncContextManager[OpenFleet]:
    """Open a fleet with the blocks of the client's server; see `open_from`."""
    return open_from(ServerBlocks(client), fleet, home, remembered=remembered, dry_run=dry_run)


@asynccontextmanager
async def open_from(
    blocks: SavedBlocks, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
) -> AsyncIterator[OpenFleet]:
    """Load a fleet's blocks and build its adapters; close them at the end.

    Args:
        blocks: where they are.
        fleet: names the blocks of its master and its providers.
        home: of this installation.
        remembered: providers that the last record knows; a removed one takes nothing new and is watched until empty.
        dry_run: hand out adapters that refuse everything that changes anything.

    Raises:
        ConfigError: the master's block does not exist; the error lists those that do.
    """
    names = list(dict.fromkeys([*(entry.block for entry in fleet.providers), *filter(None, remembered)]))
    providers: dict[str, Provider] = {}
    unloadable: dict[str, str] = {}
    calls: list[Awaitable[MasterBlock | Provider | ConfigError]] = [_or_why(_master_block(blocks, fleet.master))]
    # A provider that cannot be loaded must not keep the others' workers from their sign of life.
    calls += [_or_why(provider_from(blocks, name)) for name in names]
    block, *found = await together(*calls)
    for name, each in zip(names, found, strict=True):
        if isinstance(each, ConfigError):
            unloadable[name] = str(each)
        else:
            providers[name] = cast(Provider, each)
    if isinstance(block, ConfigError):
        raise block
    master = cast(MasterBlock, block).get_master(fleet=fleet.name, home=home, dry_run=dry_run)
    opened: Sequence[Master | Provider] = (*providers.values(), master)
    try:
        yield OpenFleet(
            fleet,
            home,
            read_only(master) if dry_run else master,
            {name: ReadOnlyProvider(provider) for name, provider in providers.items()} if dry_run else providers,
            unloadable,
        )
    finally:
        # The master last: it keeps sessions on the Prefect server, which may not answer.
        for adapter in opened:
            await adapter.aclose()


@asynccontextmanager
async def open_master(client: PrefectClient, fleet: Fleet, home: str) -> AsyncIterator[Master]:
    """A fleet's master alone, to be looked at: it refuses everything that changes anything.

    Raises:
        ConfigError: its block does not exist, or is no master; the error lists those that are there.
    """
    block = await _master_block(ServerBlocks(client), fleet.master)
    master = block.get_master(fleet=fleet.name, home=home, dry_run=True)
    try:
        yield read_only(master)
    finally:
        await master.aclose()


async def load_provider(client: PrefectClient, name: str) -> Provider:
    """Load one provider block of the client's server and build its adapter; see `provider_from`."""
    return await provider_from(ServerBlocks(client), name)


async def provider_from(blocks: SavedBlocks, name: str) -> Provider:
    """Load one provider block and build its adapter.

    Raises:
        ConfigError: it does not exist, holds invalid values, or is no provider.
    """
    block = await _load(blocks, name, PROVIDER_CAPABILITY)
    if not isinstance(block, ProviderBlock):
        raise ConfigError(await _not_a(blocks, name, "a provider", PROVIDER_CAPABILITY))
    return RedactedProvider(block.get_provider(), Redaction(block))


async def _master_block(blocks: SavedBlocks, name: str) -> MasterBlock:
    block = await _load(blocks, name, MASTER_CAPABILITY)
    if not isinstance(block, MasterBlock):
        raise ConfigError(await _not_a(blocks, name, "a master", MASTER_CAPABILITY))
    return block


async def _or_why(call: Awaitable[T]) -> T | ConfigError:
    try:
        return await call
    except ConfigError as error:
        return error


async def _load(blocks: SavedBlocks, name: str, capability: str) -> Block:
    block = await blocks.load(name)
    if block is None:
        raise ConfigError(await _not_a(blocks, name, "a saved block", capability))
    return block


async def _not_a(blocks: SavedBlocks, name: str, what: str, capability: str) -> str:
    saved = sorted(await blocks.names(capability))
    return (
        f"{name!r} is not {what}; saved are: {', '.join(saved) or 'none'}. "
        "Save it in the Prefect UI (Blocks), or correct its name in the fleet"
    )


def _full_name(document: BlockDocument) -> str:
    return f"{document.block_type.slug if document.block_type else '?'}/{document.name}"


def _capabilities(document: BlockDocument) -> Sequence[str]:
    return document.block_schema.capabilities if document.block_schema else ()
