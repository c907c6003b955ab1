"""Asking a scheduler by a short-lived program of another interpreter: one JSON object in, one out."""

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.resources import as_file, files

import anyio

from ebbflow.adapters.commands import Run, run_process
from ebbflow.adapters.masters.scaler.names import manager_id
from ebbflow.adapters.masters.scaler.settings import ScalerSettings, Wire, whole_amounts
from ebbflow.core.errors import ConfigError, MasterUnavailable
from ebbflow.core.text import one_line

HELPERS = "ebbflow.adapters.masters.scaler.helpers"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
"""All that the program gets: the flow's own environment may hold keys."""
Answer = Mapping[str, object]
START_SECONDS = 1.5
"""Of the time limit: for the interpreter, and to say that nothing came."""
PACKAGES: Mapping[Wire, str] = {
    "2.9": "opengris-scaler==2.9.0",
    # A later ConfigArgParse ends this release's commands with a TypeError.
    "1.15": "opengris-scaler==1.15.0 ConfigArgParse==1.7.1",
}
"""What the programs were tried with, by wire."""


class _Shared:
    """One program at a time, whose answer those share who wait for it: a turn looks at twenty workers at once.

    Args:
        asked: runs it.
    """

    def __init__(self, asked: Callable[[], Awaitable[Answer]]) -> None:
        self._asked = asked
        self._one_at_a_time = anyio.Lock()
        self._begun = self._ended = -math.inf
        self._answer: Answer | ConfigError | MasterUnavailable = MasterUnavailable("not asked yet")

    async def get(self, old_seconds: float = 0.0) -> Answer:
        """An answer that was begun no earlier than this call, or that ended no longer ago than that."""
        came = anyio.current_time()
        async with self._one_at_a_time:
            will_do = self._begun >= came or (old_seconds > 0 and self._ended > came - old_seconds)
            if not will_do:
                begun = anyio.current_time()
                try:
                    answer: Answer | ConfigError | MasterUnavailable = await self._asked()
                except (ConfigError, MasterUnavailable) as error:
                    answer = error
                # Together: one that is cancelled leaves those who wait with no older answer than they asked for.
                self._begun, self._ended, self._answer = begun, anyio.current_time(), answer
            if isinstance(self._answer, ConfigError | MasterUnavailable):
                raise self._answer
            return self._answer


class Scheduler:
    """One scheduler, as one manager of workers asks it.

    Args:
        settings: where it is, and which interpreter asks.
        fleet: whose workers it manages.
        home: of which installation.
        run: runs a process.
    """

    def __init__(self, settings: ScalerSettings, *, fleet: str, home: str, run: Run = run_process) -> None:
        self._settings, self._fleet, self._home, self._run = settings, fleet, home, run
        # It closes the connection of an identity that comes twice, so those who speak as the manager do so in turn.
        self._speaking, self._listening = _Shared(partial(self._asked, True)), _Shared(partial(self._asked, False))

    async def speak(self) -> Answer:
        """What it wants of this manager, and what it works on.

        Raises:
            ConfigError: the interpreter is not there, or has no such package.
            MasterUnavailable: no usable answer in time.
        """
        return await self._speaking.get()

    async def listen(self, *, old_seconds: float = 0.0) -> Answer:
        """What it works on; an answer that ended so long ago will do. Raises as `speak`."""
        return await self._listening.get(old_seconds)

    async def _asked(self, speaks: bool) -> Answer:
        settings, limit = self._settings, self._settings.call_timeout_seconds
        own_id = manager_id(self._fleet, self._home)
        asked = {
            "seconds": max(0.5, limit - START_SECONDS),
            "speaks": speaks,
            "scheduler": settings.scheduler,
            "monitor": settings.monitor_address,
            # Fixed: another one's heartbeat under a known id is ignored for ten seconds.
            "identity": own_id,
            "manager_id": own_id,
            "fleet": self._fleet,
            "home": self._home,
            "most_workers": settings.most_workers,
            "workers_per_group": settings.workers_per_group,
            "capabilities": whole_amounts(settings.capabilities),
        }
        with as_file(files(HELPERS) / f"ask_{settings.wire.replace('.', '_')}.py") as program:
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
            # Before it, the package's own library may have written there.
            answer = json.loads(said.strip().rpartition(b"\n")[2])
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise MasterUnavailable(
                f"scheduler {settings.scheduler}: {said[-80:]!r} is no JSON object; is it of release {settings.wire}?"
            )
        return answer

    def _refused(self, complaint: str) -> ConfigError | MasterUnavailable:
        last = one_line(complaint.strip().rpartition("\n")[2], 200)
        if "ModuleNotFoundError" in last or "ImportError" in last:
            python, wire = self._settings.python, self._settings.wire
            return ConfigError(
                f"python is {python}, which has no opengris-scaler that can ask a scheduler of {wire} ({last}): "
                f"{python} -m pip install {PACKAGES[wire]}"
            )
        return MasterUnavailable(f"scheduler {self._settings.scheduler}: {last or 'asking failed and said nothing'}")
