"""Candidate policies on one trace, under one fleet's own limits, schedules and providers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ebbflow.core.memory import Override
from ebbflow.core.ports import Policy
from ebbflow.fleet.model import Fleet
from ebbflow.simulation.environment import Environment
from ebbflow.simulation.league import Row, Run, row_of, simulate
from ebbflow.simulation.opt0 import opt0_seconds
from ebbflow.simulation.policy_driver import EPOCH_SECONDS
from ebbflow.simulation.quick_driver import QuickDriver
from ebbflow.simulation.recorded import Trace
from ebbflow.simulation.score import WORTHS
from ebbflow.simulation.standing import broken_guards
from ebbflow.simulation.turn_times import led_in
from ebbflow.simulation.world import AFTER_LAST_ARRIVAL_SECONDS


@dataclass(frozen=True, slots=True)
class Contest:
    """What all candidates have in common."""

    trace: Trace
    environment: Environment
    fleet: Fleet
    """Its policy is one of the candidates."""
    begins_at: float = EPOCH_SECONDS
    """Epoch seconds at which the trace begins, for schedules and whatever reads the hour."""
    after_seconds: float = AFTER_LAST_ARRIVAL_SECONDS
    overrides: tuple[Override, ...] = ()
    """In force when the trace begins."""
    turns_at: tuple[float, ...] = ()
    """When turns are taken, in seconds of the trace; empty: at the fleet's interval."""

    def led_in(self) -> "Contest":
        """The same after enough time for the fleet's minimum to boot, as if it had run before the trace began."""
        lead = max(provider.boots.most_seconds for provider in self.environment.providers)
        lead += 2 * self.fleet.interval_seconds
        trace = self.trace
        return replace(
            self,
            trace=replace(trace, at_seconds=tuple(at + lead for at in trace.at_seconds)),
            begins_at=self.begins_at - lead,
            overrides=tuple(replace(held, remaining_seconds=held.remaining_seconds + lead) for held in self.overrides),
            turns_at=led_in(
                self.turns_at,
                lead_seconds=lead,
                interval_seconds=self.fleet.interval_seconds,
                until=lead + trace.last_at_seconds + self.after_seconds,
            ),
        )

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Providers of the fleet whose price nobody knows: caps on it would keep everything away from them."""
        usd = {provider.block: provider.usd_per_hour for provider in self.environment.providers}
        return tuple(entry.block for entry in self.fleet.providers if usd.get(entry.block) is None)

    @property
    def played_fleet(self) -> Fleet:
        """The fleet with those price caps that can be played: its own only where each provider's price is known."""
        unpriced, fleet = self.unpriced, self.fleet
        if not unpriced:
            return fleet
        entries = tuple(
            entry.model_copy(update={"max_usd_per_hour": None}) if entry.block in unpriced else entry
            for entry in fleet.providers
        )
        limits = fleet.limits.model_copy(update={"max_usd_per_hour": None})
        return fleet.model_copy(update={"providers": entries, "limits": limits})

    @property
    def sharing_note(self) -> str:
        """How many requests a worker is played with."""
        most = max(provider.requests_at_once for provider in self.environment.providers)
        return "Requests are served one per worker" if most == 1 else f"A worker serves up to {most} requests at once"

    @property
    def price_note(self) -> str:
        """What of the price caps is played."""
        fleet, unpriced = self.fleet, self.unpriced
        capped = [entry.block for entry in fleet.providers if entry.max_usd_per_hour is not None]
        left_out = [block for block in capped if block in unpriced]
        caps = [*capped, *([] if fleet.limits.max_usd_per_hour is None else ["the whole fleet"])]
        if fleet.limits.max_usd_per_hour is not None and unpriced:
            left_out.append("the whole fleet")
        if not caps:
            return "No price cap is set"
        if not left_out:
            return f"Price caps are played at the recorded prices: of {', '.join(caps)}"
        return f"Price caps are not played of {', '.join(left_out)}: no price of {', '.join(unpriced)} is recorded"


def play_candidate(contest: Contest, label: str, policy: Policy, seeds: Sequence[int]) -> Row:
    """Play one candidate with each seed. A policy that fails is a row that says why, not an error."""
    fleet = contest.played_fleet.model_copy(update={"policy": policy})
    outcomes = []
    for seed in seeds:
        driver = QuickDriver(
            fleet, contest.environment, overrides=contest.overrides, begins_at=contest.begins_at, is_brief=True
        )
        run = Run(contest.trace.name, contest.environment.name, label, seed)
        outcomes.append(
            simulate(
                contest.trace,
                contest.environment,
                driver,
                seed=seed,
                run=run,
                after_seconds=contest.after_seconds,
                turns_at=contest.turns_at,
            )
        )
    return row_of(outcomes, opt0_seconds(contest.trace, contest.environment.paid_boot_seconds) / 3600)


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
