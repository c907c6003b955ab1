"""The only interfaces: where workers are launched, who holds the queue, and who decides.

Adapters are async. A blocking client runs in a thread. Every method ends within the caps' `call_seconds`, may be
repeated after a crash at any point, and raises only the errors of `ebbflow.core.errors`.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from ebbflow.core.instance import Instance, InstanceList, JoinSpec, LaunchRequest, ProviderCaps
from ebbflow.core.member import Demand, DrainAnswer, Health, MasterCaps, MemberList, Registration
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision
from ebbflow.core.worker import Worker


class Provider(Protocol):
    """Where workers are launched. Its listing is the truth about what exists."""

    @property
    def caps(self) -> ProviderCaps:
        """What it can do."""
        ...

    async def launch(self, request: LaunchRequest) -> Instance:
        """Ask for one GPU worker and return at once, before it is ready.

        Idempotent by `request.worker_id` where `caps.idempotent_launch`: a second call adopts what carries it. Starting
        a warm instance (`request.start_instance_id`) is always idempotent; it then carries this worker id.

        Returns:
            The provider's view, usually pending; `url` is None until the worker has announced it.

        Raises:
            CapacityUnavailable: nothing to give now, or not at this price; placement cools the provider down.
            LaunchRejected: permanent, for instance a command that does not exist.
            LaunchOutcomeUnknown: sent, no clear answer; the listing decides.
            ProviderUnavailable: not sent; temporary.
        """
        ...

    async def list_instances(self, fleet: str) -> InstanceList:
        """Everything that carries the fleet's name, whatever its home. Never raises for "no answer": `complete=False`.

        Rows of a listing that is not complete are true all the same; absence from it means nothing.
        """
        ...

    async def terminate(self, instance: Instance) -> None:
        """End one instance. Already gone is success; success means accepted, and only a listing says gone.

        A pending instance is ended only where `caps.cancels_pending`, by a call that fails once it runs.

        Raises:
            TerminationRefused: it goes on; every later turn asks again.
            ProviderUnavailable: temporary.
        """
        ...

    async def stop(self, instance: Instance) -> None:
        """Stop one instance and keep what it loaded. Already stopped is success; a listing then shows it warm.

        Raises:
            TerminationRefused: it goes on, or cannot be kept (not `caps.keeps_stopped`).
            ProviderUnavailable: temporary.
        """
        ...

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """What a worker printed: the last `LOG_BYTES` of each of its outputs, by the output's name.

        Empty where nothing is known, and where not `caps.keeps_logs`.

        Raises:
            ProviderUnavailable: temporary.
        """
        ...

    async def aclose(self) -> None:
        """Close connections. Nothing of the fleet depends on it."""
        ...


class Master(Protocol):
    """The system that holds the queue."""

    @property
    def caps(self) -> MasterCaps:
        """What it can do."""
        ...

    async def probe(self) -> Health:
        """Whether it can be used: reachable, authorised, permitted, of a version that we know.

        Returns:
            `reachable=False` with the reason where it does not answer now.

        Raises:
            ConfigError: a person must act; the turn ends before any action.
        """
        ...

    async def demand(self) -> Demand:
        """One snapshot of queued and running work. Never raises for "no data": `complete=False` with a reason."""
        ...

    async def members(self, worker_ids: Sequence[str] | None = None) -> MemberList:
        """Who serves, of our fleet and home; given ids, a fresh second look at those alone."""
        ...

    def join_spec(self, worker_id: str) -> JoinSpec:
        """What the worker must be started with."""
        ...

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        """One attempt: does the worker answer, then register it, by URL and worker id together. Idempotent.

        Never called for a marked worker. May take `connect_timeout_seconds`, for the worker to answer as one, beside
        the time of a call.

        Raises:
            RegistrationRejected: this address or id must not be registered.
            MasterUnavailable: temporary.
        """
        ...

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        """Give it no new work. Idempotent; returns within the call's time even if the master blocks.

        With no seconds left and without `force`, a worker that is still busy goes back into service: `busy`.
        """
        ...

    async def shut_down(self, worker: Worker) -> None:
        """Ask the worker's own software to end; best effort, nothing where it cannot be asked."""
        ...

    async def deregister(self, worker: Worker) -> None:
        """Let the master forget it. Absent is success. Only after the provider has said that it is gone."""
        ...

    async def remove_unfinished(self, master_ref: str) -> None:
        """Delete an entry that a registration left half-made, after a look that it still is. Absent is success."""
        ...

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        """Hold the dead-man's switch of these workers. Worker id to whether it answered."""
        ...

    async def aclose(self) -> None:
        """Close connections. Nothing of the fleet depends on it."""
        ...


class SessionStore(Protocol):
    """Where a master's adapter keeps API sessions between flow runs, so that none leaks once per run."""

    async def get(self, address: str) -> str | None:
        """The session for one server, or None."""
        ...

    async def put(self, address: str, session: str | None) -> None:
        """Remember a session, or forget it with None."""
        ...


class Policy(Protocol):
    """A pure function from observation to wanted workers."""

    @property
    def kind(self) -> str:
        """Its name in a fleet. What is remembered belongs to it: another kind begins anew."""
        ...

    def decide(self, observation: Observation) -> Decision:
        """How many workers there should be, and why. No clock, no I/O, no randomness.

        What it wants to know next time goes out as `Decision.remembers` and comes back as `Observation.remembered`.
        """
        ...
