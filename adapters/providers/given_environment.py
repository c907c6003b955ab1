"""The environment that an operator gives to workers: one part that may be read, and one that is secret."""

from collections.abc import Mapping
from typing import Annotated, Protocol

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo


def _check(environment: dict[str, str]) -> dict[str, str]:
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name + value:
            # Never its value.
            raise ValueError(f"variable {name!a} has no usable name, or a NUL character in its value")
    return environment


def _check_secrets(environment: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
    _check(_plain(environment))
    if twice := sorted(set(environment) & set(info.data.get("environment") or ())):
        raise ValueError(f"variable {twice[0]!a} is in environment too; leave it out there")
    return environment


GivenEnvironment = Annotated[dict[str, str], AfterValidator(_check)]
"""Refused where no process can take it."""

SecretEnvironment = Annotated[
    dict[str, SecretStr],
    AfterValidator(_check_secrets),
    Field(
        title="Secret environment",
        description="The same for keys and tokens: hidden wherever the block is shown, and taken out of logs.",
        repr=False,
    ),
]
"""Stands after a field `environment`, and refuses what is in it too."""


class GivesEnvironment(Protocol):
    """Settings with both."""

    @property
    def environment(self) -> Mapping[str, str]:
        """What may be read wherever the block is shown."""
        ...

    @property
    def secret_environment(self) -> Mapping[str, SecretStr]:
        """What may not."""
        ...


def whole_environment(settings: GivesEnvironment) -> dict[str, str]:
    """What a worker gets of both, in plain text."""
    return {**settings.environment, **_plain(settings.secret_environment)}


def _plain(environment: Mapping[str, SecretStr]) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in environment.items()}
