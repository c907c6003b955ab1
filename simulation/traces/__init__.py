"""Recorded request traces, with their licences and where they come from (README.md in this folder)."""

from importlib.resources import files
from importlib.resources.abc import Traversable

SPLITWISE_CONVERSATION = "vidur_splitwise_conv.csv"
"""58 minutes of conversation requests to a language model in Azure, 2023."""


def trace_file(name: str) -> Traversable:
    """One of the traces that are installed with the package."""
    return files(__name__).joinpath(name)
