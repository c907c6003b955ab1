"""What is remembered of a worker of this host: one folder of small files and a lock that the worker itself holds.

``<state folder>/<fleet>/<worker id>/``

==================  ===========================================================================================
`lock`              locked by the launcher and then by the worker, which inherits the descriptor: one of them lives
`intent.json`       written before the start: whose worker this is
`process.json`      written after the start: the process that it was started as
`terminating.json`  written before the first signal
`exited.json`       its processes have ended; where a worker is more than those, it may live on
`ended.json`        its end was seen, or was our doing. The id is used up; a day later the folder goes
`verdict.json`      what its output was found to say, where that is noted: the output may be cut afterwards
`stdout.log`        what it printed, for people and for the launch-output parser; `stderr.log` beside it
==================  ===========================================================================================

Every file appears whole (written aside, synced, renamed), so that a reader never sees half of one. A provider may keep
files of its own beside these.
"""

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ebbflow.adapters.launch_output import LaunchOutput, Said
from ebbflow.adapters.providers.host.logs import STDERR, STDOUT, size_of
from ebbflow.adapters.providers.host.private_files import check_private, check_root, make_private, open_to_read
from ebbflow.adapters.providers.host.processes import ProcessId
from ebbflow.core.canonical import canonical, decode
from ebbflow.core.errors import ProviderUnavailable, RecordError

WORKER_ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
KEPT_SECONDS = 86_400.0
MAX_NOTE_BYTES = 65_536
"""Of one of the small files."""
MAX_OUTPUT_BYTES = 1024**3
"""How much of a worker's stdout is looked at for its address; half a second's reading."""

_PIECE_BYTES = 65_536

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Intent:
    """Whose worker this is, as it was meant before it was started."""

    worker_id: str
    fleet: str
    home: str
    provider: str
    """The fingerprint of the provider: a folder on a shared disk holds other hosts' workers too."""
    capabilities: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Moment:
    """That something was done or seen."""

    at: float
    """Epoch seconds."""
    by_us: bool = False
    """We ended it; otherwise its end was only seen."""


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    """The files of one worker at one look."""

    intent: Intent | None = None
    process: ProcessId | None = None
    is_terminating: bool = False
    ended: Moment | None = None
    has_output: bool = False
    has_exited: bool = False
    """Its processes are known to be gone, though it may live on elsewhere: only a provider that can tell notes this."""

    @property
    def was_started(self) -> bool:
        """Whether a process ever had this id, so that none may be started under it again.

        Output proves a start whose `process.json` was never written.
        """
        return self.process is not None or self.ended is not None or self.has_exited or self.has_output


class WorkerFolder:
    """The files of one worker.

    Args:
        path: its folder.
        label: what the provider is called in an error.
        root: the state folder above it.
    """

    def __init__(self, path: Path, label: str, root: Path) -> None:
        self.path = path
        self.label = label
        self._root = root

    def make(self) -> None:
        """Make it, and those above it up to the state folder, for nobody but us.

        Raises:
            ConfigError: one that is there is not ours alone.
            OSError: one cannot be made.
        """
        make_private(self._root, self.path)

    def read(self) -> WorkerRecord:
        """What the files say; absent ones say nothing.

        Raises:
            ProviderUnavailable: one of them cannot be read, so that nothing is known for sure.
        """
        try:
            return WorkerRecord(
                intent=self.load(Intent, "intent.json"),
                process=self.load(ProcessId, "process.json"),
                is_terminating=(self.path / "terminating.json").exists(),
                ended=self.load(Moment, "ended.json"),
                has_exited=(self.path / "exited.json").exists(),
                has_output=any(size_of(self.path / name) for name in (STDOUT, STDERR)),
            )
        except OSError as error:
            raise ProviderUnavailable(f"{self.label} cannot read {self.path}: {error}") from error

    def load(self, kind: type[T], name: str) -> T | None:
        """What one file says; None where there is none.

        Raises:
            ProviderUnavailable: it cannot be read, so that nothing is known for sure.
        """
        try:
            with open_to_read(self.path / name) as file:
                text = file.read(MAX_NOTE_BYTES + 1)
            if len(text) > MAX_NOTE_BYTES:
                raise ValueError(f"{name} is longer than {MAX_NOTE_BYTES} bytes")
            return decode(kind, json.loads(text), where=name)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, RecordError) as error:
            raise ProviderUnavailable(f"{self.label} cannot read {self.path}: {error}") from error

    def write(self, name: str, value: object, *, replace: bool = True, sync: bool = True) -> None:
        """Put one dataclass in place as a file, whole and on the disk. Without `replace`, one that is there stays.

        Without `sync` it may be lost or empty after a power failure: for what is found out again.

        Raises:
            OSError: it could not be written.
        """
        aside = self.path / f".{name}.{os.getpid()}.{os.urandom(4).hex()}"
        try:
            with aside.open("x", encoding="utf-8") as file:
                file.write(canonical(value))
                file.flush()
                if sync:
                    os.fsync(file.fileno())
            if replace:
                aside.replace(self.path / name)
            else:
                with suppress(FileExistsError):
                    os.link(aside, self.path / name)
        finally:
            aside.unlink(missing_ok=True)

    @contextmanager
    def lock(self, name: str = "lock") -> Iterator[int | None]:
        """Hold one of the worker's locks; None where somebody else has it: a launcher, or whom it started.

        Whoever inherits the descriptor holds the lock on, so it is closed here and never unlocked.

        Raises:
            OSError: the folder cannot be made or written.
        """
        descriptor = self._open_lock(name)
        try:
            yield descriptor
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def is_locked(self, name: str = "lock") -> bool:
        """Whether a launcher, or whom it started, holds a lock. Looks do not exclude each other."""
        try:
            descriptor = os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def remove(self) -> None:
        """Forget the worker. Only while holding its lock, and starting nothing afterwards."""
        shutil.rmtree(self.path, ignore_errors=True)

    def output(self, *, ended: bool, pid: int | None) -> Said:
        """What the worker has announced.

        Args:
            ended: nobody is left who could announce more.
            pid: the process that it was started as; its descriptor still has an output file that was deleted.
        """
        parser = LaunchOutput()
        self.read_output(parser, pid=pid, max_bytes=MAX_OUTPUT_BYTES)
        return Said(parser.end() if ended else parser.result, parser.ignored)

    def read_output(self, parser: LaunchOutput, *, pid: int | None, max_bytes: int) -> bool:
        """Give the parser what the worker has printed, until it has decided; whether that was all of it."""
        source, deleted = self.path / STDOUT, None
        if pid is not None and not source.exists():
            deleted = self._deleted_output(pid)
        with suppress(FileNotFoundError), open_to_read(deleted or source, is_ours=deleted is None) as file:
            while parser.result is None and file.tell() < max_bytes:
                piece = file.read(min(_PIECE_BYTES, max_bytes - file.tell()))
                if not piece:
                    return True
                parser.feed(piece)
            return not file.read(1)
        return True

    def _open_lock(self, name: str) -> int | None:
        while True:
            self.make()
            path = self.path / name
            try:
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            except FileNotFoundError:
                continue  # removed in between, with its folder
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                # A lock on a file that was removed meanwhile excludes nobody.
                if _is_same_file(descriptor, path):
                    return descriptor
            except BlockingIOError:
                os.close(descriptor)
                return None
            os.close(descriptor)

    def _deleted_output(self, pid: int) -> Path | None:
        link = Path(f"/proc/{pid}/fd/1")
        with suppress(OSError):
            # Only that very file: a worker's own pipe would be read empty, or would block.
            if os.readlink(link).endswith(f"/{self.path.name}/{STDOUT} (deleted)"):
                return link
        return None


def worker_folders(root: Path, fleet: str, label: str) -> list[WorkerFolder]:
    """The folders of one fleet's workers; none where nothing was launched yet.

    Raises:
        ConfigError: the state folder, or the fleet's in it, is not ours alone.
        OSError: they cannot be listed.
    """
    check_root(root)
    try:
        check_private(root / fleet)
        entries = list(os.scandir(root / fleet))
    except FileNotFoundError:
        return []
    named = [entry for entry in entries if WORKER_ID_PATTERN.fullmatch(entry.name)]
    return [WorkerFolder(Path(each.path), label, root) for each in named if each.is_dir(follow_symlinks=False)]


def prune(folders: Iterable[WorkerFolder], *, now: float) -> None:
    """Forget what ended a day ago, and launches that never came to a start. Whoever is alive holds the lock."""
    for folder in folders:
        with suppress(OSError, ProviderUnavailable):
            if not _is_old(folder, now):
                continue
            with folder.lock() as lock:
                if lock is not None and _is_old(folder, now):
                    folder.remove()


def _is_old(folder: WorkerFolder, now: float) -> bool:
    record = folder.read()
    if record.ended is not None:
        return now - record.ended.at > KEPT_SECONDS
    return not record.was_started and now - folder.path.stat().st_mtime > KEPT_SECONDS


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
