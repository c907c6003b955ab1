"""Recorded request traces, with their licences and where they come from (README.md in this folder)."""

from importlib.resources import files
from importlib.resources.abc import Traversable

SPLITWISE_CONVERSATION = "vidur_splitwise_conv.csv"
"""58 minutes of conversation requests to a language model in Azure, 2023."""
SPLITWISE_CODE = "vidur_splitwise_code.csv"
"""57 minutes of code requests of the same origin."""
MOONCAKE_CONVERSATION = "mooncake_conversation.csv"
"""59 minutes of conversation requests to Kimi."""
SERVEGEN_LARGE = "servegen_large_w1.csv.gz"
"""A week at the published rates of a large language model; arrivals drawn, service times synthetic."""
SERVEGEN_R1 = "servegen_r1.csv.gz"
"""A day of a reasoning model, likewise."""
SERVEGEN_MMIMG = "servegen_mmimg.csv.gz"
"""A day of a model that reads images, likewise; bursty."""


def trace_file(name: str) -> Traversable:
    """One of the traces that are installed with the package."""
    return files(__name__).joinpath(name)
