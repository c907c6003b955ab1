"""What was submitted: its states, and who is next where several people wait. Pure."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from heapq import heapify, heappop, heapreplace


class JobState(Enum):
    """Where a job is."""

    WAITING = "waiting"
    """In our queue; Ray does not know of it."""
    STARTING = "starting"
    """Is being handed to Ray, or was, and the answer is not known: asked after by its id, never handed over blindly."""
    RUNNING = "running"
    """Ray has it, also where it waits there for a worker."""
    SUCCEEDED = "succeeded"
    """Ended by itself, with code 0."""
    FAILED = "failed"
    """Ended by itself with another code, or was refused by Ray."""
    CANCELLED = "cancelled"
    """Somebody asked for its end, or it went on for longer than it may."""
    LOST = "lost"
    """The head that had it was started anew, and knows nothing of it: whether it was done nobody can tell."""


ENDED = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST})
AT_RAY = frozenset({JobState.STARTING, JobState.RUNNING})


@dataclass(frozen=True, slots=True)
class Job:
    """One submission; times in seconds since 1970."""

    job_id: str
    """Ours, and Ray's `submission_id`: one that is handed over twice is taken once."""
    number: int
    """Counts submissions, so that the order is one."""
    user: str
    entrypoint: str
    runtime_env: str
    """JSON."""
    most_seconds: float
    submitted_at: float
    key: str = ""
    """The submitter's own word for it: the same one again is the same job."""
    state: JobState = JobState.WAITING
    session: str = ""
    """Of the head that it was handed to: a head that is started anew is another one."""
    started_at: float | None = None
    ended_at: float | None = None
    tries: int = 0
    """How often a head that answers did not take it."""
    note: str = ""
    """What is to be said of it."""
    cancels: str = ""
    """Why it is to end; empty: it is not."""
    result_bytes: int | None = None
    """Of what is kept; None: nothing is."""
    is_cut: bool = False
    """Whether it printed more than is kept, which is the end of it."""

    @property
    def is_over(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True)
class Shares:
    """How much is at Ray at once."""

    most_running: int
    most_running_per_user: int | None = None
    last_started: Mapping[str, int] = field(default_factory=dict)
    """By user: the count of starts at which they were last started. Who never was comes first."""


def in_turn(waiting: Iterable[Job], running: Iterable[Job], shares: Shares) -> Iterator[Job]:
    """The order in which waiting jobs are started if nothing ends and nothing comes: round by round, one each.

    Whoever has fewest at Ray is next; of those, who was started longest ago; and of one user the oldest first.
    """
    lines: dict[str, deque[Job]] = defaultdict(deque)
    for job in sorted(waiting, key=lambda each: each.number):
        lines[job.user].append(job)
    has = Counter(job.user for job in running)
    last = shares.last_started
    starts = max(last.values(), default=0)
    next_ones = [(has[user], last.get(user, -1), line[0].number, user) for user, line in lines.items()]
    heapify(next_ones)
    while next_ones:
        held, _, _, user = next_ones[0]
        line = lines[user]
        yield line.popleft()
        starts += 1
        if line:
            heapreplace(next_ones, (held + 1, starts, line[0].number, user))
        else:
            heappop(next_ones)


def startable(waiting: Sequence[Job], running: Sequence[Job], shares: Shares) -> list[Job]:
    """Which are to be started now."""
    room = shares.most_running - len(running)
    has = Counter(job.user for job in running)
    chosen: list[Job] = []
    for job in in_turn(waiting, running, shares):
        if len(chosen) >= room:
            break
        if shares.most_running_per_user is None or has[job.user] < shares.most_running_per_user:
            has[job.user] += 1
            chosen.append(job)
    return chosen


def places(waiting: Sequence[Job], running: Sequence[Job], shares: Shares) -> dict[str, int]:
    """By id: how many that wait now are started before it."""
    return {job.job_id: place for place, job in enumerate(in_turn(waiting, running, shares))}
