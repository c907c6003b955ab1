"""OPT0 is what trying every assignment gives, and what the traces' own table says."""

import random

import pytest

from ebbflow.simulation.opt0 import exact_assignment_seconds, opt0_seconds
from ebbflow.simulation.recorded import Trace, load


def test_one_request_pays_its_work_and_a_boot() -> None:
    assert opt0_seconds(Trace("one", (5.0,), (10.0,)), 100.0) == 110.0


def test_a_gap_is_held_where_that_is_cheaper_than_a_boot() -> None:
    assert opt0_seconds(Trace("two", (0.0, 40.0), (10.0, 10.0)), 100.0) == 100 + 20 + 30
    assert opt0_seconds(Trace("two", (0.0, 400.0), (10.0, 10.0)), 100.0) == 100 + 20 + 100


def test_it_equals_the_best_of_all_assignments() -> None:
    luck = random.Random(1)
    for _ in range(200):
        count = luck.randint(1, 7)
        at = sorted(luck.uniform(0, 60) for _ in range(count))
        service = [luck.uniform(1, 20) for _ in range(count)]
        boot = luck.uniform(0, 30)
        swept = opt0_seconds(Trace("small", tuple(at), tuple(service)), boot)
        assert swept == pytest.approx(exact_assignment_seconds(at, service, boot))


@pytest.mark.parametrize(("boot", "hours"), [(130.2, 573.1), (286.8, 641.4)])
def test_it_is_the_figure_of_the_contract(boot: float, hours: float) -> None:
    assert opt0_seconds(load("servegen_r1"), boot) / 3600 == pytest.approx(hours, abs=0.05)
