"""The harness of the tests that run whole fleets."""

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.e2e.world")

from tests.e2e.fixtures import _leaks_stay_here, allow_prefects_leaks, world, worlds  # noqa: E402
from tests.e2e.together import ran_together  # noqa: E402

__all__ = ["_leaks_stay_here", "ran_together", "world", "worlds"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    allow_prefects_leaks(items, Path(__file__).parent)
