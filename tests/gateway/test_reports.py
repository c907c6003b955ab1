"""What workers of three generations say, as it was recorded from the vendor's own software, and what is made of it."""

import itertools
import math
from typing import Any

import pytest

from ebbflow.gateway.reports import FRESH_SECONDS, BadReport, WorkerView, merged, read

ID, URL = "demo-0abc-1-0", "http://127.0.0.1:18202"
ALL = {
    "id": 38250, "mtoken": "t", "version": "1.1.0", "loadtime": 0.0, "cur_load": 0, "rej_load": 0.0, "new_load": 0.0,
    "error_msg": "", "max_perf": 0.0, "cur_perf": 0.0, "cur_capacity": 0, "max_capacity": 0, "num_requests_working": 0,
    "num_requests_recieved": 0, "additional_disk_usage": 0.02, "disk_usage": 28.59, "working_request_idxs": [],
    "url": URL,
}  # fmt: skip
"""Of the third generation, loading. Source: recorded from vastai 1.9.1."""
BUSY = ALL | {
    "loadtime": 11.35, "cur_load": 600.0, "rej_load": 620.0, "new_load": 640.0, "max_perf": 188.7, "cur_perf": 40.0,
    "num_requests_working": 2, "num_requests_recieved": 8, "working_request_idxs": [4, 5],
}  # fmt: skip
SECOND = {key: value for key, value in ALL.items() if key not in ("version", "mtoken")}


def after(*reports: dict[str, Any], seconds: float = 10.0) -> WorkerView:
    """What is known of a worker that said this, one after the other."""
    view = WorkerView(ID)
    for place, report in enumerate(reports):
        view = merged(view, read(report), place * seconds)
    return view


@pytest.mark.parametrize(
    ("report", "generation"),
    [
        (ALL, 3),
        (SECOND, 2),
        ({"id": "38250", "mtoken": "t", "loadtime": 2.6e-06, "max_perf": 0.5}, 1),
        ({"id": 38250, "mtoken": "t", "message": "loading update", "disk_usage": 29.6}, 1),
        ({"id": 38250, "mtoken": "t", "version": "0", "error_msg": "no disk", "url": ""}, 3),
    ],
    ids=["third", "second", "first", "first, loading", "third, its start script"],
)
def test_a_generation_is_told_by_what_its_reports_have(report: dict[str, Any], generation: int) -> None:
    assert read(report).generation == generation
    assert read(report).instance_id == "38250"


@pytest.mark.parametrize(
    ("reports", "ready"),
    [
        ([ALL], False),
        ([ALL, BUSY], True),
        ([BUSY], True),
        # An error outranks all else, also a late one, and stays.
        ([BUSY | {"error_msg": "CUDA error"}], False),
        ([BUSY, BUSY | {"error_msg": "CUDA error"}, BUSY], False),
        # Loaded is said once by the second generation, and not taken back by a 0.
        ([SECOND | {"loadtime": 8.85, "max_perf": 234.3}, SECOND | {"max_perf": 234.3}], True),
        # A figure of 0 after one is a worker that was started anew.
        ([BUSY, ALL], False),
        ([BUSY | {"error_msg": "CUDA error"}, ALL, BUSY], True),
        # The first generation says a part each time, and one kind of it no address at all.
        ([{"id": 1, "mtoken": "t", "loaded": True, "loadtime": 0.006, "max_perf": 123.4}], False),
        ([{"id": 1, "mtoken": "t", "loaded": True, "max_perf": 123.4}, {"id": 1, "mtoken": "t", "url": URL}], True),
        ([{"id": 1, "mtoken": "t", "message": "data update", "max_perf": 9, "url": URL}], True),
        ([{"id": 1, "mtoken": "t", "error_msg": "out of memory"}], False),
        # An empty address erases none.
        ([BUSY, {"id": 1, "mtoken": "t", "version": "1.1.0", "url": ""}], True),
        ([BUSY, {"id": 1, "mtoken": "t", "version": "0", "error_msg": "no disk", "url": ""}], False),
    ],
)
def test_a_worker_is_ready_by_all_that_it_said(reports: list[dict[str, Any]], ready: bool) -> None:
    assert after(*reports).is_ready(10.0 * (len(reports) - 1)) is ready


@pytest.mark.parametrize("missing", sorted(set(BUSY) - {"version"}))
def test_any_key_may_be_missing_and_takes_nothing_back(missing: str) -> None:
    partial = {key: value for key, value in BUSY.items() if key != missing}
    view = after(BUSY, partial)
    assert (view.is_ready(10.0), view.url, view.max_perf, view.working) == (True, URL, 188.7, frozenset({4, 5}))


def test_the_order_in_which_parts_come_does_not_matter() -> None:
    parts: list[dict[str, Any]] = [{"url": URL}, {"max_perf": 10.0}, {"loadtime": 3.0}, {"cur_load": 5.0}]
    for order in itertools.permutations(parts):
        view = after(*({"id": 1, "mtoken": "t", "version": "1.1.0", **part} for part in order))
        assert (view.is_ready(30.0), view.cur_load) == (True, 5.0), order


def test_loads_since_the_last_report_are_rates_by_the_time_between_both() -> None:
    view = after(ALL, BUSY, seconds=20.0)
    assert view.offered_per_second == pytest.approx((640 + 620) / 20)
    assert view.rejected_per_second == pytest.approx(31)
    assert after(BUSY).offered_per_second is None, "of the first one nobody knows since when"


def test_a_worker_that_was_started_anew_has_nothing_of_before_and_is_counted() -> None:
    view = after(BUSY, ALL)
    assert (view.restarts, view.working, view.cur_load, view.error, view.url) == (1, frozenset(), 0.0, "", URL)
    assert after(BUSY, BUSY | {"num_requests_recieved": 1}).restarts == 1


def test_one_that_is_silent_or_spoke_in_the_future_is_told_apart() -> None:
    view = after(BUSY)
    assert view.is_ready(FRESH_SECONDS)
    assert not view.is_ready(FRESH_SECONDS + 1)
    assert view.is_ready(-100.0), "a clock that went back says nothing"


def test_an_open_session_is_work_also_while_nothing_runs() -> None:
    assert after(BUSY | {"num_requests_working": 0}).is_busy
    assert not after(BUSY | {"working_request_idxs": [], "num_requests_working": 0}).is_busy


@pytest.mark.parametrize(
    ("report", "says"),
    [
        ([], "a report is a JSON object, not list"),
        ({"id": True}, "id is True: a number or a text is expected"),
        ({"id": {}}, "id is {}"),
        ({"id": "x" * 65}, "id is longer"),
        ({"id": "a\nb"}, "id is longer"),
        ({"id": 1, "cur_load": math.nan}, "cur_load is beyond"),
        ({"id": 1, "cur_load": math.inf}, "cur_load is beyond"),
        ({"id": 1, "max_perf": 10**400}, "max_perf is beyond"),
        ({"id": 1, "max_perf": "fast"}, "max_perf is 'fast': a number is expected"),
        ({"id": 1, "max_perf": True}, "max_perf is True"),
        ({"id": 1, "url": 7}, "url is 7: a text is expected"),
        ({"id": 1, "error_msg": ["x"]}, "error_msg is"),
        ({"id": 1, "working_request_idxs": [1.5]}, "working_request_idxs has something"),
        ({"id": 1, "working_request_idxs": [-1]}, "working_request_idxs has something"),
        ({"id": 1, "working_request_idxs": list(range(10_001))}, "working_request_idxs is no list of at most"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_no_worker_has_a_reason_to_say_is_refused_with_its_key(report: object, says: str) -> None:
    with pytest.raises(BadReport, match="^" + says.replace("{", r"\{").replace("}", r"\}")):
        read(report)


def test_negative_figures_are_none_and_an_error_is_one_short_line() -> None:
    report = read(BUSY | {"cur_load": -5.0, "error_msg": "first\nsecond\x1b[31m " + "x" * 900})
    assert report.cur_load == 0.0
    assert "\n" not in report.error
    assert "\x1b" not in report.error
    assert len(report.error) <= 300


def test_regression_a_process_that_found_its_figures_on_its_disk_kept_the_error_of_the_one_before() -> None:
    broken = BUSY | {"error_msg": "CUDA error", "loadtime": 2.46}
    view = after(broken, broken, BUSY | {"error_msg": "", "loadtime": 0.65})
    assert (view.error, view.restarts, view.max_perf) == ("", 1, 188.7)
    assert after(broken, BUSY | {"error_msg": "", "loadtime": 2.46}).error == "CUDA error", "the same process"
