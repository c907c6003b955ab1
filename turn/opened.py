"""A fleet with its adapters, as one turn has it."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from ebbflow.core.errors import ConfigError
from ebbflow.core.member import MemberList
from ebbflow.core.ports import JoinMaster, KeepsAlive, Master, Provider, PushMaster
from ebbflow.core.worker import Worker
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

    def look_at_members(
        self, known: Sequence[Worker], worker_ids: Sequence[str] | None = None
    ) -> Callable[[], Awaitable[MemberList]]:
        """A look at the master's members, or at some of them.

        Args:
            known: whom the record knows; where addresses are pushed, one that was registered stays ours.
            worker_ids: of these only; None: all of ours.
        """
        if isinstance(self.master, PushMaster):
            return partial(self.master.members, worker_ids, known=known)
        return partial(self.master.members, worker_ids)

    def check(self) -> None:
        """Refuse a fleet that names what cannot be loaded, or what its master or providers cannot do.

        Raises:
            ConfigError: says what would be right; nothing was done yet but keeping workers alive.
        """
        check_kind(self.master, self.fleet.master)
        for entry in self.fleet.providers:
            if entry.block in self.unloadable:
                raise ConfigError(self.unloadable[entry.block])
        self.fleet.check(self.master.caps, {name: provider.caps for name, provider in self.providers.items()})


def check_kind(master: Master, name: str) -> None:
    """Refuse an adapter that is no master of ours.

    Raises:
        ConfigError: it is of neither kind or of both, or its workers need a sign of life that it cannot give.
    """
    is_pushed, is_joined = isinstance(master, PushMaster), isinstance(master, JoinMaster)
    if is_pushed == is_joined:
        kinds = "both a PushMaster and a JoinMaster" if is_pushed else "neither a PushMaster nor a JoinMaster"
        raise ConfigError(
            f"{name} is {kinds}: its adapter must have `register`, `deregister`, `mend` and "
            "`remove_unfinished`, or else `joined`"
        )
    if master.caps.needs_keepalive_seconds is not None and not isinstance(master, KeepsAlive):
        raise ConfigError(
            f"{name}: its workers end after {master.caps.needs_keepalive_seconds:g} s without a sign of life, and its "
            "adapter has no `keepalive`"
        )


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
