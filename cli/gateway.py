"""`ebbflow gateway`: the server that tells clients which worker to use."""

import os
import socket
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ebbflow.cli.speaking import REFUSED, USAGE, end, say
from ebbflow.gateway.wire import LEAST_LETTERS

OPERATOR_KEY, WORKER_SECRET = "EBBFLOW_GATEWAY_OPERATOR_KEY", "EBBFLOW_GATEWAY_WORKER_SECRET"
BEFORE = "_BEFORE"
"""What stands behind a variable's name for the value that is being replaced, which holds as well meanwhile."""


def gateway(
    host: Annotated[
        str, typer.Option(help="Where it listens; workers, clients and flows must reach it.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 7870,
    database: Annotated[
        str | None,
        typer.Option(help="A file, or a URL of SQLAlchemy such as postgresql+asyncpg://HOST/NAME.", show_default=False),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            help="As other gateways on the same PostgreSQL reach this one; by default this host's name and the port.",
            show_default=False,
        ),
    ] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="PEM; with --tls-key.", show_default=False)] = None,
    tls_key: Annotated[Path | None, typer.Option(help="PEM.", show_default=False)] = None,
) -> None:
    """Tell clients which worker to use, by what workers tell of themselves, until Ctrl-C.

    Reads EBBFLOW_GATEWAY_OPERATOR_KEY (of masters' blocks and of you) and EBBFLOW_GATEWAY_WORKER_SECRET (by which
    workers prove who they are) from its environment, 32 letters at least; with _BEFORE behind the name, the one that is
    being replaced. It keeps its key and its numbers in the database: without them every worker refuses its tickets.
    """
    operators, secrets = _both(OPERATOR_KEY), _both(WORKER_SECRET)
    if (tls_certificate is None) != (tls_key is None):
        end(USAGE, "--tls-certificate and --tls-key go together: name both, or none")
    for path in (tls_certificate, tls_key):
        if path is not None and not path.is_file():
            end(REFUSED, f"{path} is no file: name the PEM file of --tls-certificate and --tls-key")
    with closing(socket.socket()) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            end(
                REFUSED,
                f"it cannot listen on {host}:{port} ({error.strerror or error}): choose another --host or --port",
            )
    from ebbflow.core.text import one_line
    from ebbflow.gateway.server import serve
    from ebbflow.gateway.store import NewerTables, StoreError

    kept = database or str(Path.cwd() / "gateway.sqlite")
    url = kept if "://" in kept else f"sqlite+aiosqlite:///{Path(kept).resolve()}"
    kind = "https" if tls_certificate else "http"
    if url.startswith("postgresql") and not (port or address):
        end(USAGE, "--port 0 on a PostgreSQL: other gateways must find this one, so name a --port, or its --address")
    say(
        f"the gateway listens on {kind}://{host}:{port}, and keeps what it must not forget in {kept.rpartition('@')[2]}"
    )
    pem = (tls_certificate, tls_key) if tls_certificate and tls_key else None
    reached_at = (address or f"{kind}://{_reached_at(host)}:{port}").rstrip("/")
    try:
        serve(
            url,
            host=host,
            port=port,
            operator_keys=operators,
            worker_secrets=secrets,
            tls=pem,
            address=reached_at,
        )
    except (NewerTables, StoreError) as error:
        end(REFUSED, one_line(str(error), 500))


def _reached_at(host: str) -> str:
    """Where a gateway is found that listens everywhere."""
    return socket.gethostname() if host in ("0.0.0.0", "::") else host


def _both(name: str) -> tuple[str, ...]:
    """A secret of the environment, and the one before it."""
    found = os.environ.get(name, "")
    if len(found) < LEAST_LETTERS:
        end(
            REFUSED,
            f"{name} has {len(found)} letters, and at least {LEAST_LETTERS} are needed: "
            f"export {name}=$(head -c 32 /dev/urandom | base64)",
        )
    before = os.environ.get(name + BEFORE, "")
    return (found, before) if len(before) >= LEAST_LETTERS else (found,)
