"""How the worker of a launch script is ended: in steps that any later call goes on with.

By then the master has asked the worker to shut down. It gets time to end by itself; then the stop script runs; then the
script's group gets SIGTERM, the grace, SIGKILL. None of the waits fits into one call, so each step notes when it began.
"""

import signal
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ebbflow.adapters.launch_output import Refused, Result, Url
from ebbflow.adapters.providers.given_environment import whole_environment
from ebbflow.adapters.providers.host import processes, stop_runner
from ebbflow.adapters.providers.host.launch_script_settings import LaunchScriptSettings
from ebbflow.adapters.providers.host.launch_script_state import elapsed_since
from ebbflow.adapters.providers.host.launch_script_verdicts import LaunchScriptVerdicts
from ebbflow.adapters.providers.host.listing import HostLook
from ebbflow.adapters.providers.host.logs import STOP, last_words
from ebbflow.adapters.providers.host.processes import is_alive
from ebbflow.adapters.providers.host.records import WorkerFolder
from ebbflow.adapters.providers.host.starting import environment_of
from ebbflow.adapters.providers.host.workers import KILL_WAIT_SECONDS, DetachedWorkers
from ebbflow.core.addresses import worker_url_problem
from ebbflow.core.errors import TerminationRefused
from ebbflow.core.instance import Instance, LaunchRequest

ANSWER_SECONDS = 1.0
STOP_MARGIN_SECONDS = 5.0
"""How much longer than its time a stop script may run, before its runner is taken for dead."""


@dataclass(frozen=True, slots=True)
class StopResult:
    """What came of a stop script."""

    code: int
    problem: str = ""


class LaunchScriptEnding:
    """Takes a worker to its end, one step per call.

    Args:
        settings: the steps and their times.
        workers: looks at it, signals it, and notes its end.
        verdicts: tell whether it ever was a worker, and where.
    """

    def __init__(
        self, settings: LaunchScriptSettings, workers: DetachedWorkers, verdicts: LaunchScriptVerdicts
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._place = workers.place
        self._verdicts = verdicts

    def advance(self, instance: Instance) -> bool:
        """Do what is due, without waiting; whether it has ended.

        Raises:
            TerminationRefused: something survived SIGKILL, the stop script failed, or it is just being started.
            ProviderUnavailable: temporary.
        """
        with self._workers.storage_errors(f"end {instance.worker_id}"):
            look = self._workers.look_to_end(instance)
            if not look.live and (look.record.ended is not None or not look.record.was_started):
                self._workers.note_terminated(instance, [])
                return True
            self._workers.note_terminating(instance, look)
            return self._step(instance, look)

    def _step(self, instance: Instance, look: HostLook) -> bool:
        result = self._verdicts.verdict(look, has_exited=not look.live)
        is_elsewhere = self._is_elsewhere(look, result)
        if (look.live or is_elsewhere) and self._still_waits_for(look.folder, result):
            return False
        script = self._settings.stop_script
        if script is not None and not self._has_stopped(script, instance, look.folder, result):
            return False
        if look.live:
            self._signal(instance, look.folder)
            return False
        self._check_stop_result(instance, look.folder)
        if is_elsewhere and isinstance(result, Url) and answers(result.url):
            if script is None:
                raise TerminationRefused(
                    f"{self._place.label} could not end {instance.worker_id}: its launcher has ended, and {result.url} "
                    "still answers; end it where it runs, and give the block a `stop_script` that does"
                )
            # Its word is taken, after the time that what it has signalled may take to end.
            if elapsed_since(look.folder, "stopped") < self._settings.kill_grace_seconds:
                return False
        self._workers.note_terminated(instance, [])
        self._verdicts.give_up_address(look)
        return True

    def _is_elsewhere(self, look: HostLook, result: Result | None) -> bool:
        """Whether its launcher had ended before its own ending began, so that nothing here shows whether it lives.

        Where a process of it was seen then, the end of that one is the worker's.
        """
        if self._settings.lives_while == "script" or not isinstance(result, Url):
            return False
        if not look.live and not (look.folder.path / "since-asked.json").exists():
            elapsed_since(look.folder, "elsewhere")
        return (look.folder.path / "since-elsewhere.json").exists()

    def _still_waits_for(self, folder: WorkerFolder, result: Result | None) -> bool:
        """Whether it may yet end by itself: a worker that was asked to shut down, or a script that gave up."""
        if isinstance(result, Url):
            seconds = self._settings.shutdown_wait_seconds
        else:
            seconds = self._settings.kill_grace_seconds if isinstance(result, Refused) else 0.0
        return elapsed_since(folder, "asked") < seconds

    def _signal(self, instance: Instance, folder: WorkerFolder) -> None:
        if not (folder.path / "since-sigterm.json").exists():
            self._workers.ask_to_end(instance, signal.SIGTERM, ())
            elapsed_since(folder, "sigterm")
            return
        if elapsed_since(folder, "sigterm") < self._settings.kill_grace_seconds:
            return
        asked = self._workers.ask_to_end(instance, signal.SIGKILL, ())
        left = sorted(process.pid for process in asked if is_alive(process))
        if elapsed_since(folder, "sigkill") > KILL_WAIT_SECONDS and left:
            raise TerminationRefused(
                f"{self._place.label} could not end {instance.worker_id}: sent SIGKILL, still running: {left}"
            )

    def _has_stopped(self, script: Path, instance: Instance, folder: WorkerFolder, result: Result | None) -> bool:
        """Run the stop script once; whether it has come to an end."""
        if _stop_result(folder) is not None:
            return True
        with folder.lock("stop.lock") as lock:
            if lock is None:
                self._end_overdue_stop(instance, folder)
                return False
            # It may have ended just before we had the lock.
            if _stop_result(folder) is None:
                (folder.path / "since-stop.json").unlink(missing_ok=True)
                elapsed_since(folder, "stop")
                url = result.url if isinstance(result, Url) else ""
                self._start_stop_script(script, url, instance, folder, lock)
        return False

    def _start_stop_script(self, script: Path, url: str, instance: Instance, folder: WorkerFolder, lock: int) -> None:
        settings = self._settings
        request = LaunchRequest(instance.worker_id, instance.fleet, instance.home)
        environment = environment_of(whole_environment(settings), request, _stop_mark(self._place.fingerprint))
        result = str(folder.path / "stop-result.json")
        runner = [sys.executable, "-I", "-S", stop_runner.__file__, str(settings.stop_timeout_seconds), result]
        processes.start_detached(
            [*runner, str(script), instance.worker_id, url],
            environment,
            folder.path,
            lock,
            directory=script.parent,
            logs=(STOP, STOP),
        )

    def _end_overdue_stop(self, instance: Instance, folder: WorkerFolder) -> None:
        """Its runner keeps its time; where that was killed, we do."""
        if elapsed_since(folder, "stop") < self._settings.stop_timeout_seconds + STOP_MARGIN_SECONDS:
            return
        mark = _stop_mark(self._place.fingerprint)
        running = [each.process for each in processes.carriers(instance.worker_id) if each.provider == mark]
        processes.send(signal.SIGKILL, running, ())

    def _check_stop_result(self, instance: Instance, folder: WorkerFolder) -> None:
        """A worker whose stop script failed may still live elsewhere: not gone, and the script runs again next time."""
        result = _stop_result(folder) if self._settings.stop_script is not None else None
        if result is None or result.code == 0:
            return
        (folder.path / "stop-result.json").unlink(missing_ok=True)
        words = last_words(folder.path / STOP)
        raise TerminationRefused(
            f"{self._place.label} could not end {instance.worker_id}: stop script {str(self._settings.stop_script)!r} "
            f"{result.problem or f'ended with {result.code}'}{f'; it said last: {words}' if words else ''}"
        )


def answers(url: str) -> bool:
    """Whether anything at an address takes a connection; nothing is sent to it."""
    if worker_url_problem(url, networks=(), is_this_host=True):
        return False
    parts = urlsplit(url)
    place = (parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    with suppress(OSError, UnicodeError), socket.create_connection(place, timeout=ANSWER_SECONDS):
        return True
    return False


def _stop_result(folder: WorkerFolder) -> StopResult | None:
    return folder.load(StopResult, "stop-result.json")


def _stop_mark(fingerprint: str) -> str:
    """What stop scripts carry in place of their provider's fingerprint: found again, never taken for the worker."""
    return f"{fingerprint}-stop"
