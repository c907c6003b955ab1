"""Candidate policies on one trace, under one fleet's own limits, schedules and providers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ebbflow.core.ports import Policy
from ebbflow.decision.evaluate import Rules
from ebbflow.simulation.environment import Environment
from ebbflow.simulation.league import Row, Run, simulate
from ebbflow.simulation.opt0 import opt0_seconds
from ebbflow.simulation.policy_driver import EPOCH_SECONDS, PolicyDriver
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.score import WORTHS, mean_score
from ebbflow.simulation.standing import broken_guards
from ebbflow.simulation.world import AFTER_LAST_ARRIVAL_SECONDS


@dataclass(frozen=True, slots=True)
class Stage:
    """What all candidates have in common."""

    trace: Trace
    environment: Environment
    rules: Rules
    """The fleet's. Its policy is one of the candidates, its price caps are not played."""
    begins_at: float = EPOCH_SECONDS
    """Epoch seconds at which the trace begins, for schedules and whatever reads the hour."""
    after_seconds: float = AFTER_LAST_ARRIVAL_SECONDS

    def led_in(self) -> "Stage":
        """The same after enough time for the fleet's minimum to boot, as if it had run before the trace began."""
        lead = max(provider.boots.most_seconds for provider in self.environment.providers)
        lead += 2 * self.rules.interval_seconds
        trace = self.trace
        later = replace(trace, at_seconds=tuple(at + lead for at in trace.at_seconds))
        return replace(self, trace=later, begins_at=self.begins_at - lead)


def play_candidate(stage: Stage, label: str, policy: Policy, seeds: Sequence[int]) -> Row:
    """Play one candidate with each seed. A policy that fails is a row that says why, not an error."""
    outcomes = []
    for seed in seeds:
        driver = PolicyDriver(
            policy,
            stage.environment,
            interval_seconds=stage.rules.interval_seconds,
            limits=stage.rules.limits.model_copy(update={"max_usd_per_hour": None}),
            schedules=stage.rules.schedules,
            placement=stage.rules.placement,
            base_workers={pool.provider: pool.base_workers for pool in stage.rules.pools},
            begins_at=stage.begins_at,
        )
        run = Run(stage.trace.name, stage.environment.name, label, seed)
        outcomes.append(
            simulate(stage.trace, stage.environment, driver, seed=seed, run=run, after_seconds=stage.after_seconds)
        )
    opt0_hours = opt0_seconds(stage.trace, stage.environment.paid_boot_seconds) / 3600
    failed = [f"seed {outcome.run.seed}: {outcome.failure}" for outcome in outcomes if outcome.score is None]
    scores = [outcome.score for outcome in outcomes if outcome.score is not None]
    return Row(
        *(stage.trace.name, stage.environment.name, label, opt0_hours),
        score=None if failed else mean_score(scores),
        failure="; ".join(failed),
        timeline=outcomes[0].timeline,
    )


def verdicts(rows: Sequence[Row]) -> tuple[str, ...]:
    """Who is cheapest at each worth of waiting, and what the figures would hide."""
    said = []
    for worth in WORTHS:
        ranked = sorted(rows, key=lambda row: row.cost(worth))
        best = ranked[0]
        if best.score is None:
            return ("every candidate failed",)
        others = "".join(
            f"; {row.candidate} {row.cost(worth) / best.cost(worth) - 1:+.1%}" for row in ranked[1:] if row.score
        )
        said.append(f"k={worth:g}: {best.candidate} is cheapest ({best.score.cost(worth):.2f} h){others}")
    return (*said, *(f"{row.candidate}: {', '.join(found)}" for row in rows if (found := broken_guards(row))))
