"""LitServe and Ray Serve as PyPI has them, as processes on loopback: what our kinds say of them is so."""

import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import pytest

from ebbflow.gateway.kinds import KINDS
from ebbflow.gateway.kinds.judging import REFUSES_KEY
from ebbflow.gateway.kinds.kind import Kind, Reading, Standing, Verdict, Wanted
from ebbflow.standins.process import free_port, running
from tests.e2e.processes import end_all, processes_with
from tests.extra_environment import environment
from tests.gateway.kinds.saying import figures_of
from tests.gateway.kinds.talking import Talk

pytestmark = [pytest.mark.soak, pytest.mark.anyio]

MARK = "EBBFLOW_TEST_MODEL_SERVER"
LOAD_SECONDS = 4
READY_SECONDS = 150.0
"""A Ray beside two others that start on two cores takes more than half a minute before it answers at all."""
SHOWN_LETTERS = 4_000
"""Of a server's log, where a test of it fails."""
WANTED = Wanted(prompt='{"input": 4}')

LITSERVE = f"""
import sys, time
import litserve

class Square(litserve.LitAPI):
    def setup(self, device):
        time.sleep({LOAD_SECONDS})

    def decode_request(self, request):
        return request["input"]

    def predict(self, number):
        return number * number

    def encode_response(self, number):
        return {{"output": number}}

if __name__ == "__main__":
    server = litserve.LitServer(Square(), accelerator="cpu")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False)
"""

RAY_SERVE = f"""
import sys, time
import ray
from ray import serve

@serve.deployment
class Square:
    def __init__(self):
        time.sleep({LOAD_SECONDS})

    async def __call__(self, request):
        return {{"output": (await request.json())["input"] ** 2}}

port, metrics_port, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80_000_000, _temp_dir=folder,
         _metrics_export_port=metrics_port, log_to_driver=False)
serve.start(http_options={{"host": "127.0.0.1", "port": port}})
serve.run(Square.bind(), blocking=True)
"""


@asynccontextmanager
async def served(folder: Path, name: str, script: str, *words: object, **more: str) -> AsyncIterator[str]:
    """A server in an environment of its own, which tells nobody anything; afterwards no process of it is left.

    Yields:
        The word that each of its processes carries.
    """
    programs, word = environment(name), secrets.token_hex(6)
    (folder / "server.py").write_text(script)
    given = {
        "PATH": f"{programs}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "DO_NOT_TRACK": "1",
        MARK: word,
        **more,
    }
    command = [str(programs / "python"), str(folder / "server.py"), *map(str, words)]
    log = folder / "server.log"
    try:
        with running(command, environment=given, log=log):
            yield word
    except AssertionError:
        print(log.read_text(errors="replace")[-SHOWN_LETTERS:])
        raise
    finally:
        await end_all(MARK, word)


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """The paths of Ray's sockets are long, and may not be longer than 107 bytes."""
    folder = Path(mkdtemp(prefix="r-", dir="/tmp"))
    yield folder
    rmtree(folder, ignore_errors=True)


def is_ready(reading: Reading) -> bool:
    return reading.standing is Standing.READY


async def test_litserve_loads_is_ready_and_answers_whoever_has_its_key(tmp_path: Path) -> None:
    port, kind = free_port(), KINDS["litserve"]
    url = f"http://127.0.0.1:{port}"
    async with (
        served(tmp_path, "litserve", LITSERVE, port, LIT_SERVER_API_KEY="right") as word,
        Talk(kind, url, key="right") as talk,
        Talk(kind, url, key="wrong") as stranger,
    ):
        seen = await talk.looks_until(WANTED, is_ready, READY_SECONDS)
        assert len(seen) > LOAD_SECONDS
        assert figures_of(seen[-1]) == (None, None, None)
        assert (await talk.test(WANTED)).verdict is Verdict.HOT
        assert (await talk.test(Wanted(prompt='{"other": 4}'))).verdict is Verdict.WRONG
        assert (await talk.test(Wanted(prompt="{}", prompt_path="/other"))).verdict is Verdict.WRONG
        assert (await stranger.look(WANTED)).detail == REFUSES_KEY
        assert (await stranger.test(WANTED)).detail == REFUSES_KEY
        assert processes_with(MARK, word)
    assert not processes_with(MARK, word)
    assert (await look_at(kind, url)).standing is Standing.LOADING


async def test_ray_serve_is_ready_once_a_replica_is_and_not_by_its_health(tmp_path: Path, short_folder: Path) -> None:
    port, metrics_port, kind = free_port(), free_port(), KINDS["rayserve"]
    url, metrics_url = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{metrics_port}"
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
    async with (
        served(tmp_path, "rayserve", RAY_SERVE, port, metrics_port, short_folder, **quiet) as word,
        Talk(kind, url, metrics_url=metrics_url) as talk,
        Talk(kind, url, timeout_seconds=0.5) as without_figures,
    ):
        await without_figures.looks_until(WANTED, is_ready, READY_SECONDS)
        # Its health is good already, its replica is not there yet.
        assert (await without_figures.test(WANTED)).verdict is Verdict.NOT_YET
        assert (await talk.look(WANTED)).standing is Standing.LOADING
        seen = await talk.looks_until(WANTED, is_ready, READY_SECONDS)
        assert (await talk.test(WANTED)).verdict is Verdict.HOT
        assert (await talk.test(Wanted(prompt='{"other": 4}'))).verdict is Verdict.WRONG
        # It counts our looks, and we do not.
        assert len(seen) > 9
        assert (seen[-1].served or 0) < len(seen)
        assert processes_with(MARK, word)
    assert not processes_with(MARK, word)


async def look_at(kind: Kind, url: str) -> Reading:
    async with Talk(kind, url) as talk:
        return await talk.look(WANTED)
