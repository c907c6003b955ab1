"""Processes that a command starts and another one ends: a folder's services, each by one id that is used once."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx
from pydantic import SecretStr

from ebbflow.adapters.providers.host.adapter import HostAdapter
from ebbflow.adapters.providers.host.local import LocalProgram
from ebbflow.adapters.providers.host.local_settings import LocalSettings
from ebbflow.cli.folders import KEPT
from ebbflow.cli.services import Service
from ebbflow.core.errors import FleetError
from ebbflow.core.instance import Instance, InstanceState, LaunchRequest

GROUP = "services"
ENDED = frozenset({InstanceState.GONE, InstanceState.FAILED})
START_SECONDS = 120.0
LOOK_SECONDS = 0.3
STOP_GRACE_SECONDS = 15.0
SAID_CHARACTERS = 1500
TAKEN = "something else listens there: end it, or change the port in services.yaml and wherever else it stands"

Answers = Callable[[], Awaitable[bool]]


class NotStartedError(FleetError):
    """A service ended by itself, or did not answer in time; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers, and what of it is ours."""

    service: Service
    pid: str = ""
    """Empty where somebody else runs it."""
    log: Path | None = None
    is_new: bool = False

    def __str__(self) -> str:
        """As a person reads it."""
        if self.log is None:
            return f"{self.service.what} answers; it was not started here, and `ebbflow down` leaves it"
        how = "is started in the background" if self.is_new else "runs already"
        return f"{self.service.what} {how}: pid {self.pid}, log {self.log}"


class Background:
    """The services of one folder.

    Args:
        folder: absolute; what is kept is below it.
        environment: what each gets beside PATH, HOME, USER and LANG.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._root = folder / KEPT / "background"
        self._temporary = folder / KEPT / "tmp"
        # Secret, because settings of Prefect may hold keys.
        self._environment = {name: SecretStr(value) for name, value in environment.items()}
        self._environment["TMPDIR"] = SecretStr(str(self._temporary))

    @property
    def was_used(self) -> bool:
        """Whether anything was started here that was not ended with `end` since."""
        return self._root.exists() and not self._ended.exists()

    @property
    def _ended(self) -> Path:
        return self._root / "ended"

    async def make_sure(self, service: Service, answers: Answers | None = None) -> Running:
        """Start a service unless it answers, and wait until it does; one that is just starting is waited for.

        Args:
            service: which.
            answers: how that is found out, where it has no address.

        Raises:
            NotStartedError: it ended, or does not answer in time.
            FleetError: it could not be started.
        """
        answers = answers or (lambda: self.answers(service))
        known = await self._alive(service.name)
        if await answers():
            return self._running(service, known[0]) if known else Running(service)
        if not known and service.url and await is_taken(service.url):
            # Another command may have started it since we looked.
            known = await self._alive(service.name)
            if not known and await answers():
                return Running(service)
            if not known:
                raise NotStartedError(f"{service.what} cannot be started: {TAKEN}")
        instance = known[0] if known else await self._launched(service)
        deadline = time.monotonic() + START_SECONDS
        while not await answers():
            if not await self._alive(service.name):
                raise NotStartedError(f"{service.what} ended by itself; {await self._last_words(instance)}")
            if time.monotonic() > deadline:
                said = await self._last_words(instance)
                raise NotStartedError(f"{service.what} does not answer after {START_SECONDS:g} s; {said}")
            await anyio.sleep(LOOK_SECONDS)
        return replace(self._running(service, instance), is_new=not known)

    async def answers(self, service: Service) -> bool:
        """Whether a service with an address answers, whoever runs it."""
        async with httpx.AsyncClient(trust_env=False, timeout=2) as http:
            try:
                body: dict[str, str] | None = None if service.method == "GET" else {}
                return (await http.request(service.method, service.url, json=body)).status_code == httpx.codes.OK
            except httpx.HTTPError:
                return False

    async def end(self, names: Sequence[str], tell: Callable[[str], None]) -> None:
        """End those of them that run, in this order. Done again, it goes on.

        Raises:
            FleetError: one could not be ended.
        """
        for name in names:
            for instance in await self._alive(name):
                await self._provider().terminate(instance)
                tell(f"{name} is ended (pid {_pid(instance)})")
        if self._root.exists():
            self._ended.touch()

    async def _launched(self, service: Service) -> Instance:
        # Where runs keep what is for them alone: below the folder, as everything else.
        self._temporary.mkdir(mode=0o700, parents=True, exist_ok=True)
        provider = self._provider(service.command)
        # Whoever reads it from now on finds something to end.
        self._ended.unlink(missing_ok=True)
        numbers = [_number(each) for each in await self._listed(service.name)]
        for number in count(max(numbers, default=0) + 1):
            instance = await provider.launch(LaunchRequest(f"{service.name}-{number}", GROUP, home="local"))
            if instance.state not in ENDED:
                return instance
            said = await self._last_words(instance)
            if number > max(numbers, default=0) + 1:
                raise NotStartedError(f"{service.what} ended as soon as it was started; {said}")
        raise AssertionError("numbers do not end")

    async def _listed(self, name: str) -> list[Instance]:
        if not self._root.exists():
            return []
        listing = await self._provider().list_instances(GROUP)
        return [each for each in listing.instances if re.fullmatch(rf"{name}-\d+", each.worker_id)]

    async def _alive(self, name: str) -> list[Instance]:
        return [each for each in await self._listed(name) if each.state not in ENDED]

    def _provider(self, command: Sequence[str] = ("true",)) -> HostAdapter:
        settings = LocalSettings(
            command=list(command),
            state_folder=self._root,
            secret_environment=self._environment,
            stop_grace_seconds=STOP_GRACE_SECONDS,
        )
        return HostAdapter(LocalProgram(settings))

    async def named(self) -> list[str]:
        """Everything that runs, with its process: `prefect-server (pid 7)`."""
        if not self._root.exists():
            return []
        listing = await self._provider().list_instances(GROUP)
        alive = [each for each in listing.instances if each.state not in ENDED]
        return [f"{each.worker_id.rpartition('-')[0]} (pid {_pid(each)})" for each in alive]

    def _running(self, service: Service, instance: Instance) -> Running:
        return Running(service, _pid(instance), self._root / GROUP / instance.worker_id / "stderr.log")

    async def _last_words(self, instance: Instance) -> str:
        logs = await self._provider().logs(instance)
        said = "\n".join(text.strip()[-SAID_CHARACTERS:] for text in logs.values() if text.strip())
        return f"its logs are in {self._root / GROUP / instance.worker_id}, and end with:\n{said or '(nothing)'}"


async def is_taken(url: str) -> bool:
    """Whether anything listens at an address."""
    parts = urlsplit(url)
    try:
        with anyio.fail_after(2):
            async with await anyio.connect_tcp(parts.hostname or "", parts.port or 0):
                return True
    except (OSError, TimeoutError):
        return False


def _pid(instance: Instance) -> str:
    return instance.instance_id.partition(":")[0]


def _number(instance: Instance) -> int:
    return int(instance.worker_id.rpartition("-")[2])
