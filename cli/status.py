"""`ebbflow status`: how fleets stand now."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from ebbflow.cli.speaking import USAGE, answer, console, end, run, say
from ebbflow.core.text import counted

if TYPE_CHECKING:
    from ebbflow.turn.standing import OverrideStanding, ProviderStanding, Standing, WorkerStanding

WATCH_SECONDS = 2.0
ROOMS = {"absent": "not in the master yet", "off": "off, since somebody serves", "holding": "on: requests wait"}
COLOURS = {"ready": "green", "draining": "yellow", "terminating": "yellow", "failed": "red", "lost": "red"}


def status(
    fleet: Annotated[str | None, typer.Argument(help="Its name; all fleets where it is left out.")] = None,
    watch: Annotated[bool, typer.Option(help="Look again every two seconds, until Ctrl-C.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects, one per fleet.")] = False,
) -> None:
    """Show how fleets stand: workers, demand, the last decision and why, overrides, cost, and whether turns come.

    Durations are of now; what was seen is as old as the last turn, which stands beside it.
    """
    if watch and as_json:
        end(USAGE, "--watch and --json exclude each other: call --json again and again instead")
    if watch:
        _watch(fleet)
        return
    found = run(lambda: _look(fleet))
    if as_json:
        answer([asdict(each) for each in found])
        return
    if not found:
        say("no fleet has been deployed to this server: `ebbflow check`, then `ebbflow up`")
        return
    out = console()
    for each in found:
        out.print(shown(each))


async def _look(fleet: str | None) -> Sequence["Standing"]:
    from ebbflow.cli.serving import connected
    from ebbflow.flows.standings import standings
    from ebbflow.turn.standing import chosen

    async with connected() as client:
        found = await standings(client)
    if fleet is None:
        return found
    try:
        name = chosen([each.name for each in found], fleet)
    except ValueError as error:
        end(USAGE, str(error))
    return [each for each in found if each.name == name]


def _watch(fleet: str | None) -> None:
    with Live(console=console(), refresh_per_second=4, screen=False) as live:
        while True:
            found = run(lambda: _look(fleet))
            live.update(Group(*(shown(each) for each in found)))
            try:
                time.sleep(WATCH_SECONDS)
            except KeyboardInterrupt:
                return


def shown(fleet: "Standing") -> RenderableType:
    """One fleet, as a person reads it."""
    return Group(*_lines(fleet), *_tables(fleet), "")


def _lines(fleet: "Standing") -> Iterable[str]:
    cost = f", {fleet.usd_per_hour:g} USD/h, {fleet.usd_today or 0:.2f} USD today" if fleet.usd_per_hour else ""
    yield f"[bold]{escape(fleet.name)}[/bold]{cost}"
    mark = "" if fleet.turns.come else "[yellow]![/yellow] "
    yield f"  turns      {mark}{escape(fleet.turns.text)}"
    if fleet.broken:
        yield f"  [red]record     {escape(fleet.broken)}[/red]"
    elif fleet.record is None:
        yield "  no record yet: the first turn writes one"
    if fleet.demand is not None:
        demand = fleet.demand
        waits = f"{demand.queued} queued, {demand.running} running" if demand.known else f"unknown: {demand.detail}"
        yield f"  demand     {escape(waits)}"
    elif fleet.decision is not None:
        broken = "cannot be read: the earlier record that holds it is gone or was edited; `ebbflow why` names it"
        yield f"  [red]demand     {broken}[/red]"
    if fleet.decision is not None:
        decision = fleet.decision
        wanted = "no opinion" if decision.wanted is None else f"the policy asks for {decision.wanted}"
        there = f"{decision.supply} serve or start, {decision.existing} exist"
        yield f"  decision   {escape(decision.headline)}: {wanted}; {there}"
        yield from (f"             - {escape(reason)}" for reason in decision.reasons)
        yield from (f"             > {escape(action)}" for action in decision.actions)
        yield from (f"             [yellow]![/yellow] {escape(said)}" for said in decision.not_done)
    yield from (f"  held       {escape(_override(held))}" for held in fleet.overrides)
    yield from (f"  provider   {escape(_provider(each))}" for each in fleet.providers)
    if fleet.room is not None:
        said = f": {fleet.room.detail}" if fleet.room.detail else ""
        yield f"  waiting    room {escape(ROOMS.get(fleet.room.state, fleet.room.state) + said)}"


def _override(held: "OverrideStanding") -> str:
    counted = f" {held.count}" if held.kind in ("floor", "ceiling") else ""
    named = f" of {', '.join(held.worker_ids)}" if held.worker_ids else ""
    why = f" ({held.reason})" if held.reason else ""
    return f"{held.kind}{counted}{named} by {held.owner}{why}, {lasting(held.remaining_seconds)} more; id {held.id}"


def _provider(provider: "ProviderStanding") -> str:
    rests = ""
    if provider.failures and provider.seconds_since_failure is not None:
        ago = lasting(provider.seconds_since_failure)
        rests = f"; {counted(provider.failures, 'failure')} in a row, the last {ago} ago: {provider.detail}"
    return f"{provider.block}: {provider.workers} of at most {provider.max_workers}{rests}"


def _tables(fleet: "Standing") -> Iterable[RenderableType]:
    if not fleet.workers:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for name in ("  worker", "provider", "state", "since", "address", "work", "USD/h", ""):
        table.add_column(
            name, overflow="fold" if name in ("", "address") else "ellipsis", no_wrap=name not in ("", "address")
        )
    for worker in fleet.workers:
        table.add_row(*(f"{cell}" for cell in _row(worker)))
    yield table


def _row(worker: "WorkerStanding") -> Iterable[str]:
    colour = COLOURS.get(worker.state, "default")
    work = {True: "busy", False: f"idle {lasting(worker.idle_seconds or 0.0)}", None: "?"}[worker.busy]
    yield f"  {escape(worker.id)}"
    yield escape(worker.provider or "?")
    yield f"[{colour}]{worker.state}[/{colour}]"
    yield lasting(worker.state_seconds)
    yield escape(worker.address or "-")
    yield work
    yield "?" if worker.usd_per_hour is None else f"{worker.usd_per_hour:g}"
    yield escape(worker.note)


def lasting(seconds: float) -> str:
    """A duration in a few characters: `45s`, `12m`, `3h05m`, `2d04h`."""
    whole = int(seconds)
    if whole < 100:
        return f"{whole}s"
    if whole < 6000:
        return f"{whole // 60}m"
    if whole < 172_800:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86_400}d{whole % 86_400 // 3600:02d}h"
