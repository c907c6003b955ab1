"""What must never be shown, taken out of what others say: a service quotes a key, a worker prints its environment."""

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from typing import Protocol, runtime_checkable
from urllib.parse import quote

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from ebbflow.core.errors import FleetError

LEAST_CHARACTERS = 4
"""A shorter text stands in too many others."""
LEAST_OF_A_LINE = 8
LEAST_OF_A_PIECE = 12
"""Of a secret that was cut: so much of it is not said by chance."""
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
        whole = {text.strip() for text in found if len(text.strip()) >= LEAST_CHARACTERS}
        lines = {line.strip() for text in whole for line in text.splitlines() if len(line.strip()) >= LEAST_OF_A_LINE}
        forms = {form for text in whole | lines for form in _forms(text)}
        # The longest first, as one may hold another.
        self._texts = sorted(forms, key=len, reverse=True)
        # Of several words the last may be no secret, as the host in a login.
        self._long = [text for text in whole | lines if len(text) >= 2 * LEAST_OF_A_PIECE and len(text.split()) == 1]

    def __call__(self, text: str) -> str:
        """The text without them, and without what is left of one that was cut at either end."""
        for secret in self._texts:
            text = text.replace(secret, "***")
        for secret in self._long:
            text = _without_pieces(text, secret)
        return text

    def cleaned(self, error: Exception) -> Exception:
        """The same error, or one in its place where it or what led to it holds a secret: logs show the whole chain."""
        if not any(self(text) != text for text in _chain(error)):
            return error
        if not isinstance(error, FleetError):
            return RuntimeError(self(f"{type(error).__name__}: {error}"))
        error.args = tuple(self(str(each)) for each in error.args)
        error.__cause__, error.__suppress_context__ = None, True
        error.__notes__ = [self(note) for note in getattr(error, "__notes__", ())]
        return error


def is_plain(text: str) -> bool:
    """Whether it is a number, a word or a path, without which nothing could be read any more."""
    return _PLAIN.fullmatch(text) is not None


def _forms(text: str) -> Iterable[str]:
    """How a service may write a secret that it quotes."""
    encoded = base64.b64encode(text.encode()).decode().rstrip("=")
    return (text, json.dumps(text)[1:-1], repr(text)[1:-1], quote(text, safe=""), html.escape(text), encoded)


def _without_pieces(text: str, secret: str) -> str:
    for piece, step in ((secret[:LEAST_OF_A_PIECE], 1), (secret[-LEAST_OF_A_PIECE:], -1)):
        while (at := text.find(piece)) >= 0:
            start, end = at, at + len(piece)
            while step > 0 and end < len(text) and secret.startswith(text[start : end + 1]):
                end += 1
            while step < 0 and start > 0 and secret.endswith(text[start - 1 : end]):
                start -= 1
            text = f"{text[:start]}***{text[end:]}"
    return text


def _chain(error: BaseException) -> Iterable[str]:
    """All that a log may show of it: its own words, its notes, the members of a group, and what led to it."""
    found: list[BaseException] = [error]
    for _ in range(LONGEST_CHAIN):
        if not found:
            return
        each = found.pop(0)
        yield "\n".join([str(each), repr(each), *map(str, each.args), *getattr(each, "__notes__", ())])
        found += each.exceptions if isinstance(each, BaseExceptionGroup) else ()
        found += [cause for cause in (each.__cause__, each.__context__) if cause is not None]


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
    return [value for value in named if value and not is_plain(value)]
