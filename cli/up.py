"""`ebbflow up`: a fleet's blocks, work pool and deployments, made as its folder says; made again, they are the same."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import typer

from ebbflow.cli.check import read
from ebbflow.cli.folders import inside
from ebbflow.cli.speaking import FINE, NOT_RIGHT, REFUSED, end, run, say, warn
from ebbflow.core.errors import ConfigError, FleetError
from ebbflow.core.text import one_line

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

    from ebbflow.blocks.from_file import WrittenBlock
    from ebbflow.fleet.deployed import Checked, DeployedFleet


def up(
    file: Annotated[
        Path, typer.Argument(help="The fleet's file, or its folder; a blocks.yaml beside it is saved with it.")
    ] = Path("prefect.yaml"),
    start: Annotated[bool, typer.Option("--start", help="Switch its schedule on.")] = False,
    runner: Annotated[
        bool | None,
        typer.Option(
            "--runner/--no-runner",
            help="Whether its turns go through `ebbflow runner`. They do where the folder's services.yaml asks for a "
            "worker. A command that the file names is kept.",
            show_default=False,
        ),
    ] = None,
    alerts: Annotated[
        bool, typer.Option("--alerts", help="Make Prefect automations for what a person should hear of.")
    ] = False,
) -> None:
    """Save a fleet's blocks, make its work pool, deploy it; its schedule stays off until --start.

    A schedule that is on stays on. What is missing besides is started where the folder's services.yaml asks for it, and
    named with the command that starts it where not.
    """
    # A turn may be taken in this process, and what it logs is in its run.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    with inside(file) as path:
        text = read(path)
        blocks = path.with_name("blocks.yaml")
        missing = run(
            lambda: _up(
                path, text, read(blocks) if blocks.exists() else None, start=start, runner=runner, alerts=alerts
            ),
            interrupted="what was started runs on: `ebbflow up` goes on from here, `ebbflow down` ends it",
        )
    for said in missing:
        warn(said)
    # Before it is to live, what is still missing is no fault.
    end(NOT_RIGHT if missing and start else FINE)


async def _up(
    path: Path, text: str, blocks: str | None, *, start: bool, runner: bool | None, alerts: bool
) -> Sequence[str]:
    """Make everything, and say each step; what is missing for turns to come."""
    from ebbflow.blocks.from_file import register_types
    from ebbflow.cli.local import Local
    from ebbflow.cli.serving import connected
    from ebbflow.flows.deploying import make_pool
    from ebbflow.flows.preflight import Level, pool_finding

    written = _refuse_what_is_wrong(path, text, blocks)
    local = Local.of(path.parent.resolve())
    by_runner = local.asked.prefect_worker is not None if runner is None else runner
    await local.make_sure_of_servers()
    async with connected() as client:
        checked = await _read(client, path, text)
        await register_types(client)
        for block in written:
            await block.save(client)
            say(f"block {block.reference} is saved")
        await _refuse_misfits(client, checked.fleets)
        pools = sorted({each.work_pool for each in checked.fleets} - {""})
        for pool in pools:
            say(f"work pool {pool} {'is made' if await make_pool(client, pool) else 'is there'}")
        await local.make_sure_of_worker(client, by_runner=by_runner)
        async with _schedules_kept(client, checked.fleets, start=start) as on:
            await _deploy(client, path, text, checked.fleets, start=start, runs_by=local.run_turn if by_runner else "")
        say(f"deployed: {', '.join(on)}")
        for name in sorted(name for name, keys in on.items() if keys):
            say(f"the schedule of {name} is on")
        await _alert(client, checked.fleets, create=alerts)
        findings = [await pool_finding(client, pool) for pool in pools]
        _say_what_is_next(client, are_on=any(on.values()))
    return [f"{each.what} {each.text}" for each in findings if each.level is not Level.FINE]


def _refuse_what_is_wrong(path: Path, text: str, blocks: str | None) -> "Sequence[WrittenBlock]":
    """The blocks; ends where one of the files is wrong for any server, before anything is started."""
    from ebbflow.blocks.from_file import blocks_of
    from ebbflow.fleet.deployed import check_file

    checked = check_file(text, environment=os.environ, variables=None)
    if checked.problems:
        end(REFUSED, "\n".join(f"{path}: {problem}" for problem in checked.problems))
    try:
        return blocks_of(blocks, path.parent.resolve()) if blocks is not None else ()
    except ConfigError as error:
        end(REFUSED, f"{path.with_name('blocks.yaml')}: {error}")


async def _read(client: "PrefectClient", path: Path, text: str) -> "Checked":
    """The fleets, with what the server's variables hold; ends where that is wrong, before anything is made."""
    from ebbflow.fleet.deployed import check_file
    from ebbflow.flows.preflight import variables_of

    checked = check_file(text, environment=os.environ, variables=await variables_of(client))
    if checked.problems:
        end(REFUSED, "\n".join(f"{path}: {problem}" for problem in checked.problems))
    if not checked.fleets:
        end(REFUSED, f"{path} deploys no flow of ebbflow, and nothing was done")
    return checked


async def _refuse_misfits(client: "PrefectClient", fleets: "Sequence[DeployedFleet]") -> None:
    """End where a fleet does not go with its blocks: each of its turns would fail."""
    from ebbflow.flows.preflight import misfit

    told = {each.fleet.name: each.fleet for each in fleets}
    found = [f"fleet {name!r}: {said}" for name, fleet in told.items() if (said := await misfit(client, fleet))]
    if found:
        end(NOT_RIGHT, "\n".join([*found, "nothing was deployed"]))


@asynccontextmanager
async def _schedules_kept(
    client: "PrefectClient", fleets: "Sequence[DeployedFleet]", *, start: bool
) -> "AsyncIterator[dict[str, frozenset[str]]]":
    """Put the schedules on again that are on now, whatever happens; with `start`, all that the file has, once done."""
    from ebbflow.flows.deploying import active_schedules, switch_schedules

    on = await active_schedules(client, [each.deployment for each in fleets])
    try:
        yield on
        if start:
            on.update({each.deployment: on[each.deployment] | set(each.schedules) for each in fleets})
    finally:
        # A fleet that lives goes on, whatever came of this.
        with anyio.CancelScope(shield=True):
            await switch_schedules(client, on)


async def _deploy(
    client: "PrefectClient",
    path: Path,
    text: str,
    fleets: "Sequence[DeployedFleet]",
    *,
    start: bool,
    runs_by: str,
) -> None:
    from ebbflow.cli.deploying import deploy
    from ebbflow.flows.ending import begin_again

    try:
        await deploy(path, text, {each.index for each in fleets}, runs_by=runs_by)
        for fleet in {each.fleet.name: each.fleet for each in fleets}.values():
            if start and await begin_again(client, fleet):
                say(f"fleet {fleet.name!r} is no longer wound down")
    except FleetError as error:
        # Not a refusal: blocks and pool are made by now.
        end(NOT_RIGHT, str(error))


async def _alert(client: "PrefectClient", fleets: "Sequence[DeployedFleet]", *, create: bool) -> None:
    """Make the fleets' alerts where that is asked for; those that are there are kept right in any case."""
    from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError

    from ebbflow.flows.alerts import make_alerts

    for each in fleets:
        if not each.deployment.startswith("autoscale/"):
            continue
        try:
            deployment = await client.read_deployment_by_name(each.deployment)
            for said in await make_alerts(client, each.fleet, deployment.id, create=create):
                say(said)
        except (ObjectNotFound, PrefectHTTPStatusError) as error:
            # A server without automations is one; the fleet is deployed all the same.
            if create:
                end(NOT_RIGHT, f"the alerts of {each.fleet.name!r} cannot be made: {one_line(error)}")


def _say_what_is_next(client: "PrefectClient", *, are_on: bool) -> None:
    from prefect.settings import get_current_settings

    page = get_current_settings().ui_url or str(client.api_url).removesuffix("/").removesuffix("/api")
    if are_on:
        say(f"look at it: `ebbflow status --watch`, or {page}")
    else:
        say(
            "no turn comes yet: `ebbflow check --turn` plays one that changes nothing, `ebbflow up --start` lets the "
            "fleet live"
        )
