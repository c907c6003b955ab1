"""The gateway as a process."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from ebbflow.gateway.app import Gateway
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.peers import Peers
from ebbflow.gateway.seat import PostgresSeat
from ebbflow.gateway.several import Several
from ebbflow.gateway.store import Store, StoreError
from ebbflow.gateway.terms import Clocks

STOP_SECONDS = 5
KEEP_ALIVE_SECONDS = 30


def serve(
    database: str,
    *,
    host: str,
    port: int,
    operator_keys: tuple[str, ...],
    worker_secrets: tuple[str, ...],
    tls: tuple[Path, Path] | None = None,
    address: str = "",
) -> None:
    """Answer until a signal comes; on a PostgreSQL as one of several.

    Args:
        database: URL of SQLAlchemy.
        host: where it listens.
        port: 0 takes a free one; the log says which.
        operator_keys: of the masters' blocks and of people.
        worker_secrets: shared with the masters' blocks.
        tls: certificate and key, PEM.
        address: as other gateways on the same database reach this one.

    Raises:
        NewerTables: a newer gateway has used the database.
        StoreError: the database is a file, and cannot be used; a server that is away is waited for.
    """
    asyncio.run(_look_at(database))
    clocks = Clocks(time.monotonic, time.time)

    def make() -> Gateway:
        desk = Desk(Store(database), worker_secrets=worker_secrets, clocks=clocks)
        return Gateway(desk, operator_keys=operator_keys, clocks=clocks)

    app: ASGIApp
    if database.startswith("postgresql"):
        seat, peers = PostgresSeat(database, address), Peers(operator_keys[0])
        app = Several(seat, make, address=address, operator_keys=operator_keys, peers=peers, monotonic=clocks.monotonic)
    else:
        app = make().app
    settings = uvicorn.Config(
        app,
        host=host,
        port=port,
        # A query may hold a client's key.
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        ws="none",
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(settings).run()


async def _look_at(database: str) -> None:
    """Say what is wrong with it before anything is answered."""
    store = Store(database)
    try:
        await store.prepare()
    except StoreError:
        if database.startswith("sqlite"):
            raise
    finally:
        await store.aclose()
