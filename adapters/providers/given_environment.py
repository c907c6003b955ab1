"""The environment that an operator gives to workers: refused where no process can take it, its secrets never shown."""

import re
from collections.abc import Mapping

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
    """A text without the values of variables that are named like secrets, in case a worker printed them."""
    secrets = (value for name, value in environment.items() if _SECRET_NAME.search(name))
    for value in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(value, "***")
    return text
