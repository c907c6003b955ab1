"""Capability sets among a policy's numbers."""

from typing import Annotated

from pydantic import AfterValidator

from ebbflow.core.capabilities import amounts
from ebbflow.core.errors import ConfigError


def _spelt_right(words: tuple[str, ...]) -> tuple[str, ...]:
    try:
        amounts(words)
    except ConfigError as error:
        raise ValueError(str(error)) from error
    return words


Words = Annotated[tuple[str, ...], AfterValidator(_spelt_right)]
"""Names, or name=amount, as `core.capabilities` spells them."""
