"""Schemathesis, a client that we did not write, holds the gateway to what its OpenAPI says, with input it makes up."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ebbflow.gateway.wire import token_of
from tests.extra_environment import environment
from tests.gateway.processes import OPERATOR, SECRET, GatewayPair, GatewayProcess, gateway_pair, gateway_process

pytestmark = pytest.mark.soak

EXAMPLES = {GatewayProcess: 25, GatewayPair: 10}
"""Of each operation and phase; most of what two are asked is handed on, which takes longer."""
SEED = 20261129
CONFIG = """
# A test prompt that its kind can make nothing of has the right shape.
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", 401, 403, 404, 409, 422, 429, "5xx"]
"""


@pytest.fixture(scope="module", params=["one on a file", "two on a PostgreSQL"])
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("fuzzed")
    made = (
        gateway_process(folder)
        if request.param == "one on a file"
        else gateway_pair(folder, request.getfixturevalue("postgres_server").empty_database())
    )
    with made as started:
        started.endpoint()
        yield started


@pytest.mark.parametrize("tag", ["clients", "operators", "workers", "everybody"])
def test_what_it_answers_is_what_its_description_says(gateway: GatewayProcess, tag: str, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    key = {"clients": gateway.endpoint, "operators": lambda: OPERATOR}.get(tag, lambda: "")()
    done = subprocess.run(
        [
            str(environment("schemathesis") / "schemathesis"),
            "run",
            f"{gateway.address}/openapi.json",
            "--include-tag",
            tag,
            *(["--header", f"Authorization: Bearer {key}"] if key else []),
            "--max-examples",
            str(EXAMPLES[type(gateway)]),
            "--seed",
            str(SEED),
            "--no-color",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    (asked,) = re.findall(r"(\d+) generated", done.stdout)
    assert int(asked) >= EXAMPLES[type(gateway)]


def test_after_all_that_it_does_its_work(gateway: GatewayProcess) -> None:
    gateway.operator("PUT", "endpoints/llama")
    key, url, worker_id = gateway.endpoint(), "http://10.0.0.1:3000", "demo-0abc-1-0"
    said = {"id": 1, "version": "1.1.0", "loadtime": 3.0, "max_perf": 100.0, "cur_load": 0.0, "url": url}
    answer = gateway.http.post("/worker_status/", json=said | {"mtoken": token_of(worker_id, SECRET)})
    assert answer.status_code == 200
    gateway.operator("PUT", f"endpoints/llama/workers/{worker_id}", url=url)
    asked = {"endpoint": "llama", "api_key": key}
    found = gateway.http.post("/route/", json=asked, headers={"Authorization": f"Bearer {key}"})
    assert found.json()["url"] == url, found.text
