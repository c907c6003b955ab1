"""A scheduler of opengris-scaler as a master: workers join under our manager's id, and hand tasks back when ended.

Source: measured on opengris-scaler 2.9.0; its worker_manager/ and scheduler/controllers/.
"""

from collections import Counter
from collections.abc import Sequence

from ebbflow.adapters.commands import Run, run_process
from ebbflow.adapters.masters.scaler.answers import LOST_SECONDS, Account, Seen, manager_id, parse_account
from ebbflow.adapters.masters.scaler.asking import Scheduler
from ebbflow.adapters.masters.scaler.settings import ScalerSettings
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
from ebbflow.core.worker import Worker

CALL_MARGIN_SECONDS = 1.0
"""For starting and ending the program that asks."""


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
        self._fleet = check_fleet_name(fleet)
        self._manager_id = manager_id(fleet, check_home(home))
        self._scheduler = Scheduler(settings, self._manager_id, run=run)

    @property
    def caps(self) -> MasterCaps:
        """What a scheduler can do."""
        return MasterCaps(
            # A worker that gets SIGTERM hands its tasks back, and the scheduler gives them to others.
            drain=DrainWay.IMPLICIT,
            can_start_from_zero=True,
            # Its account tells tasks by state alone, not what they require.
            per_shape_demand=False,
            decides_counts=True,
            idle_source=IdleSource.OBSERVED,
            # One may wait for another's program, and then for its own.
            call_seconds=2 * self._settings.call_timeout_seconds + CALL_MARGIN_SECONDS,
            workers_join=True,
        )

    async def probe(self) -> Health:
        """Whether the scheduler answers, and hears us."""
        try:
            account = await self._account()
        except MasterUnavailable as error:
            return Health(reachable=False, detail=str(error))
        return Health(reachable=True, version=account.version, detail="" if account.is_heard else self._unheard)

    async def demand(self) -> Demand:
        """Tasks that are not done, and what the scheduler's own policy wants."""
        try:
            account = await self._account()
        except FleetError as error:
            return Demand(complete=False, detail=str(error))
        return Demand(
            queued=account.unfinished - account.working,
            running=account.working,
            desired=account.desired,
            detail="" if account.is_heard else self._unheard,
        )

    async def members(self, worker_ids: Sequence[str] | None = None) -> MemberList:
        """Workers under our manager's id whose names begin with a worker id."""
        try:
            account = await self._account()
        except FleetError as error:
            return MemberList(complete=False, detail=str(error))
        ours = self._ours(account)
        twice = Counter(seen.worker_id for seen in ours)
        foreign = manager_id(self._fleet, "")
        return MemberList(
            members=tuple(
                _member(seen, duplicate=twice[seen.worker_id] > 1)
                for seen in ours
                if worker_ids is None or seen.worker_id in worker_ids
            ),
            detail="; ".join(f"{name} is {count} workers" for name, count in twice.items() if count > 1),
            foreign=tuple(
                seen.worker_id or seen.name
                for seen in account.workers
                if seen.manager.startswith(foreign) and seen.manager != self._manager_id
            ),
        )

    def join_spec(self, worker_id: str) -> JoinSpec:
        """The words of `scaler_worker_manager baremetal_native`: one worker, known by its id."""
        arguments = (
            self._settings.scheduler,
            f"--worker-manager-id={self._manager_id}",
            f"--object-storage-address={self._settings.object_storage}",
            "--mode=fixed",
            "--max-task-concurrency=1",
            # The name of the worker begins with it: Worker|<type>|...
            f"--worker-type={worker_id}",
        )
        return JoinSpec(arguments=arguments, labels={"manager": self._manager_id})

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

    async def _account(self) -> Account:
        return parse_account(await self._scheduler.ask(), capabilities=self._settings.capabilities)

    def _ours(self, account: Account) -> list[Seen]:
        return [seen for seen in account.workers if seen.worker_id and seen.manager == self._manager_id]

    @property
    def _unheard(self) -> str:
        return (
            f"the scheduler does not hear manager {self._manager_id}: another one of this id speaks to it, so what its "
            "own policy wants is unknown"
        )


def _member(seen: Seen, *, duplicate: bool) -> Member:
    state = MemberState.LOST if seen.last_seen_seconds > LOST_SECONDS else MemberState.READY
    return Member(seen.worker_id, seen.name, state, busy=seen.is_busy, duplicate=duplicate)
