"""The policy that docs/extending.md shows is one: it passes the contract that the page says it passes."""

import re
from pathlib import Path
from typing import Any

import pytest

from ebbflow import contracts
from ebbflow.contracts import PolicyContract
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.ports import Policy

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
SHOWN, TESTED = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def policy_of_the_page() -> Policy:
    # Any: what a page defines.
    defined: dict[str, Any] = {"__name__": "ebbflow_half"}
    exec(SHOWN, defined)
    policy: Policy = defined["HalfPolicy"]()
    return policy


class TestThePolicyOfThePage(PolicyContract):
    @pytest.fixture
    def policy(self) -> Policy:
        return policy_of_the_page()


@pytest.mark.parametrize(("queued", "wanted"), [(0, 0), (1, 1), (2, 1), (3, 2)])
def test_the_policy_of_the_page_does_what_its_sentence_says(queued: int, wanted: int) -> None:
    decision = policy_of_the_page().decide(Observation(Demand(queued=queued), ()))
    assert decision.total == wanted
    assert f"{queued} tasks, 2 per worker: {wanted} wanted" in decision.reasons[0].text


def test_every_suite_that_the_page_names_is_public_and_its_test_names_one() -> None:
    named = set(re.findall(r"`(\w+Contract)`", PAGE))
    assert named - set(contracts.__all__) == set()
    assert "class TestHalf(PolicyContract)" in TESTED
