"""One spelling for every value: canonical JSON, so that equal records have equal bytes and equal hashes.

Dataclasses become objects without the fields that hold their default; enums become their values; tuples become lists.
Keys are sorted, there is no white space, and NaN and infinities are refused. `decode` is the exact inverse.
"""

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping, Sequence
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
    return spell(encode(value))


def spell(plain: Plain) -> str:
    """The one JSON text of what is plain already.

    Raises:
        ValueError: a number is not finite.
    """
    return json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(text: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def encode(value: object) -> Plain:
    """Turn a value into plain JSON values."""
    # In the order of how often they come, since a turn that holds is mostly this.
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, (tuple, list)):
        return [encode(content) for content in value]
    kind: type = type(value)
    if (defaults := _defaults(kind)) is not None:
        return {name: encode(content) for name, default in defaults if (content := getattr(value, name)) != default}
    if isinstance(value, Enum):
        return encode(value.value)
    if isinstance(value, Mapping):
        return {str(key): encode(content) for key, content in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
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


@cache
def _defaults(kind: type) -> tuple[tuple[str, object], ...] | None:
    """Each field of a dataclass with its default; None for what is none. Every record asks for the same few kinds."""
    if not dataclasses.is_dataclass(kind):
        return None
    return tuple(
        (field.name, field.default if field.default_factory is dataclasses.MISSING else field.default_factory())
        for field in dataclasses.fields(kind)
    )


_Where = str | tuple["_Where", str | int]
"""A path into a record: it is put into words only when something is wrong there."""

_Decoder = typing.Callable[[Plain, _Where], object]


def _decode(kind: object, value: Plain, where: _Where) -> object:
    return _decoder(kind)(value, where)


# `object` stands for a type expression here: `int | None` and `tuple[Worker, ...]` are not classes.
@cache
def _decoder(kind: object) -> _Decoder:
    """How values of one kind are read."""
    if kind is object:
        return lambda value, where: value
    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        return _optional_decoder(kind)
    if origin is tuple:
        return _tuple_decoder(typing.get_args(kind)[0])
    if origin is not None and issubclass(origin, Mapping):
        return _mapping_decoder(typing.get_args(kind)[1])
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return _dataclass_decoder(kind)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _enum_decoder(kind)
    return lambda value, where: _decode_scalar(kind, value, where)


def _optional_decoder(kind: object) -> _Decoder:
    (inner,) = [argument for argument in typing.get_args(kind) if argument is not types.NoneType]
    return lambda value, where: None if value is None else _decode(inner, value, where)


def _tuple_decoder(item: object) -> _Decoder:
    def decode_tuple(value: Plain, where: _Where) -> object:
        if not isinstance(value, list):
            raise _wrong(where, value, "a list")
        return tuple([_decode(item, content, (where, index)) for index, content in enumerate(value)])

    return decode_tuple


def _mapping_decoder(item: object) -> _Decoder:
    def decode_mapping(value: Plain, where: _Where) -> object:
        if not isinstance(value, dict):
            raise _wrong(where, value, "an object")
        return {key: _decode(item, content, (where, key)) for key, content in value.items()}

    return decode_mapping


def _dataclass_decoder(kind: type) -> _Decoder:
    def decode_dataclass(value: Plain, where: _Where) -> object:
        if not isinstance(value, dict):
            raise _wrong(where, value, "an object")
        # Only now: a kind may hold itself.
        hints = _hints(kind)
        if unknown := sorted(value.keys() - hints.keys()):
            raise RecordError(f"{_said(where)}: unknown field {unknown[0]!r}; {kind.__name__} has {', '.join(hints)}")
        fields = {name: _decode(hints[name], content, (where, name)) for name, content in value.items()}
        try:
            return kind(**fields)
        except TypeError as error:
            raise RecordError(f"{_said(where)}: {error}") from error

    return decode_dataclass


def _enum_decoder(kind: type[Enum]) -> _Decoder:
    def decode_enum(value: Plain, where: _Where) -> object:
        try:
            return kind(value)
        except ValueError as error:
            raise _wrong(where, value, f"one of {', '.join(str(member.value) for member in kind)}") from error

    return decode_enum


def _decode_scalar(kind: object, value: Plain, where: _Where) -> object:
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError as error:
            raise _wrong(where, value, "a number that a float can hold") from error
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise _wrong(where, value, getattr(kind, "__name__", str(kind)))


@cache
def _hints(kind: type) -> dict[str, object]:
    return dict(typing.get_type_hints(kind))


def _said(where: _Where) -> str:
    if isinstance(where, str):
        return where
    before, step = where
    return f"{_said(before)}[{step}]" if isinstance(step, int) else f"{_said(before)}.{step}"


def _wrong(where: _Where, value: object, expected: str) -> RecordError:
    return RecordError(f"{_said(where)}: {str(value)[:80]!r} is not {expected}")
