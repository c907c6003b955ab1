"""A fleet with its adapters, as one turn has it."""

from collections.abc import Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from ebbflow.core.errors import ConfigError
from ebbflow.core.ports import JoinMaster, Master, Provider, PushMaster
from ebbflow.fleet.model import Fleet


@dataclass(frozen=True, slots=True)
class OpenFleet:
    """A fleet with its adapters, which live for one turn. In a dry run they can look and not touch."""

    fleet: Fleet
    home: str
    master: Master
    providers: Mapping[str, Provider]
    """By block: the fleet's own in its order, then removed ones that may still hold workers."""
    unloadable: Mapping[str, str]
    """Providers whose block cannot be loaded, and why: their listing is unknown."""

    @property
    def takes_urls(self) -> bool:
        """Whether addresses are pushed into the master; False: workers join it by themselves."""
        return isinstance(self.master, PushMaster)

    def check(self) -> None:
        """Refuse a fleet that names what cannot be loaded, or what its master or providers cannot do.

        Raises:
            ConfigError: says what would be right; nothing was done yet but keeping workers alive.
        """
        if not isinstance(self.master, PushMaster | JoinMaster):
            raise ConfigError(
                f"{self.fleet.master} is neither a PushMaster nor a JoinMaster: its adapter needs `register`, "
                "`deregister` and `remove_unfinished`, or `joined`"
            )
        for entry in self.fleet.providers:
            if entry.block in self.unloadable:
                raise ConfigError(self.unloadable[entry.block])
        self.fleet.check(self.master.caps, {name: provider.caps for name, provider in self.providers.items()})


class OpensFleets(Protocol):
    """Builds a fleet's adapters for one turn, and closes them after it."""

    def __call__(
        self, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
    ) -> AbstractAsyncContextManager[OpenFleet]:
        """Open a fleet.

        Args:
            fleet: names its master and providers by their blocks.
            home: of this installation.
            remembered: providers that the last record knows; a removed one takes nothing new and is watched until
                empty.
            dry_run: hand out adapters that refuse everything that changes anything.

        Raises:
            ConfigError: the master cannot be had; says what there is.
        """
        ...
