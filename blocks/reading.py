"""A block as its server has it, read without the event "loaded" that Prefect's own way leaves behind at each turn."""

from typing import TypeVar

from prefect.blocks.core import Block, UnknownBlockType
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound
from pydantic import ValidationError

from ebbflow.core.errors import ConfigError

AnyBlock = TypeVar("AnyBlock", bound=Block)


async def read_block(client: PrefectClient, name: str) -> Block | None:
    """A block by its full name, such as `local-provider/here`; None where there is none.

    Raises:
        ConfigError: its values are refused by its type, or nothing here knows its type.
    """
    slug = name.partition("/")[0]
    try:
        kind = Block.get_block_class_from_key(slug)
    except UnknownBlockType as error:
        if await _values(client, name) is None:
            return None
        raise ConfigError(f"block {name}: its type is not installed here; install the package that has it") from error
    return await read_block_of(client, name, kind)


async def read_block_of(client: PrefectClient, name: str, kind: type[AnyBlock]) -> AnyBlock | None:
    """A block whose type is known.

    Raises:
        ConfigError: its values are refused by its type.
    """
    values = await _values(client, name)
    try:
        return None if values is None else kind.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"block {name} holds values that its type refuses: {_first_error(error)}") from error


async def _values(client: PrefectClient, name: str) -> object:
    slug, _, document_name = name.partition("/")
    if not document_name:
        return None
    try:
        return (await client.read_block_document_by_name(document_name, slug)).data
    except ObjectNotFound:
        return None


def _first_error(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
