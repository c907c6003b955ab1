"""A fleet's blocks written in a file, as `ebbflow up` saves them: secrets come from the environment, and nowhere else.

The file is YAML: `blocks`, a list; each with `block`, which is `<type>/<name>`, and the fields that the UI shows. In a
text, `{{ $NAME }}` is what the environment holds, `{{ folder }}` the file's own folder, and `{{ python }}` the Python
that reads this; a field that is `{{ text FILE }}` or `{{ yaml FILE }}` is what a file of that folder holds.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.plugins import load_prefect_collections
from pydantic import ValidationError

from ebbflow.blocks.base import MasterBlock, ProviderBlock
from ebbflow.core.errors import ConfigError

_REFERENCE = re.compile(r"(?P<type>[a-z0-9-]+)/(?P<name>[a-z0-9-]+)")
_PLACEHOLDER = re.compile(r"\{\{\s*(?:\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<own>folder|python))\s*\}\}")
_FILE = re.compile(r"\{\{\s*(?P<kind>text|yaml)\s+(?P<file>\S+)\s*\}\}")
MOST_BYTES = 1024**2
"""Of a file that a field is taken from."""


@dataclass(frozen=True)
class WrittenBlock:
    """One block of a file, checked, and not saved yet. Its values are shown nowhere: some are secret."""

    reference: str
    """`<type>/<name>`, as a fleet names it."""
    block: Block

    async def save(self, client: PrefectClient) -> None:
        """Save it, whatever was saved under its name."""
        await self.block.asave(self.reference.partition("/")[2], overwrite=True, client=client)


@dataclass(frozen=True)
class _Sources:
    """What placeholders are filled from."""

    folder: Path
    environment: Mapping[str, str]


def blocks_of(text: str, folder: Path, *, environment: Mapping[str, str] = os.environ) -> tuple[WrittenBlock, ...]:
    """Read a file of blocks.

    Args:
        text: the file's.
        folder: the file's, absolute.
        environment: what `{{ $NAME }}` is taken from.

    Raises:
        ConfigError: names the block, the field and what would be right; never a value, which may be a secret.
    """
    types = {kind.get_block_type_slug(): kind for kind in block_types()}
    sources = _Sources(folder, environment)
    return tuple(_written(row, index, types, sources) for index, row in enumerate(_rows(text)))


async def register_types(client: PrefectClient) -> None:
    """Make every kind of provider and master known to a server, which shows their forms though it has no ebbflow."""
    for kind in block_types():
        await kind.register_type_and_schema(client=client)


def _rows(text: str) -> Sequence[Mapping[str, Any]]:
    # Any: YAML is what it is, and each block's own model checks it.
    try:
        content = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"it is no YAML{where}: {getattr(error, 'problem', None) or 'nested too deep'}") from error
    rows = content.get("blocks") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError("blocks: expected a list of them, each with `block: <type>/<name>` and its fields")
    return rows


def block_types() -> Iterator[type[Block]]:
    """Every kind of provider and master, those of other packages too."""
    load_prefect_collections()
    waiting: list[type[Block]] = [ProviderBlock, MasterBlock]
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        if not getattr(kind, "__abstractmethods__", None):
            yield kind


def _written(row: Mapping[str, Any], index: int, types: Mapping[str, type[Block]], sources: _Sources) -> WrittenBlock:
    reference = row.get("block")
    found = _REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if found is None:
        raise ConfigError(f"blocks[{index}].block: expected <type>/<name> in [a-z0-9-], such as swarmui-master/main")
    if found["type"] not in types:
        there = ", ".join(sorted(types))
        raise ConfigError(f"blocks[{index}].block: there is no type {found['type']!r}; there are: {there}")
    fields = {name: value for name, value in row.items() if name != "block"}
    values = {name: _filled(value, f"{reference}: {name}", sources) for name, value in fields.items()}
    try:
        return WrittenBlock(str(reference), types[found["type"]].model_validate(values))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise ConfigError(f"{reference}: {where}: {first['msg'].removeprefix('Value error, ')}") from error


def _filled(value: object, where: str, sources: _Sources) -> object:
    """The value with what its placeholders stand for."""
    if isinstance(value, dict):
        return {key: _filled(each, f"{where}.{key}", sources) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, f"{where}[{index}]", sources) for index, each in enumerate(value)]
    if not isinstance(value, str):
        return value
    if (found := _FILE.fullmatch(value.strip())) is not None:
        return _content_of(sources.folder / found["file"], where, is_yaml=found["kind"] == "yaml")

    def put_in(found: "re.Match[str]") -> str:
        name = found["name"]
        if name is None:
            return str(sources.folder) if found["own"] == "folder" else sys.executable
        if name not in sources.environment:
            raise ConfigError(f"{where} is {{{{ ${name} }}}}, and {name} is not set here")
        return sources.environment[name]

    return _PLACEHOLDER.sub(put_in, value)


def _content_of(path: Path, where: str, *, is_yaml: bool) -> object:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MOST_BYTES + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{where}: {path} cannot be read: {getattr(error, 'strerror', None) or 'no text'}") from error
    if len(text) > MOST_BYTES:
        raise ConfigError(f"{where}: {path} is larger than {MOST_BYTES // 1024**2} MB")
    try:
        return yaml.safe_load(text) if is_yaml else text
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{where}: {path} is no YAML") from error
