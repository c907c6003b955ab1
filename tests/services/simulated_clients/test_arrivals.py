"""Who comes when: the same for the same seed, with the means that were asked for, and what cannot be is refused."""

import gzip
import statistics
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from ebbflow.services.simulated_clients.arrivals import MOST_TOKENS, ArrivalsError, of_rate, of_trace, of_users
from ebbflow.services.simulated_clients.coming import Coming, read_trace
from ebbflow.simulation.recorded import RECORDED, Trace
from ebbflow.simulation.trace import TraceError

TRACE = "arrived_at,num_prefill_tokens,num_decode_tokens\n0,60,10\n1.5,0,20\n4,0,0\n"


def drawn(coming: Coming, seed: int = 1) -> list[tuple[float, int]]:
    return [(each.at_seconds, each.tokens) for each in coming.arrivals(Random(seed))]


@pytest.mark.parametrize(
    "coming",
    [Coming(users=20, rounds=5), Coming(rate=5, seconds=20), Coming(trace="vidur_conv", seconds=300)],
    ids=["users", "rate", "trace"],
)
def test_the_same_seed_brings_the_same_requests_in_order(coming: Coming) -> None:
    found = drawn(coming)
    assert found == drawn(coming)
    assert all(before <= after for (before, _), (after, _) in pairwise(found))
    assert all(at >= 0 and 1 <= tokens <= MOST_TOKENS for at, tokens in found)
    assert (found != drawn(coming, seed=2)) is (coming.trace is None)


def test_users_ask_at_ticks_each_at_most_once() -> None:
    found = of_users(30, 0.5, 2.0, 10, mean_tokens=1, draw=Random(3))
    ticks = [each.at_seconds for each in found]
    assert set(ticks) == {2.0 * number for number in range(10)}
    assert max(ticks.count(tick) for tick in ticks) <= 30
    assert {each.tokens for each in found} == {1}
    assert len(of_users(7, 1.0, 2.0, 3, mean_tokens=1, draw=Random(3))) == 21


def test_a_rate_and_a_mean_of_tokens_are_kept_in_the_long_run() -> None:
    found = of_rate(10, 1000, mean_tokens=50, draw=Random(4))
    assert len(found) == pytest.approx(10_000, rel=0.05)
    assert statistics.mean(each.tokens for each in found) == pytest.approx(50, rel=0.05)
    pauses = [after.at_seconds - before.at_seconds for before, after in pairwise(found)]
    assert statistics.stdev(pauses) == pytest.approx(statistics.mean(pauses), rel=0.05), "as Poisson has it"


def test_a_trace_is_played_faster_and_as_long_as_is_asked_with_the_tokens_of_its_work(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text(TRACE)
    assert drawn(Coming(trace=str(file))) == [(0.0, 11), (1.5, 20), (4.0, 1)]
    assert drawn(Coming(trace=str(file), speed=2)) == [(0.0, 11), (0.75, 20), (2.0, 1)]
    assert drawn(Coming(trace=str(file), speed=2, seconds=2)) == [(0.0, 11), (0.75, 20)]


@pytest.mark.parametrize(
    ("name", "text", "tokens"),
    [
        ("a.csv", TRACE, [11, 20, 1]),
        ("b.csv", "arrival_s,service_s\n0,0.3\n1,0.6\n", [10, 20]),
        ("c.csv", "timestamp_ms,input_length,output_length\n0,0,7\n3000,0,8\n", [7, 8]),
        ("d.csv.gz", TRACE, [11, 20, 1]),
    ],
)
def test_each_form_of_a_trace_is_read_also_packed(tmp_path: Path, name: str, text: str, tokens: list[int]) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    assert [count for _, count in drawn(Coming(trace=str(file)))] == tokens


@pytest.mark.parametrize("name", RECORDED)
def test_every_installed_trace_can_be_played(name: str) -> None:
    assert len(of_trace(read_trace(name), speed=1, seconds=None)) > 1000


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("arrived_at,num_prefill_tokens,num_decode_tokens\n-1,1,1\n", ["arrived_at is -1", "from 0 on"]),
        (TRACE + "3,1,1\n", ["arrives at 3 s", "(4 s)", "and arrived_at from 0 on, never falling"]),
        (TRACE + ",1,1\n", ["arrived_at is ''", "not a number"]),
        (TRACE + "nan,1,1\n", ["arrived_at is nan", "a number"]),
        ("arrival_s,service_s\n-2,1\n", ["arrives at -2.0 s", "arrival_s from 0 on"]),
        ("arrival_s,service_s\n2,1\n1,1\n", ["arrives at 1 s", "(2 s)", "never falling"]),
        ("arrival_s,service_s\n,1\n", ["['', '1']", "a number for arrival_s, service_s in each line"]),
        ("arrival_s\n1\n", ["no column service_s", "a number for arrival_s, service_s"]),
        ("timestamp_ms,input_length,output_length\n5000,1,1\n0,1,1\n", ["arrives at 0 s", "timestamp_ms from 0 on"]),
        ("when,how\n1,2\n", ["its first line is ['when', 'how']", "arrival_s,service_s"]),
        ("arrival_s,service_s\n", ["holds no request"]),
        ("", ["its first line is []"]),
        ("\xff\xfe", ["cannot be read"]),
    ],
)
def test_a_trace_that_cannot_have_been_is_refused_with_field_value_and_what_would_be_right(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    file = tmp_path / "trace.csv"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(TraceError) as refused:
        drawn(Coming(trace=str(file)))
    assert [each for each in words if each not in str(refused.value)] == [], refused.value


def test_a_trace_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "broken.csv.gz").write_bytes(b"\x1f\x8b no")
    for name in ("nowhere.csv", str(tmp_path), str(tmp_path / "broken.csv.gz")):
        with pytest.raises(TraceError, match="vidur_conv" if "broken" not in name else "cannot be read"):
            read_trace(name)


@pytest.mark.parametrize(
    ("coming", "words"),
    [
        ({}, "nothing says who comes: one of --users, --rate and --trace would be right"),
        ({"users": 1, "rate": 1.0, "seconds": 1.0}, "--users and --rate says who comes"),
        ({"rate": 1.0}, "--rate needs --seconds"),
        ({"users": 1, "seconds": 5.0}, "--seconds goes with --rate and --trace, and not with --users"),
        ({"rate": 1.0, "seconds": 1.0, "speed": 2.0}, "--speed goes with --trace, and not with --rate"),
        ({"trace": "vidur_conv", "tokens": 2.0}, "--tokens goes with --users and --rate, and not with --trace"),
        ({"users": 0}, "--users is 0: a number from 1 on would be right"),
        ({"users": 1, "probability": 1.5}, "--probability is 1.5: a number above 0, and at most 1"),
        ({"users": 1, "probability": float("nan")}, "--probability is nan"),
        ({"users": 1, "tick": -2.0}, "--tick is -2.0: seconds above 0"),
        ({"users": 1, "rounds": 0}, "--rounds is 0"),
        ({"users": 1_000_000, "rounds": 1000}, "--users x --rounds is 1e+09: at most 1000000"),
        ({"users": 1, "tokens": 0.5}, "--tokens is 0.5: a number from 1 to 100000"),
        ({"rate": 0.0, "seconds": 1.0}, "--rate is 0.0: requests per second, above 0"),
        ({"rate": float("inf"), "seconds": 1.0}, "--rate is inf"),
        ({"rate": 1.0, "seconds": -1.0}, "--seconds is -1.0: seconds above 0"),
        ({"rate": 1e6, "seconds": 1e6}, "--rate x --seconds is 1e+12"),
        ({"trace": "vidur_conv", "speed": 0.0}, "--speed is 0.0: a factor above 0"),
        ({"trace": "vidur_conv", "seconds": 0.0}, "--seconds is 0.0"),
        ({"rate": 0.001, "seconds": 1.0}, "nobody would come in that time"),
    ],
)
def test_numbers_that_cannot_be_are_refused_with_option_value_and_what_would_be_right(
    coming: dict[str, object], words: str
) -> None:
    with pytest.raises(ArrivalsError) as refused:
        drawn(Coming(**coming))  # type: ignore[arg-type]
    assert words in str(refused.value)


def test_tokens_of_a_trace_have_a_bound() -> None:
    trace = Trace("long", (0.0,), (1e9,))
    assert [each.tokens for each in of_trace(trace, speed=1, seconds=None)] == [MOST_TOKENS]
