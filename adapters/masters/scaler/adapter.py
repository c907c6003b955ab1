"""A scheduler of opengris-scaler as a master: workers join under our manager's id, and hand tasks back when ended.

Source: measured on opengris-scaler 2.9.0 and 1.15.0; worker_manager/ and worker_adapter/, scheduler/controllers/.
"""

from collections.abc import Sequence
from dataclasses import replace

from ebbflow.adapters.commands import Run, run_process
from ebbflow.adapters.masters.scaler.answers import LOST_SECONDS, Account, Seen, parse_account
from ebbflow.adapters.masters.scaler.asking import Answer, Scheduler
from ebbflow.adapters.masters.scaler.names import manager_id, name_of
from ebbflow.adapters.masters.scaler.settings import ScalerSettings, whole_amounts
from ebbflow.core.capabilities import capability_set
from ebbflow.core.errors import FleetError, MasterUnavailable
from ebbflow.core.ids import check_fleet_name, check_home
from ebbflow.core.instance import JoinSpec
from ebbflow.core.member import (
    Demand,
    DrainAnswer,
    DrainWay,
    Health,
    IdleSource,
    MasterCaps,
    Member,
    MemberList,
    MemberState,
    Registration,
)
from ebbflow.core.text import one_line
from ebbflow.core.worker import Worker

CALL_MARGIN_SECONDS = 1.0
"""For starting and ending the program that asks."""
USUAL_SECONDS = 1.5
"""The scheduler gives an account once a second, and a Python has to start."""
DRAINED_SECONDS = 0.5
"""A drain looks, so whoever looks right after it sees what it saw."""


class ScalerAdapter:
    """The port `JoinMaster` for a scheduler.

    Args:
        settings: where and how.
        fleet: whose workers it manages.
        home: of which installation.
        run: runs a process.
    """

    def __init__(self, settings: ScalerSettings, *, fleet: str, home: str, run: Run = run_process) -> None:
        self._settings = settings
        self._fleet, self._home = check_fleet_name(fleet), check_home(home)
        self._manager_id = manager_id(fleet, home)
        self._scheduler = Scheduler(settings, fleet=fleet, home=home, run=run)

    @property
    def caps(self) -> MasterCaps:
        """What a scheduler can do."""
        return MasterCaps(
            # A worker that gets SIGTERM hands its tasks back, and the scheduler gives them to others.
            drain=DrainWay.IMPLICIT,
            can_start_from_zero=True,
            # Its account tells tasks by state alone, not what they require.
            per_shape_demand=False,
            counts_requests=True,
            decides_counts=True,
            idle_source=IdleSource.OBSERVED,
            # One may wait for another's program, and then for its own.
            call_seconds=2 * self._settings.call_timeout_seconds + CALL_MARGIN_SECONDS,
            usual_seconds=USUAL_SECONDS,
            told_capabilities=tuple(self._settings.capabilities),
            workers_join=True,
            # It hears one at a time who speaks as the manager, and whoever asks is a Python of its own.
            takes_polls=False,
        )

    async def probe(self) -> Health:
        """Whether the scheduler answers, and hears us."""
        try:
            account = self._read(await self._scheduler.speak())
        except MasterUnavailable as error:
            return Health(reachable=False, detail=str(error))
        return Health(reachable=True, version=account.version, detail="" if account.is_heard else self._unheard)

    async def demand(self) -> Demand:
        """Tasks that are not done, and what the scheduler's own policy wants."""
        try:
            account = self._read(await self._scheduler.speak())
        except FleetError as error:
            return Demand(complete=False, detail=str(error))
        return Demand(
            queued=account.unfinished - account.working,
            running=account.working,
            arrived=account.arrived,
            served=account.served,
            desired=account.desired,
            detail=_beyond(account) if account.is_heard else self._unheard,
        )

    async def members(self, worker_ids: Sequence[str] | None = None) -> MemberList:
        """Workers under our manager's id whose names begin with a worker id."""
        try:
            account = await self._account(DRAINED_SECONDS if worker_ids is not None else 0.0)
        except FleetError as error:
            return MemberList(complete=False, detail=str(error))
        processes: dict[str, list[Seen]] = {}
        for seen in self._ours(account):
            processes.setdefault(seen.worker_id, []).append(seen)
        most = self._settings.workers_per_group
        foreign = manager_id(self._fleet, "")
        return MemberList(
            members=tuple(
                member
                for worker_id, those in processes.items()
                if worker_ids is None or worker_id in worker_ids
                for member in (_members(those) if len(those) > most else (_member(those),))
            ),
            detail="; ".join(
                f"{worker_id} is {len(those)} workers of the scheduler, and at most {most} were started"
                for worker_id, those in processes.items()
                if len(those) > most
            ),
            foreign=tuple(
                seen.worker_id or seen.name
                for seen in account.workers
                if seen.manager.startswith(foreign) and seen.manager != self._manager_id
            ),
        )

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        """The words of `scaler_worker_manager baremetal_native`, or of `scaler_cluster` at a scheduler of 1.15.

        Raises:
            ConfigError: its provider gives a part of something.
        """
        settings, able = self._settings, whole_amounts(capabilities)
        count = settings.workers_per_group
        name = name_of(worker_id, self._home, capability_set(able))
        words: tuple[str, ...]
        if settings.wire == "1.15":
            words = (f"--num-of-workers={count}", f"--worker-names={','.join([name] * count)}")
        else:
            words = (
                f"--worker-manager-id={self._manager_id}",
                "--mode=fixed",
                f"--max-task-concurrency={count}",
                # The name of the worker begins with it: Worker|<type>|...
                f"--worker-type={name}",
            )
        said = ",".join(f"{name}={amount}" for name, amount in able.items())
        return JoinSpec(
            arguments=(
                settings.scheduler,
                f"--object-storage-address={settings.object_storage_address}",
                *words,
                *((f"--per-worker-capabilities={said}",) if able else ()),
            ),
            labels={"manager": self._manager_id},
        )

    async def joined(self, worker: Worker) -> Registration:
        """Whether the scheduler has a worker of that id."""
        is_there = any(seen.worker_id == worker.worker_id for seen in self._ours(await self._account()))
        return Registration(is_there, "" if is_there else f"{worker.worker_id} is no worker of the scheduler yet")

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        """Look whether it works: no call keeps new tasks from it, and ending it hands them back."""
        mine = [seen for seen in self._ours(await self._account()) if seen.worker_id == worker.worker_id]
        if not mine:
            return DrainAnswer.GONE
        return DrainAnswer.BUSY if any(seen.is_busy for seen in mine) and not force else DrainAnswer.ACCEPTED

    async def shut_down(self, worker: Worker) -> None:
        """Nothing: the provider ends its process, which hands its tasks back."""

    async def aclose(self) -> None:
        """Nothing is open between two calls."""

    async def _account(self, old_seconds: float = 0.0) -> Account:
        return self._read(await self._scheduler.listen(old_seconds=old_seconds))

    def _read(self, answer: Answer) -> Account:
        return parse_account(
            answer,
            own_id=self._manager_id,
            home=self._home,
            capabilities=self._settings.capabilities,
            per_group=self._settings.workers_per_group,
        )

    def _ours(self, account: Account) -> list[Seen]:
        return [seen for seen in account.workers if seen.worker_id and seen.manager == self._manager_id]

    @property
    def _unheard(self) -> str:
        return (
            f"the scheduler does not hear manager {self._manager_id}: another one of this id speaks to it, so what its "
            "own policy wants is unknown"
        )


def _members(those: Sequence[Seen]) -> tuple[Member, ...]:
    """More processes than were started: two workers of one id, and nobody knows which is which."""
    return tuple(replace(_member([seen]), duplicate=True) for seen in those)


def _member(those: Sequence[Seen]) -> Member:
    """One worker, of as many of the scheduler's as it has processes: it works while one of them does."""
    is_lost = all(seen.last_seen_seconds > LOST_SECONDS for seen in those)
    state = MemberState.LOST if is_lost else MemberState.READY
    return Member(those[0].worker_id, those[0].name, state, busy=any(seen.is_busy for seen in those))


def _beyond(account: Account) -> str:
    said = []
    if account.beyond:
        kinds = ", ".join(" ".join(words) for words in account.beyond)
        said.append(f"its own policy wants workers that can {kinds}, which the capabilities of its block lack")
    if account.strange_groups:
        names = one_line(", ".join(account.strange_groups), 120)
        said.append(
            f"the scheduler keeps groups that are not this fleet's ({names}) and may wait for them to go: one of 1.15 "
            "is for one fleet alone; starting it anew makes it forget them"
        )
    return "; ".join(said)
