"""The services of a fleet's folder while a command goes on: what is needed is started, and each is named once."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ebbflow.cli import services
from ebbflow.cli.background import Background
from ebbflow.cli.services import Service, Services
from ebbflow.cli.speaking import say

if TYPE_CHECKING:
    from prefect.client.orchestration import PrefectClient

ENDING = (services.WORKER, services.MASTER, services.SERVER)
"""Whoever needs another goes first."""


@dataclass(frozen=True, slots=True)
class Local:
    """What a folder asks for, which is nothing where it has no services.yaml."""

    folder: Path
    asked: Services
    background: Background

    @classmethod
    def of(cls, folder: Path) -> "Local":
        """A folder's, absolute.

        Raises:
            ConfigError: its file is wrong.
        """
        asked = services.declared(folder) or Services()
        services.check_home(folder, asked)
        return cls(folder, asked, Background(folder, services.prefect_environment()))

    @property
    def servers(self) -> tuple[Service, ...]:
        """What must answer before anything can be deployed."""
        from prefect.settings import get_current_settings

        return tuple(services.servers(self.asked, self.folder, api_url=get_current_settings().api.url))

    @property
    def has_the_server(self) -> bool:
        """Whether the Prefect server that settings name is the folder's own."""
        return any(service.name == services.SERVER for service in self.servers)

    async def make_sure_of_servers(self) -> None:
        """Start those that do not answer, and say where each is.

        Raises:
            FleetError: one does not start; holds the end of its log.
        """
        for service in self.servers:
            say(str(await self.background.make_sure(service)))

    @property
    def run_turn(self) -> str:
        """The command of a run that goes through the runner: here by this Python, else by the one of its host."""
        return services.RUN_TURN_HERE if self.asked.prefect_worker else services.RUN_TURN

    async def make_sure_of_worker(self, client: "PrefectClient", *, by_runner: bool = False) -> None:
        """Start the pool's worker, or the runner in its place, where none asks the pool for work.

        Raises:
            FleetError: as above.
        """
        from ebbflow.flows.standings import is_polled, pool_of

        service = services.worker(self.asked, by_runner=by_runner)
        if service is None:
            return
        name = self.asked.prefect_worker or ""

        async def answers() -> bool:
            pool = await pool_of(client, name)
            return pool is not None and await is_polled(client, pool)

        say(str(await self.background.make_sure(service, answers)))

    async def missing(self) -> tuple[Service, ...]:
        """The servers that do not answer, and that `ebbflow up` would start."""
        return tuple([service for service in self.servers if not await self.background.answers(service)])

    async def end(self) -> None:
        """End everything that was started here.

        Raises:
            FleetError: one could not be ended.
        """
        await self.background.end(ENDING, say)
