"""What `ebbflow why` and `ebbflow replay` have in common: which records are meant, and where they are read."""

import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ebbflow.cli.speaking import NOT_RIGHT, USAGE, end

if TYPE_CHECKING:
    from ebbflow.core.ports import Ledger

FleetName = Annotated[str | None, typer.Argument(help="Its name; may be left out where there is one.")]
At = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="The newest turn then or before: 14:03, 2026-11-30T14:03[Z], or 2h (ago)."),
]
Run = Annotated[str | None, typer.Option("--run", metavar="ID", help="The turn of this flow run, or how it begins.")]
Since = Annotated[str, typer.Option(metavar="AGE", help="How far back an id is looked for at most.")]
Json = Annotated[bool, typer.Option("--json", help="Print one object.")]


def check_options(at: str | None, since: str, **others: object) -> float:
    """How far back to look, in seconds; ends the command where its options exclude each other or say nothing."""
    from ebbflow.turn.moments import age_of, check_moment

    given = [f"--{name}" for name, value in {"at": at, **others}.items() if value is not None]
    if len(given) > 1:
        end(USAGE, f"{' and '.join(given)} exclude each other: each names which turn is meant")
    try:
        if at is not None:
            # Whether it is yet to come the server's clock says, but nonsense is said before it is asked.
            check_moment(at)
    except ValueError as error:
        end(USAGE, f"--at: {error}")
    try:
        return age_of(since)
    except ValueError as error:
        end(USAGE, f"--since: {error}")


@asynccontextmanager
async def recorded(fleet: str | None) -> AsyncIterator[tuple["Ledger", str]]:
    """The ledger of the server that is named, and the fleet that is meant; ends the command where there is none."""
    from ebbflow.cli.serving import connected
    from ebbflow.flows.ledger import PrefectLedger
    from ebbflow.flows.standings import fleet_names
    from ebbflow.turn.standing import chosen

    async with connected() as client:
        names = await fleet_names(client)
        try:
            name = chosen(names, fleet)
        except ValueError as error:
            end(USAGE, str(error))
        yield PrefectLedger(client), name


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Ends the command in words where records are gone or edited, and at a terminal says meanwhile what is read."""
    from ebbflow.core.errors import RecordError

    try:
        if not sys.stderr.isatty():
            yield
            return
        with Console(stderr=True).status(what):
            yield
    except RecordError as error:
        end(NOT_RIGHT, str(error))
    except ValueError as error:
        # What a person meant is told plainly; a kind of its own is somebody else's error.
        if type(error) is not ValueError:
            raise
        end(USAGE, str(error))
