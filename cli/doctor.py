"""`ebbflow doctor`: what is installed, what answers, and what of it is not as it should be."""

import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ebbflow.cli.speaking import FINE, NOT_RIGHT, USAGE, answer, console, end, run
from ebbflow.core.text import one_line, without_user
from ebbflow.turn.diagnosis import Diagnosis, Grade

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

MARKS = {Grade.OK: "[green]ok[/green]    ", Grade.LOOK: "[yellow]look[/yellow]  ", Grade.WRONG: "[red]wrong[/red] "}
COMMANDS = {"slurm-provider": ("sbatch", "squeue", "scancel", "scontrol"), "kubernetes-provider": ()}
"""What a provider calls on the host where turns run, by the type of its block."""
HELLO_SECONDS = 10.0
ASKING_SECONDS = 300.0
"""For everything that is asked: a master, and each provider, have limits of their own."""


def doctor(
    fleet: Annotated[str | None, typer.Argument(help="Its name; all fleets where it is left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one object.")] = False,
) -> None:
    """Look at everything that fleets need: what is installed, what answers, clocks, database, and what was left behind.

    Each line is ok, look (it may be meant so) or wrong, with what it means and what to do. Nothing is changed anywhere.
    """
    found = run(lambda: _look(fleet))
    is_right = all(each.grade is not Grade.WRONG for each in found)
    if as_json:
        rows = [{"grade": each.grade.value, "what": each.what, "text": each.text, "cure": each.cure} for each in found]
        answer({"is_right": is_right, "findings": rows})
    else:
        out = console()
        for line in shown(found):
            out.print(line, soft_wrap=True)
    end(FINE if is_right else NOT_RIGHT)


def shown(found: Iterable[Diagnosis]) -> Iterator[str]:
    """The findings, as a person reads them."""
    for each in found:
        yield f"{MARKS[each.grade]} {escape(each.what)}: {escape(one_line(each.text, 1000))}"
        if each.cure:
            yield f"       -> {escape(one_line(each.cure, 1000))}"


async def _look(fleet: str | None) -> Sequence[Diagnosis]:
    from prefect.settings import get_current_settings

    here = list(installed())
    url = get_current_settings().api.url
    if not url:
        text = "none is named: commands and turns would have no server that stays"
        cure = (
            "`prefect config set PREFECT_API_URL=http://HOST:4200/api`; `prefect server start` where there is none yet"
        )
        return [*here, Diagnosis(Grade.WRONG, "Prefect server", text, cure)]
    return [*here, *await _asked(url, fleet)]


def installed() -> Iterator[Diagnosis]:
    """What is installed here."""
    from importlib.metadata import version

    from ebbflow.flows.serving import OLDEST

    yield Diagnosis(Grade.OK, "ebbflow", f"{version('ebbflow')}, by Python {platform.python_version()}")
    prefect = version("prefect")
    numbers = tuple(int(part) for part in prefect.split(".")[:2] if part.isdecimal())
    if not OLDEST <= numbers < (4,):
        oldest = ".".join(map(str, OLDEST))
        text = f"{prefect} is installed here, and {oldest} or newer, below 4, is needed"
        yield Diagnosis(Grade.WRONG, "Prefect here", text, f"`pip install 'prefect>={oldest},<4'`")
    else:
        yield Diagnosis(Grade.OK, "Prefect here", prefect)


def commands_found(blocks: Iterable[str], path: str | None = None) -> Iterator[Diagnosis]:
    """Whether the commands are here that providers call.

    Args:
        blocks: of the providers of all fleets.
        path: where commands are looked for; None: as this process does.
    """
    for kind in sorted({block.partition("/")[0] for block in blocks}):
        needed = COMMANDS.get(kind, ())
        missing = [name for name in needed if shutil.which(name, path=path) is None]
        if missing:
            text = f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not here"
            cure = "nothing, if turns run on another host that has them, or the block's prefix leads to one"
            yield Diagnosis(Grade.LOOK, f"commands of {kind}", text, cure)
        elif needed:
            yield Diagnosis(Grade.OK, f"commands of {kind}", f"{', '.join(needed)} are here")


async def _asked(url: str, fleet: str | None) -> Sequence[Diagnosis]:
    """What the server tells; that it does not answer is a finding like others."""
    import anyio
    from prefect.client.orchestration import get_client

    what = f"Prefect server at {without_user(url)}"
    async with get_client() as client:
        said = f"does not answer within {HELLO_SECONDS:g} s"
        with anyio.move_on_after(HELLO_SECONDS):
            problem = await client.api_healthcheck()
            said = "" if problem is None else f"does not answer: {type(problem).__name__}: {one_line(problem)}"
        if said:
            cure = (
                "start it (`prefect server start`, or `ebbflow up` in a folder with a services.yaml), or name another "
            )
            return [Diagnosis(Grade.WRONG, what, said.rstrip(": "), f"{cure}(PREFECT_API_URL, a profile)")]
        return [Diagnosis(Grade.OK, what, "answers"), *await _told(client, fleet)]


async def _told(client: "PrefectClient", fleet: str | None) -> Sequence[Diagnosis]:
    import anyio
    from prefect.exceptions import PrefectHTTPStatusError

    from ebbflow.core.errors import FleetError
    from ebbflow.flows.diagnosing import server_diagnoses
    from ebbflow.flows.standings import deployed_fleets

    # A turn is not taken here, and what asking logs is told by what it finds.
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "ERROR")
    try:
        with anyio.fail_after(ASKING_SECONDS):
            try:
                found = await server_diagnoses(client, fleet)
            except ValueError as error:
                # What a person meant is told plainly; a kind of its own is somebody else's error.
                if type(error) is not ValueError:
                    raise
                end(USAGE, str(error))
            deployed = await deployed_fleets(client)
            fleets = (each.fleet for name, all_of in deployed.items() if fleet in (None, name) for each in all_of)
            blocks = {entry.block for each in fleets if each is not None for entry in each.providers}
            return [*found, *commands_found(blocks)]
    except TimeoutError:
        text, cure = f"did not answer everything within {ASKING_SECONDS:g} s", "look at its load, and at its database"
        return [Diagnosis(Grade.WRONG, "Prefect server", text, cure)]
    except (FleetError, PrefectHTTPStatusError) as error:
        return [Diagnosis(Grade.WRONG, "Prefect server", f"refused what it was asked: {one_line(error, 400)}")]
