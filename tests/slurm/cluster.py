"""A real Slurm for tests: controller, nodes with stand-in GPUs, and munge, in a folder of this test session.

Everything inherits the session's mark, so that the reaper ends it should the session be killed.
"""

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HOW_TO_INSTALL = "Slurm is not installed: apt-get install --no-install-recommends slurmctld slurmd slurm-client munge"
NODES = 4
GPUS = 8
NOT_INSTALLED = 77
LONGEST_SOCKET = 100
"""Of munge."""

EXTRA_CONF = """\
PartitionName=n4only Nodes=n4 MaxTime=60:00 DefaultTime=30:00 State=UP
"""


def is_installed() -> bool:
    """Whether a cluster can be started here."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    return all(shutil.which(name, path=path) for name in ("munged", "slurmctld", "slurmd", "sbatch"))


class SlurmIsMissing(Exception):
    """The packages are not installed."""


@dataclass
class Cluster:
    """One running cluster."""

    folder: Path
    conf: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a client of a test needs."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "USER")}
        return {**kept, "SLURM_CONF": str(self.conf), "LC_ALL": "C", "TZ": "UTC", "SLURM_TIME_FORMAT": "%s"}

    def run(self, *words: str, stdin: str = "", check: bool = True) -> str:
        """Run one of Slurm's commands; its stdout."""
        done = subprocess.run(
            words, input=stdin, env=self.environment, capture_output=True, text=True, timeout=60, cwd="/"
        )
        assert done.returncode == 0 or not check, f"{words}: rc={done.returncode}: {done.stderr}"
        return done.stdout.strip()

    def submit(self, name: str, *options: str, script: str = "exec sleep 600", comment: str = "") -> str:
        """Submit a job as a person would; its id."""
        words = ["sbatch", "--parsable", f"--job-name={name}", f"--comment={comment}", "--output=/dev/null"]
        return self.run(*words, "--chdir=/", *options, stdin=f"#!/bin/bash\n{script}\n")

    def occupy(self, name: str, *options: str) -> str:
        """Submit a job and wait until it runs; its id."""
        job_id = self.submit(name, *options)
        deadline = time.monotonic() + 40
        while self.jobs(name=name).get(job_id) != "RUNNING":
            assert time.monotonic() < deadline, f"{name} does not start: {self.jobs(name=name)}"
            time.sleep(0.1)
        return job_id

    def jobs(self, *, name: str = "", states: str = "PENDING,RUNNING,COMPLETING") -> dict[str, str]:
        """States by job id: the live jobs, of one name or of all."""
        words = ["squeue", "-h", "-r", "-t", states, "-o", "%i %T", *([f"--name={name}"] if name else [])]
        return dict(line.split() for line in self.run(*words).splitlines())

    def names(self, start: str) -> dict[str, tuple[str, str]]:
        """Name and state of the live jobs whose name begins so, by job id."""
        lines = self.run("squeue", "-h", "-r", "-t", "PENDING,RUNNING,COMPLETING", "-o", "%i %T %j").splitlines()
        rows = [line.split(" ", 2) for line in lines]
        return {job_id: (name, state) for job_id, state, name in rows if name.startswith(start)}

    def daemon(self, name: str) -> int:
        """The pid of a daemon: `slurmctld`, `slurmd-n1`."""
        return int((self.folder / f"{name}.pid").read_text())

    @property
    def is_controlled(self) -> bool:
        """Whether the controller's process exists."""
        with suppress(FileNotFoundError):
            return _runs(self.daemon("slurmctld"))
        return False

    def send(self, name: str, number: signal.Signals) -> None:
        """Signal a daemon."""
        os.kill(self.daemon(name), number)

    def freeze(self) -> None:
        """Let the controller answer nothing; `thaw` lets it go on with what came in meanwhile."""
        self.send("slurmctld", signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen controller go on."""
        self.send("slurmctld", signal.SIGCONT)

    def stop_controller(self, number: signal.Signals = signal.SIGTERM) -> None:
        """End the controller, and see it gone. With SIGKILL it forgets what it was told in the last seconds."""
        pid = self.daemon("slurmctld")
        os.kill(pid, number)
        deadline = time.monotonic() + 20
        while _runs(pid):
            assert time.monotonic() < deadline, f"slurmctld survived {number.name}"
            time.sleep(0.02)

    def repair(self) -> None:
        """Start again what is down, and wait until every node is up; job records survive."""
        with suppress(FileNotFoundError, ProcessLookupError):
            self.thaw()
        if not self.is_controlled:
            self._up()
        down = self.run("sinfo", "-h", "-N", "-t", "down,drain,drained,draining,fail", "-o", "%N").split()
        if down:
            self.run("scontrol", "update", f"nodename={','.join(sorted(set(down)))}", "state=resume", check=False)
        self._up()

    def _up(self, *options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HERE / "up.sh", *options, self.folder], capture_output=True, text=True, timeout=120, check=True
        )

    def down(self) -> None:
        """End everything."""
        subprocess.run([HERE / "down.sh", "--wipe", self.folder], capture_output=True, timeout=120, check=False)


def _runs(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@contextmanager
def cluster(folder: Path, *, options: Sequence[str] = (), conf: str = EXTRA_CONF) -> Iterator[Cluster]:
    """Start a cluster in a folder, and end it.

    Raises:
        SlurmIsMissing: it is not installed here.
    """
    folder.mkdir(parents=True, exist_ok=True)
    place, extra = folder / "slurm", folder / "extra.conf"
    extra.write_text(conf)
    words = ["--nodes", str(NODES), "--gpus", str(GPUS), "--min-job-age", "20", "--node-timeout", "10", "--preempt"]
    words += ["--conf", str(extra), *options]
    sockets = None
    if len(f"{place.resolve()}/munge.sock") > LONGEST_SOCKET:
        sockets = tempfile.mkdtemp(prefix="ebbflow-munge-")
        words += ["--munge-socket", f"{sockets}/s"]
    made = Cluster(place, place / "slurm.conf")
    try:
        _start(made, words)
        yield made
    finally:
        if (place / "cluster-name").exists():
            made.down()
        if sockets:
            shutil.rmtree(sockets, ignore_errors=True)


def _start(made: Cluster, words: Sequence[str]) -> None:
    said = ""
    for _ in range(5):
        # Several clusters may start at once; who finds its ports taken tries others.
        port = random.randrange(21_000, 31_000, 10)
        try:
            made._up("--port", str(port), *words)
        except subprocess.CalledProcessError as error:
            said = error.stderr
            if error.returncode == NOT_INSTALLED:
                raise SlurmIsMissing(said) from error
            made.down()
            continue
        return
    raise RuntimeError(f"no cluster came up: {said}")
