"""A fleet's settings played on its own past, and what comes of it: what `advise` and `ebbflow advise` share."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ebbflow.core.errors import ConfigError, NotRecorded
from ebbflow.core.ports import Ledger
from ebbflow.core.text import counted, one_line
from ebbflow.fleet.changing import Change
from ebbflow.fleet.file_change import FleetFile, section_diff
from ebbflow.fleet.model import Fleet
from ebbflow.flows.fleet_past import FleetPast, read_fleet_past
from ebbflow.flows.past_check import GUESSES, check_playable, notes_of
from ebbflow.simulation.advice import Judged, choose
from ebbflow.simulation.advice_told import AdviceTold, goal_of, settings_told
from ebbflow.simulation.neighbours import Setting, Settings, settings_of
from ebbflow.simulation.parts import Part, PlayedOnce, counters_that_fell, parts_of, play_parts, stage_for
from ebbflow.simulation.trace import TraceError
from ebbflow.simulation.two_fleets import SERVICE_SECONDS

LEAST_RECORDS = 8
"""Of fewer nothing can be told."""
FEW_RECORDS = 200
"""Of fewer a person should not think that they show how the fleet is used."""
PAST_SECONDS = 7 * 86_400.0
PLAYS, SETTINGS = 3, 24
LIMIT_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks."""

    past_seconds: float = PAST_SECONDS
    waiting_worth: float | None = None
    """k; None: the policy's own, or 1."""
    wait_p95_seconds: float | None = None
    plays: int = PLAYS
    """Of each setting."""
    settings: int = SETTINGS
    """At most so many are played."""
    limit_seconds: float = LIMIT_SECONDS
    """No play begins later, but for those of the fleet as it is."""
    service_seconds: float = SERVICE_SECONDS
    """Work of one request, where the master does not count what it serves."""

    def check(self) -> None:
        """Refuse two goals at once.

        Raises:
            ConfigError: says what would be right.
        """
        if self.waiting_worth is not None and self.wait_p95_seconds is not None:
            raise ConfigError(
                f"waiting_worth is {self.waiting_worth:g} and wait_p95_seconds is {self.wait_p95_seconds:g}: one of "
                "them says what is wanted, leave the other one out"
            )


async def advise_on(
    ledger: Ledger,
    fleet: Fleet,
    asked: Asked,
    *,
    say: Callable[[str], None],
    file: FleetFile | None = None,
    note: str = "",
) -> AdviceTold:
    """Play a fleet and its other settings on its past, and choose. Changes nothing.

    Args:
        ledger: that keeps the records.
        fleet: as it is.
        asked: how far back, towards what, and how long.
        say: hears how far it is.
        file: that the fleet is written in; None: the diff is of the fleet alone.
        note: what else a person has to know.

    Raises:
        ConfigError: the fleet cannot be played on its past; says why.
        NotRecorded: there is too little of it.
        RecordError: no record can be read.
    """
    asked.check()
    past = await read_fleet_past(ledger, fleet.name, seconds=asked.past_seconds)
    if past is None or past.records < LEAST_RECORDS:
        there = counted(past.records, "record") if past is not None else "no record"
        raise NotRecorded(
            f"fleet {fleet.name!r} has {there} of this time, and fewer than {LEAST_RECORDS} tell nothing: let it take "
            "turns for a while, or look further back"
        )
    check_playable(past, fleet, "as it is")
    return await advise_on_past(past, fleet, asked, say=say, file=file, note=note)


async def advise_on_past(
    past: FleetPast,
    fleet: Fleet,
    asked: Asked,
    *,
    say: Callable[[str], None],
    file: FleetFile | None = None,
    note: str = "",
    clock: Callable[[], float] = time.monotonic,
) -> AdviceTold:
    """As `advise_on`, on a past that was read and found playable.

    Raises:
        ConfigError: it cannot be played; says why.
    """
    past = replace(past, played=replace(past.played, service_seconds=asked.service_seconds))
    goal = goal_of(asked.waiting_worth, asked.wait_p95_seconds, fleet.policy)
    settings, refused = _playable(past, settings_of(fleet, waiting_worth=asked.waiting_worth))
    try:
        parts = parts_of(past.played)
        judged, stopped = await _play(past, settings[: asked.settings], parts, asked, say, clock)
    except TraceError as error:
        raise ConfigError(f"fleet {fleet.name!r}: its past cannot be played: {error}") from error
    choice = choose(judged, goal)
    advised, diff_note = choice.picked.setting.changes if choice.picked is not None else (), ""
    diff = ""
    if advised:
        diff, diff_note = _diff(fleet, advised, file)
    left_out = settings[asked.settings :]
    return AdviceTold(
        fleet=fleet.name,
        since_at=past.first_at,
        until_at=past.played.until,
        records=past.records,
        requests=judged[0].runs[0].whole.requests,
        parts=len(parts),
        plays=asked.plays,
        waiting_worth=goal.waiting_worth,
        wait_p95_seconds=goal.wait_p95_seconds,
        recorded=past.recorded,
        settings=settings_told(judged, choice),
        advised=None if choice.picked is None else choice.picked.setting.label,
        nearest=None if choice.nearest is None else choice.nearest.setting.label,
        equals=choice.equals,
        diff=diff,
        stopped=stopped,
        not_played=(*refused, *(f"{each.label}: more than {asked.settings} settings" for each in left_out)),
        notes=tuple(filter(None, (note, diff_note, *_notes(past, fleet, judged, asked)))),
        missing=past.missing,
    )


async def _play(
    past: FleetPast,
    settings: Sequence[Setting],
    parts: Sequence[Part],
    asked: Asked,
    say: Callable[[str], None],
    clock: Callable[[], float],
) -> tuple[list[Judged], str]:
    """Each setting, as far as time allows, in a thread: whoever runs this goes on telling that it is alive."""
    began = clock()
    judged: list[Judged] = []
    for setting in settings:
        stage = await asyncio.to_thread(stage_for, past.played, setting.fleet)
        runs: list[PlayedOnce] = []
        for seed in range(1, asked.plays + 1):
            if judged and clock() - began > asked.limit_seconds:
                return judged, f"stopped after {asked.limit_seconds:g} s: {len(judged)} of {len(settings)} were played"
            runs.append(await asyncio.to_thread(play_parts, stage, parts, seed))
        judged.append(Judged(setting, tuple(runs), tuple(parts)))
        say(f"{len(judged)} of {len(settings)}: {setting.label}")
    return judged, ""


def _playable(past: FleetPast, settings: Settings) -> tuple[list[Setting], list[str]]:
    """Those that the fleet's master and providers allow, and why not the others."""
    playable, refused = list(settings.playable[:1]), list(settings.not_playable)
    for setting in settings.playable[1:]:
        try:
            check_playable(past, setting.fleet, "set so")
        except ConfigError as error:
            refused.append(f"{setting.label}: {one_line(error, 300)}")
        else:
            playable.append(setting)
    return playable, refused


def _diff(fleet: Fleet, changes: tuple[Change, ...], file: FleetFile | None) -> tuple[str, str]:
    """The change of the fleet's file, and what a person has to know of it."""
    if file is None:
        return section_diff(fleet, changes), ""
    found = file.diff(changes)
    if found is not None:
        return found, ""
    return section_diff(
        fleet, changes
    ), f"{file.name} is written in a way that this cannot change: the diff is of the fleet"


def _notes(past: FleetPast, fleet: Fleet, judged: Sequence[Judged], asked: Asked) -> list[str]:
    own = judged[0]
    hours = sum(run.whole.worker_hours for run in own.runs) / len(own.runs)
    notes = notes_of(past, fleet, seconds=asked.past_seconds, worker_hours=hours, what="the fleet as it is")
    if past.records < FEW_RECORDS:
        notes.insert(
            0,
            f"{counted(past.records, 'turn', 'are')} a short past: that shows what advice is, not how the fleet is "
            "used",
        )
    if fell := counters_that_fell(past.played):
        notes.append(
            f"the master's counters fell {counted(fell, 'time')}, as where it is started anew: they were counted on "
            "from there"
        )
    if own.faults.failed:
        notes.append(f"as it is, its policy gave {one_line(own.faults, 300)}")
    stage = stage_for(past.played, fleet)
    return [*notes, *stage.notes, *GUESSES]
