"""The gateway as a process."""

import time
from contextlib import suppress
from pathlib import Path

import uvicorn

from ebbflow.gateway.app import Gateway
from ebbflow.gateway.desk import Desk
from ebbflow.gateway.store import Store
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
) -> None:
    """Answer until a signal comes.

    Args:
        database: URL of SQLAlchemy.
        host: where it listens.
        port: 0 takes a free one; the log says which.
        operator_keys: of the masters' blocks and of people.
        worker_secrets: shared with the masters' blocks.
        tls: certificate and key, PEM.
    """
    clocks = Clocks(time.monotonic, time.time)
    desk = Desk(Store(database), worker_secrets=worker_secrets, clocks=clocks)
    gateway = Gateway(desk, operator_keys=operator_keys, clocks=clocks)
    settings = uvicorn.Config(
        gateway.app,
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
