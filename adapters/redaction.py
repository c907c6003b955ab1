"""What must never be shown, taken out of what others say: a service quotes a key, a worker prints its environment."""

import re
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from ebbflow.core.errors import FleetError

LEAST_CHARACTERS = 4
"""A shorter text stands in too many others."""
LONGEST_CHAIN = 20
_PLAIN = re.compile(r"[+-]?[0-9.,:]{1,15}|[A-Za-z]{1,15}|(/[\w.+@-]+)+/?")
"""A number, a word, a path: `TOKENIZERS_PARALLELISM=false`, `MAX_TOKENS=4096`. Taken out of a log, nothing is left."""
_SECRET_NAME = re.compile("key|token|secret|pass|auth|credential", re.IGNORECASE)


@runtime_checkable
class HasSecretTexts(Protocol):
    """Settings whose secrets have parts, or stand where no type says so."""

    def secret_texts(self) -> Iterable[str]:
        """Every text that must never be shown, beside the whole values of secret fields."""
        ...


class Redaction:
    """Takes the secrets of one block's settings out of texts.

    Args:
        settings: whose secret fields hold them; more where it `HasSecretTexts`, and in variables of its environment
            and of its pods that are named like secrets.
    """

    def __init__(self, settings: BaseModel) -> None:
        found = set(_secret_values(settings))
        if isinstance(settings, HasSecretTexts):
            found.update(settings.secret_texts())
        stripped = (text.strip() for text in found)
        # The longest first, as one may hold another.
        self._texts = sorted((text for text in stripped if len(text) >= LEAST_CHARACTERS), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text without them."""
        for secret in self._texts:
            text = text.replace(secret, "***")
        return text

    def cleaned(self, error: Exception) -> Exception:
        """The same error, or one in its place where it or what led to it holds a secret: logs show the whole chain."""
        if not any(self(text) != text for text in _chain(error)):
            return error
        if not isinstance(error, FleetError):
            return RuntimeError(self(f"{type(error).__name__}: {error}"))
        error.args = tuple(self(str(each)) for each in error.args)
        error.__cause__, error.__suppress_context__ = None, True
        return error


def _chain(error: BaseException) -> Iterable[str]:
    found: BaseException | None = error
    for _ in range(LONGEST_CHAIN):
        if found is None:
            return
        yield f"{found} {found!r}"
        found = found.__cause__ or found.__context__


def _secret_values(value: object) -> Iterable[str]:
    match value:
        case SecretStr():
            yield value.get_secret_value()
        case SecretBytes():
            yield value.get_secret_value().decode("utf-8", "replace")
        case Secret():
            yield from _strings(value.get_secret_value())
        case BaseModel():
            for name in type(value).model_fields:
                yield from _secret_values(getattr(value, name))
            yield from _secret_looking(getattr(value, "environment", {}))
        case {"name": str(name), "value": str(text)}:
            # A variable of a pod.
            yield from _secret_looking({name: text})
        case Mapping():
            for each in value.values():
                yield from _secret_values(each)
        case list() | tuple() | set() | frozenset():
            for each in value:
                yield from _secret_values(each)


def _strings(value: object) -> Iterable[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for each in value.values():
                yield from _strings(each)
        case list() | tuple() | set() | frozenset():
            for each in value:
                yield from _strings(each)


def _secret_looking(environment: Mapping[str, str]) -> list[str]:
    """The values of variables that are named like secrets and can be some."""
    named = (value.strip() for name, value in environment.items() if _SECRET_NAME.search(name))
    return [value for value in named if value and not _PLAIN.fullmatch(value)]
