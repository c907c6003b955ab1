"""The adapter: the methods of `ebbflow.core.ports.Provider`, whose docstrings are the law."""

import socket
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from anyio.to_thread import run_sync

from ebbflow.core.errors import LaunchRejected, ProviderUnavailable, TerminationRefused
from ebbflow.core.instance import Instance, InstanceList, InstanceState, LaunchRequest, ProviderCaps
from ebbflow_example.leases import Lease, LeaseFolder
from ebbflow_example.settings import FixedMachinesSettings


class FixedMachines:
    """Lends machines, one to a worker, and takes them back.

    Args:
        settings: which machines, and where leases are kept.
    """

    def __init__(self, settings: FixedMachinesSettings) -> None:
        self._settings = settings
        self._folder = Path(settings.lease_folder).expanduser()
        self._leases = LeaseFolder(self._folder)

    @property
    def caps(self) -> ProviderCaps:
        """What it can do. The list of machines is no part of the fingerprint: what is lent stays lent."""
        return ProviderCaps(
            fingerprint=f"fixed-machines {socket.gethostname()}:{self._folder}",
            idempotent_launch=True,
            settle_seconds=0.0,
            relist_seconds=0.5,
            absence_is_gone=True,
            usd_per_hour=0.0,
        )

    async def launch(self, request: LaunchRequest) -> Instance:
        """Lend a machine, or show the one that this worker has already.

        Raises:
            CapacityUnavailable: all machines are lent, or failed lately.
            LaunchRejected: workers of this master must be started with something.
            ProviderUnavailable: the lease folder cannot be used now; nothing was lent.
        """
        if request.join.environment:
            raise LaunchRejected(
                f"{request.worker_id}: the master gives each worker {', '.join(sorted(request.join.environment))}, "
                "and fixed machines run already: use a master into which addresses are pushed"
            )
        machines = [machine for machine in self._settings.machines if machine not in request.avoid]
        lend = partial(self._leases.lend, worker_id=request.worker_id, fleet=request.fleet, home=request.home)
        return _instance(await run_sync(lend, machines))

    async def list_instances(self, fleet: str) -> InstanceList:
        """Every lease of the fleet, whatever its home."""
        try:
            leases = await run_sync(self._leases.read)
        except ProviderUnavailable as error:
            return InstanceList(complete=False, detail=str(error))
        return InstanceList(tuple(_instance(lease) for lease in leases if lease.fleet == fleet))

    async def terminate(self, instance: Instance) -> None:
        """Give the machine back. It runs on: its software was asked to end before, where its master can ask.

        Raises:
            ProviderUnavailable: the lease folder cannot be used now.
        """
        await run_sync(self._leases.give_back, instance.instance_id)

    async def stop(self, instance: Instance) -> None:
        """Refused: a machine is lent, or it is not.

        Raises:
            TerminationRefused: always.
        """
        raise TerminationRefused(f"{instance.worker_id}: a fixed machine cannot be kept stopped; terminate it")

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """Nothing: its output is on the machine (`caps.keeps_logs` is false)."""
        return {}

    async def aclose(self) -> None:
        """Nothing is open."""


def _instance(lease: Lease) -> Instance:
    return Instance(
        worker_id=lease.worker_id,
        instance_id=lease.instance_id,
        # Whether it serves is the master's word: what does not answer is given up, and its machine avoided.
        state=InstanceState.RUNNING,
        fleet=lease.fleet,
        home=lease.home,
        url=lease.machine,
        machine=lease.machine,
        usd_per_hour=0.0,
    )
