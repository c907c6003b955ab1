"""`ebbflow why`: a turn of a fleet in words, or the whole life of one of its workers."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from ebbflow.cli.recalling import At, FleetName, Json, Run, Since, check_options, reading, recorded
from ebbflow.cli.speaking import FINE, NOT_RIGHT, answer, console, end, run
from ebbflow.core.text import counted
from ebbflow.turn.moments import moment

if TYPE_CHECKING:
    from ebbflow.core.ports import Ledger
    from ebbflow.turn.lives import LifeEvent, LifeTold
    from ebbflow.turn.telling import ActionTold, TurnTold

Worker = Annotated[
    str | None, typer.Option(metavar="ID", help="The whole life of this worker; the beginning of its id is enough.")
]


def why(
    fleet: FleetName = None,
    at: At = None,
    worker: Worker = None,
    run_id: Run = None,
    since: Since = "7d",
    as_json: Json = False,
) -> None:
    """Tell in words what a turn saw, which rule decided with which numbers, what was done, and what came of it.

    Without an option: the newest turn. Times are local.
    """
    most_seconds = check_options(at, since, worker=worker, run=run_id)

    async def look() -> "TurnTold | LifeTold":
        async with recorded(fleet) as (ledger, name):
            with reading(f"reading the records of {name}"):
                return await told(ledger, name, at=at, worker=worker, run_id=run_id, most_seconds=most_seconds)

    found = run(look)
    if as_json:
        answer(asdict(found))
    else:
        console().print(shown(found), soft_wrap=worker is None)
    end(NOT_RIGHT if found.missing else FINE)


async def told(
    ledger: "Ledger",
    fleet: str,
    *,
    at: str | None = None,
    worker: str | None = None,
    run_id: str | None = None,
    most_seconds: float,
) -> "TurnTold | LifeTold":
    """What the records of a ledger say; what is given of the three is meant, or else the newest record.

    Raises:
        NotRecorded: there is no such record; says what there is.
        RecordError: it is gone, was edited or cannot be read.
        ValueError: several ids begin so, or the time is yet to come.
    """
    from ebbflow.turn.lives import fleet_events, tell_life
    from ebbflow.turn.moments import moment_of
    from ebbflow.turn.recall import Recall
    from ebbflow.turn.telling import tell_turn

    recall = Recall(ledger, fleet)
    if worker is not None:
        past, meant = await recall.life_of(worker, most_seconds=most_seconds)
        return tell_life(past, meant, await fleet_events(recall.reader, past))
    if at is not None:
        entry = await recall.at(moment_of(at, now_seconds=await ledger.now()))
    elif run_id is not None:
        entry = await recall.of_run(run_id, most_seconds=most_seconds)
    else:
        entry = await recall.newest()
    return await tell_turn(recall.reader, entry)


def shown(found: "TurnTold | LifeTold") -> RenderableType:
    """What was told, as a person reads it."""
    from ebbflow.turn.lives import LifeTold
    from ebbflow.turn.phases import in_short

    return Group(*(_life(in_short(found)) if isinstance(found, LifeTold) else _turn(found)))


def _turn(turn: "TurnTold") -> Iterator[str]:
    run_of = f"{turn.flow}, run {turn.run_id}"
    yield f"[bold]{escape(turn.fleet)}[/bold], record {turn.record} of {moment(turn.at_seconds)}, by {escape(run_of)}"
    yield from _part("asked", [turn.asked] if turn.asked else [])
    yield from _part("changed", turn.changed)
    yield from _part("saw", turn.seen)
    wanted = "had no opinion" if turn.wanted is None else f"asked for {turn.wanted}"
    there = f"{turn.supply} served or started, {turn.existing} existed"
    yield from _part("decided", [f"{turn.headline}: the policy {wanted}; {there}"])
    yield from _part("rules", (f"{rule.text} ({rule.rule})" for rule in turn.rules))
    yield from _part("bound", (f"{rule.text} ({rule.rule})" for rule in turn.bound))
    yield from _part("did", [_action(each) for each in turn.actions] or ["nothing"])
    yield from _part("cost", [f"{turn.usd_per_hour:g} USD/h"] if turn.usd_per_hour else [])
    yield from (f"  [red]missing    {escape(each)}[/red]" for each in turn.missing)


def _part(name: str, lines: Iterable[str]) -> Iterator[str]:
    for place, line in enumerate(lines):
        yield f"  {'' if place else name:<10} {escape(line)}"


def _action(done: "ActionTold") -> str:
    price = "" if done.usd_per_hour is None else f" for {done.usd_per_hour:g} USD/h"
    where = f" at {done.provider}" if done.provider else ""
    detail = f" ({done.detail})" if done.detail else ""
    return f"{done.action} {done.worker}{where}{price}: {done.reason} -> {done.result}{detail}"


def _life(life: "LifeTold") -> Iterator[RenderableType]:
    price = "" if life.usd_per_hour is None else f", {life.usd_per_hour:g} USD/h"
    where = f" at {life.provider}" if life.provider else ""
    yield f"[bold]{escape(life.worker)}[/bold]{escape(where)}: {life.state}{price}"
    if life.not_read:
        yield f"  [yellow]![/yellow] {escape(life.not_read)}"
    if life.missing:
        yield f"  [red]{escape(life.missing)}[/red]"
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("  recorded", "record", "what", "why", "what came of it"):
        table.add_column(name, overflow="fold", no_wrap=name in ("  recorded", "record"))
    for event in life.events:
        table.add_row(*_row(event))
    yield table


def _row(event: "LifeEvent") -> Iterator[str]:
    yield f"  {moment(event.at_seconds)}"
    yield str(event.record)
    again = (
        ""
        if event.until_seconds is None
        else f", in {counted(event.turns, 'turn')} until {moment(event.until_seconds)}"
    )
    yield escape(f"{event.what}{again}")
    yield escape(event.why)
    yield escape(event.came)
