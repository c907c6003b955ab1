"""API sessions in a block of their own, from run to run."""

import os
from pathlib import Path

import anyio
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ebbflow.blocks import SwarmUIMaster
from ebbflow.blocks.sessions import BlockSessionStore
from ebbflow.standins.http import serve
from ebbflow.standins.process import free_port, swarmui_master

pytestmark = [pytest.mark.anyio, pytest.mark.oldest_prefect]


@pytest.mark.usefixtures("prefect_server")
@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_master_keeps_its_session_for_the_next_run_unless_the_run_is_dry(tmp_path: Path, dry_run: bool) -> None:
    fleet = "dry" if dry_run else "wet"
    with swarmui_master(tmp_path, environment=os.environ) as address:
        master = SwarmUIMaster(address=address).get_master(fleet=fleet, home="abcde", dry_run=dry_run)
        assert (await master.probe()).reachable
        await master.aclose()
    assert (await BlockSessionStore(f"{fleet}-abcde").get(address) is None) is dry_run


async def test_sessions_that_cannot_be_kept_fail_no_run(caplog: pytest.LogCaptureFixture) -> None:
    def refuse(request: Request) -> JSONResponse:
        return JSONResponse({"detail": "read only"}, status_code=404 if request.method == "GET" else 403)

    store = BlockSessionStore("kept-abcde")
    async with serve(Starlette(routes=[Route("/{path:path}", refuse, methods=["GET", "POST", "PATCH"])])) as url:
        with temporary_settings({PREFECT_API_URL: f"{url}/api"}):
            await store.put("http://127.0.0.1:1", "5e55-10n")
            await store.aclose()
    assert "API sessions were not saved, the next run makes new ones" in caplog.text
    assert "5e55-10n" not in caplog.text


@pytest.mark.usefixtures("prefect_server")
async def test_regression_what_was_put_while_others_first_read_was_lost() -> None:
    kept = BlockSessionStore("many-abcde")
    await kept.put("http://127.0.0.1:1", "of-the-run-before")
    await kept.save()
    store, found = BlockSessionStore("many-abcde"), {}

    async def use(address: str) -> None:
        found[address] = await store.get(address)
        await store.put(address, f"of {address}")

    addresses = [f"http://127.0.0.1:{number}" for number in (1, 2, 3)]
    async with anyio.create_task_group() as group:
        for address in addresses:
            group.start_soon(use, address)
    assert list(found.values()) == ["of-the-run-before", None, None]
    assert [await store.get(address) for address in addresses] == [f"of {address}" for address in addresses]


async def test_regression_a_server_that_was_away_for_a_moment_was_taken_for_a_mistake_in_the_adapter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = BlockSessionStore("away-abcde")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port()}/api"}):
        assert await store.get("http://127.0.0.1:1") is None
        await store.put("http://127.0.0.1:1", "5e55-10n")
        await store.aclose()
    assert "API sessions were not read, this run makes new ones" in caplog.text
    assert "API sessions were not saved, the next run makes new ones" in caplog.text
