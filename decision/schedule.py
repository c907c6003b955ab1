"""Floors by the clock, under any policy: so many workers at least, from each time that a cron line names. Pure.

Which floors hold is a function of `Observation.at_seconds` alone, and of the time zone database of the machine. Cron
lines are read by cronsim, which treats the hours that a change of the clocks skips or repeats as Debian's cron does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

LONGEST_SECONDS = 31 * 86_400.0


@dataclass(frozen=True, slots=True)
class Floor:
    """A number of workers that must not be gone below now, and why."""

    count: int
    reason: str


class Schedule(BaseModel):
    """So many workers at least, for so long after each time that a cron line names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cron: Annotated[
        str, Field(max_length=200, description="When it begins: minute hour day month weekday, as '0 8 * * 1-5'.")
    ]
    timezone: Annotated[str, Field(max_length=64, description="IANA name, as 'Europe/Berlin'.")] = "UTC"
    duration_seconds: Annotated[
        float, Field(ge=60, le=LONGEST_SECONDS, description="How long it holds each time; at most 31 days.")
    ]
    min_workers: Annotated[int, Field(ge=1, le=10_000, description="Workers that there are at least while it holds.")]

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise ValueError(
                f"timezone {name!r} is not known: use an IANA name, as 'UTC' or 'Europe/Berlin'"
            ) from error
        return name

    @model_validator(mode="after")
    def _cron_line_fires(self) -> Self:
        if len(self.cron.split()) != 5:
            raise ValueError(f"cron {self.cron!r} must have five fields: minute hour day month weekday")
        try:
            next(CronSim(self.cron, datetime(2024, 1, 1, tzinfo=UTC)))
        except CronSimError as error:
            raise ValueError(
                f"cron {self.cron!r} never fires, or is no cron line ({error}): "
                "expected minute hour day month weekday, as '0 8 * * 1-5'"
            ) from error
        except StopIteration as error:
            raise ValueError(f"cron {self.cron!r} never fires: there is no such day in fifty years") from error
        return self

    def end(self, at_seconds: float) -> datetime | None:
        """Until when it holds, in its own time zone, if it holds now.

        Args:
            at_seconds: now, epoch seconds UTC.
        """
        now = datetime.fromtimestamp(at_seconds, UTC)
        whole = timedelta(seconds=self.duration_seconds)
        # Of a line that fires each minute the last hour is enough.
        for window in (min(whole, timedelta(hours=1)), whole):
            begun = self._last_begun(now - window, now)
            if begun is not None:
                return (begun + whole).astimezone(ZoneInfo(self.timezone))
        return None

    def _last_begun(self, after: datetime, until: datetime) -> datetime | None:
        """The last time that it began between two times, in UTC: hours that the clocks skip or repeat are no duration.

        Looked for forwards: backwards cronsim loses a time in an hour that the clocks repeat.
        """
        last = None
        for fired in CronSim(self.cron, after.astimezone(ZoneInfo(self.timezone))):
            begun = fired.astimezone(UTC)
            if begun > until:
                break
            # From within the repeated hour it finds the time of the first pass, which is over.
            last = begun if begun > after else last
        return last


def floors(schedules: Sequence[Schedule], at_seconds: float) -> tuple[Floor, ...]:
    """The floors that hold at one instant, in the order of the schedules.

    Args:
        schedules: of a fleet.
        at_seconds: epoch seconds UTC, by the ledger's own clock; 0: not known, and then none holds.
    """
    if at_seconds <= 0 or not schedules:
        return ()
    held = ((schedule, schedule.end(at_seconds)) for schedule in schedules)
    return tuple(
        Floor(
            schedule.min_workers,
            f"schedule '{schedule.cron}' {schedule.timezone} asks for {schedule.min_workers} until "
            f"{ends:%Y-%m-%d %H:%M}",
        )
        for schedule, ends in held
        if ends is not None
    )
