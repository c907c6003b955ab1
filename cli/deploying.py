"""Deploy a fleet's file by Prefect's own command, which is the one reader of what may stand in it."""

import asyncio
import itertools
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import yaml

from ebbflow.cli.speaking import say
from ebbflow.core.errors import FleetError

DEPLOY_SECONDS = 300.0
SAID_EVERY_SECONDS = 15.0
MAX_DEPLOYS = 3
BUSY = "503 Service Unavailable"
"""What Prefect's client ends with, after six tries in a minute, where other runs kept the server's database locked.

On SQLite an update that reads before it writes is refused at once when another run wrote in between, so that a busy
server may refuse each of the six. Deploying again is harmless.
"""
BESIDE = ".ebbflow-deploy.yaml"
"""The file that Prefect deploys: ours with every schedule off, or a turn might come before anybody has looked."""
OURS = "ebbflow.flows."
ANYWHERE = [{"prefect.deployments.steps.set_working_directory": {"directory": "/"}}]
"""A `pull:` that every host can follow, for flows that come with a package."""


async def deploy(path: Path, text: str, ours: Collection[int], *, runs_by: str = "") -> None:
    """Deploy everything in a Prefect file by Prefect's own command, with the schedules of ours switched off.

    Args:
        path: the file's; it is deployed from its folder.
        text: the file's.
        ours: which of its deployments are of our flows, by their places.
        runs_by: the command of their runs, before the entrypoint; empty: Prefect's own.

    Raises:
        FleetError: Prefect refused it, or nothing can be written beside it; holds the end of what it said.
    """
    beside = path.with_name(BESIDE)
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", beside.name]
    try:
        beside.write_text(_to_deploy(text, ours, runs_by=runs_by), encoding="utf-8")
        for left in reversed(range(MAX_DEPLOYS)):
            async with _said_meanwhile():
                with anyio.fail_after(DEPLOY_SECONDS):
                    done = await anyio.run_process(command, cwd=path.parent, check=False, stderr=subprocess.STDOUT)
            said = done.stdout.decode(errors="replace").strip()
            if not done.returncode:
                return
            if BUSY not in said or not left:
                break
            say("the Prefect server was too busy (503): `prefect deploy` runs again")
    except TimeoutError as error:
        raise FleetError(f"`prefect deploy` had not ended after {DEPLOY_SECONDS:g} s") from error
    except OSError as error:
        raise FleetError(f"{beside} cannot be written: {error.strerror}; `prefect deploy` reads it") from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
    raise FleetError(f"`prefect deploy` ended with code {done.returncode}: {_as_written(said[-2000:], text)}")


@asynccontextmanager
async def _said_meanwhile() -> AsyncIterator[None]:
    """Say now and then that it goes on: on a busy server it takes minutes."""

    async def say_so() -> None:
        for times in itertools.count(1):
            await anyio.sleep(SAID_EVERY_SECONDS)
            say(f"`prefect deploy` runs for {times * SAID_EVERY_SECONDS:g} s")

    saying = asyncio.create_task(say_so())
    try:
        yield
    finally:
        saying.cancel()


def _to_deploy(text: str, ours: Collection[int], *, runs_by: str) -> str:
    """The file with schedules of ours off; and where it is silent, without the folder that this is called in.

    Without a `pull:` Prefect stores that folder, and a worker on another host looks for it in vain.
    """
    # Any: YAML is what it is; it was checked before.
    content: dict[str, Any] = yaml.safe_load(text)
    rows = content["deployments"]
    if "pull" not in content and not any(":" in str(row.get("entrypoint", ":")) for row in rows):
        content["pull"] = ANYWHERE
    for index, row in enumerate(rows):
        if index in ours and row.get("schedules"):
            row["schedules"] = [{**schedule, "active": False} for schedule in row["schedules"]]
        if index in ours and runs_by and str(row.get("entrypoint", "")).startswith(OURS):
            pool = row.get("work_pool") or {}
            variables = {"command": f"{runs_by} {row['entrypoint']}", **(pool.get("job_variables") or {})}
            row["work_pool"] = {**pool, "job_variables": variables}
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def _as_written(said: str, text: str) -> str:
    """What Prefect said, with placeholders where it quotes what the environment holds for them."""
    for name in set(re.findall(r"\{\{\s*\$(\w+)\s*\}\}", text)):
        value = os.environ.get(name, "")
        said = said.replace(value, f"{{{{ ${name} }}}}") if len(value) > 3 else said
    return said
