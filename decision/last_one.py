"""The last that serves never goes first, where work that waits fails as soon as nobody serves. Pure.

Source: SwarmUI src/Backends/BackendHandler.cs; switching off, deleting or editing its last running child fails every
waiting request within three seconds, measured on 0.9.8.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ebbflow.core.lifecycle import JOINING
from ebbflow.core.member import MemberState, PushMemberList
from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.observation import Inputs
from ebbflow.core.text import counted
from ebbflow.core.worker import Worker
from ebbflow.decision.roster import SAYS_IT_ENDS
from ebbflow.decision.waiting_room import holds

HOLDING = (OverrideKind.CEILING, OverrideKind.PAUSE, OverrideKind.WIND_DOWN)
"""What lets nobody come in another one's place."""


@dataclass(frozen=True, slots=True)
class LastOne:
    """Who alone serves while work waits, and what becomes of it."""

    worker_id: str
    stays: bool
    """Nothing is done to it that takes it out of service."""
    why: str


def last_one(
    workers: Sequence[Worker], inputs: Inputs, *, max_workers: int, overrides: Sequence[Override] = ()
) -> LastOne | None:
    """The worker without which waiting work would fail, if it is on its way out; None: there is none.

    Args:
        workers: marked, where they have to go.
        inputs: what was seen. Unknown demand counts as work that waits.
        max_workers: what the fleet may have.
        overrides: what persons hold it at, for the words.
    """
    demand, members = inputs.demand, inputs.members
    waits = demand.queued > 0 or not demand.complete
    others = members.others if isinstance(members, PushMemberList) else ()
    if inputs.master.caps.queues_without_workers or holds(inputs, overrides) or not waits or others:
        return None
    serving = [worker for worker in workers if worker.member is MemberState.READY or worker.is_fed]
    going = [worker for worker in serving if worker.mark is not None or worker.disorder]
    if not going or any(worker.busy is not None for worker in serving if worker not in going):
        return None
    # Of several that go one is enough: who answers and works, before who is silent or ended by others.
    last = max(
        going,
        key=lambda each: (each.instance not in SAYS_IT_ENDS, each.busy is not None, bool(each.busy), each.worker_id),
    )
    count = counted(demand.queued, "request", "wait") if demand.complete else "nobody knows what waits"
    why = f"it is the last that serves, and {count}"
    if last.instance in SAYS_IT_ENDS:
        return LastOne(last.worker_id, stays=False, why=f"{why}; its provider ends it, and what waits will fail")
    comes = any(worker.is_supply and worker.state in JOINING for worker in workers)
    mark = last.mark
    if mark is not None and (mark.forced or last.busy is None) and not mark.remaining_seconds and not comes:
        what = "by force" if mark.forced else "nobody hears of it"
        return LastOne(
            last.worker_id, stays=False, why=f"{why}; it goes all the same ({what}), and what waits will fail"
        )
    return LastOne(last.worker_id, stays=True, why=f"{why}: {_until(workers, max_workers, overrides, comes=comes)}")


def _until(workers: Sequence[Worker], max_workers: int, overrides: Sequence[Override], *, comes: bool) -> str:
    """What it waits for, and why that may not come."""
    until = "it goes once another serves"
    if comes:
        return until
    ceilings = [held for held in overrides if held.kind in HOLDING]
    if ceilings:
        return f"{until}, or once nothing waits; under {ceilings[-1].short} nobody comes"
    if sum(worker.may_exist for worker in workers) >= max_workers:
        return f"{until}, or once nothing waits; beside it there is no room (max_workers {max_workers})"
    return f"{until}, or once nothing waits"
