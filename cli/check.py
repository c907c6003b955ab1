"""`ebbflow check`: everything about a fleet that can be known before it is deployed."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ebbflow.cli.check_past import FAIL_ABOVE_PERCENT, meanwhile, past_seconds, past_shown, past_verdict
from ebbflow.cli.folders import SERVICES_FILE, inside
from ebbflow.cli.speaking import FINE, NOT_RIGHT, USAGE, answer, console, end, run
from ebbflow.core.text import counted, one_line

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from ebbflow.cli.services import Service
    from ebbflow.fleet.deployed import Checked
    from ebbflow.fleet.model import Fleet
    from ebbflow.flows.past_check import PastTold

MARKS = {"fine": "[green]ok[/green]     ", "to make": "[yellow]to make[/yellow]", "wrong": "[red]wrong[/red]  "}
MOST_BYTES = 4 * 1024**2
"""Of a file of fleets; more is something else."""

Row = tuple[str, str, str, int | None]
"""Level, what was looked at, what was found, and its line."""


def check(
    file: Annotated[Path, typer.Argument(help="The fleet's file, or its folder.")] = Path("prefect.yaml"),
    offline: Annotated[bool, typer.Option("--offline", help="Read the file alone; ask no server.")] = False,
    turn: Annotated[bool, typer.Option("--turn", help="Play one dry turn here, and print what it would do.")] = False,
    past: Annotated[
        str | None,
        typer.Option(metavar="AGE", help="Compare with the deployed fleet on what came in so long, such as 24h."),
    ] = None,
    fail_above: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT",
            min=0,
            max=1_000_000,
            help=f"With --past: code 1 above so many percent of worker-hours, more or fewer ({FAIL_ABOVE_PERCENT:g}).",
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one object: findings, and whether all is right.")
    ] = False,
) -> None:
    """Check a fleet before it is deployed: its file, its limits, its blocks, its master, the work pool, the server.

    What is only to be made yet is named as such, with the command, and is no fault. Nothing is changed anywhere.
    """
    if offline and (turn or past is not None):
        name = "--turn" if turn else "--past"
        end(USAGE, f"{name} needs a Prefect server, and --offline asks none: leave one of them out")
    if fail_above is not None and past is None:
        end(USAGE, "--fail-above says what is too much of a difference from the past: --past AGE belongs to it")
    gate = None if past is None else (past_seconds(past), FAIL_ABOVE_PERCENT if fail_above is None else fail_above)
    pasts: list[PastTold] = []
    turns: list[str] = []
    with inside(file) as path:
        text = read(path)
        if offline:
            rows = list(_offline_rows(text, path))
        else:
            rows, turns = run(lambda: _online(text, path, with_turn=turn, gate=gate, pasts=pasts))
    is_right = all(level != "wrong" for level, *_ in rows)
    if as_json:
        findings = [dict(zip(("level", "what", "text", "line"), row, strict=True)) for row in rows]
        told = [asdict(each) for each in pasts]
        answer({"file": str(path), "is_right": is_right, "findings": findings, "turns": turns, "pasts": told})
    else:
        out = console()
        for level, what, said, line in rows:
            where = f"line {line}: " if line is not None else ""
            out.print(f"{MARKS[level]} {escape(what)}: {where}{escape(said)}", soft_wrap=True)
        for said in turns:
            out.print(f"\n{escape(said)}", soft_wrap=True)
        for each in pasts:
            for shown in past_shown(each):
                out.print(shown, soft_wrap=True)
    end(FINE if is_right else NOT_RIGHT)


def read(path: Path, *, what: str = "the fleet's file") -> str:
    """The text of a file of a fleet; ends the command where it is none."""
    try:
        if path.stat().st_size > MOST_BYTES:
            end(USAGE, f"{path} is larger than {MOST_BYTES // 1024**2} MB: a file of fleets would be right")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        end(USAGE, f"{path} is not there: name {what}")
    except (OSError, UnicodeDecodeError) as error:
        end(USAGE, f"{path} cannot be read as text: {one_line(error)}")


def _offline_rows(text: str, path: Path) -> Iterable[Row]:
    from ebbflow.fleet.deployed import check_file

    yield from _rows_of(check_file(text, environment=os.environ, variables=None), path)
    if (services := path.with_name(SERVICES_FILE)).exists():
        from ebbflow.cli.services import declared
        from ebbflow.core.errors import ConfigError

        try:
            declared(path.parent)
        except ConfigError as error:
            yield "wrong", str(services), one_line(error, 1000), None


def _rows_of(checked: "Checked", path: Path) -> Iterable[Row]:
    for problem in checked.problems:
        yield "wrong", str(path), one_line(problem.text, 1000), problem.line
    fleets: dict[str, list[str]] = {}
    for deployed in checked.fleets:
        fleets.setdefault(deployed.fleet.name, []).append(deployed.deployment)
    for name, deployments in fleets.items():
        yield "fine", str(path), f"fleet {name!r} is written as it should be ({', '.join(deployments)})", None
    for name in checked.unread:
        said = f"{name} holds Prefect variables, which the server has: it is read whole without --offline"
        yield "fine", str(path), said, None
    if not (checked.fleets or checked.problems or checked.unread):
        yield (
            "wrong",
            str(path),
            "it deploys no flow of ebbflow: an entrypoint such as ebbflow.flows.autoscale.autoscale",
            None,
        )


async def _online(
    text: str, path: Path, *, with_turn: bool, gate: tuple[float, float] | None, pasts: "list[PastTold]"
) -> tuple[list[Row], list[str]]:
    from ebbflow.cli.local import Local
    from ebbflow.cli.serving import connected
    from ebbflow.core.errors import FleetError
    from ebbflow.fleet.deployed import check_file
    from ebbflow.flows.preflight import Finding, Level, dry_turn, fleet_findings, pool_finding, variables_of
    from ebbflow.flows.serving import version_finding

    turns: list[str] = []
    file_rows = list(_offline_rows(text, path))
    if any(level == "wrong" for level, *_ in file_rows):
        # What is wrong for any server is told without one.
        return file_rows, turns
    rows_of_blocks, written = _blocks_rows(path.with_name("blocks.yaml"))
    if missing := await Local.of(path.parent.resolve()).missing():
        missing_rows = [await _missing_row(each) for each in missing]
        if with_turn or gate is not None:
            end(NOT_RIGHT, "\n".join(f"{what} {said}" for _, what, said, _ in missing_rows))
        return [*file_rows, *rows_of_blocks, *missing_rows], turns
    async with connected() as client:
        checked = check_file(text, environment=os.environ, variables=await variables_of(client))
        rows = [*_rows_of(checked, path), *rows_of_blocks]
        findings: list[Finding] = [await version_finding(client)]
        findings += [
            await pool_finding(client, pool) for pool in sorted({each.work_pool for each in checked.fleets} - {""})
        ]
        fleets = tuple({each.fleet.name: each.fleet for each in checked.fleets}.values())
        for fleet in fleets:
            found = await fleet_findings(client, fleet, written)
            findings += found
            if with_turn and all(each.level is Level.FINE for each in found):
                try:
                    turns.append(f"{fleet.name}, one dry turn:\n\n{await dry_turn(client, fleet)}")
                except FleetError as error:
                    findings.append(Finding(Level.WRONG, f"fleet {fleet.name!r}", f"a dry turn is refused: {error}"))
        past_rows = await _past_rows(client, fleets, gate, pasts) if gate is not None else []
    return [*rows, *((each.level.value, each.what, each.text, each.line) for each in findings), *past_rows], turns


async def _past_rows(
    client: "PrefectClient", fleets: "Sequence[Fleet]", gate: tuple[float, float], pasts: "list[PastTold]"
) -> list[Row]:
    """Whether each fleet passes; what was compared goes to `pasts`."""
    from ebbflow.core.errors import FleetError
    from ebbflow.flows.past_check import check_past

    rows: list[Row] = []
    seconds, most = gate
    for fleet in fleets:
        what = f"past of {fleet.name!r}"
        try:
            with meanwhile(f"playing the past of {fleet.name}"):
                told = await check_past(client, fleet, seconds=seconds, fail_above_percent=most)
        except FleetError as error:
            rows.append(("wrong", what, one_line(error, 1000), None))
            continue
        pasts.append(told)
        missing = f"; {one_line('; '.join(told.missing), 600)}" if told.missing else ""
        rows.append(("fine" if told.is_right else "wrong", what, f"{past_verdict(told)}{missing}", None))
    return rows


def _blocks_rows(path: Path) -> tuple[list[Row], frozenset[str]]:
    """What is found of a file of blocks, and the blocks that it holds; nothing where there is none."""
    from ebbflow.blocks.from_file import blocks_of
    from ebbflow.core.errors import FleetError

    if not path.exists():
        return [], frozenset()
    try:
        written = frozenset(block.reference for block in blocks_of(read(path), path.parent.resolve()))
    except FleetError as error:
        return [("wrong", str(path), one_line(error, 1000), None)], frozenset()
    return [("fine", str(path), f"{counted(len(written), 'block')}, written as they should be", None)], written


async def _missing_row(service: "Service") -> Row:
    from ebbflow.cli.background import TAKEN, is_taken

    if service.url and await is_taken(service.url):
        return "wrong", service.what, TAKEN, None
    return "to make", service.what, "does not answer yet: `ebbflow up` starts it", None
