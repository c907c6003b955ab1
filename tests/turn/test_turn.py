"""A turn from its ledger to its last call, without Prefect and without anything outside."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ebbflow.core.chain import Claim
from ebbflow.core.errors import ConfigError, OverrideRefused
from ebbflow.core.instance import Instance, InstanceList, InstanceState, LaunchRequest
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import DrainAnswer, DrainWay, MemberState, PushMemberList, Registration
from ebbflow.core.memory import OverrideKind
from ebbflow.core.observation import Inputs, ScaleRequest
from ebbflow.core.plan import Result, Verb
from ebbflow.core.ports import Master
from ebbflow.core.worker import Worker
from ebbflow.decision.evaluate import Evaluation, evaluate
from ebbflow.decision.limits import Limits
from ebbflow.fleet.model import Fleet
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.memory_ledger import MemoryLedger
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.results import Acted, DryRun, Held, Skipped, SkipReason, TurnResult
from ebbflow.turn.turn import take_turn
from tests.making import changed, fleet_of
from tests.turn.outside import QUEUE_CAPS, Cluster, Host, Outside, Queue
from tests.turn.virtual_time import VirtualLoop, run

pytestmark = pytest.mark.anyio

FLEET = fleet_of(
    ("local/a", 4), limits=Limits(min_workers=2, max_workers=4, min_idle_seconds=60, min_seconds_between_stops=0)
)
REQUEST = ScaleRequest("run-7", OverrideKind.FLOOR, "ada", "demo day", 3600.0, 1)


async def turn(outside: Outside, fleet: Fleet = FLEET, *, after: float = 30.0, **other: Any) -> TurnResult:
    outside.clock.now += after
    dry_run, request = other.pop("dry_run", False), other.pop("request", None)
    return await take_turn(fleet, outside.surroundings(**other), dry_run=dry_run, request=request)


async def test_what_is_launched_is_registered_in_the_same_turn_and_noted() -> None:
    outside = Outside()
    result = await turn(outside)
    assert isinstance(result, Acted)
    assert set(outside.queue.entries) == set(outside.host.launched)
    assert len(outside.host.launched) == 2
    assert {(outcome.verb, outcome.result) for outcome in result.outcomes} == {
        (Verb.LAUNCH, Result.DONE),
        (Verb.REGISTER, Result.DONE),
    }
    head = await ChainReader(outside.ledger).head(FLEET.name)
    assert head is not None
    assert (head.record, head.outcomes) == (result.record, tuple(result.outcomes))
    assert outside.closed == 1


async def test_a_launch_with_a_warning_is_noted_and_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    class Losing(Host):
        async def launch(self, request: LaunchRequest) -> Instance:
            return replace(await super().launch(request), warning="the shell eats --require_control_within")

    outside = Outside(host=Losing())
    with caplog.at_level(logging.WARNING, logger="ebbflow"):
        result = await turn(outside)
    assert isinstance(result, Acted)
    launches = [outcome.detail for outcome in result.outcomes if outcome.verb is Verb.LAUNCH]
    assert len(launches) == 2
    assert all(detail.endswith("running; the shell eats --require_control_within") for detail in launches)
    assert caplog.text.count("local/a: the shell eats --require_control_within") == 1


async def test_a_turn_with_nothing_to_do_holds_and_is_recorded() -> None:
    outside = Outside()
    await turn(outside)
    result = await turn(outside)
    assert isinstance(result, Held)
    assert result.record.number == 2
    assert [worker.state for worker in result.record.memory.workers] == [WorkerState.READY] * 2


async def test_a_worker_too_many_is_drained_looked_at_twice_ended_and_forgotten_over_two_claims() -> None:
    outside = Outside()
    await turn(outside)
    await turn(outside)
    fewer = changed(FLEET, limits=changed(FLEET.limits, min_workers=1))
    marked = await turn(outside, fewer)
    assert isinstance(marked, Acted)
    assert [action.verb for action in marked.record.plan.actions] == [Verb.DRAIN]
    assert outside.host.ended == []
    ended = await turn(outside, fewer)
    assert isinstance(ended, Acted)
    (gone,) = outside.host.ended
    assert set(outside.queue.entries) == set(outside.host.launched) - {gone}
    assert ended.logs == {} or set(ended.logs) == {gone}


async def test_a_run_is_too_early_after_another_but_a_persons_request_never_is() -> None:
    outside = Outside()
    await turn(outside)
    early = await turn(outside, after=14.0)
    assert early == Skipped(SkipReason.TOO_EARLY, "the last turn is younger than 15 s, and no two are nearer")
    asked = await turn(outside, after=0.0, request=REQUEST)
    assert isinstance(asked, Acted)
    assert len(outside.host.launched) == 3


SOONER = changed(FLEET, waiting_interval_seconds=12.0)


@dataclass
class Asked:
    """Takes who asks for a sooner turn, and when."""

    at: list[tuple[int, float]] = field(default_factory=list)

    async def __call__(self, inputs: Inputs, at_seconds: float) -> None:
        self.at.append((inputs.number, at_seconds))


async def test_a_turn_that_sees_work_wait_asks_for_another_one_by_the_ledgers_clock() -> None:
    outside, asked = Outside(), Asked()
    outside.queue.waiting = 3
    began_at = outside.clock.now + 30.0
    result = await turn(outside, SOONER, call_sooner=asked)
    assert isinstance(result, Acted)
    assert asked.at == [(1, began_at + 12.0)]
    assert outside.clock.now < began_at + 12.0


async def test_regression_a_turn_asked_for_by_one_that_looked_for_long_found_its_claim_too_young() -> None:
    outside, asked = Outside(), Asked()
    outside.queue.waiting = 3
    look_seconds = 5.0

    def slowly(inputs: Inputs, fleet: Fleet) -> Evaluation:
        outside.clock.now += look_seconds
        return evaluate(inputs, fleet)

    await turn(outside, SOONER, call_sooner=asked, decide=slowly)
    ((_, at),) = asked.at
    assert at >= outside.clock.now + SOONER.least_apart_seconds


async def test_it_asks_before_it_acts_so_that_who_is_slow_to_come_delays_nothing() -> None:
    outside, asked = Outside(), Asked()
    outside.queue.waiting = 3

    class Killed(BaseException):
        pass

    async def killed(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        await turn(outside, SOONER, call_sooner=asked, carry_out=killed)
    assert [number for number, _ in asked.at] == [1]


async def test_nobody_is_asked_where_nothing_waits_or_nothing_can_change_or_the_fleet_says_no_such_interval() -> None:
    outside, asked = Outside(), Asked()
    await turn(outside, SOONER, call_sooner=asked)
    outside.queue.waiting = 3
    await turn(outside, FLEET, call_sooner=asked)
    full = changed(SOONER, limits=changed(FLEET.limits, max_workers=2))
    assert isinstance(await turn(outside, full, call_sooner=asked), Held)
    assert isinstance(await turn(outside, SOONER, call_sooner=asked, dry_run=True, after=0.0), DryRun)
    assert isinstance(await turn(outside, SOONER, call_sooner=asked, after=1.0), Skipped)
    assert asked.at == []


async def test_turns_that_follow_each_other_soon_are_never_nearer_than_they_may_be() -> None:
    outside = Outside()
    await turn(outside, SOONER)
    early = await turn(outside, SOONER, after=8.9)
    assert early == Skipped(SkipReason.TOO_EARLY, "the last turn is younger than 9 s, and no two are nearer")
    assert not isinstance(await turn(outside, SOONER, after=0.2), Skipped)


async def test_who_skips_has_kept_the_workers_alive_first() -> None:
    outside = Outside()
    await turn(outside)
    await turn(outside)
    outside.queue.kept_alive.clear()
    assert isinstance(await turn(outside, after=1.0), Skipped)
    assert set(outside.queue.kept_alive) == set(outside.host.launched)


async def test_of_two_turns_at_once_one_acts_and_the_other_says_why_not() -> None:
    outside = Outside()
    results = await asyncio.gather(*(turn(outside, after=0.0, run=f"run-{each}") for each in range(2)))
    (skipped,) = [result for result in results if isinstance(result, Skipped)]
    assert skipped == Skipped(SkipReason.NOT_CLAIMED, "another run claimed record 1")
    assert len(outside.host.launched) == 2


async def test_a_look_that_outlasted_the_budget_is_stored_and_never_claimed() -> None:
    outside = Outside()

    def slowly(inputs: Inputs, fleet: Fleet) -> Evaluation:
        outside.clock.now += fleet.budget_seconds
        return evaluate(inputs, fleet)

    result = await turn(outside, decide=slowly)
    assert isinstance(result, Skipped)
    assert result.reason is SkipReason.TOO_LATE
    assert len(outside.ledger.records) == 1
    assert await outside.ledger.newest_claim(FLEET.name) is None
    assert outside.host.launched == []


async def test_a_dry_run_leaves_nothing_anywhere() -> None:
    outside = Outside()
    result = await turn(outside, dry_run=True)
    assert isinstance(result, DryRun)
    assert len(result.evaluation.plan.of(Verb.LAUNCH)) == 2
    assert (outside.ledger.records, outside.ledger.claims, outside.ledger.kept_home) == ({}, {}, None)
    assert (outside.host.launched, outside.queue.kept_alive) == ([], [])


async def test_a_request_beyond_the_limits_changes_nothing() -> None:
    outside = Outside()
    with pytest.raises(OverrideRefused, match=r"above limits\.max_workers 4"):
        await turn(outside, request=replace(REQUEST, count=9))
    assert outside.ledger.records == {}
    assert outside.closed == 1


async def test_a_lost_record_is_warned_of_and_begins_a_new_chain(caplog: pytest.LogCaptureFixture) -> None:
    outside = Outside()
    first = await turn(outside)
    assert isinstance(first, Acted)
    outside.ledger.records.clear()
    with caplog.at_level(logging.WARNING, logger="ebbflow"):
        second = await turn(outside)
    assert "record 1 was deleted" in caplog.text
    assert isinstance(second, Held)
    assert second.record.chain != first.record.chain
    assert len(outside.host.launched) == 2, "what is listed is adopted, nothing is launched in its place"


class Plain:
    """What all masters can be asked, and nothing else."""

    def __init__(self, queue: Queue) -> None:
        self.caps, self.probe, self.demand, self.members = queue.caps, queue.probe, queue.demand, queue.members
        self.join_spec, self.drain, self.shut_down = queue.join_spec, queue.drain, queue.shut_down
        self.aclose = queue.aclose


class Both(Queue):
    """Is pushed into, and says that it is joined."""

    async def joined(self, worker: Worker) -> Registration:
        return Registration(True)


class Unkept(Plain):
    """Its workers need a sign of life, which it cannot give."""

    async def joined(self, worker: Worker) -> Registration:
        return Registration(True)


@pytest.mark.parametrize(
    ("master", "said"),
    [
        (Plain(Queue()), "swarmui-master/a is neither a PushMaster nor a JoinMaster: its adapter must have `register`"),
        (Both(), "swarmui-master/a is both a PushMaster and a JoinMaster"),
        (Unkept(Queue()), "end after 600 s without a sign of life, and its adapter has no `keepalive`"),
    ],
    ids=["neither", "both", "no keepalive"],
)
@pytest.mark.parametrize("dry_run", [False, True])
async def test_a_master_of_no_kind_is_refused_before_anything_is_done(master: Master, said: str, dry_run: bool) -> None:
    outside = Outside(master=master)
    with pytest.raises(ConfigError, match=said):
        await turn(outside, dry_run=dry_run)
    assert outside.host.launched == []
    assert outside.ledger.records == {}


async def test_workers_that_join_by_themselves_are_kept_alive_without_an_address() -> None:
    host = Host(has_urls=False)
    cluster = Cluster(host)
    outside = Outside(host=host, master=cluster)
    await turn(outside)
    await turn(outside)
    assert set(cluster.kept_alive) == set(host.launched)
    assert len(host.launched) == 2


@pytest.mark.parametrize(
    ("way", "answer", "shown", "turns"),
    [
        pytest.param(DrainWay.NATIVE, DrainAnswer.ACCEPTED, MemberState.DRAINING, 2, id="it shows it draining"),
        pytest.param(DrainWay.NATIVE, DrainAnswer.GONE, MemberState.LOST, 4, id="it let go of it"),
        pytest.param(DrainWay.IMPLICIT, DrainAnswer.ACCEPTED, MemberState.READY, 2, id="its end hands work back"),
        pytest.param(DrainWay.NONE, DrainAnswer.ACCEPTED, MemberState.READY, 2, id="only waiting helps"),
    ],
)
async def test_an_idle_worker_goes_in_every_way_in_which_a_master_may_drain(
    way: DrainWay, answer: DrainAnswer, shown: MemberState, turns: int
) -> None:
    host = Host(has_urls=False)
    cluster = Cluster(host, replace(QUEUE_CAPS, drain=way), drains=answer, once_drained=shown)
    outside = Outside(host=host, master=cluster)
    given = changed(FLEET, accept_busy_stop=True)
    await turn(outside, given)
    await turn(outside, given)
    fewer = changed(given, limits=changed(given.limits, min_workers=1))
    for _ in range(turns):
        assert len(host.ended) == 0
        await turn(outside, fewer)
    assert len(host.ended) == 1


async def test_a_native_master_that_still_routes_to_a_drained_worker_keeps_it() -> None:
    host = Host(has_urls=False)
    outside = Outside(host=host, master=Cluster(host, once_drained=MemberState.READY))
    await turn(outside)
    await turn(outside)
    fewer = changed(FLEET, limits=changed(FLEET.limits, min_workers=1))
    for _ in range(6):
        await turn(outside, fewer)
    assert host.ended == []


class Stale(Queue):
    """Its list of all is old: it lacks everybody, or shows that nobody answers; asked for one, it tells how it is."""

    lists_nobody = True

    async def members(self, worker_ids: Sequence[str] | None = None, *, known: Sequence[Worker] = ()) -> PushMemberList:
        shown = await super().members(worker_ids, known=known)
        if worker_ids is not None:
            return shown
        if self.lists_nobody:
            return PushMemberList(())
        return PushMemberList(tuple(replace(member, state=MemberState.LOST, busy=None) for member in shown.members))


@pytest.mark.parametrize(("state", "lists_nobody"), [(InstanceState.FAILED, True), (InstanceState.GONE, False)])
async def test_regression_one_that_answers_by_now_is_neither_forgotten_nor_ended_by_its_row(
    state: InstanceState, lists_nobody: bool
) -> None:
    queue = Stale()
    queue.lists_nobody = lists_nobody
    outside = Outside(queue=queue)
    await turn(outside)
    members, rows = set(outside.queue.entries), dict(outside.host.rows)
    if state is InstanceState.FAILED:
        # Its note is lost as well: as far as the record tells, it never served.
        kept = outside.ledger.records
        outside.ledger.records = {name: replace(stored, note=None) for name, stored in kept.items()}
    outside.host.rows = {name: replace(row, state=state) for name, row in rows.items()}
    result = await turn(outside)
    assert isinstance(result, Acted)
    assert outside.host.ended == []
    assert set(outside.queue.entries) >= members


async def test_a_mistake_in_one_adapter_leaves_no_other_call_behind() -> None:
    finished: list[str] = []

    class Mistaken(Host):
        async def launch(self, request: LaunchRequest) -> Instance:
            if request.worker_id.endswith("-0"):
                raise KeyError("a mistake of its author")
            for _ in range(5):
                await asyncio.sleep(0)
            finished.append(request.worker_id)
            return await super().launch(request)

    outside = Outside(host=Mistaken())
    with pytest.raises(KeyError, match="a mistake"):
        await turn(outside)
    assert len(finished) == 1, "who was launching has ended before the turn did"


def test_a_provider_that_hangs_is_unknown_after_its_time_and_the_turn_goes_on() -> None:
    class Hanging(Host):
        async def list_instances(self, fleet: str) -> InstanceList:
            await asyncio.Event().wait()
            raise AssertionError("nobody answers")

    async def whole(loop: VirtualLoop) -> TurnResult:
        outside = Outside(host=Hanging())
        task = loop.create_task(turn(outside, clock=loop.time))
        await loop.quiet()
        assert not task.done(), "it waits for the listing"
        loop.now += outside.host.caps.call_seconds
        await loop.quiet()
        return task.result()

    result = run(whole)
    assert isinstance(result, Held)
    (look,) = result.evaluation.inputs.providers
    assert (look.listing.complete, look.listing.detail) == (False, "no answer within 5 s")
    assert any(reason.rule == "roster.unknown" for reason in result.record.plan.reasons)


@pytest.mark.parametrize("said", [None, "other"])
async def test_regression_a_home_that_was_deleted_or_changed_never_makes_a_second_fleet(said: str | None) -> None:
    outside = Outside()
    await turn(outside)
    await turn(outside)
    launched = list(outside.host.launched)
    outside.ledger.kept_home = said
    outside.queue.kept_alive.clear()
    with pytest.raises(ConfigError, match="to go on with them"):
        await turn(outside, after=60.0)
    assert list(outside.host.launched) == launched
    assert outside.ledger.kept_home == said
    assert set(outside.queue.kept_alive) == set(launched)


class Edited(MemoryLedger):
    """Its newest claim was edited by hand, its home as well, or neither."""

    newest_is_edited = False
    home_is_bad = False

    async def home(self, *, create: bool) -> str:
        if self.home_is_bad:
            raise ConfigError("home 'Not A Label'")
        return await super().home(create=create)

    async def newest_claim(self, fleet: str) -> Claim | None:
        if self.newest_is_edited:
            raise ConfigError("Variable ebbflow_demo_3 was edited")
        return await super().newest_claim(fleet)

    async def readable_claims(self, fleet: str) -> Sequence[Claim]:
        return [*await super().readable_claims(fleet)][int(self.newest_is_edited) :]


class Nowhere(Outside):
    """Of its masters only those can be had that the fleet had before."""

    masters: tuple[str, ...] = (FLEET.master,)

    @asynccontextmanager
    async def opened(
        self, fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
    ) -> AsyncIterator[OpenFleet]:
        if fleet.master not in self.masters:
            raise ConfigError(f"{fleet.master!r} is not a saved block")
        async with super().opened(fleet, home, remembered=remembered, dry_run=dry_run) as opened:
            yield opened


@pytest.mark.parametrize("fault", ["home", "claim", "master"])
async def test_regression_an_error_before_the_sign_of_life_let_a_fleet_end_itself(fault: str) -> None:
    ledger = Edited()
    outside = Nowhere(ledger=ledger)
    for _ in range(3):
        await turn(outside)
    outside.queue.kept_alive.clear()
    ledger.home_is_bad, ledger.newest_is_edited = fault == "home", fault == "claim"
    fleet = changed(FLEET, master="swarmui-master/typo") if fault == "master" else FLEET
    with pytest.raises(ConfigError, match=r"2 workers of record [23] were given their sign of life"):
        await turn(outside, fleet)
    assert set(outside.queue.kept_alive) == set(outside.host.launched)


async def test_who_can_be_given_no_sign_of_life_is_named_with_the_minutes_that_are_left() -> None:
    outside = Nowhere()
    await turn(outside)
    await turn(outside)
    outside.masters = ()
    words = f"no sign of life could be given to {', '.join(sorted(outside.host.launched))}"
    with pytest.raises(ConfigError, match=f"{words}: without one they end in 8 minutes or less"):
        await turn(outside, after=120.0)


async def test_who_does_not_answer_is_not_said_to_have_had_its_sign_of_life() -> None:
    class Silent(Queue):
        async def keepalive(self, workers: Sequence[Worker]) -> dict[str, bool]:
            return {worker.worker_id: worker.worker_id.endswith("-0") for worker in workers}

    outside = Nowhere(queue=Silent())
    await turn(outside)
    await turn(outside)
    (silent,) = [worker_id for worker_id in outside.host.launched if worker_id.endswith("-1")]
    with pytest.raises(ConfigError, match=f"no sign of life could be given to {silent}: without one they end in"):
        await turn(outside, changed(FLEET, master="swarmui-master/typo"))


async def test_an_error_of_a_fleet_without_workers_tells_of_none() -> None:
    outside = Nowhere()
    with pytest.raises(ConfigError) as caught:
        await turn(outside, changed(FLEET, master="swarmui-master/typo"))
    assert str(caught.value) == "'swarmui-master/typo' is not a saved block"


async def test_regression_a_lost_record_dropped_overrides_without_a_word() -> None:
    outside = Outside()
    held = ScaleRequest("run-7", OverrideKind.FLOOR, "ada", "demo day", 3600.0, 2)
    await turn(outside, request=held)
    await turn(outside)
    (*_, newest) = outside.ledger.records
    del outside.ledger.records[newest]
    lost = await turn(outside)
    assert isinstance(lost, Held | Acted)
    (reason,) = [reason.text for reason in lost.record.plan.reasons if reason.rule == "chain.broken"]
    assert "what record 1 held for people went with it: floor" in reason
    assert "by ada" in reason


@pytest.mark.parametrize("call", ["list_instances", "demand", "members", "keepalive"])
async def test_regression_a_mistake_in_one_adapters_look_failed_every_turn(call: str) -> None:
    outside = Outside()
    await turn(outside)

    async def mistaken(*given: object, **named: object) -> None:
        raise KeyError("a mistake of its author")

    setattr(outside.host if call == "list_instances" else outside.queue, call, mistaken)
    assert isinstance(await turn(outside), Held | Acted)
    assert outside.host.ended == []


async def test_regression_a_mistake_in_one_action_lost_the_notes_of_all_others() -> None:
    class Mistaken(Host):
        async def launch(self, request: LaunchRequest) -> Instance:
            if request.worker_id.endswith("-0"):
                raise KeyError("a mistake of its author")
            return await super().launch(request)

    outside = Outside(host=Mistaken())
    with pytest.raises(KeyError, match="a mistake"):
        await turn(outside)
    (stored,) = outside.ledger.records.values()
    told = {outcome.worker_id[-2:]: outcome.result for outcome in stored.outcomes() or ()}
    assert told == {"-0": Result.FAILED, "-1": Result.DONE}


async def test_regression_a_folder_for_records_that_cannot_be_one_stopped_a_turn_before_it_acted() -> None:
    outside = Outside()
    result = await turn(outside, changed(FLEET, records_folder="/nowhere\0at all"))
    assert isinstance(result, Acted)
    assert len(outside.host.launched) == 2


async def test_regression_a_clock_that_was_set_back_an_hour_skips_no_turn() -> None:
    outside = Outside()
    await turn(outside)
    result = await turn(outside, after=-3600.0)
    assert isinstance(result, Held | Acted)
    assert result.record.turn.elapsed_seconds == 0.0
    assert result.record.plan.reasons[0].rule == "chain.clock"
