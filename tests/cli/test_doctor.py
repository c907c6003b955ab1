"""`ebbflow doctor` on servers that are there, half there and not there: each finding is a line, never a traceback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from uuid import uuid4

import anyio
import pytest
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate, VariableCreate
from prefect.client.schemas.schedules import IntervalSchedule

from ebbflow.blocks.from_file import register_types
from ebbflow.cli.doctor import commands_found, shown
from ebbflow.flows.deploying import switch_schedules
from ebbflow.flows.diagnosing import claims_of, database_kind, seconds_ahead, server_diagnoses, types_of
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.turn.diagnosis import Diagnosis, Grade
from ebbflow.turn.results import Acted, Held
from ebbflow.turn.turn import take_turn
from tests.making import changed
from tests.turn.outside import Outside
from tests.turn.test_turn import FLEET

COMMAND = [sys.executable, "-m", "ebbflow.cli", "doctor"]
HOUR = timedelta(hours=1)


@contextmanager
def played_server(*, ahead: float = 0.0, settings: object = None, prefixes: tuple[str, ...] = ()) -> Iterator[str]:
    """Tells a time of its own, its settings, and whether an event begins with a prefix; gives its API's address."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.removeprefix("/api")
            said: object = {"/hello": "Hello!", "/admin/settings": settings}.get(path)
            if path == "/events/filter":
                wanted = json.loads(body)["filter"]["event"]["prefix"][0]
                said = {"events": [{}] if wanted in prefixes else []}
            text = json.dumps(said).encode()
            self.send_response(404 if said is None else 200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = answer

        def date_time_string(self, timestamp: float | None = None) -> str:
            now = datetime.now(UTC) + timedelta(seconds=ahead)
            return f"{now:%a, %d %b %Y %H:%M:%S GMT}"

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.anyio
@pytest.mark.parametrize(("ahead", "least", "most"), [(0.0, -1.0, 1.0), (90.0, 80.0, 91.0), (-90.0, -91.0, -80.0)])
async def test_the_servers_clock_is_compared_with_ours(ahead: float, least: float, most: float) -> None:
    with played_server(ahead=ahead) as url:
        async with PrefectClient(url) as client:
            assert least <= await seconds_ahead(client) <= most


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("settings", "prefixes", "kind"),
    [
        ({"server": {"database": {"driver": "postgresql+asyncpg"}}}, (), "postgresql"),
        ({"server": {"database": {"driver": None}}}, ("PREFECT.", "prefect."), "sqlite"),
        ({"server": {"database": {"driver": None}}}, ("prefect.",), "postgresql"),
        ({"server": []}, (), None),
        (None, ("prefect.",), None),
    ],
)
async def test_which_database_a_server_has_is_what_it_tells_or_how_it_compares_letters(
    settings: object, prefixes: tuple[str, ...], kind: str | None
) -> None:
    with played_server(settings=settings, prefixes=prefixes) as url:
        async with PrefectClient(url) as client:
            assert await database_kind(client) == kind


def test_commands_that_a_fleets_provider_calls_are_looked_for_and_no_others(tmp_path: Path) -> None:
    assert list(commands_found([])) == []
    assert list(commands_found(["local-provider/a", "kubernetes-provider/b", "their-provider/c"])) == []
    (missing,) = commands_found(["slurm-provider/a", "slurm-provider/b"], path=str(tmp_path))
    assert (missing.grade, missing.text) == (Grade.LOOK, "sbatch, squeue, scancel, scontrol are not here")
    for name in ("sbatch", "squeue", "scancel", "scontrol"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / name).chmod(0o755)
    (there,) = commands_found(["slurm-provider/a"], path=str(tmp_path))
    assert there.grade is Grade.OK


def test_what_others_wrote_is_one_line_and_no_markup() -> None:
    found = Diagnosis(Grade.WRONG, "master [red]x", "line one\nline [bold]two", "do [it]")
    assert list(shown([found])) == [
        "[red]wrong[/red]  master \\[red]x: line one line \\[bold]two",
        "       -> do \\[it]",
    ]


def doctor(environment: dict[str, str], *options: str) -> tuple[int, str, str]:
    environment = {**os.environ, "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false", **environment}
    done = subprocess.run(
        [*COMMAND, *options], env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    return done.returncode, done.stdout, done.stderr


def test_a_server_that_is_not_there_is_a_finding_with_what_to_do(tmp_path: Path) -> None:
    home = {"PREFECT_HOME": str(tmp_path), "PREFECT_PROFILES_PATH": str(tmp_path / "profiles.toml")}
    code, said, err = doctor({**home, "PREFECT_API_URL": "http://127.0.0.1:9/api"}, "--json")
    told = json.loads(said)
    assert (code, told["is_right"], err) == (1, False, "")
    *here, server = told["findings"]
    assert [(each["grade"], each["what"]) for each in here] == [("ok", "ebbflow"), ("ok", "Prefect here")]
    assert (server["grade"], server["what"]) == ("wrong", "Prefect server at http://127.0.0.1:9/api")
    assert server["text"].startswith("does not answer")
    assert "prefect server start" in server["cure"]
    code, said, _ = doctor({**home, "PREFECT_API_URL": ""})
    assert (code, "wrong  Prefect server: none is named" in said, "\x1b" in said) == (1, True, False), said


async def deploy(client: PrefectClient, fleet: dict[str, Any], name: str) -> None:
    flow_id = await client.create_flow_from_name("autoscale")
    await client.create_deployment(
        flow_id,
        name,
        entrypoint="ebbflow.flows.autoscale.autoscale",
        parameters={"fleet": fleet},
        schedules=[DeploymentScheduleCreate(schedule=IntervalSchedule(interval=HOUR), active=True)],
    )


async def say_home(client: PrefectClient, home: str) -> None:
    path = {"name": "ebbflow_home"}
    await client.request("PATCH", "/variables/name/{name}", path_params=path, json={"value": home})


@pytest.mark.oldest_prefect
@pytest.mark.anyio
async def test_on_a_real_server_every_fleet_is_looked_at_and_a_wrong_home_is_found(
    prefect_server: str, prefect_environment: dict[str, str]
) -> None:
    name, other = f"doc-{uuid4().hex[:6]}", f"doc-{uuid4().hex[:6]}"
    fleet = changed(FLEET, name=name)
    async with get_client() as client:
        result = await take_turn(fleet, Outside().surroundings(run=str(uuid4()), ledger=PrefectLedger(client)))
        assert isinstance(result, Acted | Held)
        # Nobody deploys it, and it has workers.
        found = {each.what: each for each in await server_diagnoses(client, name)}
        lost = found[f"claims of {name}"]
        assert (lost.grade, "knows 2 workers: nobody looks after them" in lost.text) == (Grade.WRONG, True), lost
        assert found["clock"].grade is Grade.OK
        await deploy(client, fleet.model_dump(mode="json"), name)
        await deploy(client, fleet.model_dump(mode="json"), f"{name}-too")
        await deploy(client, {"name": other, "of": "another release"}, other)
        await client.create_variable(VariableCreate(name=f"ebbflow_{other}_1", value="by hand"))
        home = await PrefectLedger(client).home(create=True)
        try:
            await say_home(client, "0ther")
            all_found = [*await server_diagnoses(client, name), *await server_diagnoses(client, other)]
        finally:
            await say_home(client, home)
        assert (await claims_of(client))[name].keys() == {1}
        await register_types(client)
        total, missing, other_types = await types_of(client)
    assert (total >= 9, missing, other_types) == (True, (), ())
    wrong = {each.what: each.text for each in all_found if each.grade is Grade.WRONG}
    assert "says '0ther'" in wrong[f"home of {name}"]
    twice = [each.text for each in all_found if each.what == f"fleet {name!r}" and each.grade is Grade.WRONG]
    assert any(f"several deployments run its turns: autoscale/{name}, autoscale/{name}-too" in text for text in twice)
    assert any("is not a saved block" in text for text in twice), twice
    assert "is no fleet of this release" in wrong[f"fleet {other!r}"]
    assert "was made or edited by hand" in wrong[f"turns of {other}"]
    done = await anyio.run_process([*COMMAND, name, "--json"], env=prefect_environment, check=False)
    told = json.loads(done.stdout)
    assert (done.returncode, told["is_right"]) == (1, False)
    assert {"clock", "database", "block types", f"turns of {name}"} <= {each["what"] for each in told["findings"]}
    unknown = await anyio.run_process([*COMMAND, "nobody"], env=prefect_environment, check=False)
    assert (unknown.returncode, "there is no fleet 'nobody'; there are: " in unknown.stderr.decode()) == (2, True)


@pytest.mark.oldest_prefect
@pytest.mark.anyio
async def test_regression_a_fleet_that_had_ended_was_wrong_for_ever_since_its_master_was_no_longer_there(
    prefect_server: str,
) -> None:
    name = f"doc-{uuid4().hex[:6]}"
    fleet = changed(FLEET, name=name, limits=changed(FLEET.limits, min_workers=0, allow_start_from_zero=True))
    async with get_client() as client:
        await deploy(client, fleet.model_dump(mode="json"), name)
        result = await take_turn(fleet, Outside().surroundings(run=str(uuid4()), ledger=PrefectLedger(client)))
        assert isinstance(result, Held), "it has no worker"
        found = await server_diagnoses(client, name)
        assert any(each.grade is Grade.WRONG and "is not a saved block" in each.text for each in found)
        await switch_schedules(client, {f"autoscale/{name}": ()})
        found = await server_diagnoses(client, name)
        blocks = [each.grade for each in found if "is not a saved block" in each.text]
        assert (blocks, [each for each in found if each.grade is Grade.WRONG]) == ([Grade.LOOK], [])
