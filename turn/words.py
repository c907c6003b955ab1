"""Random words: the home of an installation, the chain of a fleet's records."""

import secrets

from ebbflow.core.ids import ALPHABET


def random_word(length: int) -> str:
    """A word of `[0-9a-z]` that nobody else has."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))
