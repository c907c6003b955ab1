"""Every recorded trace is the one that its page describes, and what cannot have happened is refused."""

import hashlib
import re

import pytest

from ebbflow.simulation.recorded import RECORDED, Trace, load, parse_services, parse_steps
from ebbflow.simulation.trace import TraceError
from ebbflow.simulation.traces import trace_file

PAGE = trace_file("README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", list(RECORDED))
def test_a_recorded_trace_is_the_one_that_the_page_describes(name: str) -> None:
    trace = load(name)
    assert f"| {len(trace.at_seconds):,} |" in PAGE
    digest = hashlib.sha256(trace_file(RECORDED[name]).read_bytes()).hexdigest()
    assert f"{digest}  {RECORDED[name]}" in PAGE


@pytest.mark.parametrize("licence", ["ServeGen-Apache-2.0", "Mooncake-Apache-2.0", "vidur-MIT", "Azure-CC-BY-4.0"])
def test_the_licences_lie_beside_them(licence: str) -> None:
    assert trace_file(f"LICENSE.{licence}").is_file()
    assert f"`LICENSE.{licence}`" in PAGE


def test_mean_and_work_are_those_of_the_page() -> None:
    trace = load("servegen_mmimg")
    assert f"{trace.mean_service_seconds:.2f} s | {trace.work_hours:.1f} h" in PAGE


@pytest.mark.parametrize(
    ("at", "service", "said"),
    [
        ((), (), "holds no request"),
        ((0.0, 5.0, 4.0), (1.0, 1.0, 1.0), "request 3: arrives at 4 s, before the request above it (5 s)"),
        ((-1.0,), (1.0,), "request 1: arrives at -1.0 s and takes 1.0 s; both must be numbers from 0 on"),
        ((0.0,), (-1.0,), "takes -1.0 s"),
        ((float("nan"),), (1.0,), "arrives at nan s"),
        ((0.0,), (float("inf"),), "takes inf s"),
        ((0.0, 1.0), (1.0,), "2 arrivals and 1 service times"),
    ],
)
def test_what_cannot_have_happened_is_refused(at: tuple[float, ...], service: tuple[float, ...], said: str) -> None:
    with pytest.raises(TraceError, match=re.escape(said)):
        Trace("made up", at, service)


def test_requirements_are_given_for_all_requests_or_none() -> None:
    with pytest.raises(TraceError, match="1 requirements for 2 requests"):
        Trace("made up", (0.0, 1.0), (1.0, 1.0), (("a100",),))


def test_an_unknown_trace_is_named_with_those_that_there_are() -> None:
    with pytest.raises(TraceError, match="no recorded trace 'servegen'; there are servegen_large_w1, "):
        load("servegen")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ((), "no column arrival_s, service_s"),
        (("arrival_s,service_s",), "holds no request"),
        (("arrival_s,service_s", "1,many"), "line 2: ['1', 'many'] holds no numbers"),
        (("arrival_s,service_s", "1"), "line 2: ['1'] holds no numbers"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(TraceError, match=re.escape(said)):
        parse_services([f"{line}\n" for line in lines], name="made_up")


def test_the_requests_of_a_step_are_spread_until_the_next() -> None:
    lines = ["timestamp_ms,input_length,output_length", "0,0,100", "0,0,100", "0,2000,0", "3000,0,1"]
    trace = parse_steps(lines, name="steps")
    assert trace.at_seconds == (0.0, 1.0, 2.0, 3.0)
    assert trace.service_seconds == pytest.approx((3.0, 3.0, 1.0, 0.03))
