"""The machines of a stand-in Vast market: they boot instances and run their programs as local processes.

Source: vast-ai/docs, docker-environment.mdx; the help of the vendor's `create instance`: ssh and jupyter replace the
image's entry point and run `onstart`, `args` keeps it, and there `onstart` overrides it.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ebbflow.standins.background import Background
from ebbflow.standins.clock import Clock
from ebbflow.standins.process import free_port, signal_group
from ebbflow.standins.vast.instances import PUBLIC_ADDRESS, RentedInstance

ROUND_SECONDS = 0.02
INHERITED = ("PATH", "HOME", "LANG")
IDLE = ("sleep", "2147483647")
"""What an instance runs that nobody gave a program: the real one has its ssh server."""


@dataclass(frozen=True, slots=True)
class Boot:
    """How an instance gets from its create to its program."""

    null_seconds: float = 0.0
    """Without any status."""
    loading_seconds: float = 0.0
    is_stuck: bool = False
    """`loading` for ever."""
    failure: str = ""
    """A `status_msg` that it stays `loading` with, such as "OCI runtime create failed"."""


@dataclass(frozen=True, slots=True)
class Program:
    """How instances run."""

    images: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The entry point of each image, as a local command; any other image only has an idle one."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """What every image sets; the request's own variables win."""
    stop_grace_seconds: float = 5.0
    """Between SIGTERM and SIGKILL at a stop, in real time."""
    is_kept_after_onstart: bool = False
    """Stay `running` when `onstart` ends, as an instance with an ssh server does; False: `exited`."""

    def command(self, instance: RentedInstance) -> tuple[str, ...]:
        """The program and its arguments."""
        launch = instance.launch
        if launch.keeps_entry_point:
            entry = (launch.onstart,) if launch.onstart else self.images.get(launch.image, ())
            return (*entry, *launch.arguments) if entry else IDLE
        return ("/bin/sh", "-c", launch.onstart) if launch.onstart else IDLE


class Hosts:
    """All machines.

    Args:
        program: how instances run.
        clock: boots take their time on it.
        folder: for the disks and logs of instances; None: a temporary one.

    Attributes:
        boot: of every instance that nothing else is said about.
        boots: by machine id.
        next_boots: of the next instances to boot for the first time, before any other rule.
    """

    def __init__(self, program: Program, clock: Clock, folder: Path | None) -> None:
        self.boot = Boot()
        self.boots: dict[int, Boot] = {}
        self.next_boots: list[Boot] = []
        self._program, self._clock, self._folder = program, clock, folder
        self._temporary: Path | None = None
        self._lives: dict[int, asyncio.Task[None]] = {}
        self._processes: dict[int, tuple[RentedInstance, subprocess.Popen[bytes]]] = {}

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Run instances while the context is open; every process that was started is ended after it."""
        self._temporary = None if self._folder else Path(tempfile.mkdtemp(prefix="stand-in-vast-"))
        background = Background()
        background.spawn(self._look_for_ends())
        try:
            yield
        finally:
            lives = list(self._lives.values())
            for life in lives:
                life.cancel()
            await asyncio.gather(*lives, return_exceptions=True)
            await background.stop()
            for _, process in self._processes.values():
                _kill(process)
            self._processes.clear()
            if self._temporary is not None:
                shutil.rmtree(self._temporary, ignore_errors=True)

    def process_of(self, instance_id: int) -> "subprocess.Popen[bytes] | None":
        """The program of an instance, while it runs."""
        found = self._processes.get(instance_id)
        return found[1] if found else None

    def disk_of(self, instance: RentedInstance) -> Path:
        """The folder that its program works in: kept by a stop, lost by a recycle and a destroy."""
        root = self._folder or self._temporary
        assert root is not None, "the stand-in is not served"
        return root / str(instance.id)

    def log_of(self, instance: RentedInstance) -> str:
        """Both outputs of its programs so far."""
        path = self.disk_of(instance) / "container.log"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def start(self, instance: RentedInstance, status: str | None = None) -> None:
        """Boot an instance; with a status it begins there, as one that is no longer new does."""
        boot = self.boots.get(instance.offer.machine_id, self.boot)
        if status is None and self.next_boots:
            boot = self.next_boots.pop(0)
        instance.actual_status, instance.status_msg = status, None
        task = asyncio.ensure_future(self._live(instance, boot, is_new=status is None))
        self._lives[instance.id] = task

    async def halt(self, instance: RentedInstance, *, kills: bool = False) -> None:
        """End a boot or a program, and all that shares its process group."""
        life = self._lives.pop(instance.id, None)
        if life is not None:
            life.cancel()
        try:
            if not kills:
                await self._end(instance)
        finally:
            found = self._processes.pop(instance.id, None)
            if found is not None:
                _kill(found[1])
            instance.ports = {}

    def wipe(self, instance: RentedInstance) -> None:
        """Lose what it wrote."""
        shutil.rmtree(self.disk_of(instance), ignore_errors=True)

    async def _live(self, instance: RentedInstance, boot: Boot, *, is_new: bool) -> None:
        if is_new:
            await self._clock.sleep(boot.null_seconds)
            instance.actual_status = "loading"
        if boot.failure:
            instance.status_msg = boot.failure
        if boot.failure or boot.is_stuck:
            return
        await self._clock.sleep(boot.loading_seconds)
        self._run(instance)

    def _run(self, instance: RentedInstance) -> None:
        """Start the program; what cannot be started is told as the container engine tells it."""
        disk = self.disk_of(instance)
        disk.mkdir(parents=True, exist_ok=True)
        taken = {port for other, _ in self._processes.values() for port in other.ports.values()}
        instance.ports = {}
        for port in instance.launch.ports:
            instance.ports[port] = _free_port(taken)
        try:
            with (disk / "container.log").open("ab") as output:
                process = subprocess.Popen(
                    self._program.command(instance),
                    env=self._environment(instance),
                    cwd=disk,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            instance.actual_status = "created"
            instance.status_msg = f"Error response from daemon: OCI runtime create failed: {error}"
            return
        self._processes[instance.id] = (instance, process)
        instance.actual_status = "running"
        instance.status_msg = f"success, running {instance.launch.image}"

    def _environment(self, instance: RentedInstance) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
        return {
            **inherited,
            **self._program.environment,
            **instance.launch.variables,
            "CONTAINER_ID": str(instance.id),
            "CONTAINER_API_KEY": instance.key,
            "PUBLIC_IPADDR": PUBLIC_ADDRESS,
            **{f"VAST_{kind.upper()}_PORT_{port}": str(found) for (port, kind), found in instance.ports.items()},
        }

    async def _look_for_ends(self) -> None:
        while True:
            for instance, process in list(self._processes.values()):
                is_kept = self._program.is_kept_after_onstart and not instance.launch.keeps_entry_point
                # A container ends with its first process, whoever else is in it.
                if process.poll() is not None and not is_kept and instance.actual_status == "running":
                    _kill(process)
                    del self._processes[instance.id]
                    instance.actual_status, instance.ports = "exited", {}
                    instance.status_msg = f"container ended with exit code {process.returncode}"
            await asyncio.sleep(ROUND_SECONDS)

    async def _end(self, instance: RentedInstance) -> None:
        process = self.process_of(instance.id)
        if process is None:
            return
        deadline = time.monotonic() + self._program.stop_grace_seconds
        signal_group(process, signal.SIGTERM)
        while time.monotonic() < deadline:
            if process.poll() is not None:
                return
            await asyncio.sleep(ROUND_SECONDS)


def _free_port(taken: set[int]) -> int:
    while (port := free_port()) in taken:
        continue
    taken.add(port)
    return port


def _kill(process: "subprocess.Popen[bytes]") -> None:
    signal_group(process, signal.SIGKILL)
    process.wait()
