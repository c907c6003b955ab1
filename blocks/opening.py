"""From a fleet's block references to live adapters, or to an error that lists what there is."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from ebbflow.blocks.base import MASTER_CAPABILITY, PROVIDER_CAPABILITY, MasterBlock, ProviderBlock
from ebbflow.core.errors import ConfigError
from ebbflow.core.ports import Master, Provider
from ebbflow.fleet.model import Fleet
from ebbflow.turn.read_only import ReadOnlyMaster, ReadOnlyProvider


@dataclass(frozen=True, slots=True)
class OpenFleet:
    """A fleet with its adapters. In a dry run they can look and not touch."""

    fleet: Fleet
    home: str
    master: Master
    providers: Mapping[str, Provider]
    """By block reference: the fleet's own in its order, then removed ones that may still hold workers."""
    unloadable: Mapping[str, str]
    """Providers whose block cannot be loaded, and why: their listing is unknown."""

    def check(self) -> None:
        """Refuse a fleet that names what cannot be loaded, or what its master or providers cannot do.

        Raises:
            ConfigError: says what would be right; nothing was done yet but keeping workers alive.
        """
        for entry in self.fleet.providers:
            if entry.block in self.unloadable:
                raise ConfigError(self.unloadable[entry.block])
        self.fleet.check(self.master.caps, {name: provider.caps for name, provider in self.providers.items()})


@asynccontextmanager
async def open_fleet(
    client: PrefectClient, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
) -> AsyncIterator[OpenFleet]:
    """Load a fleet's blocks and build its adapters; close them at the end.

    Args:
        client: of the Prefect server that holds the blocks.
        fleet: names its master and providers by reference.
        home: of this installation.
        remembered: providers that the last record knows; a removed one takes nothing new and is watched until empty.
        dry_run: hand out adapters that refuse everything that changes anything.

    Raises:
        ConfigError: the master's reference does not exist; the error lists those that do.
    """
    providers, unloadable = {}, {}
    for reference in dict.fromkeys([*(entry.block for entry in fleet.providers), *filter(None, remembered)]):
        # A provider that cannot be loaded must not keep the others' workers from their sign of life.
        try:
            providers[reference] = await load_provider(client, reference)
        except ConfigError as error:
            unloadable[reference] = str(error)
    block = await _load(client, fleet.master, MASTER_CAPABILITY)
    if not isinstance(block, MasterBlock):
        raise ConfigError(await _not_a(client, fleet.master, "a master", MASTER_CAPABILITY))
    master = block.get_master(fleet=fleet.name, home=home, dry_run=dry_run)
    opened: Sequence[Master | Provider] = (master, *providers.values())
    try:
        yield OpenFleet(
            fleet,
            home,
            ReadOnlyMaster(master) if dry_run else master,
            {name: ReadOnlyProvider(provider) for name, provider in providers.items()} if dry_run else providers,
            unloadable,
        )
    finally:
        for adapter in opened:
            await adapter.aclose()


async def load_provider(client: PrefectClient, reference: str) -> Provider:
    """Load one provider block and build its adapter.

    Raises:
        ConfigError: it does not exist, holds invalid values, or is no provider.
    """
    block = await _load(client, reference, PROVIDER_CAPABILITY)
    if not isinstance(block, ProviderBlock):
        raise ConfigError(await _not_a(client, reference, "a provider", PROVIDER_CAPABILITY))
    return block.get_provider()


async def _load(client: PrefectClient, reference: str, capability: str) -> Block:
    try:
        return await Block.aload(reference, client=client)
    except ValidationError as error:
        raise ConfigError(f"block {reference} holds values that its type refuses: {_first_error(error)}") from error
    except RuntimeError as error:
        # Prefect wraps the validation error of a block that was saved by REST or in the UI.
        cause = error.__cause__
        said = _first_error(cause) if isinstance(cause, ValidationError) else str(error).splitlines()[0]
        raise ConfigError(f"block {reference} holds values that its type refuses: {said}") from error
    except (ValueError, ObjectNotFound) as error:
        raise ConfigError(await _not_a(client, reference, "a saved block", capability)) from error


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"


async def _not_a(client: PrefectClient, reference: str, what: str, capability: str) -> str:
    documents = await client.read_block_documents(include_secrets=False)
    saved = sorted(_reference(document) for document in documents if capability in _capabilities(document))
    return (
        f"{reference!r} is not {what}; saved are: {', '.join(saved) or 'none'}. "
        "Save it in the Prefect UI (Blocks), or correct the reference in the fleet"
    )


def _reference(document: BlockDocument) -> str:
    return f"{document.block_type.slug if document.block_type else '?'}/{document.name}"


def _capabilities(document: BlockDocument) -> Sequence[str]:
    return document.block_schema.capabilities if document.block_schema else ()
