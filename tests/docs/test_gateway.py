"""The page of the gateway says what its code does."""

import re
from pathlib import Path

import pytest
import yaml

from ebbflow.adapters.masters.gateway.settings import PlainServers
from ebbflow.blocks.masters import GatewayMaster
from ebbflow.gateway.kinds import KINDS
from ebbflow.gateway.kinds.kind import Port, Wanted

PAGE = (Path(__file__).parents[2] / "docs" / "gateway.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", PAGE, re.MULTILINE))


def test_every_kind_is_in_the_table_and_in_the_help_of_the_block() -> None:
    assert sorted(ROWS) == sorted(KINDS)
    words = PlainServers.model_fields["kind"].description or ""
    assert all(re.search(rf"\b{name}\b", words) for name in KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_has_a_prompt_of_its_own_or_the_table_says_that_a_person_must_know_one(name: str) -> None:
    test = KINDS[name].test(Wanted())
    assert (test is None) == ("`prompt`" in ROWS[name])


@pytest.mark.parametrize("name", KINDS)
def test_whose_figures_are_at_another_port_is_said(name: str) -> None:
    asks = KINDS[name].asks(Wanted(model="m"))
    assert any(ask.port is Port.METRICS for ask in asks.values()) == ("`metrics_port`" in ROWS[name])


def test_the_block_on_the_page_is_one() -> None:
    (written,) = re.findall(r"```yaml\n(.+?)```", PAGE, re.DOTALL)
    (block,) = yaml.safe_load(re.sub(r"\{\{ \$\w+ \}\}", "k" * 40, written))["blocks"]
    assert block.pop("block") == "gateway-master/vllm"
    assert GatewayMaster.model_validate(block).plain_servers is not None
