"""Recorded traces become arrivals, and what cannot be used is refused with its line."""

import hashlib
import re
from importlib.resources import files
from pathlib import Path

import pytest

from ebbflow.simulation.trace import Arrival, TraceError, compress, load_trace, parse_trace, stretch, thin
from ebbflow.simulation.traces import SPLITWISE_CONVERSATION, trace_file

HEADER = "arrived_at,num_prefill_tokens,num_decode_tokens"


def parse(*lines: str) -> tuple[Arrival, ...]:
    return parse_trace([f"{line}\n" for line in lines], name="made_up.csv")


def test_a_row_becomes_an_arrival_with_stand_in_service_seconds() -> None:
    first, second = parse(HEADER, "0.0,1000,100", "4.5,0,1")
    assert first == Arrival(0.0, pytest.approx(0.5 + 3.0))  # type: ignore[arg-type]  # compares like a float
    assert second == Arrival(4.5, pytest.approx(0.03))  # type: ignore[arg-type]  # as above


def test_columns_are_found_by_name() -> None:
    assert parse("num_decode_tokens,arrived_at,more,num_prefill_tokens", "10,1.0,x,0")[0].at_seconds == 1.0


def test_arrivals_at_one_instant_are_sorted() -> None:
    assert len(parse(HEADER, "1,1,1", "1,1,1")) == 2


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "no column arrived_at, num_prefill_tokens, num_decode_tokens"),
        (("arrived_at,num_decode_tokens", "1,2"), "no column num_prefill_tokens; its first line names"),
        ((HEADER,), "holds no request"),
        ((HEADER, "0,1,1", "5,1,1", "4.9,1,1"), "line 4: arrives at 4.9 s, before the request above it (5 s)"),
        ((HEADER, "-1,1,1"), "line 2: arrived_at is -1, it must be a number from 0 on"),
        ((HEADER, "0,-3,1"), "line 2: num_prefill_tokens is -3, it must be"),
        ((HEADER, "0,1,nan"), "line 2: num_decode_tokens is nan, it must be"),
        ((HEADER, "0,1,inf"), "line 2: num_decode_tokens is inf, it must be"),
        ((HEADER, "0,1,many"), "line 2: num_decode_tokens is 'many', not a number"),
        ((HEADER, "0,1"), "line 2: num_decode_tokens is None, not a number"),
        ((HEADER, "0,,1"), "line 2: num_prefill_tokens is '', not a number"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_refused_with_its_place(lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(TraceError, match=f"made_up.csv.*{re.escape(said)}"):
        parse(*lines)


def test_a_trace_of_ones_own_is_read_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(f"{HEADER}\n0,0,100\n", encoding="utf-8")
    assert load_trace(path) == (Arrival(0.0, 3.0),)
    with pytest.raises(FileNotFoundError):
        load_trace(tmp_path / "other.csv")


def test_a_stretch_counts_from_its_own_beginning() -> None:
    arrivals = tuple(Arrival(float(second), 1.0) for second in range(10))
    assert [arrival.at_seconds for arrival in stretch(arrivals, begin_seconds=3, seconds=2)] == [0.0, 1.0]


def test_an_empty_stretch_is_refused() -> None:
    with pytest.raises(TraceError, match="nothing arrives between 5 s and 6 s of the trace"):
        stretch((Arrival(0.0, 1.0),), begin_seconds=5, seconds=1)


@pytest.mark.parametrize(("keep_one_in", "kept"), [(1, [0, 1, 2, 3, 4]), (2, [0, 2, 4]), (5, [0]), (9, [0])])
def test_thinning_keeps_the_first_of_each_group(keep_one_in: int, kept: list[int]) -> None:
    arrivals = tuple(Arrival(float(second), 1.0) for second in range(5))
    assert [arrival.at_seconds for arrival in thin(arrivals, keep_one_in)] == kept


def test_compression_keeps_the_load_in_workers() -> None:
    assert compress((Arrival(8.0, 2.0),), 4) == (Arrival(2.0, 0.5),)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_a_compression_that_is_none_is_refused(factor: float) -> None:
    with pytest.raises(ValueError, match="it must be positive"):
        compress((), factor)


def test_thinning_to_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="keep_one_in is 0"):
        thin((), 0)


def test_the_recorded_trace_is_the_one_that_its_page_describes() -> None:
    arrivals = load_trace()
    page = files("ebbflow.simulation.traces").joinpath("README.md").read_text(encoding="utf-8")
    assert f"{len(arrivals):,}" in page
    assert f"{arrivals[-1].at_seconds:,.3f} s" in page
    assert hashlib.sha256(trace_file(SPLITWISE_CONVERSATION).read_bytes()).hexdigest() in page


@pytest.mark.parametrize("name", ["LICENSE.vidur-MIT", "LICENSE.Azure-CC-BY-4.0"])
def test_its_licences_lie_beside_it(name: str) -> None:
    assert trace_file(name).is_file()
