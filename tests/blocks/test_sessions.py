"""API sessions in a block of their own, from run to run."""

import os
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from ebbflow.blocks import SwarmUIMaster
from ebbflow.blocks.sessions import BlockSessionStore
from ebbflow.standins.http import serve
from ebbflow.standins.process import swarmui_master

pytestmark = pytest.mark.anyio


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
