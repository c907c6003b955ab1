"""Secrets of blocks in whole runs: whatever the outside quotes, none gets into what is kept or what others can read."""

import logging
import sqlite3
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import psutil
import pytest
from prefect.blocks.core import Block
from prefect.logging.handlers import APILogHandler
from prefect.settings import PREFECT_LOGGING_LEVEL, temporary_settings
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from ebbflow.blocks import KubernetesProvider, LaunchScriptProvider, LocalProvider, SwarmUIMaster, VastProvider
from ebbflow.standins.http import serve
from tests.canaries import SECRETS, block_with_canaries, canary, found_in, kubeconfig
from tests.e2e.prefect_house import PrefectTurn
from tests.e2e.world import WORKER_PROGRAM, PrefectWorld, PrefectWorlds

NAMED = {"SITE_API_KEY": canary("environment", "-named")}
"""In the readable part, where only its name says what it is."""


class Parrot:
    """A service that answers every request with all that it was sent, as an error."""

    def __init__(self, status: int = 500) -> None:
        self._status = status
        self.heard: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Quote the request."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        said = f"{request.url} {dict(request.headers)} {(await request.body()).decode()}"
        self.heard.append(said)
        body = {"error": said, "message": said, "msg": said, "reason": said[:400], "success": False, "error_id": "x"}
        await JSONResponse(body, self._status)(scope, receive, send)


def kept_by(environment: Mapping[str, str]) -> str:
    """All that the server has stored: runs, states, logs, events, artifacts, variables, parameters, blocks."""
    parts = []
    with sqlite3.connect(f"file:{environment['PREFECT_HOME']}/prefect.db?mode=ro", uri=True) as connection:
        for (table,) in connection.execute("select name from sqlite_master where type = 'table'").fetchall():
            for row in connection.execute(f'select * from "{table}"'):
                parts.append(" ".join(map(str, row)))
    return "\n".join(parts)


def process_list() -> str:
    """The command lines that everybody on this machine can read."""
    found = psutil.process_iter(["cmdline"])
    return "\n".join(" ".join(each.info["cmdline"] or ()) for each in found)


@asynccontextmanager
async def everything_is_logged(caplog: pytest.LogCaptureFixture) -> AsyncIterator[None]:
    """With debug messages, as somebody who looks for a fault has them."""
    with temporary_settings({PREFECT_LOGGING_LEVEL: "DEBUG"}), caplog.at_level(logging.DEBUG):
        for name in ("ebbflow", "prefect", "httpx", "httpcore", "urllib3", "kubernetes"):
            caplog.set_level(logging.DEBUG, name)
        yield
        await APILogHandler.aflush()


def leaks(world: PrefectWorld, caplog: pytest.LogCaptureFixture, *more: str) -> list[str]:
    """Where a canary can be read that should not be."""
    texts = [kept_by(world.environment), caplog.text, *more]
    return [place for text in texts for place in found_in(text)]


async def turns(world: PrefectWorld, count: int, **sections: Any) -> list[PrefectTurn]:
    """Several in a row, whatever becomes of them."""
    return [await world.turn(fleet=world.fleet(**sections)) for _ in range(count)]


async def keep(world: PrefectWorld, block: type[Block], **fields: Any) -> None:
    """Make a block with canaries the fleet's only provider."""
    reference = await world.keep(block_with_canaries(block, **fields))
    world.changes["providers"] = [{"block": reference, "max_workers": 2}]


@pytest.mark.anyio
@pytest.mark.parametrize("status", [401, 404, 500])
@pytest.mark.parametrize("kind", ["kubernetes", "vast"])
async def test_regression_a_service_that_quotes_a_token_put_it_into_records_and_logs(
    prefect_worlds: PrefectWorlds, caplog: pytest.LogCaptureFixture, kind: str, status: int
) -> None:
    world, parrot = await prefect_worlds(), Parrot(status)
    async with serve(parrot) as url, everything_is_logged(caplog):
        if kind == "vast":
            await keep(world, VastProvider, address=url, call_timeout_seconds=5)
        else:
            await keep(world, KubernetesProvider, kubeconfig=kubeconfig(url), call_timeout_seconds=5)
        last = (await turns(world, 2))[-1]
    heard = canary("api_key" if kind == "vast" else "kubeconfig")
    assert heard in " ".join(parrot.heard), "it was sent to the service"
    assert "***" in kept_by(world.environment) + caplog.text, f"the service was quoted: {last.said}"
    assert leaks(world, caplog) == []


@pytest.mark.anyio
@pytest.mark.parametrize("status", [200, 401, 500])
async def test_a_master_that_quotes_its_token_puts_it_nowhere(
    prefect_worlds: PrefectWorlds, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    world, parrot = await prefect_worlds(), Parrot(status)
    async with serve(parrot) as url, everything_is_logged(caplog):
        await world.keep(SwarmUIMaster.model_validate({**SECRETS[SwarmUIMaster], "address": url}))
        await turns(world, 2)
    assert canary("token") in " ".join(parrot.heard)
    assert leaks(world, caplog) == []


@pytest.mark.anyio
@pytest.mark.parametrize(
    "ends",
    ["echo hopeless; exit 3", 'echo "[SwarmAutoScaleBackend]DeclareFailed: no $SITE_WORD[/SwarmAutoScaleBackend]"'],
    ids=["fails", "refuses"],
)
async def test_workers_that_print_their_environment_put_it_nowhere(
    prefect_worlds: PrefectWorlds, caplog: pytest.LogCaptureFixture, ends: str
) -> None:
    world = await prefect_worlds(provider="launch-script", limits={"min_seconds_after_failure": 0})
    script = world.write_script("prints.sh", f"env; env >&2; {ends}")
    async with everything_is_logged(caplog):
        await keep(
            world, LaunchScriptProvider, script=script, state_folder=world.folder / "state-of-it", environment=NAMED
        )
        await turns(world, 4)
    printed = "".join(path.read_text() for path in world.folder.rglob("stdout.log"))
    assert canary("secret_environment") in printed, "the script got it"
    assert canary("environment", "-named") in printed
    assert leaks(world, caplog) == []


@pytest.mark.anyio
async def test_a_living_fleet_with_secrets_everywhere_shows_none(
    prefect_worlds: PrefectWorlds, caplog: pytest.LogCaptureFixture
) -> None:
    world = await prefect_worlds()
    noted = world.folder / "noted"
    start = f'echo "$SITE_WORD $SITE_API_KEY" > {noted}; exec "$0" "$@"'
    headers = {name: value for name, value in SECRETS[SwarmUIMaster].items() if name != "token"}
    async with everything_is_logged(caplog):
        await world.keep(SwarmUIMaster.model_validate({**headers, "address": world.master.url}))
        await keep(
            world,
            LocalProvider,
            command=["/bin/sh", "-c", start, *WORKER_PROGRAM],
            state_folder=world.folder / "state-of-it",
            environment=NAMED,
        )
        await world.acts_until_serving(1)
        processes = process_list()
        await turns(world, 1)
    assert noted.read_text().split() == [canary("secret_environment"), canary("environment", "-named")]
    assert "standins.swarmui.server" in processes
    intents = "".join(path.read_text() for path in (world.folder / "state-of-it").rglob("*.json"))
    assert world.name in intents
    assert leaks(world, caplog, processes, intents) == []
