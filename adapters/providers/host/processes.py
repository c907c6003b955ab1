"""Processes of this host that carry a worker id: started detached, found again, and ended without hitting another.

A pid alone names nothing, since the kernel gives it away again. A process is known by its pid, the boot it belongs to
and its age after that boot, which no step of the clock changes; and by the worker id in its environment, which it
hands on to its children and which survives the loss of every file.
"""

import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from ebbflow.adapters.providers.host.logs import STDERR, STDOUT
from ebbflow.adapters.providers.host.private_files import open_to_append
from ebbflow.core.worker_environment import FLEET, HOME, PROVIDER, WORKER_ID

INHERITED = ("PATH", "HOME", "USER", "LANG")
"""What a worker gets of our own environment. Not the rest: it may hold our keys."""


@dataclass(frozen=True, slots=True)
class ProcessId:
    """One process, told apart from every other that ever had its pid."""

    pid: int
    created_at: float
    """Epoch seconds as of when it was looked at; steps with the clock, so it is not compared."""
    seconds_after_boot: float
    boot: str

    def __post_init__(self) -> None:
        """Refuse what names no process: to a kernel a negative one is a whole group, and 0 is our own.

        Raises:
            ValueError: says what is wrong.
        """
        if not 0 < self.pid < 2**31 or not (math.isfinite(self.created_at) and math.isfinite(self.seconds_after_boot)):
            raise ValueError(f"pid {self.pid}, created at {self.created_at}: no process")

    def is_same(self, other: "ProcessId | None") -> bool:
        """Whether both name one process."""
        if other is None or (self.pid, self.boot) != (other.pid, other.boot):
            return False
        # Start times are counted in hundredths of a second.
        return abs(self.seconds_after_boot - other.seconds_after_boot) < 0.005

    def __str__(self) -> str:
        """`<pid>:<creation in epoch milliseconds>`, the provider's own id of a worker."""
        return f"{self.pid}:{round(self.created_at * 1000)}"


@dataclass(frozen=True, slots=True)
class Carrier:
    """A live process that carries a worker id in its environment."""

    process: ProcessId
    worker_id: str
    fleet: str
    home: str
    provider: str


def start_detached(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    kept_fd: int,
    *,
    directory: Path | None = None,
    logs: tuple[str, str] = (STDOUT, STDERR),
) -> int:
    """Start a command that outlives us, in a session of its own, and return its pid at once.

    Args:
        command: its words; no shell reads them.
        environment: all that it gets.
        folder: where its logs are appended to. Files, because a pipe ends with its reader and takes the writer along.
        kept_fd: one descriptor of ours that it inherits, and its children with it.
        directory: its working directory; the folder of its logs, if not given.
        logs: names of the files for stdout and stderr.
    """
    with open_to_append(folder / logs[0]) as stdout, open_to_append(folder / logs[1]) as stderr:
        child = _Detached(
            list(command),
            env=dict(environment),
            cwd=directory or folder,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            pass_fds=(kept_fd,),
            start_new_session=True,
        )
    return child.pid


class _Detached(subprocess.Popen[bytes]):
    """A child that is meant to outlive this object: `find` reaps it, or init does once we are gone."""

    def __del__(self) -> None:
        """No warning about a process that still runs."""


def host_name() -> str:
    """What names this host: its machine id, or its network name where it has none."""
    with suppress(OSError):
        if machine_id := Path("/etc/machine-id").read_text().strip():
            return machine_id
    return socket.gethostname()


def find(pid: int) -> ProcessId | None:
    """The process that has this pid now, or None. A zombie is dead; one of our own is buried on the way."""
    try:
        process = psutil.Process(pid)
        found = _identify(process)
        if process.status() != psutil.STATUS_ZOMBIE:
            return found
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        pass
    return None


def of_child(pid: int) -> ProcessId | None:
    """A child of ours that was just started, also if it has ended by now; nobody may have buried it."""
    with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        return _identify(psutil.Process(pid))
    return None


def is_alive(process: ProcessId) -> bool:
    """Whether this very process runs, not another that got its pid."""
    return process.is_same(find(process.pid))


def exit_code(process: ProcessId) -> int | None:
    """How a child of ours has ended, once: asking takes it out of the kernel's books. None for everybody else's."""
    if not sys.platform.startswith("linux"):
        return None
    with suppress(ChildProcessError, psutil.NoSuchProcess):
        # A look first: the pid may be another child's by now, whose end is somebody else's to learn.
        if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        if process.is_same(_identify(psutil.Process(process.pid))):
            return os.waitstatus_to_exitcode(os.waitpid(process.pid, os.WNOHANG)[1])
    return None


def age_seconds(process: ProcessId) -> float:
    """How long ago a process was started, whatever became of the clock and of the process; endless after a reboot."""
    if process.boot != boot():
        return float("inf")
    return seconds_after_boot() - process.seconds_after_boot


def seconds_after_boot() -> float:
    """The time that all processes of this host share and that nobody steps."""
    if sys.platform.startswith("linux"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time() - psutil.boot_time()


def carriers(worker_id: str = "") -> list[Carrier]:
    """Everything of this user that carries a worker id, in one pass over the host's processes.

    A process whose environment may not be read is passed over: every session has some (agents with keys are closed
    even to their own user), and none of ours is one, unless it made itself so; then its recorded pid finds it.

    Args:
        worker_id: only this one; costs a fraction of a look at all.
    """
    found = []
    user, mark = os.geteuid(), f"{WORKER_ID}={worker_id}".encode()
    for pid in psutil.pids():
        if pid == os.getpid() or not _may_carry(pid, user, mark):
            continue
        try:
            process = psutil.Process(pid)
            environment = process.environ()
            if process.uids().effective != user or not environment.get(WORKER_ID):
                continue
            names = [environment.get(name, "") for name in (WORKER_ID, FLEET, HOME, PROVIDER)]
            found.append(Carrier(_identify(process), *names))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return [carrier for carrier in found if worker_id in ("", carrier.worker_id)]


def _may_carry(pid: int, user: int, mark: bytes) -> bool:
    """Whether a closer look at a process is worth its price, which is ten times that of this one."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        if os.stat(f"/proc/{pid}").st_uid != user:
            return False
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            return mark in file.readall()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def writers(root: Path) -> dict[str, list[ProcessId]]:
    """Whose stdout or stderr is a file below a folder, by the path of the file; on Linux only.

    Finds what has neither our environment nor our group any more, but still prints to where we started it. Only these
    two descriptors: a person who reads the file, and who is just opening it for somebody else, have it as another.
    """
    found: dict[str, list[ProcessId]] = {}
    if not sys.platform.startswith("linux"):
        return found
    for pid in psutil.pids():
        paths = {path for path in (_target_of(pid, 1), _target_of(pid, 2)) if path.startswith(f"{root}/")}
        if paths and pid != os.getpid() and (process := find(pid)):
            for path in paths:
                found.setdefault(path, []).append(process)
    return found


def holds_files_of(pid: int, folder: Path) -> bool:
    """Whether a process has the lock or a log of a worker open, as it was given them with its start; on Linux only."""
    try:
        descriptors = os.listdir(f"/proc/{pid}/fd")
    except OSError:
        return False
    files = {str(folder / name) for name in ("lock", STDOUT, STDERR)}
    return any(_target_of(pid, descriptor) in files for descriptor in descriptors)


def _target_of(pid: int, descriptor: int | str) -> str:
    try:
        return os.readlink(f"/proc/{pid}/fd/{descriptor}").removesuffix(" (deleted)")
    except OSError:
        return ""


def left_in_group(started_as: ProcessId) -> list[ProcessId]:
    """Who is left of a session and group whose leader is gone.

    The kernel gives no pid away while a group has it, so with the pid free the group is still that of the leader.
    """
    group = started_as.pid
    if started_as.boot != boot() or find(group) is not None:
        return []
    pids = [pid for pid in psutil.pids() if _group(pid) == group and _session(pid) == group]
    return [found for pid in pids if (found := find(pid))]


def leader(processes: Iterable[ProcessId]) -> ProcessId | None:
    """Of the processes of one worker, the one that it was started as: leads its session, else the oldest."""
    return min(processes, key=lambda each: (_session(each.pid) != each.pid, each.seconds_after_boot), default=None)


def with_groups(processes: Sequence[ProcessId], started_as: ProcessId | None) -> tuple[set[int], list[ProcessId]]:
    """The process groups that belong to these processes alone, and everyone in them.

    A group is theirs if one of them leads it, or if one of them is in the group that `started_as` led: the kernel gives
    no pid away while a group has it. Never our own group.
    """
    leaders = {process.pid for process in processes} | ({started_as.pid} if started_as else set())
    groups = leaders & {_group(process.pid) for process in processes} - {os.getpgrp()}
    known = {process.pid for process in processes}
    others = [pid for pid in psutil.pids() if pid not in known and _group(pid) in groups] if groups else []
    return groups, [*processes, *(found for pid in others if (found := find(pid)))]


def send(number: signal.Signals, processes: Sequence[ProcessId], groups: Iterable[int]) -> None:
    """Signal groups, and each process that is in none of them. Who is gone, or may not be signalled, is passed over."""
    reached = set(groups)
    alone = [process for process in processes if _group(process.pid) not in reached and is_alive(process)]
    for group in reached:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(group, number)
    for process in alone:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)


def _identify(process: psutil.Process) -> ProcessId:
    created_at = process.create_time()
    return ProcessId(process.pid, created_at, round(created_at - psutil.boot_time(), 3), boot())


@cache
def boot() -> str:
    """Names the time since the host was started; empty where the system does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None
