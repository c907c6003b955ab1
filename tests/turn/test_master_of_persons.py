"""Turns at a master that persons use too, and that does not do as it should: real turns, played master and provider."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from ebbflow.core.instance import Instance, InstanceState, LaunchRequest
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import DrainAnswer, MemberState, PushMemberList, Registration
from ebbflow.core.plan import Result, Verb
from ebbflow.core.worker import Worker
from ebbflow.decision.limits import Limits
from ebbflow.turn.results import Acted, Held
from tests.making import changed, fleet_of
from tests.turn.outside import QUEUE_CAPS, Host, Outside, Queue
from tests.turn.test_turn import turn

pytestmark = pytest.mark.anyio

FLEET = fleet_of(
    ("local/a", 4), limits=Limits(min_workers=2, max_workers=4, min_idle_seconds=60, min_seconds_between_stops=0)
)
FEWER = changed(FLEET, limits=changed(FLEET.limits, min_workers=1))


def seen(outside: Outside, **change: object) -> str:
    """Let the master show its first member otherwise; return its id."""
    name = next(iter(outside.queue.entries))
    outside.queue.entries[name] = replace(outside.queue.entries[name], **change)  # type: ignore[arg-type]
    return name


@dataclass
class Order:
    """What was asked of provider and master, one after the other."""

    calls: list[str] = field(default_factory=list)


class OrderedHost(Host):
    def __init__(self, order: Order) -> None:
        super().__init__()
        self._order = order

    async def launch(self, request: LaunchRequest) -> Instance:
        self._order.calls.append("launch begins")
        return await super().launch(request)


class SlowQueue(Queue):
    def __init__(self, order: Order) -> None:
        super().__init__()
        self._order = order

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        self._order.calls.append("drain begins")
        await asyncio.sleep(0.01)
        self._order.calls.append("drain is over")
        return await super().drain(worker, deadline_seconds, force)


async def test_what_is_urgent_is_done_before_everything_else() -> None:
    order = Order()
    outside = Outside(host=OrderedHost(order), queue=SlowQueue(order))
    restless = changed(FLEET, limits=changed(FLEET.limits, min_seconds_after_failure=0))
    await turn(outside, restless)
    order.calls.clear()
    dying = next(iter(outside.host.rows))
    outside.host.rows[dying] = replace(outside.host.rows[dying], state=InstanceState.FAILED)
    result = await turn(outside, restless)
    assert isinstance(result, Acted)
    assert order.calls == ["drain begins", "drain is over", "launch begins"]


async def test_an_entry_that_is_switched_off_and_on_within_a_turn_ends_nobody() -> None:
    outside = Outside()
    await turn(outside, FLEET)
    name = seen(outside, state=MemberState.DRAINING)
    off = await turn(outside, FLEET)
    assert isinstance(off, Held), "one look is no mark, and nobody is launched for it"
    seen(outside, state=MemberState.READY)
    on = await turn(outside, FLEET)
    assert isinstance(on, Held)
    assert next(each for each in on.record.memory.workers if each.worker_id == name).state is WorkerState.READY


async def test_a_worker_whose_entry_stays_switched_off_is_ended_and_replaced() -> None:
    outside = Outside()
    await turn(outside, FLEET)
    name = seen(outside, state=MemberState.DRAINING)
    for _ in range(4):
        await turn(outside, FLEET)
    assert outside.host.ended == [name]
    assert len(outside.queue.entries) == 2


class Reopens(Queue):
    """Between the look of a turn and its drain a person switches everybody on again."""

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        if worker.member is not MemberState.DRAINING:
            return await super().drain(worker, deadline_seconds, force)
        self.entries[worker.worker_id] = replace(self.entries[worker.worker_id], state=MemberState.READY)
        return DrainAnswer.REOPENED


async def test_regression_a_person_who_put_a_worker_back_during_its_teardown_lost_it() -> None:
    outside = Outside(queue=Reopens())
    await turn(outside, FLEET)
    await turn(outside, FLEET)
    await turn(outside, FEWER)
    result = await turn(outside, FEWER)
    assert isinstance(result, Acted)
    (outcome,) = result.outcomes
    assert (outcome.verb, outcome.result) == (Verb.TEAR_DOWN, Result.BUSY)
    assert outside.host.ended == []
    after = await turn(outside, FEWER)
    assert isinstance(after, Acted)
    (marked,) = [worker.worker_id for worker in after.record.memory.workers if worker.mark is not None]
    assert marked != outcome.worker_id, "it is wanted, for a while, and another one goes"
    assert [reason.rule for reason in after.record.plan.reasons].count("roster.put_back") == 1


async def test_regression_a_person_who_put_a_worker_back_between_two_turns_lost_it() -> None:
    outside = Outside()
    await turn(outside, FLEET)
    await turn(outside, FLEET)
    await turn(outside, FEWER)
    (drained,) = [name for name, entry in outside.queue.entries.items() if entry.state is MemberState.DRAINING]
    outside.queue.entries[drained] = replace(outside.queue.entries[drained], state=MemberState.READY)
    for _ in range(2):
        await turn(outside, FEWER)
    assert drained not in outside.host.ended


class Feeds(Queue):
    """An entry of somebody else gives work to everybody."""

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        return DrainAnswer.FED


async def test_a_worker_that_somebody_elses_entry_feeds_is_not_ended() -> None:
    outside = Outside(queue=Feeds())
    await turn(outside, FLEET)
    for _ in range(5):
        result = await turn(outside, FEWER)
    assert outside.host.ended == []
    assert isinstance(result, Acted)
    assert "none of this fleet's gives it work" in result.outcomes[0].detail


async def test_force_ends_one_that_somebody_elses_entry_feeds_at_its_deadline() -> None:
    outside = Outside(queue=Feeds())
    forced = changed(FEWER, drain=changed(FEWER.drain, force=True, deadline_seconds=60))
    await turn(outside, FLEET)
    await turn(outside, FLEET)
    for _ in range(5):
        await turn(outside, forced)
    assert len(outside.host.ended) == 1


async def test_an_entry_that_is_held_wrongly_is_mended_after_two_looks_and_only_without_work() -> None:
    outside = Outside()
    await turn(outside, FLEET)
    name = seen(outside, state=MemberState.JOINING, disorder="no child of it takes work", busy=True, idle_seconds=None)
    for _ in range(3):
        await turn(outside, FLEET)
    assert outside.queue.mended == []
    seen(outside, busy=False)
    await turn(outside, FLEET)
    assert outside.queue.mended == [name]
    assert len(outside.host.launched) == 3, "it is no supply meanwhile, and another one was launched"


class Renamed(Queue):
    """A person called everybody something else: only who is told of an address knows whose it is."""

    async def members(self, worker_ids: Sequence[str] | None = None, *, known: Sequence[Worker] = ()) -> PushMemberList:
        shown = await super().members(worker_ids)
        ours = {worker.url for worker in known if worker.registered}
        return PushMemberList(
            tuple(replace(each, renamed="Bob's GPU (backend 1)") for each in shown.members if each.url in ours)
        )


async def test_regression_a_renamed_worker_was_ended_under_load() -> None:
    outside = Outside(queue=Renamed())
    for _ in range(6):
        result = await turn(outside, FLEET)
    assert (outside.host.ended, len(outside.host.launched)) == ([], 2)
    assert isinstance(result, Held)


class SlowToBegin(Queue):
    """It has not begun with a new entry by the end of a turn; the next one is to go on with the same."""

    given: list[str]

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        self.given = [*getattr(self, "given", []), worker.begun]
        if not worker.begun:
            return Registration(
                False, "it has not begun", begun=f"process:{worker.worker_id}", warning="restart it once"
            )
        return await super().register(worker)


async def test_regression_an_entry_that_was_begun_was_left_behind_and_another_one_added(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outside = Outside(queue=SlowToBegin())
    brief = changed(FLEET, limits=changed(FLEET.limits, min_workers=1))
    with caplog.at_level(logging.WARNING, logger="ebbflow"):
        await turn(outside, brief)
    (name,) = outside.queue.entries
    assert isinstance(outside.queue, SlowToBegin)
    assert outside.queue.given == ["", f"process:{name}"]
    assert caplog.text.count("restart it once") == 1


async def test_a_worker_that_answers_nothing_and_is_fed_is_replaced_and_then_taken_out_of_service() -> None:
    caps = replace(QUEUE_CAPS, queues_without_workers=False)
    alone = changed(FLEET, limits=changed(FLEET.limits, min_workers=1))
    outside = Outside(queue=Queue(caps=caps))
    await turn(outside, alone)
    outside.queue.waiting = 3
    name = seen(outside, state=MemberState.LOST, is_fed=True, busy=None, idle_seconds=None)
    first = await turn(outside, alone)
    assert name in outside.queue.entries
    assert outside.queue.entries[name].state is MemberState.LOST, "it is the last that serves, and three requests wait"
    assert isinstance(first, Acted | Held)
    for _ in range(2):
        await turn(outside, alone)
    assert len(outside.host.launched) >= 2
    assert outside.queue.entries[name].state is MemberState.DRAINING
