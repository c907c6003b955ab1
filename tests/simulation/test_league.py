"""The league table is the same whoever computes it, hides no failure, and names the best single baseline."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path

import pytest

from ebbflow.simulation.league import POLICIES, Moment, Played, Row, Run, all_runs, play, rows
from ebbflow.simulation.plots import Line, Point, lines, scatter
from ebbflow.simulation.report import page
from ebbflow.simulation.score import Score, geometric_mean, mean_score, percentile
from ebbflow.simulation.standing import broken_guards, duel, verdict
from ebbflow.simulation.table import guards, league_table, standings, wins_and_losses
from tests.benchmarks import policies as bench

FINE = Score(100.0, 10.0, 0.0, 5.0, 9.0, 50, 1.0, 0, 0, 0)


def row(candidate: str, paid: float, trace: str = "day", score: Score = FINE) -> Row:
    return Row(trace, "k8s", candidate, 100.0, replace(score, paid_hours=paid, waiting_hours=0.0))


def test_the_cost_is_paid_hours_and_what_waiting_is_worth() -> None:
    assert FINE.cost(0.1) == 101.0
    assert FINE.cost(10) == 200.0
    assert Row("day", "k8s", "x", 50.0, FINE).cost(1) == 2.2


def test_percentiles_are_values_that_were_seen() -> None:
    assert [percentile([1.0, 2.0, 3.0, 4.0], share) for share in (0.5, 0.95, 0.0)] == [2.0, 4.0, 1.0]


def test_one_lost_request_of_three_seeds_stays_visible() -> None:
    assert mean_score([FINE, FINE, replace(FINE, lost=1)]).lost == 1


def test_the_best_single_baseline_is_one_for_all_traces() -> None:
    table = [
        row("erlangC", 100.0, "a"),
        row("erlangC", 100.0, "b"),
        row("seasonal", 50.0, "a"),
        row("seasonal", 300.0, "b"),
        row("mine", 90.0, "a"),
        row("mine", 80.0, "b"),
    ]
    found = duel(table, "k8s", 1.0, "mine")
    assert found is not None
    assert found.best == "erlangC"
    assert found.best_mean == pytest.approx(1.0)
    assert found.ratio == pytest.approx(geometric_mean([0.9, 0.8]))
    assert [(trace, round(ratio, 3), rival) for trace, _, ratio, rival in found.by_trace] == [
        ("a", 1.8, "seasonal"),
        ("b", 0.8, "erlangC"),
    ]
    assert "- k8s, mine: against erlangC, the best single baseline (-15.1%" in wins_and_losses(table, [(1.0, "mine")])
    assert "| k8s | 1 | mine | 0.849 | erlangC | 1.000 | 0.849 | 100 : 100 |" in standings(table, [(1.0, "mine")])


@pytest.mark.parametrize(
    ("ratios", "said"),
    [
        ([("a", 0.9)], "wins on a (-10.0%)"),
        ([("a", 1.019), ("b", 0.981)], "ties on b (-1.9%), a (+1.9%)"),
        ([("a", 1.3), ("b", 0.5), ("c", 1.0)], "wins on b (-50.0%); ties on c (+0.0%); loses on a (+30.0%)"),
        ([], "was not compared"),
    ],
)
def test_a_verdict_names_where_a_candidate_wins_ties_and_loses(ratios: list[tuple[str, float]], said: str) -> None:
    assert verdict(ratios) == said


def test_who_was_not_compared_has_no_verdict() -> None:
    assert wins_and_losses([], [(1.0, "mine")]) == "- nothing to compare"


def test_nobody_duels_who_failed_somewhere() -> None:
    table = [row("erlangC", 100.0), replace(row("mine", 1.0), score=None, failure="raised")]
    assert duel(table, "k8s", 1.0, "mine") is None
    assert "| mine | failed: raised |" in league_table(table)


def test_broken_guards_are_named() -> None:
    bad = replace(FINE, lost=2, unserved=3, wasted_hours=5.0)
    assert broken_guards(Row("day", "k8s", "x", 1.0, bad)) == ("2 lost to stops", "3 unserved", "5.0% wasted")
    assert broken_guards(Row("day", "market", "x", 1.0, bad)) == ("2 lost to stops", "3 unserved")
    assert broken_guards(row("x", 100.0)) == ()
    assert guards([row("x", 100.0)], ["x"]) == "- none is broken"


def test_a_failed_run_is_a_row_of_its_own_and_the_others_stand() -> None:
    run = Run("mooncake", "k8s", "mine", 1)
    outcomes = [Played(run, None, "after 5 s: mine raised"), Played(replace(run, candidate="erlangC"), FINE)]
    table = rows(outcomes)
    assert [(entry.candidate, entry.failure) for entry in table] == [
        ("erlangC", ""),
        ("mine", "seed 1: after 5 s: mine raised"),
    ]
    text = page(table, title="t", notes=["n"], candidates=[(1.0, "mine")])
    assert "after 5 s: mine raised" in text


def test_processes_change_nothing_and_progress_is_told() -> None:
    runs = all_runs(["mooncake"], ["k8s"], ["keda-q1", "marginal k=1"], [1])
    told: list[str] = []
    alone = play(runs, tell=told.append, processes=1, first_requests=400)
    together = play(runs, tell=told.append, processes=2, first_requests=400)
    assert alone == together
    assert [line.split(" ")[0] for line in told] == ["1/2", "2/2"] * 2


def test_the_quick_bench_leaves_the_same_bytes_twice(tmp_path: Path) -> None:
    for name in ("one", "two"):
        few = [
            "--traces",
            "mooncake",
            "--candidates",
            "marginal k=1,marginal k=1 uncounted,erlangC",
            "--requests",
            "800",
        ]
        bench.main(["--quick", *few, "--processes", "1", "--folder", str(tmp_path / name)])
    first = {path.name: path.read_bytes() for path in (tmp_path / "one").iterdir()}
    assert first == {path.name: path.read_bytes() for path in (tmp_path / "two").iterdir()}
    assert sorted(first) == ["league.json", "league.md", "report.html"]
    assert b"<svg" in first["report.html"]
    assert b"http" not in first["report.html"].replace(b"http://www.w3.org/2000/svg", b"")


def test_our_candidates_are_named_for_their_worth() -> None:
    assert [name for _, name in bench.OURS] == [name for name in POLICIES if name.startswith("marginal")]


def test_plots_are_well_formed_whatever_they_show() -> None:
    drawn = [
        scatter("a < b", [Point("x & y", 10.0, 0.5), Point("z", 900.0, 0.0, is_marked=True)], x_label="h", y_label="s"),
        scatter("none", [], x_label="h", y_label="s"),
        lines("over time", [Line("one", (0.0, 1.0, 2.0), (0.0, 3.0, 1.0))], x_label="h", y_label="n"),
        lines("empty", [Line("one", (), ())], x_label="h", y_label="n"),
        lines("flat", [Line("one", (0.0,), (0.0,))], x_label="h", y_label="n"),
    ]
    for text in drawn:
        assert ElementTree.fromstring(text).tag.endswith("svg")


def test_a_timeline_is_sampled_from_begin_to_end() -> None:
    (outcome,) = play(
        [Run("mooncake", "k8s", "ray-idle60", 1)], tell=lambda line: None, processes=1, first_requests=400
    )
    assert isinstance(outcome.timeline[0], Moment)
    assert outcome.timeline[0].at_seconds == 0.0
    assert 450 <= len(outcome.timeline) <= 481
    assert max(moment.existing for moment in outcome.timeline) > 0
