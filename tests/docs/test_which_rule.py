"""The picture of which rule costs least for which demand is drawn from the figures that are kept."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from ebbflow.fleet.nameable import ours
from ebbflow.simulation.baselines import BASELINES
from tests.benchmarks import which_rule

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "draw_which_rule.py"))
IMAGES: dict[str, Callable[[], str]] = SCRIPT["images"]()
COSTS: dict[str, dict[str, dict[str, float]]] = SCRIPT["costs"]()
EACH = [(worth, trace) for worth, by_trace in COSTS.items() for trace in by_trace]


@pytest.mark.parametrize("name", IMAGES)
def test_the_stored_picture_is_the_one_that_is_drawn(name: str) -> None:
    stored = DOCS / "images" / name
    if not stored.exists() or stored.read_text(encoding="utf-8") != IMAGES[name]():
        pytest.fail(f"docs/images/{name} is stale; renew it with `python docs/draw_which_rule.py`", pytrace=False)


@pytest.mark.parametrize("name", IMAGES)
def test_the_page_shows_it_with_words_for_who_cannot_see_it(name: str) -> None:
    page = (DOCS / "policies.md").read_text(encoding="utf-8")
    assert re.search(rf"!\[[^\]]{{10,}}\]\(images/{re.escape(name)}\)", page)


def test_the_figures_are_of_the_traces_and_rules_that_the_benchmark_plays() -> None:
    assert tuple(COSTS) == tuple(f"{worth:g}" for worth in which_rule.WORTHS)
    for worth, trace in EACH:
        assert tuple(COSTS[worth][trace]) == ("marginal", *which_rule.OURS, *which_rule.THEIRS)
    assert tuple(SCRIPT["KINDS"]) == which_rule.TRACES


def test_each_column_is_a_policy_of_ours_or_a_baseline_of_the_league() -> None:
    assert {*which_rule.OURS, "marginal"} <= set(ours())
    assert set(which_rule.THEIRS) <= set(BASELINES)


@pytest.mark.parametrize(("worth", "trace"), EACH)
def test_each_row_has_a_cheapest_rule_by_which_the_others_are_told(worth: str, trace: str) -> None:
    assert min(COSTS[worth][trace].values()) == 1.0
