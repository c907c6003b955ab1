"""The gateway's own price: what a route costs beside a bare endpoint, a signature, and a thousand workers that report.

The server has one core, whoever asks has another one where there are two.
"""

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

import httpx
import psutil

from ebbflow.gateway.wire import token_of
from ebbflow.standins.process import answers, free_port, running
from tests.benchmarks.databases import postgres_url
from tests.benchmarks.gateway_server import OPERATOR, SECRET
from tests.benchmarks.world import tell

WORKERS = 1000
CLIENTS = 8
SECONDS, ROUNDS, QUICK_ROUNDS = 2.0, 5, 2
QUIET_SECONDS = 10.0
"""Of the measurement beside reports; half of it is not enough for a p99."""
GAP_SECONDS = 0.02
"""Between two routes of one client there: a server that is always busy would have its queue measured."""


def measure(*, is_quick: bool = False) -> None:
    """Print the ratios; a quick one has fewer rounds, no PostgreSQL, and no thousand workers."""
    with tempfile.TemporaryDirectory() as folder, nullcontext("") if is_quick else postgres_url() as url:
        _tell_costs(_costs(Path(folder), url, QUICK_ROUNDS if is_quick else ROUNDS))
        if not is_quick:
            _with_many(Path(folder))


def _costs(here: Path, postgres: str, rounds: int) -> dict[str, float]:
    """Seconds for a route, by server; each is measured in turn, several times, since a machine has its moods."""
    seconds: dict[str, list[float]] = {}
    with ExitStack() as stack:
        servers = {}
        for name in ("constant", "signing", "SQLite", *(["PostgreSQL"] if postgres else [])):
            kind = name if name in ("constant", "signing") else "gateway"
            url = postgres if name == "PostgreSQL" else f"sqlite+aiosqlite:///{here / name}.sqlite"
            servers[name] = stack.enter_context(server(kind, here, url))
            servers[name].prepare(workers=1)
        for _ in range(rounds):
            for name, one in servers.items():
                seconds.setdefault(name, []).append(1 / one.per_second())
    return {name: statistics.median(found) for name, found in seconds.items()}


def _tell_costs(costs: dict[str, float]) -> None:
    for name in [each for each in costs if each not in ("constant", "signing")]:
        tell(
            f"gateway, {name}: a route takes {1e6 * costs[name]:.0f} us, "
            f"{costs[name] / costs['constant']:.2f} of a bare endpoint (goal 1.5); "
            f"{costs['signing'] / costs[name]:.1f} times as many per second as with a signature each (goal 3)"
        )


def _with_many(here: Path) -> None:
    url = f"sqlite+aiosqlite:///{here / 'many.sqlite'}"
    with server("gateway", here, url) as one:
        one.prepare(workers=1)
        before = one.memory_mb()
        quiet = one.p99_seconds()
        one.prepare(workers=WORKERS)
        after = one.memory_mb()
        loud = one.p99_seconds(reporting=WORKERS)
    tell(
        f"gateway, {WORKERS} workers that report once a second: p99 of a route {1e3 * loud:.1f} ms, "
        f"{loud / quiet:.1f} of its p99 without them (goal 3); {after - before:.1f} MB for them (goal 20)"
    )
    began = time.monotonic()
    with server("gateway", here, url) as one:
        one.key = OneServer.keys[url]
        one.route()
    tell(f"gateway, {WORKERS} workers: {time.monotonic() - began:.1f} s from its start to the first route (goal 5)")


class OneServer:
    """A server that is measured."""

    keys: dict[str, str] = {}  # noqa: RUF012 - by database, as a restart has it

    def __init__(self, pid: int, port: int, url: str) -> None:
        self.port, self._url, self.key = port, url, ""
        self._process = psutil.Process(pid)
        self._address = f"http://127.0.0.1:{port}"

    def prepare(self, workers: int) -> None:
        """An endpoint with so many ready workers; a constant has none and needs none."""
        with httpx.Client(base_url=self._address, headers={"Authorization": f"Bearer {OPERATOR}"}, timeout=30) as http:
            settings = {"max_queue_seconds": 86_400, "routes_per_second": 1e6}
            if http.put("/operator/endpoints/llama", json=settings).status_code == 404:
                return
            made = http.post("/operator/endpoints/llama/keys", json={})
            self.key = self.keys[self._url] = made.json()["key"]
            for number in range(workers):
                assert http.post("/worker_status/", json=_report(number)).is_success
                worker = f"/operator/endpoints/llama/workers/{_worker_id(number)}"
                assert http.put(worker, json={"url": _url(number), "lease_seconds": 3600}).is_success

    def memory_mb(self) -> float:
        """What it holds."""
        return self._process.memory_info().rss / 1e6

    def route(self) -> None:
        """One, with a worker."""
        answer = httpx.post(f"{self._address}/route/", json={"endpoint": "llama", "api_key": self.key}, timeout=10)
        assert "url" in answer.json(), answer.text

    def per_second(self) -> float:
        """Routes that it answers, when somebody always asks."""
        return asyncio.run(self._asked(SECONDS, gap_seconds=0.0))[0]

    def p99_seconds(self, reporting: int = 0) -> float:
        """How long one in a hundred takes at least."""
        _, times = asyncio.run(self._asked(QUIET_SECONDS, gap_seconds=GAP_SECONDS, reporting=reporting))
        return statistics.quantiles(times, n=100)[98]

    async def _asked(self, seconds: float, *, gap_seconds: float, reporting: int = 0) -> tuple[float, list[float]]:
        body = json.dumps({"endpoint": "llama", "api_key": self.key, "cost": 1, "request_idx": 0}).encode()
        times: list[float] = []
        reports = [asyncio.create_task(self._report(first, reporting)) for first in range(min(reporting, CLIENTS))]
        ends = time.monotonic() + seconds
        await asyncio.gather(*(self._ask(_request("/route/", body), ends, times, gap_seconds) for _ in range(CLIENTS)))
        for task in reports:
            task.cancel()
        await asyncio.gather(*reports, return_exceptions=True)
        return len(times) / seconds, times

    async def _ask(self, request: bytes, ends: float, times: list[float], gap_seconds: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while (began := time.monotonic()) < ends:
            await _exchange(reader, writer, request)
            times.append(time.monotonic() - began)
            if gap_seconds:
                await asyncio.sleep(gap_seconds)
        writer.close()

    async def _report(self, first: int, count: int) -> None:
        """Every worker of this share, once a second, spread over it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        numbers = range(first, count, CLIENTS)
        requests = [_request("/worker_status/", json.dumps(_report(number)).encode()) for number in numbers]
        while True:
            began = time.monotonic()
            for place, request in enumerate(requests):
                await asyncio.sleep(max(0.0, began + place / len(requests) - time.monotonic()))
                await _exchange(reader, writer, request)
            await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))


@contextmanager
def server(kind: str, folder: Path, url: str) -> Iterator[OneServer]:
    """One that answers."""
    port = free_port()
    command = [sys.executable, "-m", "tests.benchmarks.gateway_server", kind, str(port), url]
    is_ready = f"http://127.0.0.1:{port}/healthz"
    log = folder / f"{kind}.log"
    with running(command, environment=dict(os.environ), log=log, is_ready=lambda: answers(is_ready)) as process:
        yield OneServer(process.pid, port, url)


async def _exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> None:
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), head
    (length,) = [line[16:] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    await reader.readexactly(int(length))


def _request(path: str, body: bytes) -> bytes:
    head = f"POST {path} HTTP/1.1", "Host: gateway", "Content-Type: application/json", f"Content-Length: {len(body)}"
    return "\r\n".join((*head, "", "")).encode() + body


def _worker_id(number: int) -> str:
    return f"llama-0abc-1-{number}"


def _url(number: int) -> str:
    return f"http://10.0.{number // 250}.{number % 250 + 1}:3000"


def _report(number: int) -> dict[str, object]:
    return {
        "id": 38250 + number,
        "mtoken": token_of(_worker_id(number), SECRET),
        "version": "1.1.0",
        "loadtime": 11.35,
        "cur_load": 0.0,
        "rej_load": 0.0,
        "new_load": 0.0,
        "error_msg": "",
        "max_perf": 1e6,
        "cur_perf": 40.0,
        "num_requests_working": 0,
        "num_requests_recieved": 0,
        "working_request_idxs": [],
        "disk_usage": 28.59,
        "url": _url(number),
    }


if __name__ == "__main__":
    measure()
