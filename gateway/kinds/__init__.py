"""The kinds of model servers that the gateway knows: each module beside this one that has a `KIND`."""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from ebbflow.gateway.kinds.kind import Kind, Wanted


def _found() -> Iterator[Kind]:
    for module in pkgutil.iter_modules(__path__):
        kind: Kind | None = getattr(importlib.import_module(f"{__name__}.{module.name}"), "KIND", None)
        if kind is not None:
            yield kind


KINDS: Mapping[str, Kind] = MappingProxyType({kind.name: kind for kind in _found()})
"""By the name that people write."""


def kind_named(name: str) -> Kind:
    """The kind that people call so.

    Raises:
        ValueError: there is none; names what there is.
    """
    if name not in KINDS:
        raise ValueError(f"kind: {name!r} is none of {', '.join(sorted(KINDS))}")
    return KINDS[name]


def check_wanted(kind: Kind, wanted: Wanted) -> None:
    """See whether a kind can make a test of what a person says.

    Raises:
        ValueError: it cannot; says why.
    """
    try:
        kind.test(wanted)
    except ValueError as error:
        raise ValueError(f"prompt: {error}") from error
