"""Adapters that can look and not touch: the one place below which a dry run reaches nothing that changes anything."""

from collections.abc import Mapping, Sequence
from typing import NoReturn

from ebbflow.core.errors import DryRunViolation
from ebbflow.core.instance import Instance, InstanceList, JoinSpec, LaunchRequest, ProviderCaps
from ebbflow.core.member import Demand, DrainAnswer, Health, MasterCaps, MemberList, PushMemberList, Registration
from ebbflow.core.ports import JoinMaster, Master, Provider, PushMaster
from ebbflow.core.worker import Worker
from ebbflow.turn.opened import check_kind


def _refuse(what: str) -> NoReturn:
    raise DryRunViolation(f"a dry run tried to {what}")


class ReadOnlyProvider:
    """A provider whose listing can be read."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    @property
    def caps(self) -> ProviderCaps:
        """Those of the real one."""
        return self._provider.caps

    async def launch(self, request: LaunchRequest) -> Instance:
        """Refused."""
        _refuse(f"launch {request.worker_id}")

    async def list_instances(self, fleet: str) -> InstanceList:
        """The real listing."""
        return await self._provider.list_instances(fleet)

    async def terminate(self, instance: Instance) -> None:
        """Refused."""
        _refuse(f"terminate {instance.worker_id}")

    async def stop(self, instance: Instance) -> None:
        """Refused."""
        _refuse(f"stop {instance.worker_id}")

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """The real ones."""
        return await self._provider.logs(instance)

    async def aclose(self) -> None:
        """Close the real one's connections."""
        await self._provider.aclose()


class ReadOnlyMaster:
    """A master that can be asked. What kind of master it is, its subclasses say as the ports do."""

    def __init__(self, master: Master) -> None:
        self._master = master

    @property
    def caps(self) -> MasterCaps:
        """Those of the real one."""
        return self._master.caps

    async def probe(self) -> Health:
        """The real answer."""
        return await self._master.probe()

    async def demand(self) -> Demand:
        """The real answer."""
        return await self._master.demand()

    async def members(self, worker_ids: Sequence[str] | None = None) -> MemberList:
        """The real answer."""
        return await self._master.members(worker_ids)

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        """The real answer."""
        return self._master.join_spec(worker_id, capabilities)

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        """Refused."""
        _refuse(f"drain {worker.worker_id}")

    async def shut_down(self, worker: Worker) -> None:
        """Refused."""
        _refuse(f"shut down {worker.worker_id}")

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        """Refused."""
        _refuse(f"keep {len(workers)} workers alive")

    async def aclose(self) -> None:
        """Close the real one's connections."""
        await self._master.aclose()


class ReadOnlyPushMaster(ReadOnlyMaster):
    """One into which addresses are pushed."""

    def __init__(self, master: PushMaster) -> None:
        super().__init__(master)
        self._pushed = master

    async def members(self, worker_ids: Sequence[str] | None = None, *, known: Sequence[Worker] = ()) -> PushMemberList:
        """The real answer."""
        return await self._pushed.members(worker_ids, known=known)

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        """Refused."""
        _refuse(f"register {worker.worker_id}")

    async def deregister(self, worker: Worker) -> None:
        """Refused."""
        _refuse(f"deregister {worker.worker_id}")

    async def mend(self, worker: Worker) -> Registration:
        """Refused."""
        _refuse(f"mend the entry of {worker.worker_id}")

    async def remove_unfinished(self, master_ref: str) -> None:
        """Refused."""
        _refuse(f"remove entry {master_ref}")


class ReadOnlyJoinMaster(ReadOnlyMaster):
    """One that workers join by themselves."""

    def __init__(self, master: JoinMaster) -> None:
        super().__init__(master)
        self._joined = master

    async def joined(self, worker: Worker) -> Registration:
        """The real answer: it is a look."""
        return await self._joined.joined(worker)


def read_only(master: Master) -> Master:
    """A master of the same kind that can only be asked.

    Raises:
        ConfigError: as `check_kind`.
    """
    check_kind(master, type(master).__name__)
    if isinstance(master, PushMaster):
        return ReadOnlyPushMaster(master)
    assert isinstance(master, JoinMaster), "it is of one kind or the other"
    return ReadOnlyJoinMaster(master)
