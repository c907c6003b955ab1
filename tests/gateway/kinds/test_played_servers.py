"""Every kind and its stand-in, over real HTTP."""

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ebbflow.gateway.kinds import KINDS
from ebbflow.gateway.kinds.kind import KeyHeader, Standing, Verdict, Wanted
from ebbflow.standins.model_servers.answers import MANNERS, Loading
from ebbflow.standins.model_servers.server import ModelServer, State
from ebbflow.standins.process import free_port, running
from tests.gateway.kinds.saying import figures_of
from tests.gateway.kinds.talking import Talk

pytestmark = pytest.mark.anyio
NAMES = sorted(KINDS)
SLEEPERS = [name for name in NAMES if MANNERS[name].can_sleep]
WITH_KEYS = ["infinity", "litserve", "llamacpp", "sglang", "tei", "tgi", "vllm"]
OWN = {
    "comfyui": json.dumps({"3": {"class_type": "KSampler", "inputs": {}}}),
    "triton": json.dumps({"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [0.5]}]}),
    "litserve": '{"input": 4}',
    "rayserve": '{"input": 4}',
    "bentoml": '{"input": 4}',
}


def wanted(name: str, model: str = "played-model") -> Wanted:
    return Wanted(model, OWN.get(name, ""), "/predict" if name == "bentoml" else "")


@asynccontextmanager
async def playing(
    name: str, state: State = State.READY, *, key: str = "", ours: str = ""
) -> AsyncIterator[tuple[ModelServer, Talk]]:
    server = ModelServer(name, key=key)
    metrics_url = server.metrics_url if server.manner.has_metrics_port else ""
    async with (
        server.live(state) as url,
        Talk(KINDS[name], url, metrics_url=metrics_url, key=ours, timeout_seconds=0.5) as talk,
    ):
        yield server, talk


@pytest.mark.parametrize("name", NAMES)
async def test_a_server_loads_gets_ready_and_answers(name: str) -> None:
    async with playing(name, State.REFUSED) as (server, talk):
        assert (await talk.look(wanted(name))).standing is Standing.LOADING
        await server.become(State.LOADING)
        loading = await talk.look(wanted(name))
        # Its list has models that still load, and only the test tells.
        assert loading.standing is (Standing.READY if name == "ollama" else Standing.LOADING)
        assert (await talk.test(wanted(name))).verdict is Verdict.NOT_YET
        await server.become(State.READY)
        assert (await talk.look(wanted(name))).standing is Standing.READY
        assert (await talk.test(wanted(name), turns=5)).verdict is Verdict.HOT


@pytest.mark.parametrize("name", NAMES)
async def test_a_busy_server_is_ready_and_has_no_room(name: str) -> None:
    async with playing(name) as (server, talk):
        server.played.running, server.played.queued = 3, 2
        await server.become(State.BUSY)
        reading = await talk.look(wanted(name))
        assert reading.standing is Standing.READY
        assert reading.running in (None, 3, 5)
        assert reading.queued in (None, 2)
        assert (await talk.test(wanted(name), turns=3)).verdict is Verdict.NOT_YET


@pytest.mark.parametrize("name", SLEEPERS)
async def test_a_look_wakes_no_model_and_a_prompt_does(name: str) -> None:
    async with playing(name, State.ASLEEP) as (server, talk):
        for _ in range(3):
            assert (await talk.look(wanted(name))).standing is Standing.ASLEEP
        assert (await talk.test(wanted(name), turns=3)).verdict is Verdict.HOT
        assert (await talk.look(wanted(name))).standing is Standing.READY
        assert server.played.served == 1


@pytest.mark.parametrize("name", WITH_KEYS)
async def test_the_key_is_sent_where_the_kind_looks_for_it(name: str) -> None:
    async with playing(name, key="right", ours="right") as (_, talk):
        assert (await talk.look(wanted(name))).standing is Standing.READY
        assert (await talk.test(wanted(name), turns=3)).verdict is Verdict.HOT
    async with playing(name, key="right", ours="wrong") as (_, talk):
        judgement = await talk.test(wanted(name), turns=3)
        assert (judgement.verdict, judgement.detail) == (Verdict.WRONG, "the server refuses its key")
        assert (KINDS[name].key_header is KeyHeader.X_API_KEY) == (name == "litserve")


@pytest.mark.parametrize("name", ["infinity", "llamacpp", "ollama", "sglang", "tei", "tgi", "triton", "vllm"])
async def test_a_server_of_another_model_will_not_do(name: str) -> None:
    async with playing(name) as (_, talk):
        judgement = await talk.test(wanted(name, "llama-70b"), turns=3)
        assert judgement.verdict is Verdict.WRONG
        assert "llama-70b" in judgement.detail or "404" in judgement.detail


@pytest.mark.parametrize("name", NAMES)
async def test_whichever_model_it_has_will_do_where_none_is_wanted(name: str) -> None:
    async with playing(name) as (server, talk):
        assert (await talk.test(wanted(name, ""), turns=5)).verdict is Verdict.HOT
        assert server.played.served == 1


async def test_figures_on_a_port_of_their_own_are_not_on_the_main_one() -> None:
    async with playing("triton") as (server, talk):
        server.played.queued = 2
        assert figures_of(await talk.look(wanted("triton"))) == (None, 2, 0)
        async with Talk(KINDS["triton"], server.url, metrics_url=server.url) as astray:
            assert figures_of(await astray.look(wanted("triton"))) == (None, None, None)


def test_every_way_to_load_is_played() -> None:
    ways = {manner.loading if isinstance(manner.loading, Loading) else "answers" for manner in MANNERS.values()}
    assert ways == {*Loading, "answers"}


async def test_a_server_is_played_by_a_command(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "server.log"
    words = ["vllm", "--port", str(port), "--load-seconds", "0.3", "--key", "right", "--model", "m"]
    command = [sys.executable, "-m", "ebbflow.standins.model_servers", *words]
    kind, url = KINDS["vllm"], f"http://127.0.0.1:{port}"
    with running(command, environment=os.environ, log=log, is_ready=lambda: url in log.read_text()):
        async with Talk(kind, url, key="right") as talk:
            seen = await talk.looks_until(Wanted(), lambda reading: reading.standing is Standing.READY, 10)
            assert (seen[0].standing, seen[0].detail) == (Standing.LOADING, "it does not answer")
            assert (await talk.test(Wanted(model="m"))).verdict is Verdict.HOT
