"""`ebbflow advise`: what a fleet pays, how long its users wait, and what another setting would do, by its own past."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ebbflow.cli.check import read
from ebbflow.cli.check_past import past_seconds
from ebbflow.cli.folders import PREFECT_FILE, inside
from ebbflow.cli.speaking import FINE, NOT_RIGHT, REFUSED, USAGE, answer, console, end, run, say
from ebbflow.core.text import counted

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from ebbflow.fleet.deployed import Checked, DeployedFleet
    from ebbflow.fleet.model import Fleet
    from ebbflow.flows.advising import Asked
    from ebbflow.simulation.advice_told import AdviceTold

PAST, SERVICE_SECONDS, PLAYS, SETTINGS, LIMIT_SECONDS = "7d", 20.0, 3, 24, 300.0


def advise(
    fleet: Annotated[
        str | None,
        typer.Argument(
            metavar="FLEET|FILE",
            help="Its name, which may be left out where there is one, or its file or folder, which then is what is to "
            "be changed.",
        ),
    ] = None,
    past: Annotated[str, typer.Option(metavar="AGE", help="How far back its past is read.")] = PAST,
    waiting_worth: Annotated[
        float | None,
        typer.Option(
            metavar="K",
            min=0,
            max=1000,
            help="An hour of a user's waiting is worth so many worker-hours; left out: the policy's own number, or 1.",
        ),
    ] = None,
    wait_p95_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S",
            min=0.001,
            max=86_400,
            help="Instead of that: the least cost at which 95 of 100 requests wait less than this.",
        ),
    ] = None,
    service_seconds: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0.001,
            max=86_400,
            help="Work of one request, where its master does not count what it serves.",
        ),
    ] = SERVICE_SECONDS,
    name: Annotated[
        str | None, typer.Option("--fleet", metavar="NAME", help="Which fleet of a file that has several.")
    ] = None,
    plays: Annotated[int, typer.Option(min=1, max=20, help="Of each setting, with other luck at launches.")] = PLAYS,
    settings: Annotated[int, typer.Option(min=1, max=100, help="At most so many are played.")] = SETTINGS,
    limit_seconds: Annotated[
        float, typer.Option(min=0, max=21_600, help="No play begins later; what was left out is told.")
    ] = LIMIT_SECONDS,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw cost against wait, as SVG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """Play a fleet, its neighbours and other policies on what came in its past, and advise one of them.

    Tells what is paid now, how long users wait, what each other setting would cost and how long they would wait then,
    how sure that is, and the change of the fleet's file as a diff. Nothing is changed anywhere.
    """
    if waiting_worth is not None and wait_p95_seconds is not None:
        end(USAGE, "--waiting-worth and --wait-p95-seconds exclude each other: each says what is wanted")
    seconds = past_seconds(past)
    path = _file_of(fleet)
    if name is not None and path is None:
        end(USAGE, "--fleet says which fleet of a file: name the file too, or the fleet alone")
    drawn = None if plot is None else plot.absolute()

    with inside(path) if path is not None else nullcontext(Path()) as entered:
        text = _read(entered, name) if path is not None else ""

        async def look() -> "AdviceTold":
            from ebbflow.core.errors import RecordError
            from ebbflow.flows.advising import Asked

            asked = Asked(
                past_seconds=seconds,
                waiting_worth=waiting_worth,
                wait_p95_seconds=wait_p95_seconds,
                plays=plays,
                settings=settings,
                limit_seconds=limit_seconds,
                service_seconds=service_seconds,
            )
            try:
                with _progress() as progress:
                    if path is None:
                        return await _of_server(fleet, asked, progress)
                    return await _of_file(entered, text, name, asked, progress)
            except RecordError as error:
                end(NOT_RIGHT, str(error))

        told = run(look)
    if drawn is not None:
        _draw(told, drawn)
    if as_json:
        answer(asdict(told))
    else:
        _show(told)
    end(NOT_RIGHT if told.missing else FINE)


def _file_of(given: str | None) -> Path | None:
    """The file or folder that a person means; None: a fleet's name."""
    if given is None:
        return None
    path = Path(given)
    is_folder = (path / PREFECT_FILE).exists()
    return path if path.suffix in (".yaml", ".yml") or os.sep in given or is_folder else None


def _read(path: Path, name: str | None) -> str:
    """The text of the file; ends the command where it is wrong for any server, or has not the fleet that is meant."""
    from ebbflow.fleet.deployed import check_file

    text = read(path)
    checked = check_file(text, environment=os.environ, variables=None)
    if checked.problems or not checked.unread:
        _meant(path, checked, name)
    return text


def _meant(path: Path, checked: "Checked", name: str | None) -> "DeployedFleet":
    """The deployment that holds the fleet that is meant; ends the command where there is none."""
    from ebbflow.turn.standing import chosen

    if checked.problems:
        end(REFUSED, "\n".join(f"{path}: {problem}" for problem in checked.problems))
    whole = {each.fleet.name: each for each in checked.fleets if each.deployment.startswith("autoscale/")}
    try:
        return whole[chosen(sorted(whole), name)]
    except ValueError as error:
        end(USAGE, f"{path}: {error}{'; --fleet NAME says which' if len(whole) > 1 else ''}")


@contextmanager
def _progress() -> "Iterator[Callable[[str], None]]":
    """Says at a terminal how far it is."""
    if not sys.stderr.isatty():
        yield lambda said: None
        return
    with Console(stderr=True).status("reading its past") as status:
        yield lambda said: status.update(f"played {escape(said)}")


async def _of_server(name: str | None, asked: "Asked", progress: "Callable[[str], None]") -> "AdviceTold":
    """Of a fleet by its name: as it is deployed, or as it was recorded last."""
    from ebbflow.cli.serving import connected
    from ebbflow.flows.advising import advise_on
    from ebbflow.flows.ledger import PrefectLedger
    from ebbflow.flows.past_check import deployed_or_recorded
    from ebbflow.flows.standings import deployed_fleets, fleet_names
    from ebbflow.turn.standing import chosen

    async with connected() as client:
        try:
            meant = chosen(await fleet_names(client), name)
        except ValueError as error:
            end(USAGE, str(error))
        ledger = PrefectLedger(client)
        fleet, note = await deployed_or_recorded(ledger, meant, (await deployed_fleets(client)).get(meant, ()))
        return await advise_on(ledger, fleet, asked, say=progress, note=note)


async def _of_file(
    path: Path, text: str, name: str | None, asked: "Asked", progress: "Callable[[str], None]"
) -> "AdviceTold":
    """Of a fleet as its file has it."""
    from ebbflow.cli.serving import connected
    from ebbflow.fleet.deployed import check_file
    from ebbflow.fleet.file_change import FleetFile
    from ebbflow.flows.advising import advise_on
    from ebbflow.flows.ledger import PrefectLedger
    from ebbflow.flows.preflight import variables_of

    async with connected() as client:
        variables = await variables_of(client)
        deployed = _meant(path, check_file(text, environment=os.environ, variables=variables), name)
        file = FleetFile(path.name, text, deployed, os.environ, variables)
        note = await _note_on(client, deployed.fleet)
        return await advise_on(PrefectLedger(client), deployed.fleet, asked, say=progress, file=file, note=note)


async def _note_on(client: "PrefectClient", fleet: "Fleet") -> str:
    """What a person has to know where the file is not what is deployed."""
    from ebbflow.flows.standings import deployed_fleets

    deployed = (await deployed_fleets(client, flow="autoscale")).get(fleet.name, ())
    if not deployed:
        return "no turn of it is deployed: `as it is` is the fleet of the file"
    if all(each.fleet != fleet for each in deployed):
        return "the file has another fleet than the one that is deployed: `as it is` is the fleet of the file"
    return ""


def _draw(told: "AdviceTold", plot: Path) -> None:
    from ebbflow.simulation.advice_table import picture

    try:
        plot.write_text(picture(told), encoding="utf-8")
    except OSError as error:
        end(NOT_RIGHT, f"{plot} cannot be written: {error.strerror or error}")


def _show(told: "AdviceTold") -> None:
    from ebbflow.simulation.advice_table import table
    from ebbflow.simulation.advice_words import CHANGE, OTHERS, answers, verdict
    from ebbflow.turn.moments import moment

    out = console()
    span = f"{moment(told.since_at)} to {moment(told.until_at)}, {counted(told.records, 'turn')}"
    out.print(f"[bold]{escape(told.fleet)}[/bold], {span}\n\n{escape(verdict(told))}", soft_wrap=True)
    for question, sentences in answers(told):
        out.print(f"\n[bold]{question}[/bold]")
        for each in sentences:
            out.print(f"  {escape(each)}", soft_wrap=True)
        if question == OTHERS:
            head, rows = table(told)
            shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
            for place, column in enumerate(head):
                shown.add_column(column, justify="left" if place == 1 else "right")
            for row in rows:
                shown.add_row(*(escape(cell) for cell in row))
            out.print(shown)
        if question == CHANGE and told.diff:
            say(f"\n{told.diff}")
