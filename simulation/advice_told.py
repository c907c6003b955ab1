"""Advice on a fleet in figures: what `ebbflow advise --json` prints. A name that is there stays there. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from ebbflow.simulation.advice import Choice, Difference, Goal, Judged, Spread, why_not
from ebbflow.simulation.two_fleets import FleetFigures


@dataclass(frozen=True, slots=True)
class SettingTold:
    """One setting of a fleet, played on its past."""

    label: str
    is_own: bool
    """The fleet as it is."""
    is_advised: bool
    changes: tuple[str, ...]
    """Of the fleet's file, such as `limits.min_workers: 0`."""
    came_along: tuple[str, ...]
    """What is other besides, because the policy brings it."""
    usd_per_day: Spread | None
    """None: no price is known."""
    worker_hours_per_day: Spread
    waited_mean_seconds: Spread | None
    """None: nothing came."""
    waited_p95_seconds: Spread | None
    launches_per_day: float
    unserved: float
    """Requests that nobody had begun when the past was over."""
    difference_percent: float
    """Of the cost, waiting included where it is weighed, against the fleet as it is."""
    spread_percent: float
    """How far that may be off by chance: those of all settings hold together, 95 times in 100."""
    is_told: bool
    """The difference is more than chance makes of so many settings: any is told by chance 5 times in 100 at most."""
    failure: str
    """Why it is no advice, whatever it costs: turns in which its policy gave no answer, or requests that it left."""


@dataclass(frozen=True, slots=True)
class AdviceTold:
    """What a fleet's own past says of its settings."""

    fleet: str
    since_at: float
    """Of the first record that counts: epoch seconds, UTC, by the Prefect server's clock."""
    until_at: float
    records: int
    requests: int
    """That were played."""
    parts: int
    """Into so many equal parts of time the past was cut."""
    plays: int
    """Of each setting, with other luck at its launches."""
    waiting_worth: float
    wait_p95_seconds: float | None
    """None: cost and waiting are weighed by `waiting_worth`."""
    recorded: FleetFigures
    """What the fleet did."""
    settings: tuple[SettingTold, ...]
    """The fleet as it is first, then the others as they were played."""
    advised: str | None
    """A label; None: no setting reaches the goal."""
    nearest: str | None
    """Where none does: the one with the shortest wait."""
    equals: tuple[str, ...]
    """Settings that cannot be told from the advised one."""
    diff: str
    """Of the fleet's file; empty: nothing is to be changed."""
    stopped: str
    """Where not every setting was played: why."""
    not_played: tuple[str, ...]
    """Settings that cannot be played on this past, and why."""
    notes: tuple[str, ...]
    """What a person has to know of the figures, and what is not played."""
    missing: tuple[str, ...]
    """Times of which no record tells, and why."""

    @property
    def own(self) -> SettingTold:
        """The fleet as it is."""
        return self.settings[0]

    @property
    def days(self) -> float:
        """How long the past is that counts."""
        return (self.until_at - self.since_at) / 86_400.0

    def named(self, label: str | None) -> SettingTold | None:
        """A setting by its label."""
        return next((each for each in self.settings if each.label == label), None)


def settings_told(judged: Sequence[Judged], choice: Choice) -> tuple[SettingTold, ...]:
    """Each setting that was played, in figures."""
    return tuple(
        _setting(each, found, why_not(judged[0], each), is_advised=each is choice.picked)
        for each, found in zip(judged, choice.differences, strict=True)
    )


def goal_of(waiting_worth: float | None, wait_p95_seconds: float | None, policy: object) -> Goal:
    """What a person wants; where nobody says: what the policy itself weighs waiting by, or else 1."""
    worth = getattr(policy, "waiting_worth", 1.0) if waiting_worth is None else waiting_worth
    return Goal(worth, wait_p95_seconds)


def _setting(judged: Judged, found: Difference, failure: str, *, is_advised: bool) -> SettingTold:
    setting = judged.setting
    launches = judged.per_day(lambda books: float(books.launches))
    hours = judged.per_day(lambda books: books.worker_hours)
    return SettingTold(
        label=setting.label,
        is_own=not setting.changes,
        is_advised=is_advised,
        changes=tuple(str(change) for change in setting.changes),
        came_along=setting.came_along,
        usd_per_day=judged.per_day(lambda books: books.usd),
        worker_hours_per_day=hours or Spread(0.0, 0.0, 0.0),
        waited_mean_seconds=judged.of(lambda books: books.waited_mean_seconds),
        waited_p95_seconds=judged.of(lambda books: books.waited_p95_seconds),
        launches_per_day=launches.mean if launches else 0.0,
        unserved=judged.unserved,
        difference_percent=found.percent,
        spread_percent=found.spread_percent,
        is_told=found.is_told,
        failure=failure,
    )
