"""Asking a scheduler by a short-lived program of another interpreter: one JSON object in, one out."""

import json
import math
from collections.abc import Mapping
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
START_SECONDS = 1.5
"""Of the time limit: for the interpreter, and to say that nothing came."""
PACKAGES: Mapping[Wire, str] = {
    "2.9": "opengris-scaler==2.9.0",
    # A later ConfigArgParse ends this release's commands with a TypeError.
    "1.15": "opengris-scaler==1.15.0 ConfigArgParse==1.7.1",
}
"""What the programs were tried with, by wire."""


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
        own_id = manager_id(self._fleet, self._home)
        asked = {
            "seconds": max(0.5, limit - START_SECONDS),
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
