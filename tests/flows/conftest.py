"""The harness of the tests that run whole fleets."""

from pathlib import Path

import pytest

from tests.e2e.harness import *  # noqa: F403
from tests.e2e.harness import allow_prefects_leaks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    allow_prefects_leaks(items, Path(__file__).parent)
