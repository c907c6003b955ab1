"""`ebbflow waiting-room`: the server that lets requests wait while no worker serves."""

import socket
from contextlib import closing, suppress
from typing import Annotated

import typer

from ebbflow.cli.speaking import REFUSED, end, say


def waiting_room(
    host: Annotated[str, typer.Option(help="Where it listens; masters and flows must reach it.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 7860,
) -> None:
    """Answer SwarmUI masters as a worker that loads for ever, until Ctrl-C; serves any number of masters and fleets.

    The master's block names its address as `waiting_room`; the fleet does the rest. Start it before the master, and
    keep it running: while it does not answer, requests that find no worker fail.
    """
    from ebbflow.services.waiting_room.room import Room
    from ebbflow.services.waiting_room.server import serve

    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            end(
                REFUSED,
                f"it cannot listen on {host}:{port} ({error.strerror or error}): choose another --host or --port",
            )
    say(f"the waiting room listens on http://{host}:{port}; a master's block names that as `waiting_room`")
    with suppress(KeyboardInterrupt):
        serve(Room(), host=host, port=port)
