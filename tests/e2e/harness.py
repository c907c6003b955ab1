"""What the tests that run whole fleets have in common; `tests/flows` and `tests/e2e` take it into their conftest."""

import pytest

for harness in ("master", "plain_house", "prefect_house", "world"):
    pytest.register_assert_rewrite(f"tests.e2e.{harness}")

from tests.e2e.fixtures import (  # noqa: E402
    _leaks_stay_here,
    allow_prefects_leaks,
    prefect_world,
    prefect_worlds,
    world,
    worlds,
)
from tests.e2e.together import chosen_together, prefect_of_module, ran_together  # noqa: E402

__all__ = [
    "_leaks_stay_here",
    "allow_prefects_leaks",
    "chosen_together",
    "prefect_of_module",
    "prefect_world",
    "prefect_worlds",
    "ran_together",
    "world",
    "worlds",
]
