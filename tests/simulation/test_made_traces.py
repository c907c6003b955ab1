"""Made traces: each name draws one and the same trace, and it is what its name says."""

import itertools

import pytest

from ebbflow.simulation.traces.made import HOUR_SECONDS, MADE, made

DIGESTS = {
    "sparse_a": "652cb6c5137e",
    "flat_a": "4d56d5032f42",
    "crowds_b": "b2f985d206bc",
    "sessions_v": "6d54e6d8a73b",
    "bursts_v": "e5388d5e09d1",
    "bursts_d": "9e608d70f206",
    "office_v": "d54dff2edaa0",
}


@pytest.mark.parametrize(("name", "digest"), DIGESTS.items())
def test_a_name_draws_the_same_trace_everywhere(name: str, digest: str) -> None:
    assert made(name).digest == digest


@pytest.mark.parametrize("name", MADE)
def test_a_made_trace_begins_with_a_request_and_has_about_its_service_time(name: str) -> None:
    trace = made(name)
    assert trace.at_seconds[0] == 0.0
    assert trace.mean_service_seconds == pytest.approx(MADE[name].mean_service_seconds, rel=0.1)


def test_sparse_is_a_few_an_hour_and_a_crowd_is_a_hundred_within_a_minute() -> None:
    sparse, crowds = made("sparse_a"), made("crowds_a")
    assert 2 < len(sparse.at_seconds) / (sparse.last_at_seconds / HOUR_SECONDS) < 6
    within = [sum(at <= other < at + 60 for other in crowds.at_seconds) for at in crowds.at_seconds[::20]]
    assert max(within) > 100
    gaps = [after - before for before, after in itertools.pairwise(crowds.at_seconds)]
    assert max(gaps) > 120
