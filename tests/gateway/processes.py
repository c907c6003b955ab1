"""A whole gateway with the vendor's own workers, as processes on loopback: what `start.sh` starts, without Vast."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from ebbflow.gateway.wire import token_of
from ebbflow.standins.process import answers, end_group, free_port, running
from tests.extra_environment import environment
from tests.gateway.front import front_of

OPERATOR, SECRET = "o" * 40, "w" * 40
SECRETS = {"EBBFLOW_GATEWAY_OPERATOR_KEY": OPERATOR, "EBBFLOW_GATEWAY_WORKER_SECRET": SECRET}
FOLDER = Path(__file__).parents[2] / "deployments" / "vast-model-server"
ENDPOINT = "llama"
WAIT_SECONDS = 90.0


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "ebbflow.cli", *words]


def until(holds: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


class GatewayProcess:
    """`ebbflow gateway` at one address, which may be killed and started again.

    Args:
        folder: for its database and its logs.
        url: of its database; a file of the folder where nothing is said.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder, self._starts = folder, 0
        self._database = url or str(folder / "gateway.sqlite")
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.address, headers={"Authorization": f"Bearer {OPERATOR}"}, timeout=20)
        self.process: subprocess.Popen[bytes]
        self._running = ExitStack()

    def start(self) -> None:
        self.process = self._started(self.port)

    def _started(self, port: int) -> subprocess.Popen[bytes]:
        self._starts += 1
        words = command("gateway", "--port", str(port), "--database", self._database)
        log = self.folder / f"gateway-{self._starts}.log"
        given = {**os.environ, **SECRETS}
        ready = f"http://127.0.0.1:{port}/healthz"
        return self._running.enter_context(running(words, environment=given, log=log, is_ready=lambda: answers(ready)))

    def kill(self) -> None:
        """As the kernel ends it when memory is short."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(timeout=20)

    def close(self) -> None:
        self.http.close()
        self._running.close()

    def endpoint(self, name: str = ENDPOINT, *words: str) -> str:
        """Make it by the command; its client key."""
        done = subprocess.run(
            command("endpoint", name, "--gateway", self.address, *words),
            env={**os.environ, **SECRETS},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def operator(self, method: str, path: str, **body: object) -> dict[str, Any]:
        answer = self.http.request(method, f"/operator/{path}", json=body or None)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def rows(self) -> dict[str, dict[str, Any]]:
        """The workers of the endpoint, by id."""
        return {row["worker_id"]: row for row in self.operator("GET", f"endpoints/{ENDPOINT}")["workers"]}

    def words(self) -> list[str]:
        """What the endpoint's log says."""
        return [line["words"] for line in self.operator("GET", f"endpoints/{ENDPOINT}/log")["lines"]]


class GatewayPair(GatewayProcess):
    """Two of them on one PostgreSQL behind a front, of which the one that decides may be killed."""

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder, url)
        self.ports = (free_port(), free_port())
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.port = self._running.enter_context(front_of(self.ports))
        self.address = f"http://127.0.0.1:{self.port}"
        self.http.base_url = httpx.URL(self.address)

    def start(self) -> None:
        """Whichever does not run."""
        for port in self.ports:
            if port not in self.processes:
                self.processes[port] = self._started(port)

    def kill(self) -> None:
        """The one that decides."""
        (port,) = [port for port in self.ports if self.decides(port)]
        process = self.processes.pop(port)
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=20)

    def decides(self, port: int) -> bool:
        """Whether it is the one at this port; the process that was killed is not."""
        with suppress(httpx.TransportError):
            return bool(httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=5).json()["decides"])
        return False


@contextmanager
def gateway_pair(folder: Path, url: str) -> Iterator[GatewayPair]:
    made = GatewayPair(folder, url)
    with closing(made):
        made.start()
        yield made


@contextmanager
def gateway_process(folder: Path, url: str | None = None) -> Iterator[GatewayProcess]:
    made = GatewayProcess(folder, url)
    with closing(made):
        made.start()
        yield made


class VendorWorker:
    """A model server and the vendor's worker software before it.

    Args:
        gateway: where it reports.
        number: of this worker.
        tokens_per_second: of its model.
    """

    def __init__(self, gateway: GatewayProcess, number: int, *, tokens_per_second: float = 200.0) -> None:
        self.worker_id = f"demo-0abc-1-{number}"
        self.folder = gateway.folder / self.worker_id
        self.folder.mkdir()
        self.port, self._model_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = self.folder / "model.log"
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "CONTAINER_ID": str(38250 + number),
            "PUBLIC_IPADDR": "127.0.0.1",
            "REPORT_ADDR": gateway.address,
            "MASTER_TOKEN": token_of(self.worker_id, SECRET),
            "USE_SSL": "false",
            "WORKER_PORT": str(self.port),
            f"VAST_TCP_PORT_{self.port}": str(self.port),
            "WORKER_HTTP_PORT": str(free_port()),
            "WORKER_HOST": "127.0.0.1",
            "MODEL_PORT": str(self._model_port),
            "MODEL_LOG": str(self.log),
            "MODEL_LOAD_SECONDS": "1",
            "TOKENS_PER_SECOND": str(tokens_per_second),
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        vendor = environment("vastai") / "python"
        for python, name in ((Path(sys.executable), "model_server.py"), (vendor, "worker.py")):
            log = self.log if name == "model_server.py" else self.folder / "worker.log"
            with log.open("ab") as output:
                self._processes.append(
                    subprocess.Popen(
                        [str(python), str(FOLDER / name)],
                        cwd=self.folder,
                        env=self._environment,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        start_new_session=True,
                    )
                )

    def kill(self) -> None:
        for process in self._processes:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=20)

    def close(self) -> None:
        for process in self._processes:
            end_group(process)

    def said(self) -> str:
        return (self.folder / "worker.log").read_text(errors="replace")[-3000:]


@contextmanager
def vendor_workers(gateway: GatewayProcess, speeds: Mapping[int, float]) -> Iterator[list[VendorWorker]]:
    """So many, registered and ready."""
    with ExitStack() as stack:
        made = [VendorWorker(gateway, number, tokens_per_second=speed) for number, speed in speeds.items()]
        for worker in made:
            stack.enter_context(closing(worker))
            worker.start()
        for worker in made:
            register(gateway, worker)
        for worker in made:
            until(lambda each=worker: gateway.rows()[each.worker_id]["ready"], worker.said())  # type: ignore[misc]
        yield made


def register(gateway: GatewayProcess, worker: VendorWorker) -> None:
    path = f"endpoints/{ENDPOINT}/workers/{worker.worker_id}"

    def heard() -> bool:
        return bool(gateway.operator("PUT", path, url=worker.url, lease_seconds=3600)["heard"])

    until(heard, worker.said())


@contextmanager
def vendor_client(
    gateway: GatewayProcess, key: str, *words: str, script: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    """The vendor's client: `client.py` of the ready-made fleet, or a program of its own."""
    what = ["-c", script] if script else [str(FOLDER / "client.py")]
    given = {**os.environ, "GATEWAY": gateway.address, "ENDPOINT": ENDPOINT, "ENDPOINT_KEY": key}
    process = subprocess.Popen(
        [str(environment("vastai") / "python"), *what, *words],
        env=given,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=20)


def asked(gateway: GatewayProcess, key: str, *words: str, script: str | None = None) -> str:
    """What the vendor's client says, once it has ended well."""
    with vendor_client(gateway, key, *words, script=script) as process:
        said, _ = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, said
        return said
