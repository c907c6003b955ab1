"""A real Ray head on this host, and what a user does with it; its workers are started by whoever is tested.

Ray comes from an environment of its own (tests/environments/ray.txt). All processes carry a word of this cluster in
their environment, by which they are ended; Ray's own `ray stop` would end every Ray of the user.
"""

import asyncio
import json
import secrets
import shutil
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from ebbflow.standins.process import free_port, running
from tests.e2e.processes import end_all
from tests.extra_environment import environment

MARK = "EBBFLOW_TEST_RAY"
STORE_BYTES = 80_000_000
"""Ray takes no less."""
PATIENCE_SECONDS = 120.0

WORK = '''
"""Tasks that note where and how often they ran: python work.py COUNT SECONDS GPUS FILE."""
import os, sys, time
import ray

count, seconds, gpus, path = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]

@ray.remote(num_cpus=1, num_gpus=gpus)
def work(number):
    with open(path, "a") as notes:
        notes.write(f"began {number} {time.time()} {ray.get_runtime_context().get_node_id()}\\n")
    time.sleep(seconds)
    while os.path.exists(path + ".held"):
        time.sleep(0.1)
    with open(path, "a") as notes:
        notes.write(f"done {number} {time.time()}\\n")
    return number

ray.init(address="auto", log_to_driver=False)
assert sorted(ray.get([work.remote(number) for number in range(count)])) == list(range(count))
print("all is done")
'''


class RayCluster:
    """One head.

    Args:
        folder: HOME of all that belongs to it.
        programs: the `bin` in which Ray is.
    """

    def __init__(self, folder: Path, programs: Path) -> None:
        self.folder, self.programs = folder, programs
        self.word = secrets.token_hex(6)
        self.token = secrets.token_hex(16)
        self.port, self.dashboard, client = free_port(), free_port(), free_port()
        # The paths of its sockets are long, and may not be longer than 107 bytes.
        self.temporary = Path(tempfile.mkdtemp(prefix="r-", dir="/tmp"))
        self.command = [
            str(programs / "ray"), "start", "--head", "--block", "--disable-usage-stats",
            f"--port={self.port}", f"--ray-client-server-port={client}",
            "--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={self.dashboard}",
            # Its default is one port for all heads of a host, and the second one then takes no job.
            "--dashboard-agent-listen-port=0",
            "--num-cpus=0", "--num-gpus=0", f"--object-store-memory={STORE_BYTES}", f"--temp-dir={self.temporary}",
        ]  # fmt: skip
        self.more_environment: dict[str, str] = {}
        """Beside what every process of it gets, for its head."""
        self._submissions: list[asyncio.subprocess.Process] = []
        (folder / "work.py").write_text(WORK)

    @property
    def address(self) -> str:
        """Of its dashboard."""
        return f"http://127.0.0.1:{self.dashboard}"

    @property
    def join_address(self) -> str:
        """Where workers join. Ray puts an address of the host in the place of loopback's."""
        return f"{_own_address()}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What every process of it gets: nothing of this one's, and a mark."""
        return {
            "PATH": f"{self.programs}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_USAGE_STATS_ENABLED": "0",
            MARK: self.word,
        }

    @contextmanager
    def head(self) -> Iterator[None]:
        """Run it until the block ends; it answers once the block begins."""
        environment = {**self.environment, **self.more_environment}
        with running(self.command, environment=environment, log=self.folder / "head.log", is_ready=self._answers):
            yield

    def _answers(self) -> bool:
        """Whether it counts, and takes a job: in its first seconds it refuses them for want of an agent."""
        with suppress(OSError):
            cluster = self.get("/api/cluster_status")["data"]["clusterStatus"] or {}
            report = cluster.get("loadMetricsReport") or {}
            return bool(report.get("usage") and self._ask("/api/jobs/", {"entrypoint": "true"}))
        return False

    def get(self, path: str) -> Any:
        """What its dashboard says, with the token. Any: JSON is what it is."""
        return self._ask(path)

    def _ask(self, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{self.address}{path}", data=data, headers=headers)
        with urllib.request.urlopen(asked, timeout=5) as answer:
            return json.load(answer)

    def nodes(self, worker_id: str) -> list[dict[str, Any]]:
        """Rows of the nodes that carry a worker's id, the dead too."""
        rows = self.get("/api/v0/nodes?detail=1&limit=10000")["data"]["result"]["result"]
        return [row for row in rows if (row["labels"] or {}).get("autoscaler.worker/id") == worker_id]

    async def submit(self, *words: str, **environment: str) -> asyncio.subprocess.Process:
        """`ray job submit` of words, as somebody outside calls it: with the token alone."""
        given = {**self.environment, **environment}
        submission = await asyncio.create_subprocess_exec(
            str(self.programs / "ray"), "job", "submit", "--address", self.address, "--", *words,
            env=given, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

        self._submissions.append(submission)
        return submission

    async def work(self, count: int, seconds: float, gpus: float = 1, *, held: bool = False) -> "Work":
        """Submit so many tasks of so many seconds; held: that do not end before they are released."""
        notes = self.folder / f"notes-{secrets.token_hex(3)}"
        notes.touch()
        if held:
            notes.with_name(f"{notes.name}.held").touch()
        words = ["python", str(self.folder / "work.py"), str(count), str(seconds), str(gpus), str(notes)]
        return Work(await self.submit(*words), notes)

    async def close(self) -> None:
        """End all that carries its mark."""
        await end_all(MARK, self.word)
        for submission in self._submissions:
            await submission.communicate()
        self._submissions.clear()
        shutil.rmtree(self.temporary, ignore_errors=True)


class Work:
    """Tasks that were submitted.

    Args:
        submission: the command that waits for them.
        notes: what they write down.
    """

    def __init__(self, submission: asyncio.subprocess.Process, notes: Path) -> None:
        self._submission, self._notes = submission, notes

    def release(self) -> None:
        """Let tasks that are held end."""
        self._notes.with_name(f"{self._notes.name}.held").unlink()

    def began(self) -> dict[int, list[str]]:
        """By task, the nodes on which it began."""
        found: dict[int, list[str]] = {}
        for line in self._notes.read_text().splitlines():
            if line.startswith("began"):
                _, number, _, node = line.split()
                found.setdefault(int(number), []).append(node)
        return found

    def beginnings(self) -> list[float]:
        """Epoch seconds at which tasks began."""
        return [float(line.split()[2]) for line in self._notes.read_text().splitlines() if line.startswith("began")]

    async def is_done(self) -> str:
        """Wait for the command; what it said."""
        said, _ = await asyncio.wait_for(self._submission.communicate(), PATIENCE_SECONDS)
        assert self._submission.returncode == 0, said.decode()[-3000:]
        assert "all is done" in said.decode(), said.decode()[-3000:]
        return said.decode()


def _own_address() -> str:
    """By which this host is known to others: no packet is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
        probe.connect(("192.0.2.1", 9))
        return str(probe.getsockname()[0])
    return "127.0.0.1"


@asynccontextmanager
async def ray_cluster(
    folder: Path, change: Callable[[RayCluster], None] = lambda cluster: None
) -> AsyncIterator[RayCluster]:
    """A head that answers, changed before it starts; afterwards nothing of it is left."""
    cluster = RayCluster(folder, environment("ray"))
    change(cluster)
    with cluster.head():
        try:
            yield cluster
        finally:
            # Its head takes half a minute to end by itself.
            await cluster.close()
