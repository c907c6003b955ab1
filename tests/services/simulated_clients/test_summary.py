"""What a run came to: figures over lives that are given, also over none, and how they are shown."""

import json
import xml.etree.ElementTree as ElementTree
from dataclasses import asdict
from typing import cast

import pytest
from pydantic import TypeAdapter

from ebbflow.services.simulated_clients.cost import Look, Price, Spent, spent
from ebbflow.services.simulated_clients.crowd import Moment, Played
from ebbflow.services.simulated_clients.life import Life, Lost
from ebbflow.services.simulated_clients.showing import as_json, as_plot, as_text, progress
from ebbflow.services.simulated_clients.summary import Spread, Summary, WorkerFigures, spread, summary_of

A, B = "http://10.0.0.1:3000", "http://10.0.0.2:3000"
NONE = {reason.value: 0 for reason in Lost}


def served(due: float, ended: float, tokens: int, url: str, *, first: float | None = None, **more: float) -> Life:
    life = Life(due, due + more.get("late", 0.0), tokens, ended_at=ended, tokens=tokens, worker_url=url)
    life.first_token_at, life.sent_at = due + 0.1 if first is None else first, due + more.get("queued", 0.0)
    life.queue_seconds = more.get("queued", 0.0)
    return life


def lost(reason: Lost, words: str = "", **more: int) -> Life:
    return Life(0.0, 0.0, 5, ended_at=5.0, lost=reason, words=words, **more)  # type: ignore[arg-type]


def about(value: float) -> float:
    """A number that equals what is near it."""
    return cast(float, pytest.approx(value))


def played(*lives: Life, looks: tuple[Look, ...] = (), seconds: float = 10.0, due: int | None = None) -> Played:
    return Played(0.0, seconds, len(lives) if due is None else due, lives, (), looks)


def test_a_run_is_counted() -> None:
    again = served(1.0, 3.0, 20, B, queued=0.5)
    again.failed_at, again.reroutes, again.wasted_tokens = [A], 1, 3
    gone = lost(Lost.WORKER_REFUSED, "HTTP 401", wasted_tokens=2)
    gone.failed_at = [A]
    cut = lost(Lost.CUT_OFF)
    cut.tokens = 4
    looks = (Look(0.0, 2, Price(36.0, {A: 18.0, B: 18.0})),)
    run = played(served(0.0, 1.0, 10, A, late=0.2), again, gone, cut, lost(Lost.WORKER_REFUSED, "no"), looks=looks)
    assert summary_of(run, endpoint="llama") == Summary(
        endpoint="llama",
        seconds=10.0,
        was_interrupted=False,
        due=5,
        started=5,
        finished=4,
        successful=2,
        lost=NONE | {"worker_refused": 2, "cut_off": 1},
        lost_words={"worker_refused": "HTTP 401"},
        started_per_second=0.5,
        successful_per_second=0.2,
        tokens=30,
        wasted_tokens=9,
        tokens_per_second=3.0,
        latency_seconds=Spread(1.0, 1.5, 1.0, 2.0, 2.0),
        first_token_seconds=Spread(0.1, about(0.1), 0.1, about(0.1), about(0.1)),
        queue_seconds=Spread(0.0, 0.25, 0.0, 0.5, 0.5),
        late_start_seconds_max=0.2,
        reroutes=1,
        usd=about(0.1),
        usd_per_1000_tokens=about(0.1 * 1000 / 30),
        usd_unpriced_seconds=0.0,
        workers=(
            WorkerFigures(A, 1, 2, 10, 10.0, about(0.05)),
            WorkerFigures(B, 1, 0, 20, about(20 / 1.5), about(0.05)),
        ),
    )


@pytest.mark.parametrize(
    "run",
    [
        played(seconds=0.0),
        played(seconds=0.0, due=7),
        played(lost(Lost.GATEWAY_UNREACHABLE, "nobody listens"), seconds=0.0),
        played(served(0.0, 0.0, 0, A, first=0.0), seconds=0.0),
        played(lost(Lost.CUT_OFF), looks=(Look(0.0, 0, Price(0.0)), Look(5.0, None, Price()))),
    ],
    ids=["nothing", "stopped at once", "nobody served", "no time and no tokens", "no workers"],
)
def test_where_nothing_came_to_an_end_nothing_is_divided_by_it(run: Played) -> None:
    found = summary_of(run, endpoint="llama")
    assert found.usd_per_1000_tokens is None
    if run.ended_at == run.began_at:
        assert found.successful_per_second is found.tokens_per_second is None
    if not found.successful:
        assert found.latency_seconds == found.first_token_seconds == found.queue_seconds == Spread()
    read = json.loads(as_json(found))
    assert TypeAdapter(Summary).validate_python(read) == found
    assert " - " in as_text(found)
    assert "nan" not in as_text(found) + as_json(found)


@pytest.mark.parametrize(
    ("durations", "expected"),
    [
        ([], Spread()),
        ([2.0], Spread(2.0, 2.0, 2.0, 2.0, 2.0)),
        ([3.0, 1.0], Spread(1.0, 2.0, 1.0, 3.0, 3.0)),
        ([float(each) for each in range(1, 101)], Spread(1.0, 50.5, 50.0, 95.0, 100.0)),
        ([float(each) for each in range(1, 21)], Spread(1.0, 10.5, 10.0, 19.0, 20.0)),
    ],
)
def test_percentiles_are_durations_that_were_seen(durations: list[float], expected: Spread) -> None:
    assert spread(durations) == expected


UNKNOWN = Price()


@pytest.mark.parametrize(
    ("looks", "expected"),
    [
        ([], Spent(None, 100.0)),
        ([(0, UNKNOWN), (50, UNKNOWN)], Spent(None, 100.0)),
        ([(0, Price(0.0))] + [(at, Price(0.0)) for at in range(5, 100, 5)], Spent(0.0, 0.0)),
        ([(at, Price(36.0)) for at in range(0, 100, 5)], Spent(1.0, 0.0)),
        ([(at, Price(36.0 if at < 50 else 72.0)) for at in range(0, 100, 5)], Spent(1.5, 0.0)),
        ([(at, UNKNOWN if 40 <= at < 60 else Price(36.0)) for at in range(0, 100, 5)], Spent(1.0, 0.0)),
        ([(2, Price(36.0))] + [(at, Price(36.0)) for at in range(7, 100, 5)], Spent(1.0, 0.0)),
        ([(50, Price(36.0))] + [(at, Price(36.0)) for at in range(55, 100, 5)], Spent(0.55, 45.0)),
        ([(0, Price(36.0))], Spent(0.3, 70.0)),
        ([(at, Price(36.0)) for at in range(0, 140, 5)], Spent(1.0, 0.0)),
    ],
    ids=[
        "no look",
        "never known",
        "for nothing",
        "one price",
        "twice as much from the middle on",
        "a while unknown",
        "first seen a little late",
        "unknown at first",
        "seen once, and then too old",
        "looks after the end",
    ],
)
def test_dollars_are_the_sum_over_time_of_what_was_known(looks: list[tuple[float, Price]], expected: Spent) -> None:
    found = spent([Look(at, 1, price) for at, price in looks], began_at=0.0, ended_at=100.0)
    assert found.usd == pytest.approx(expected.usd)
    assert found.unpriced_seconds == pytest.approx(expected.unpriced_seconds)


def test_the_table_has_its_figures_in_columns() -> None:
    run = played(
        served(0.0, 1.0, 10, A), served(0.0, 2.0, 20, B), lost(Lost.OUT_OF_PATIENCE, "no worker was free in time")
    )
    assert as_text(summary_of(run, endpoint="llama")) == (
        "requests             started  finished  successful  lost\n"
        "                           3         3           2     1\n"
        "per second              0.30                  0.20\n"
        "tokens                                          30     0\n"
        "tokens per second                             3.00\n"
        "re-routes                                        0\n"
        "USD                                              -\n"
        "USD per 1000 tokens                              -\n"
        "\n"
        "seconds           min   avg   p50   p95   max\n"
        "latency          1.00  1.50  1.00  2.00  2.00\n"
        "first token      0.10  0.10  0.10  0.10  0.10\n"
        "waited in queue  0.00  0.00  0.00  0.00  0.00\n"
        "\n"
        "worker                requests  failed  tokens  tokens/s  USD\n"
        "http://10.0.0.1:3000         1       0      10     10.00    -\n"
        "http://10.0.0.2:3000         1       0      20     10.00    -\n"
        "\n"
        "lost: 1 out of patience (no worker was free in time)"
    )


def test_what_is_not_in_the_dollars_is_said() -> None:
    run = played(served(0.0, 1.0, 10, A), looks=(Look(0.0, 1, Price(1.0)),), seconds=100.0)
    assert "without a known price, and not in the sum: 70 s" in as_text(summary_of(run, endpoint="llama"))


def test_a_simulator_that_is_late_says_so() -> None:
    for late, is_said in ((0.4, False), (2.0, True)):
        text = as_text(summary_of(played(served(0.0, 3.0, 10, A, late=late)), endpoint="llama"))
        assert ("requests started up to 2.0 s late" in text) is is_said


def test_the_json_has_every_figure_under_its_name() -> None:
    found = summary_of(played(served(0.0, 1.0, 10, A)), endpoint="llama")
    assert json.loads(as_json(found)) == json.loads(json.dumps(asdict(found)))


def moment(seconds: float, workers: int | None = 2) -> Moment:
    return Moment(seconds, 9, 4, 3, 1, 1, 0, workers)


@pytest.mark.parametrize("count", [0, 1, 2, 5000])
def test_the_plot_is_a_picture_however_long_the_run_was(count: int) -> None:
    text = as_plot([moment(float(at), None if at == 1 else 2) for at in range(count)], title="clients of <llama>")
    words = [node.text for node in ElementTree.fromstring(text).iter() if node.text]
    assert {"clients of <llama>", "open requests", "of them waiting", "workers", "seconds"} <= set(words)
    assert len(text) < 60_000


def test_progress_is_one_line() -> None:
    assert progress(moment(7.4)) == "7 s: 4 of 9 started, 3 open (1 waiting), 1 served, 0 lost, 2 workers"
    assert progress(moment(7.4, None)).endswith("0 lost")
