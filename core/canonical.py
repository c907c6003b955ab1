"""One spelling for every value: canonical JSON, so that equal records have equal bytes and equal hashes.

Dataclasses become objects without the fields that hold their default; enums become their values; tuples become lists.
Keys are sorted, there is no white space, and NaN and infinities are refused. `decode` is the exact inverse.
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from enum import Enum
from functools import cache

from ebbflow.core.errors import RecordError

Plain = None | bool | int | float | str | list["Plain"] | dict[str, "Plain"]
"""What JSON can say."""

T = typing.TypeVar("T")


def canonical(value: object) -> str:
    """The one JSON text of a value.

    Raises:
        ValueError: a number is not finite.
        TypeError: a value is neither a dataclass, an enum, a sequence, a mapping nor plain.
    """
    return json.dumps(encode(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def encode(value: object) -> Plain:
    """Turn a value into plain JSON values."""
    if isinstance(value, float):
        return _number(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, Enum):
        return encode(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: encode(content)
            for field in dataclasses.fields(value)
            if (content := getattr(value, field.name)) != _default(field)
        }
    if isinstance(value, Mapping):
        return {str(key): encode(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [encode(content) for content in value]
    raise TypeError(f"{type(value).__name__} has no canonical form: {value!r}")


def _number(value: float) -> int | float:
    """Equal numbers have one spelling: 5.0 is written as 5, -0.0 as 0."""
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def decode(kind: type[T], value: Plain, *, where: str = "record") -> T:
    """Turn plain JSON values back into `kind`.

    Raises:
        RecordError: names the path, the value and what was expected there.
    """
    return typing.cast(T, _decode(kind, value, where))


def _default(field: "dataclasses.Field[object]") -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


# `object` stands for a type expression here: `int | None` and `tuple[Worker, ...]` are not classes.
def _decode(kind: object, value: Plain, where: str) -> object:
    if kind is object:
        return value
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return _decode_optional(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        (item, _) = typing.get_args(kind)
        return tuple(_decode(item, content, f"{where}[{index}]") for index, content in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _wrong(where, value, "an object")
        (_, item) = typing.get_args(kind)
        return {key: _decode(item, content, f"{where}.{key}") for key, content in value.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if isinstance(kind, type) and issubclass(kind, Enum):
        try:
            return kind(value)
        except ValueError as error:
            raise _wrong(where, value, f"one of {', '.join(str(member.value) for member in kind)}") from error
    return _decode_scalar(kind, value, where)


def _decode_optional(kind: object, value: Plain, where: str) -> object:
    if value is None:
        return None
    (inner,) = [argument for argument in typing.get_args(kind) if argument is not types.NoneType]
    return _decode(inner, value, where)


def _decode_dataclass(kind: type, value: Plain, where: str) -> object:
    if not isinstance(value, dict):
        raise _wrong(where, value, "an object")
    hints = _hints(kind)
    if unknown := sorted(set(value) - set(hints)):
        raise RecordError(f"{where}: unknown field {unknown[0]!r}; {kind.__name__} has {', '.join(hints)}")
    fields = {name: _decode(hints[name], content, f"{where}.{name}") for name, content in value.items()}
    try:
        return kind(**fields)
    except TypeError as error:
        raise RecordError(f"{where}: {error}") from error


def _decode_scalar(kind: object, value: Plain, where: str) -> object:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise _wrong(where, value, getattr(kind, "__name__", str(kind)))


@cache
def _hints(kind: type) -> dict[str, object]:
    return dict(typing.get_type_hints(kind))


def _wrong(where: str, value: object, expected: str) -> RecordError:
    return RecordError(f"{where}: {str(value)[:80]!r} is not {expected}")
