"""`ebbflow down`: the end of a fleet, watched until nothing of it is left."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ebbflow.cli.folders import KEPT, PREFECT_FILE
from ebbflow.cli.speaking import FINE, NOT_RIGHT, REFUSED, USAGE, end, run, say, warn

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from ebbflow.cli.local import Local
    from ebbflow.fleet.model import Fleet


def down(
    fleet: Annotated[
        str | None, typer.Argument(help="Its name; may be left out where there is one, or this folder has one.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also who works, at the drain deadline: images are lost.")
    ] = False,
) -> None:
    """End a fleet: its schedules, every worker and warm instance, and its entries at the master; says what is left.

    Also one whose deployment is gone, and the old name of one that was renamed. Interrupted, it is run again. A later
    `ebbflow up --start` begins anew. What `ebbflow up` has started in the background of this folder is ended last, once
    no fleet of its server lives any more.
    """
    # The turns are taken in this process, and what they log is in their runs; what a person has to know is said here.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    with only_one(Path.cwd()):
        run(
            lambda: _down(fleet, force=force),
            interrupted="nothing is lost, and what has begun goes on by the fleet's own turns: `ebbflow status` shows "
            "how far it is, and `ebbflow down`, called again, goes on until nothing is left",
        )


async def _down(asked: str | None, *, force: bool) -> None:
    from ebbflow.cli.local import Local
    from ebbflow.cli.services import SERVER
    from ebbflow.cli.serving import connected

    local = Local.of(Path.cwd())
    if local.background.was_used:
        # A server that was killed or lost in a restart knows which workers there are.
        await _make_sure(local, force=force)
    elif any(service.name == SERVER for service in await local.missing()):
        say("nothing of this folder runs: what `ebbflow up` started was ended, or never started")
        return
    async with connected() as client:
        code = await _end_fleet(client, asked, local, force=force)
        living = await living_on(client, local) if local.background.was_used else ()
    if living:
        lives = "lives" if len(living) == 1 else "live"
        say(f"what runs in the background stays, for {', '.join(living)} {lives} there: `ebbflow down {living[0]}`")
    elif local.background.was_used:
        await local.end()
    if code != FINE:
        end(code)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Keep a second one out: it would ask the server that the first one ends."""
    kept = folder / KEPT
    if not kept.is_dir():
        yield
        return
    with (kept / "down.lock").open("w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            end(REFUSED, "another `ebbflow down` is at work in this folder: wait for its end")
        yield


async def _make_sure(local: "Local", *, force: bool) -> None:
    """Have the servers answer; where that cannot be, end what runs by force, or say how."""
    from ebbflow.cli.background import NotStartedError

    try:
        await local.make_sure_of_servers()
    except NotStartedError as error:
        if force:
            await local.end()
            end(NOT_RIGHT, f"{error}\nwhat ran in the background is ended; workers end by themselves, unheard")
        running = ", ".join(await local.background.named()) or "nothing"
        hint = f"still in the background: {running}; `ebbflow down --force` ends that without ending the fleet first"
        end(NOT_RIGHT, f"{error}\n{hint}")


async def _end_fleet(client: "PrefectClient", asked: str | None, local: "Local", *, force: bool) -> int:
    from ebbflow.flows.alerts import remove_alerts
    from ebbflow.flows.ending import fleet_to_end, wind_down
    from ebbflow.flows.standings import standings
    from ebbflow.turn.standing import chosen

    names = [each.name for each in await standings(client)]
    if local.background.was_used and asked is None and not names:
        say("no fleet was deployed here")
        return FINE
    try:
        name = chosen(names, asked or _fleet_here(names))
    except ValueError as error:
        end(USAGE, str(error))
    fleet = await fleet_to_end(client, name)
    say(f"fleet {name!r} ends; a turn every {fleet.interval_seconds / 2 + 1:g} s, until nothing is left")
    left = await wind_down(client, fleet, force=force, tell=lambda left: say(f"{name}: {left}"))
    for alert in await remove_alerts(client, name):
        say(f"alert {alert!r} is removed")
    if stays := await _what_stays(client, fleet, is_kept_here=local.has_the_server):
        say(stays)
    if not left.is_nothing:
        warn(f"no worker of {name!r} exists any more; what {fleet.master} has of it is known once it answers")
        return NOT_RIGHT
    return FINE


async def _what_stays(client: "PrefectClient", fleet: "Fleet", *, is_kept_here: bool) -> str:
    """What the server keeps of a fleet that has ended, and how a person removes it; empty: no deployment of it.

    Args:
        client: of the server.
        fleet: which.
        is_kept_here: the server is the folder's own, and ends with its fleets.
    """
    from ebbflow.flows.standings import deployed_fleets

    deployed = (await deployed_fleets(client)).get(fleet.name, ())
    names = [f"{each.flow.replace('_', '-')}/{each.response.name}" for each in deployed]
    if not names:
        return ""
    blocks = dict.fromkeys([fleet.master, *(entry.block for entry in fleet.providers)])
    pools = sorted({each.response.work_pool_name for each in deployed if each.response.work_pool_name})
    kept = f"deployments {', '.join(names)}; blocks {', '.join(blocks)}; work pool {', '.join(pools) or 'none'}"
    if is_kept_here:
        return (
            f"what stays, for a later `ebbflow up --start`: {kept}; all of it is in {KEPT}, and goes with that folder"
        )
    return (
        f"what stays, for a later `ebbflow up --start`: {kept}; `prefect deployment delete NAME`, `prefect block "
        "delete NAME` and `prefect work-pool delete NAME` remove what no other fleet needs"
    )


def _fleet_here(names: Sequence[str]) -> str | None:
    """The one of these fleets that this folder's file deploys; None: none or several, or it cannot be read."""
    from ebbflow.fleet.deployed import check_file

    with suppress(OSError, UnicodeDecodeError):
        text = Path(PREFECT_FILE).read_text(encoding="utf-8")
        here = {each.fleet.name for each in check_file(text, environment=os.environ, variables=None).fleets}
        if len(known := sorted(here.intersection(names))) == 1:
            return known[0]
    return None


async def living_on(client: "PrefectClient", local: "Local") -> tuple[str, ...]:
    """Fleets whose turns come by themselves, and by what a folder runs: by its Prefect server, or in its work pool."""
    from ebbflow.flows.standings import deployed_fleets

    pools = {local.asked.prefect_worker} - {None}
    fleets = await deployed_fleets(client)
    return tuple(
        sorted(
            name
            for name, deployed in fleets.items()
            if any(
                schedule.active
                for each in deployed
                if local.has_the_server or each.response.work_pool_name in pools
                for schedule in each.response.schedules
            )
        )
    )
