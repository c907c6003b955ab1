"""The environment that an operator gives to workers: refused where no process can take it, its secrets never shown."""

import re
from collections.abc import Mapping

_PLAIN = re.compile(r"[+-]?[0-9.,:]{1,15}|[A-Za-z]{1,15}|(/[\w.+@-]+)+/?")
"""A number, a word, a path: `TOKENIZERS_PARALLELISM=false`, `MAX_TOKENS=4096`. Taken out of a log, nothing is left."""
_SECRET_NAME = re.compile("key|token|secret|pass|auth|credential", re.IGNORECASE)


def check_environment(environment: dict[str, str]) -> dict[str, str]:
    """Refuse names and values that no process can take.

    Raises:
        ValueError: names the variable, never its value.
    """
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value:
            raise ValueError(f"variable {name!a} has no usable name, or a NUL character in its value")
    return environment


def without_secrets(text: str, environment: Mapping[str, str]) -> str:
    """A text without the values of variables that are named like secrets and can be some: a worker may print them."""
    named = (value.strip() for name, value in environment.items() if _SECRET_NAME.search(name))
    secrets = (value for value in named if value and not _PLAIN.fullmatch(value))
    for value in sorted(secrets, key=len, reverse=True):
        text = text.replace(value, "***")
    return text
