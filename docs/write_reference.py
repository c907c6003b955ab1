"""Writes the pages of `docs/reference/` from the code: `python docs/write_reference.py` renews them."""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from typer import Context
from typer.main import get_command

from ebbflow import blocks
from ebbflow.blocks.base import MasterBlock, ProviderBlock
from ebbflow.cli.main import app
from ebbflow.cli.speaking import EXIT_CODES
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import ours

FOLDER = Path(__file__).with_name("reference")
MARK = "<!-- Written from the code, do not edit: `python docs/write_reference.py` renews it. -->"
BOUNDS = {"ge": "at least ", "gt": "more than ", "le": "at most ", "lt": "less than "}


def pages() -> dict[str, Callable[[], str]]:
    """File name to what writes the page."""
    return {"command.md": commands, "blocks.md": block_fields, "fleet.md": fleet_fields}


def commands() -> str:
    """Every subcommand with its arguments and options, as its help has them."""
    codes = re.findall(r"^  (\d)  (.*)$", EXIT_CODES, re.MULTILINE)
    return "\n".join(
        [
            "# Command reference",
            "",
            MARK,
            "",
            "What `ebbflow COMMAND --help` says. What each is for, and what it prints for programs, is in",
            "[The command](../command.md).",
            "",
            *(line for name, command in _leaves(get_command(app), "ebbflow") for line in _told(name, command)),
            "## Exit codes",
            "",
            *_table(("code", "means"), codes),
            "",
        ]
    )


def _leaves(command: Any, name: str) -> Iterator[tuple[str, Any]]:  # Any: a class of typer's, which keeps it private
    under: Mapping[str, Any] = getattr(command, "commands", {})
    if not under:
        yield name, command
    for word, each in under.items():
        yield from _leaves(each, f"{name} {word}")


def _told(name: str, command: Any) -> Iterator[str]:  # Any: as above
    context = Context(command, info_name=name)
    yield from (f"## `{name}`", "")
    yield from (*(escaped(line) for line in inspect.cleandoc(command.help or "").splitlines()), "")
    yield from ("```text", " ".join([name, *command.collect_usage_pieces(context)]), "```", "")
    rows = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    shown = [(f"<code>{escape(left)}</code>", escaped(right)) for left, right in rows if left != "--help"]
    if shown:
        yield from (*_table(("word", "says"), shown), "")


def block_fields() -> str:
    """The fields of every block of a provider or a master, as its form has them."""
    named = [getattr(blocks, name) for name in blocks.__all__]
    parts: list[str] = ["# Fields of blocks", "", MARK, ""]
    parts += ["In `blocks.yaml`, in the form of the Prefect UI, and in Python. What is secret is hidden there.", ""]
    for title, kind in (("Providers", ProviderBlock), ("Masters", MasterBlock)):
        parts += [f"## {title}", ""]
        for block in (each for each in named if issubclass(each, kind)):
            parts += [f"### `{block._block_type_slug}`", "", escaped(inspect.getdoc(block) or ""), ""]
            parts += [line for model in (block, *_inner(block)) for line in _fields(model, named=model is not block)]
    return "\n".join(parts)


def fleet_fields() -> str:
    """The fields of a fleet, section by section, and of every policy."""
    parts = ["# Fields of a fleet", "", MARK, ""]
    parts += ["The one parameter of every flow, written once under `definitions` of a `prefect.yaml`.", ""]
    kinds = ours()
    sections: list[type[BaseModel]] = [Fleet, *(each for each in _inner(Fleet) if each not in kinds.values())]
    for model in sections:
        parts += [f"## `{model.__name__}`", "", escaped((inspect.getdoc(model) or "").split("\n\n")[0]), ""]
        parts += _fields(model, named=False)
    parts += ["## Policies", "", "Each with its `kind`; when to take which is said in [Policies](../policies.md).", ""]
    for kind, policy in kinds.items():
        parts += [f"### `{kind}`", "", escaped((inspect.getdoc(policy) or "").split("\n\n")[0]), ""]
        parts += _fields(policy, named=False)
    return "\n".join(parts)


def _inner(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The models that a model's fields hold, in their order, each once."""
    found: dict[type[BaseModel], None] = {}
    for field in model.model_fields.values():
        for held in _models(field.annotation):
            found.update(dict.fromkeys([held, *_inner(held)]))
    return list(found)


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _fields(model: type[BaseModel], *, named: bool) -> list[str]:
    fields = [(name, field) for name, field in model.model_fields.items() if not _is_tag(field)]
    rows = [(f"`{name}`", _kind(field), _default(field), escaped(field.description or "")) for name, field in fields]
    head = [f"Of `{model.__name__}`: {escaped((inspect.getdoc(model) or '').splitlines()[0])}", ""] if named else []
    return [*head, *(_table(("field", "is", "default", "says"), rows) if rows else ["It has no numbers."]), ""]


def _is_tag(field: FieldInfo) -> bool:
    """Whether it can have one value alone, which tells its model from others."""
    return get_origin(field.annotation) is Literal and len(get_args(field.annotation)) == 1


def _kind(field: FieldInfo) -> str:
    said = {name: getattr(each, name) for each in field.metadata for name in BOUNDS if hasattr(each, name)}
    if {"ge", "le"} <= set(said):
        return f"{_word(field.annotation)}, {_number(said['ge'])} to {_number(said['le'])}"
    return ", ".join([_word(field.annotation), *(f"{BOUNDS[name]}{_number(said[name])}" for name in said)])


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _word(annotation: object) -> str:
    """A type as a person would say it."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin in (Union, UnionType):
        words = dict.fromkeys(_word(part) for part in parts if part is not type(None))
        return "a policy" if len(words) > 4 else " or ".join(words)
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (list, tuple):
        return f"list of {_word(parts[0])}"
    if origin is dict:
        return "mapping"
    if annotation is SecretStr:
        return "secret"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"`{annotation.__name__}`"
    plain = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path"}
    return plain.get(annotation, "text") if isinstance(annotation, type) else _word(parts[0])


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    match field.get_default(call_default_factory=True, validated_data={}):
        case bool(value):
            return f"`{str(value).lower()}`"
        case int(value) | float(value):
            return f"`{_number(value)}`"
        case str(value) if value:
            return f"`{value}`"
        case list(values) | tuple(values) if values:
            return f"`[{', '.join(map(str, values))}]`"
        case _:
            return ""


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, tuple("---" for _ in head), *rows]
    return [f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines]


def escaped(text: str) -> str:
    """Words of a docstring or a help text, none of which is markup but what stands in backticks."""
    parts = " ".join(text.split()).split("`")
    return "`".join(part if place % 2 else _plain(part) for place, part in enumerate(parts))


def _plain(text: str) -> str:
    return re.sub(r"([*\[\]])", r"\\\1", text).replace("<", "&lt;")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, page in pages().items():
        (FOLDER / name).write_text(page(), encoding="utf-8")
