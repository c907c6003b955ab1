"""The only interfaces: where workers are launched, who holds the queue, who decides, and who keeps the records.

Adapters are async. A blocking client runs in a thread. Every method ends within the caps' `call_seconds`, may be
repeated after a crash at any point, and raises only the errors of `ebbflow.core.errors`. Those that ask all workers one
by one (`members` without ids, `keepalive`) may take as long as the cancel scope that they are called in, where that is
longer.

One adapter object lives for one turn: it may remember what it learned in it, and whoever outlives turns builds a new
one for each. Only connections may be pooled between them, where an adapter says so.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol, runtime_checkable

from ebbflow.core.chain import Claim, Stored
from ebbflow.core.instance import Instance, InstanceList, JoinSpec, LaunchRequest, ProviderCaps
from ebbflow.core.member import Demand, DrainAnswer, Health, MasterCaps, MemberList, PushMemberList, Registration
from ebbflow.core.observation import Counted, Observation
from ebbflow.core.plan import Decision, Outcome, PolicyMemory
from ebbflow.core.record import Record
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
    """The system that holds the queue: what all of them can be asked.

    How workers come to it is told by the type: an adapter is a `PushMaster` or a `JoinMaster`.
    """

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

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        """What the worker must be started with.

        Args:
            worker_id: its id.
            capabilities: what its provider gives it, for masters that must be told by the worker.
        """
        ...

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        """Give it no new work. Idempotent; returns within the call's time even if the master blocks.

        With no seconds left and without `force`, a worker that is still busy goes back into service: `busy`; where that
        is not safe before its work is done, it stays out: `held`.
        """
        ...

    async def shut_down(self, worker: Worker) -> None:
        """Ask the worker's own software to end; best effort, nothing where it cannot be asked."""
        ...

    async def aclose(self) -> None:
        """Close connections. Nothing of the fleet depends on it."""
        ...


@runtime_checkable
class PushMaster(Master, Protocol):
    """A master into which we push the address that a worker announced, and out of which we take it again."""

    async def members(self, worker_ids: Sequence[str] | None = None, *, known: Sequence[Worker] = ()) -> PushMemberList:
        """The same, with what a registration left half-made and what serves beside ours.

        Args:
            worker_ids: of these only; None: all of ours.
            known: whom the record knows: an address that was registered stays ours, whatever a person calls its entry.
        """
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

    async def deregister(self, worker: Worker) -> None:
        """Let the master forget it. Absent is success. Only after the provider has said that it is gone."""
        ...

    async def mend(self, worker: Worker) -> Registration:
        """Put right how the master holds a worker, which has no work: what serves without an owner, what has lost it.

        Idempotent. Looks first whether anything is wrong, and whether the worker has work after all.

        Returns:
            `registered` where all is well now; else why not yet.
        """
        ...

    async def remove_unfinished(self, master_ref: str) -> None:
        """Delete an entry that a registration left half-made, after a look that it still is. Absent is success."""
        ...


@runtime_checkable
class JoinMaster(Master, Protocol):
    """A master that workers join by themselves, with what their join spec gave them, and that forgets who is gone."""

    async def joined(self, worker: Worker) -> Registration:
        """One look: whether the worker's id is among its members by now. Changes nothing.

        Raises:
            MasterUnavailable: temporary.
        """
        ...


@runtime_checkable
class KeepsAlive(Protocol):
    """A master whose workers end themselves after `caps.needs_keepalive_seconds` without a sign of life from us."""

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        """Hold the dead-man's switch of these workers. Worker id to whether it answered.

        Whom there was no time for did not answer, and is asked first by the next run, so that each is reached within
        half of `needs_keepalive_seconds`.
        """
        ...


@runtime_checkable
class KeepsRoom(Protocol):
    """A master with a waiting room: requests that find no worker wait in it, where they would fail otherwise.

    How it stands comes with the members (`PushMemberList.room`). Each call may be repeated.
    """

    async def open_room(self, features: Sequence[str] = ()) -> None:
        """Let requests wait; put right what keeps them from it.

        Args:
            features: what the fleet's workers were last seen to be able to do, where the master shows none now.

        Raises:
            MasterUnavailable: it does not hold, so nobody may rely on it.
        """
        ...

    async def close_room(self) -> None:
        """Somebody serves again.

        Raises:
            MasterUnavailable: temporary.
        """
        ...

    async def remove_room(self) -> None:
        """Take it out of the master; absent is success.

        Raises:
            MasterUnavailable: temporary.
        """
        ...

    async def open_gate(self, worker_id: str) -> None:
        """Let one worker's gate open, since the master gives it work or there is none of that id; open is success.

        Raises:
            MasterUnavailable: temporary.
        """
        ...


@runtime_checkable
class HandsOver(Protocol):
    """A master that owns its workers (`caps.owns_workers`), and takes an address once its worker serves."""

    async def readiness(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        """Whether a worker can be handed over. Changes nothing.

        Raises:
            RegistrationRejected: it answers, and waiting does not help.
            MasterUnavailable: temporary.
        """
        ...


class Ledger(Protocol):
    """Keeps the records of all fleets of one installation, and gives each number of a chain to one caller only."""

    async def home(self, *, create: bool) -> str:
        """The random word of this installation, made once by whoever comes first.

        Args:
            create: make it where there is none; otherwise a word that nobody else has is answered, and not kept.

        Raises:
            ConfigError: it was set by hand to something that cannot be part of a label.
        """
        ...

    async def now(self) -> float:
        """Epoch seconds, UTC, by the ledger's own clock: what ages of claims are counted by."""
        ...

    async def newest_claim(self, fleet: str) -> Claim | None:
        """The claim with the highest number, with its age; None where the fleet has no chain.

        Raises:
            ConfigError: it was edited, and a person must act.
        """
        ...

    async def readable_claims(self, fleet: str) -> Sequence[Claim]:
        """Every claim of a fleet that is not edited, the newest first."""
        ...

    async def stored(self, artifact_id: str) -> Stored | None:
        """One record with its note, claimed or not; None where it is gone."""
        ...

    async def stored_all(self, artifact_ids: Sequence[str]) -> Mapping[str, Stored]:
        """Those of these records that are there, by artifact id."""
        ...

    async def stored_since(self, at_seconds: float) -> Mapping[str, Stored]:
        """Every record that was stored since then, of whatever fleet and claimed or not, by artifact id."""
        ...

    def stored_pages(self, at_seconds: float) -> AsyncIterator[Mapping[str, Stored]]:
        """The same as `stored_since`, the newest first and a page at a time: for more than fits into memory."""
        ...

    async def store(self, record: Record, *, summary: str) -> str:
        """Store a record, unclaimed, and return its artifact's id. Until it is claimed it counts for nothing.

        Args:
            record: kept as its text is, to the byte.
            summary: Markdown for people who look at where it is kept; nobody reads it again.
        """
        ...

    async def claim(self, record: Record, artifact_id: str, *, interval_seconds: float) -> Claim | None:
        """Claim a record's number. One caller gets it, everybody else None; who asks again with the same has it still.

        A claimant makes sure that no higher number exists, and clears away claims older than ten intervals (at least
        ten minutes), a few at a time and never the newest.
        """
        ...

    async def note(self, record: Record, claim: Claim, outcomes: Sequence[Outcome]) -> None:
        """Attach what came of a claim's actions to its record, whose own text stays as it was hashed.

        Where the record is gone, the note is lost with it; that is no error.
        """
        ...


class Policy(Protocol):
    """A pure function from observation to wanted workers.

    One that never looks at `Observation.can_launch` may say so by a class variable `reads_offers` that is False: what
    could come is then not worked out for it.
    """

    @property
    def kind(self) -> str:
        """Its name in a fleet. What is remembered belongs to it: another kind begins anew."""
        ...

    def decide(self, observation: Observation) -> Decision:
        """How many workers there should be, and why. No clock, no I/O, no randomness.

        What it wants to know next time goes out as `Decision.remembers` and comes back as `Observation.remembered`.
        """
        ...


class Course(Protocol):
    """A policy on its way through turns that follow each other. What it remembers it keeps as it has it."""

    def wanted(self, seen: Counted) -> int:
        """How many workers there should be, of any kind: what `decide` would answer in this turn."""
        ...

    @property
    def remembers(self) -> PolicyMemory:
        """What `decide` would have asked to be remembered by now."""
        ...


@runtime_checkable
class Counting(Protocol):
    """A policy that reads counts alone where demand is known, and so can answer millions of turns in a simulation."""

    def course(self, remembered: PolicyMemory) -> Course:
        """Begin with what an earlier turn has left."""
        ...
