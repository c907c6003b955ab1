"""Asking a scheduler by a short-lived program of another interpreter: one JSON object in, one out."""

import json
import math
from collections.abc import Mapping
from importlib.resources import as_file, files

import anyio

from ebbflow.adapters.commands import Run, run_process
from ebbflow.adapters.masters.scaler.settings import ScalerSettings
from ebbflow.core.capabilities import amounts
from ebbflow.core.errors import ConfigError, MasterUnavailable
from ebbflow.core.text import one_line

HELPERS = "ebbflow.adapters.masters.scaler.helpers"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that the program gets: the flow's own environment may hold keys."""
START_SECONDS = 1.5
"""Of the time limit: for the interpreter, and to say that nothing came."""
VERSIONS = "2.9.0"
"""Of the package, that the program was tried with."""


class Scheduler:
    """One scheduler, as one manager of workers asks it.

    Args:
        settings: where it is, and which interpreter asks.
        manager_id: the manager's; the identity of its connection, too, since another one's heartbeat under a known id
            is ignored for ten seconds.
        run: runs a process.
    """

    def __init__(self, settings: ScalerSettings, manager_id: str, *, run: Run = run_process) -> None:
        self._settings, self._manager_id, self._run = settings, manager_id, run
        self._one_at_a_time = anyio.Lock()
        self._begun = -math.inf
        self._answer: Mapping[str, object] | ConfigError | MasterUnavailable = MasterUnavailable("not asked yet")

    async def ask(self) -> Mapping[str, object]:
        """What the program printed, in an answer that was begun no earlier than this call.

        The scheduler closes the connection of an identity that comes twice, so there is one program at a time, and
        those who wait for it share the next one's answer.

        Raises:
            ConfigError: the interpreter is not there, or has no such package.
            MasterUnavailable: no usable answer in time.
        """
        came = anyio.current_time()
        async with self._one_at_a_time:
            if self._begun < came:
                begun = anyio.current_time()
                try:
                    answer: Mapping[str, object] | ConfigError | MasterUnavailable = await self._asked()
                except (ConfigError, MasterUnavailable) as error:
                    answer = error
                # Together: one that is cancelled leaves those who wait with no older answer than they asked for.
                self._begun, self._answer = begun, answer
            if isinstance(self._answer, ConfigError | MasterUnavailable):
                raise self._answer
            return self._answer

    async def _asked(self) -> Mapping[str, object]:
        settings, limit = self._settings, self._settings.call_timeout_seconds
        asked = {
            "seconds": max(0.5, limit - START_SECONDS),
            "scheduler": settings.scheduler,
            "monitor": settings.monitor_address,
            "identity": self._manager_id,
            "manager_id": self._manager_id,
            "most_workers": settings.most_workers,
            "capabilities": {name: int(amount) for name, amount in amounts(settings.capabilities).items()},
        }
        with as_file(files(HELPERS) / "ask_2.py") as program:
            # Isolated: neither our folder nor the caller's environment changes what it imports.
            words = [settings.python, "-I", "-B", str(program)]
            try:
                code, said, complaint = await self._run(words, json.dumps(asked).encode(), ENVIRONMENT, limit)
            except TimeoutError as error:
                raise MasterUnavailable(f"scheduler {settings.scheduler}: no answer within {limit:g} s") from error
            except OSError as error:
                why = error.strerror or error
                raise ConfigError(f"python is {settings.python}, which cannot be run: {why}") from error
        if code:
            raise self._refused(complaint.decode("utf-8", "replace"))
        try:
            answer = json.loads(said)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise MasterUnavailable(f"scheduler {settings.scheduler}: {said[:80]!r} is no JSON object")
        return answer

    def _refused(self, complaint: str) -> ConfigError | MasterUnavailable:
        last = one_line(complaint.strip().rpartition("\n")[2], 200)
        if "ModuleNotFoundError" in last or "ImportError" in last:
            return ConfigError(
                f"python is {self._settings.python}, which has no opengris-scaler that can be asked ({last}): "
                f"{self._settings.python} -m pip install opengris-scaler=={VERSIONS}"
            )
        return MasterUnavailable(f"scheduler {self._settings.scheduler}: {last or 'asking failed and said nothing'}")
