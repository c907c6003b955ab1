"""`make bench-policies`: the league table per trace and environment, and a page with plots."""

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

from ebbflow.simulation.baselines import BASELINES
from ebbflow.simulation.environment import ENVIRONMENTS
from ebbflow.simulation.league import POLICIES, Row, all_runs, play, rows
from ebbflow.simulation.recorded import load
from ebbflow.simulation.report import page
from ebbflow.simulation.score import WORTHS
from ebbflow.simulation.table import guards, league_table, standings, wins_and_losses

ROOT = Path(__file__).resolve().parents[2]
TRACES = ("servegen_large_w1", "servegen_r1", "servegen_mmimg", "vidur_conv", "vidur_code", "mooncake")
QUICK_TRACES = ("servegen_r1", "servegen_mmimg", "vidur_conv", "vidur_code", "mooncake")
"""Two days and three hours of requests; the trace that is left out is a week."""
SEEDS = 3
OURS = (
    *((worth, f"marginal k={worth:g}") for worth in WORTHS),
    *((worth, f"marginal k={worth:g} uncounted") for worth in WORTHS),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Play the league and write what came of it."""
    given = _parser().parse_args(arguments)
    traces = given.traces.split(",") if given.traces else list(QUICK_TRACES if given.quick else TRACES)
    candidates = given.candidates.split(",") if given.candidates else [*POLICIES, *BASELINES]
    seeds, first = range(1, (given.seeds or (1 if given.quick else SEEDS)) + 1), given.requests
    began = time.monotonic()
    runs = all_runs(traces, list(ENVIRONMENTS), candidates, seeds)
    outcomes = play(runs, tell=lambda line: print(line, flush=True), processes=given.processes, first_requests=first)
    table = rows(outcomes, first_requests=first)
    write(given.folder, table, notes=_notes(traces, seeds, first))
    print(f"{len(runs)} runs in {time.monotonic() - began:.0f} s; open {given.folder / 'report.html'}")


def write(folder: Path, table: Sequence[Row], *, notes: Sequence[str]) -> None:
    """Write the page, the tables and the numbers; equal rows give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    title = "Scaling policies in simulation"
    text = page(table, title=title, notes=notes, candidates=OURS)
    (folder / "report.html").write_text(text, encoding="utf-8")
    (folder / "league.md").write_text(_markdown(title, table, notes), encoding="utf-8")
    numbers = [
        {
            "trace": row.trace,
            "environment": row.environment,
            "candidate": row.candidate,
            "opt0_hours": round(row.opt0_hours, 3),
            "failure": row.failure,
            "relative_cost": {f"{worth:g}": round(row.cost(worth), 5) for worth in WORTHS} if row.score else {},
        }
        for row in table
    ]
    (folder / "league.json").write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


def _markdown(title: str, table: Sequence[Row], notes: Sequence[str]) -> str:
    parts = [f"# {title}", *notes, "## Against the best single baseline", standings(table, OURS)]
    parts += ["## Wins, ties, losses", wins_and_losses(table, OURS)]
    parts += ["## Broken guards of ours", guards(table, [name for _, name in OURS])]
    for trace, environment in sorted({(row.trace, row.environment) for row in table}):
        here = [row for row in table if (row.trace, row.environment) == (trace, environment)]
        parts += [f"## {trace}, {environment}", f"OPT0: {here[0].opt0_hours:.1f} h", league_table(here)]
    return "\n\n".join(parts) + "\n"


def _notes(traces: Sequence[str], seeds: range, first: int | None) -> list[str]:
    said = "all requests" if first is None else f"the first {first} requests"
    digests = ", ".join(f"{name} {load(name).digest}" for name in traces)
    return [
        "Baselines are given the true mean service time; ours gets its first digit and the median boot as guesses.",
        "Baselines see every arrival. Where ours is called uncounted, its master tells what waits and what runs, and "
        "does not count what came and was served, as most masters do not.",
        f"Mean of seeds {seeds.start} to {seeds.stop - 1}, {said}. Traces: {digests}.",
        *(f"{environment}" for environment in ENVIRONMENTS.values()),
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{', '.join(QUICK_TRACES)}, one seed: within ten minutes")
    parser.add_argument("--traces", help="comma-separated; all where not given")
    parser.add_argument("--candidates", help="comma-separated; all where not given")
    parser.add_argument("--seeds", type=int, help=f"how many; {SEEDS} where not given")
    parser.add_argument("--requests", type=int, help="only so many of each trace; all where not given")
    parser.add_argument("--processes", type=int, help="one per core where not given")
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench-policies")
    return parser


if __name__ == "__main__":
    main()
