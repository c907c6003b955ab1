"""The stand-in SwarmUI gives a client the answers that the real one gave, call by call."""

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.master import MasterSettings, PlayedMaster
from ebbflow.standins.swarmui.worker import PlayedWorker, WorkerSettings
from tests.standins.swarmui.calls import ALL, Call, Server
from tests.standins.swarmui.talker import Answer, PlayedTime, RealTime, Talker

MEASURED = Path(__file__).with_name("answers-0.9.8.2.json")
REAL = "EBBFLOW_TEST_SWARMUI"
"""Names a variable with the addresses of a real master and a real worker, both fresh: they are tried as well."""
SIDES = ["stand-in", *(["real"] if os.environ.get(REAL) else [])]

OWN_WORDS = {
    "version": "<version>",
    "features": "<features>",
    "supported_features": "<features>",
    "last_active_seconds": "<seconds>",
    "last_active": "<seconds> ago",
}
"""What is the program's, the GPU's or the moment's own."""
IDS = (
    (re.compile(r"\b[0-9a-f]{40}\b"), "<sid>"),
    (re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "<guid>"),
)
CHILD_ID = re.compile(r"-\d+")

IN_PASSING = {
    "List on": "two seconds pass between looks at what was switched on, and nobody can say when the last one was",
}
"""Calls that may meet a real master's child while it is still starting. Of the stand-in's clock all is known."""

DIFFERENCES: dict[str, str] = {}
"""Calls whose answer still differs, each with the reason why no client can be misled by it."""


def measured() -> dict[str, Answer]:
    return {
        row["name"]: Answer(row["status"], row["body"], row["sec"], row.get("ct"), row.get("loc"))
        for row in json.loads(MEASURED.read_text(encoding="utf-8"))
    }


class Likeness:
    """An answer without what differs from one run to the next."""

    def __init__(self, addresses: dict[Server, str]) -> None:
        self._addresses = addresses

    def of(self, answer: Answer) -> dict[str, object]:
        return {
            "status": answer.status,
            "location": answer.location,
            "type": answer.media_type,
            "body": self._plain(answer.body),
            "takes": "no time" if answer.seconds < 0.7 else "a second" if answer.seconds < 1.8 else "longer",
        }

    def _plain(self, value: object, key: str = "") -> object:
        if key in OWN_WORDS:
            return OWN_WORDS[key]
        if isinstance(value, dict):
            return {CHILD_ID.sub("<child>", name): self._plain(one, name) for name, one in value.items()}
        if isinstance(value, list):
            return [self._plain(one) for one in value]
        if key == "id" and isinstance(value, int) and value < 0:
            return "<child>"
        if key == "type" and value != "swarmswarmbackend":
            return "<the GPU's>"
        return self._plain_text(value) if isinstance(value, str) else value

    def _plain_text(self, text: str) -> str:
        for server, address in self._addresses.items():
            text = text.replace(address, f"http://{server.name}")
        for pattern, name in IDS:
            text = pattern.sub(name, text)
        return text


@contextlib.asynccontextmanager
async def played(folder: Path) -> AsyncIterator[Talker]:
    """A talker with a fresh stand-in of each kind."""
    clock = ManualClock()
    master = PlayedMaster(MasterSettings(folder, models=("a.safetensors",)), clock=clock)
    worker = PlayedWorker(WorkerSettings(models=("a.safetensors",)), clock=clock)
    async with serve(master.app) as own, serve(worker.app) as url, client() as http:
        yield Talker({Server.MASTER: own, Server.WORKER: url}, http, PlayedTime(clock, master))


@contextlib.asynccontextmanager
async def real(addresses: str) -> AsyncIterator[Talker]:
    own, url = addresses.split()
    async with client() as http:
        yield Talker({Server.MASTER: own.rstrip("/"), Server.WORKER: url.rstrip("/")}, http, RealTime())


def client() -> httpx.AsyncClient:
    return httpx.AsyncClient(timeout=60, trust_env=False, verify=False)


async def answers(against: str, folder: Path) -> dict[str, dict[str, object]]:
    async with played(folder) if against == "stand-in" else real(os.environ[REAL]) as talker:
        likeness = Likeness(dict(talker.addresses))
        # As in the measurement, the master was asked for a session before the first call, to see whether it is there.
        await talker.ask(Call("first contact", "GetNewSession", {}, has_session=False))
        return {call.name: likeness.of(await talker.ask(call)) for call in ALL}


@pytest.fixture(scope="module", params=SIDES)
def against(request: pytest.FixtureRequest) -> str:
    """Who is asked."""
    return str(request.param)


@pytest.fixture(scope="module")
def given(against: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, object]]:
    """What one side answers to all calls, made in their order."""
    return asyncio.run(answers(against, tmp_path_factory.mktemp("swarmui")))


def without_states(likeness: dict[str, object]) -> str:
    return re.sub(r'"status": "(?:waiting|loading|running)"', '"status": "<on its way>"', json.dumps(likeness))


def test_the_table_holds_each_measured_call_once_and_in_its_order() -> None:
    assert [call.name for call in ALL] == list(measured())


def test_each_call_that_is_excused_is_one_of_the_table() -> None:
    assert DIFFERENCES.keys() | IN_PASSING.keys() <= measured().keys()


@pytest.mark.parametrize("name", [call.name for call in ALL])
def test_it_answers_as_the_real_swarmui_did(given: dict[str, dict[str, object]], against: str, name: str) -> None:
    expected, seen = Likeness({}).of(measured()[name]), given[name]
    if name in DIFFERENCES:
        assert seen != expected, "no longer different: take it out of the table"
    elif name in IN_PASSING and against == "real":
        assert without_states(seen) == without_states(expected)
    else:
        assert seen == expected
