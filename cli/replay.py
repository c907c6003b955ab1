"""`ebbflow replay`: decide again what a fleet's records hold, as it was or with another policy or other limits."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track

from ebbflow.cli.check import read
from ebbflow.cli.recalling import At, FleetName, Json, Run, Since, check_options, reading, recorded
from ebbflow.cli.speaking import FINE, NOT_RIGHT, USAGE, answer, console, end, run
from ebbflow.core.canonical import spell
from ebbflow.core.text import counted, one_line
from ebbflow.turn.moments import moment

if TYPE_CHECKING:
    from ebbflow.core.ports import Ledger
    from ebbflow.turn.differences import Difference
    from ebbflow.turn.replaying import Change, DecisionTold, ReplayedTold, ReplayTold

Last = Annotated[int | None, typer.Option(metavar="N", min=1, max=1_000_000, help="The last N turns.")]
Policy = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What another policy would have decided: that section of a fleet.")
]
Limits = Annotated[
    Path | None, typer.Option(metavar="FILE", help="What would have been decided within other limits: that section.")
]
MOST_SHOWN = 20
"""Places at which two plans differ."""
DIFFERS_IN = 4
"""Such places that a line of many turns names."""


def replay(
    fleet: FleetName = None,
    at: At = None,
    run_id: Run = None,
    last: Last = None,
    policy: Policy = None,
    limits: Limits = None,
    since: Since = "7d",
    as_json: Json = False,
) -> None:
    """Decide turns again from what they saw, and say whether the plan is the same to the byte, or in what it differs.

    Without an option: the newest turn. With --policy or --limits: what would have been decided there, each turn by
    itself, with everything as it was until then.
    """
    most_seconds = check_options(at, since, run=run_id, last=last)
    change = change_of(policy, limits)

    async def look() -> "ReplayedTold":
        async with recorded(fleet) as (ledger, name):
            return await replayed(ledger, name, change, at=at, run_id=run_id, last=last, most_seconds=most_seconds)

    told = run(look)
    if as_json:
        answer(asdict(told))
    else:
        out = console()
        for line in shown(told):
            out.print(line, soft_wrap=True)
    end(FINE if told.is_right else NOT_RIGHT)


async def replayed(
    ledger: "Ledger",
    fleet: str,
    change: "Change",
    *,
    at: str | None = None,
    run_id: str | None = None,
    last: int | None = None,
    most_seconds: float,
) -> "ReplayedTold":
    """Decide again what the records of a ledger hold; what is given of the three is meant, or else the newest record.

    Raises:
        ConfigError: the fleet refuses the change.
        NotRecorded: there is no such record; says what there is.
    """
    from ebbflow.turn.chain_reader import Past
    from ebbflow.turn.moments import moment_of
    from ebbflow.turn.recall import Recall
    from ebbflow.turn.replaying import replay_all

    recall = Recall(ledger, fleet)
    with reading(f"reading the records of {fleet}"):
        if at is not None:
            past = Past((await recall.at(moment_of(at, now_seconds=await ledger.now())),))
        elif run_id is not None:
            past = Past((await recall.of_run(run_id, most_seconds=most_seconds),))
        else:
            past = await recall.last(last or 1)
    unseen = len(past.entries) == 1 or not sys.stderr.isatty()
    entries = track(past.entries, "deciding again", console=Console(stderr=True), transient=True, disable=unseen)
    return await replay_all(recall.reader, fleet, past, change, asked=last or 1, entries=entries)


def change_of(policy: Path | None, limits: Path | None) -> "Change":
    """What another configuration says, from files of its sections; ends the command where one is none."""
    import yaml

    from ebbflow.core.errors import ConfigError
    from ebbflow.turn.replaying import Change, section_of

    sections: dict[str, object] = {}
    for name, path in (("policy", policy), ("limits", limits)):
        if path is None:
            continue
        try:
            sections |= section_of(
                name, yaml.safe_load(read(path, what=f"a file with the section {name!r} of a fleet"))
            )
        except yaml.YAMLError as error:
            end(USAGE, f"--{name} {path}: neither YAML nor JSON: {one_line(error)}")
        except ConfigError as error:
            end(USAGE, f"--{name} {path}: {error}")
    return Change(sections)


def shown(told: "ReplayedTold") -> Iterator[str]:
    """What was decided again, as a person reads it."""
    if told.turns == 1 and not told.fewer:
        yield from _one(told.fleet, told.replayed[0], is_what_if=told.is_what_if)
        return
    first, last = told.replayed[0], told.replayed[-1]
    span = f"record {first.record} to {last.record}" if told.turns > 1 else f"record {first.record}"
    count = told.same_actions if told.is_what_if else told.same
    is_same = "is the same" if told.turns == 1 else "are the same"
    same = "would have done the same" if told.is_what_if else f"{is_same} to the byte"
    yield f"[bold]{escape(told.fleet)}[/bold]: {count} of {counted(told.turns, 'turn')} {same} ({span})"
    others = [each for each in told.replayed if not (each.same_actions if told.is_what_if else each.same)]
    yield from (f"  {_line(each, is_what_if=told.is_what_if)}" for each in others if not each.only_words)
    if worded := [str(each.record) for each in others if each.only_words]:
        yield f"  in their words alone, as another release says them: record {', '.join(worded)}"
    yield from (f"  {escape(each)}" for each in (told.fewer, told.missing) if each)


def _one(fleet: str, told: "ReplayTold", *, is_what_if: bool) -> Iterator[str]:
    head = f"[bold]{escape(fleet)}[/bold], record {told.record} of {moment(told.at_seconds)}"
    if told.again is None:
        yield f"{head}: [red]{escape(told.problem)}[/red]"
    elif is_what_if:
        yield f"{head}: {'the same would be done' if told.same_actions else 'something else would be done'}"
        yield from _decision("decided", told.stored)
        yield from _decision("what if", told.again)
    elif told.same:
        yield f"{head}: the same plan to the byte: {escape(told.stored.headline)}"
    else:
        words = ", in its words alone, as another release says them" if told.only_words else ""
        yield f"{head}: [red]another plan[/red]{words}"
        yield from _differences(told.differences)
    if told.remembers and not is_what_if:
        yield "  and it leaves something else to the next turn:"
        yield from _differences(told.remembers)


def _differences(found: "Sequence[Difference]") -> Iterator[str]:
    for each in found[:MOST_SHOWN]:
        yield f"  {escape(f'{each.where}: {spell(each.first)} became {spell(each.second)}')}"
    if len(found) > MOST_SHOWN:
        yield f"  and {len(found) - MOST_SHOWN} more"


def _decision(name: str, made: "DecisionTold") -> Iterator[str]:
    yield f"  {name:<9} {escape(_short(made))}; {made.supply} served or started, {made.existing} existed"
    yield from (f"            - {escape(reason)}" for reason in made.reasons)
    yield from (f"            > {escape(action)}" for action in made.actions or ("nothing to do",))


def _short(made: "DecisionTold") -> str:
    wanted = "no opinion" if made.wanted is None else f"the policy asks for {made.wanted}"
    return f"{made.headline}: {wanted}"


def _line(told: "ReplayTold", *, is_what_if: bool) -> str:
    head = f"record {told.record} of {moment(told.at_seconds)}: "
    if told.again is None:
        return f"{head}[red]{escape(told.problem)}[/red]"
    if is_what_if:
        first, second = (
            f"{_short(each)}, {counted(len(each.actions), 'action')}" for each in (told.stored, told.again)
        )
        return head + escape(f"{first}; what if: {second}")
    places = [each.where for each in told.differences]
    rest = f" and {len(places) - DIFFERS_IN} more" if len(places) > DIFFERS_IN else ""
    return head + escape(f"another plan: {', '.join(places[:DIFFERS_IN])}{rest}")
