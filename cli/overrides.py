"""`ebbflow scale`, `pause`, `resume`, `pin`, `unpin`, `override end`: a person's word over a fleet, by its flows."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ebbflow.cli.speaking import NOT_RIGHT, REFUSED, USAGE, end, run, say

if TYPE_CHECKING:
    from ebbflow.flows.asking import Answer
    from ebbflow.turn.standing import OverrideStanding, Standing

FleetName = Annotated[str | None, typer.Option("--fleet", "-f", help="Its name; may be left out where there is one.")]
Reason = Annotated[str, typer.Option(help="Why; it stands in every record while it holds.")]
Hold = Annotated[str, typer.Option("--for", metavar="TIME", help="For how long: 45s, 30m, 8h or 2d.")]
Force = Annotated[bool, typer.Option("--force", help="Also while busy, at the drain deadline: images are lost.")]

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
WAIT_SECONDS = 120.0
"""For the run to be over: longer than a turn's budget and the start of its process."""


def scale(
    to: Annotated[str, typer.Argument(metavar="[+|-]N", help="+2: two more. -1: one fewer. 5: exactly five.")],
    fleet: FleetName = None,
    hold: Hold = "1h",
    reason: Reason = "",
    force: Force = False,
) -> None:
    """Hold a fleet at more workers, fewer, or exactly so many, for a while."""
    found = re.fullmatch(r"([+-]?)(\d{1,4})", to)
    if found is None or (found[1] and not int(found[2])):
        end(USAGE, f"{to!r} is no number of workers: +2, -1 or 5 would be right")
    sign, count = found[1], int(found[2])
    held: dict[str, Any] = {"hold_seconds": seconds_of(hold), "reason": reason}
    if sign == "+":
        _ask(fleet, [("scale_up", {"count": count, **held})])
    elif sign == "-":
        _ask(fleet, [("scale_down", {"count": count, "force": force, **held})])
    else:
        floor = {"kind": "floor", "count": count, **held}
        _ask(fleet, [("override", floor), ("override", {**floor, "kind": "ceiling", "force": force})])


def pause(fleet: FleetName = None, hold: Hold = "1h", reason: Reason = "") -> None:
    """Launch nothing and take nobody out, for a while; what was begun is finished, and workers are kept alive."""
    _ask(fleet, [("override", {"kind": "pause", "hold_seconds": seconds_of(hold), "reason": reason})])


def resume(fleet: FleetName = None) -> None:
    """End every pause of a fleet; other overrides hold on."""
    _end(fleet, lambda held: held.kind == "pause", "is not paused")


def pin(
    workers: Annotated[list[str], typer.Argument(metavar="WORKER...", help="Ids of workers.")],
    fleet: FleetName = None,
    hold: Hold = "1h",
    reason: Reason = "",
) -> None:
    """Never remove these workers, for a while."""
    held = {"kind": "pin", "worker_ids": workers, "hold_seconds": seconds_of(hold), "reason": reason}
    _ask(fleet, [("override", held)])


def unpin(
    workers: Annotated[
        list[str] | None, typer.Argument(metavar="[WORKER...]", help="Ids of workers; all that are pinned if left out.")
    ] = None,
    fleet: FleetName = None,
) -> None:
    """End the pins of a fleet, or those that name no other workers than these."""
    named = set(workers or ())
    _end(
        fleet,
        lambda held: held.kind == "pin" and (not named or set(held.worker_ids) <= named),
        f"has no pin of {', '.join(sorted(named)) or 'anybody'} alone; `ebbflow status` shows them, and "
        "`ebbflow override end ID` ends one",
    )


def end_one(
    override_id: Annotated[str, typer.Argument(metavar="ID", help="As `ebbflow status` shows it, or its beginning.")],
    fleet: FleetName = None,
) -> None:
    """End one override of a fleet; the others hold on."""
    from ebbflow.turn.standing import meant_by

    found = run(partial(_standing, fleet))
    try:
        meant = meant_by(override_id, [held.id for held in found.overrides])
    except ValueError as error:
        end(USAGE, str(error))
    if meant is None:
        end(REFUSED, f"fleet {found.name!r} is held by no override {override_id!r}")
    _ask(found.name, [("override", {"kind": "end", "override_ids": [meant]})])


def seconds_of(text: str, option: str = "--for") -> float:
    """A duration as people write it: `45s`, `30m`, `8h`, `2d`; a bare number is seconds."""
    found = re.fullmatch(r"(\d{1,7})\s*([smhd]?)", text.strip())
    seconds = float(found[1]) * UNITS[found[2] or "s"] if found is not None else 0.0
    if not 0 < seconds <= 7 * UNITS["d"]:
        end(USAGE, f"{option} {text!r}: 45s, 30m, 8h or 2d would be right; a week at most")
    return seconds


def _end(fleet: str | None, is_meant: Callable[["OverrideStanding"], bool], otherwise: str) -> None:
    async def find() -> tuple[str, Sequence["OverrideStanding"]]:
        found = await _standing(fleet)
        return found.name, [held for held in found.overrides if is_meant(held)]

    name, held = run(find)
    if not held:
        end(REFUSED, f"fleet {name!r} {otherwise}")
    _ask(name, [("override", {"kind": "end", "override_ids": [each.id for each in held]})])


async def _standing(fleet: str | None) -> "Standing":
    from ebbflow.cli.serving import connected
    from ebbflow.flows.standings import standings
    from ebbflow.turn.standing import chosen

    async with connected() as client:
        found = {each.name: each for each in await standings(client)}
    try:
        return found[chosen(list(found), fleet)]
    except ValueError as error:
        end(USAGE, str(error))


def _ask(fleet: str | None, requests: Sequence[tuple[str, dict[str, Any]]]) -> None:
    """Start the flows of a fleet's deployments, one after the other, and wait for each."""
    for flow, parameters in requests:
        ended = run(
            partial(_asked, fleet, flow, parameters),
            interrupted="what was asked for goes on: `ebbflow status` shows it, `ebbflow override end ID` ends it",
        )
        if ended.is_refused:
            end(REFUSED, ended.text)
        if not ended.is_over:
            end(NOT_RIGHT, ended.text)
        say(ended.text)


async def _asked(fleet: str | None, flow: str, parameters: dict[str, Any]) -> "Answer":
    from ebbflow.cli.serving import connected
    from ebbflow.flows.asking import ask_deployment

    async with connected() as client:
        try:
            return await ask_deployment(client, fleet, flow, parameters, wait_seconds=WAIT_SECONDS)
        except ValueError as error:
            # What a person meant is told plainly; a kind of its own is somebody else's error.
            if type(error) is not ValueError:
                raise
            end(USAGE, str(error))
