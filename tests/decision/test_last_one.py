"""The last that serves never goes first while work waits; or the record says why it does."""

from dataclasses import replace
from typing import Any

import pytest

from ebbflow.core.instance import Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, IdleSource, MasterCaps, Member, MemberState, PushMemberList
from ebbflow.core.memory import Memory, Override, OverrideKind, ProviderMemory
from ebbflow.core.observation import Inputs, ProviderLook, ScaleRequest
from ebbflow.core.plan import Verb
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.evaluate import evaluate
from ebbflow.decision.last_one import last_one
from ebbflow.decision.limits import Limits
from ebbflow.policies.vanilla import VanillaPolicy
from tests.making import fleet_of, inputs_of

ID, OTHER = "demo-3f9c-1-0", "demo-3f9c-1-1"
FAILS = MasterCaps(idle_source=IdleSource.MASTER, queues_without_workers=False)
SERVES = Worker(
    ID,
    "local/a",
    WorkerState.READY,
    instance=InstanceState.RUNNING,
    url="http://w",
    registered=True,
    member=MemberState.READY,
    busy=False,
)
MARK = Mark(4, "idle", 900.0)
GOES = replace(SERVES, state=WorkerState.DRAINING, mark=MARK)
COMES = Worker(OTHER, "local/a", WorkerState.STARTING)
WAITS = Demand(queued=3)


def seen(demand: Demand = WAITS, *, caps: MasterCaps = FAILS, others: tuple[str, ...] = ()) -> Inputs:
    return inputs_of(demand=demand, master_caps=caps, members=PushMemberList(others=others))


@pytest.mark.parametrize(
    ("workers", "inputs", "stays"),
    [
        ((GOES,), seen(), True),
        ((GOES, COMES), seen(), True),
        ((GOES,), seen(Demand(complete=False)), True),  # unknown is not zero
        ((GOES,), seen(Demand(running=2)), None),
        ((GOES,), seen(caps=replace(FAILS, queues_without_workers=True)), None),
        ((GOES,), seen(others=("Bob's GPU",)), None),
        ((GOES, replace(SERVES, worker_id=OTHER)), seen(), None),
        ((GOES, replace(SERVES, worker_id=OTHER, busy=None)), seen(), True),  # who is not heard may be dead
        ((SERVES,), seen(), None),
        ((replace(GOES, member=MemberState.DRAINING),), seen(), None),  # it is off already
        ((replace(SERVES, disorder="two children"),), seen(), True),
        # Whoever is ended by others goes: nothing that is given to it is done.
        ((replace(GOES, instance=InstanceState.FAILED),), seen(), False),
        ((replace(GOES, instance=InstanceState.TERMINATING, busy=True),), seen(), False),
        # By force, at the deadline and not before, and not while another is on its way.
        ((replace(GOES, mark=replace(MARK, forced=True)),), seen(), True),
        ((replace(GOES, mark=replace(MARK, forced=True, age_seconds=900.0)),), seen(), False),
        ((replace(GOES, mark=replace(MARK, forced=True, age_seconds=900.0)), COMES), seen(), True),
        ((replace(GOES, mark=replace(MARK, age_seconds=900.0)),), seen(), True),
        # Silent, and given work: as long as somebody may come in its place.
        ((replace(GOES, member=MemberState.LOST, is_fed=True, busy=None),), seen(), True),
        (
            (replace(GOES, member=MemberState.LOST, is_fed=True, busy=None, mark=replace(MARK, deadline_seconds=0.0)),),
            seen(),
            False,
        ),
    ],
)
def test_who_alone_serves_while_work_waits_stays(
    workers: tuple[Worker, ...], inputs: Inputs, stays: bool | None
) -> None:
    last = last_one(workers, inputs, max_workers=4)
    assert (last and last.stays) == stays
    assert last is None or last.worker_id == ID


def test_of_two_that_go_the_one_that_works_stays() -> None:
    busy = replace(GOES, worker_id=OTHER, busy=True)
    last = last_one((busy, GOES), seen(), max_workers=4)
    assert last is not None
    assert last.worker_id == OTHER


def test_of_two_that_go_the_one_that_answers_stays() -> None:
    silent = replace(GOES, worker_id=OTHER, member=MemberState.LOST, is_fed=True, busy=None)
    last = last_one((silent, GOES), seen(), max_workers=4)
    assert last is not None
    assert last.worker_id == ID


@pytest.mark.parametrize(
    ("workers", "max_workers", "overrides", "said"),
    [
        ((GOES,), 4, (), "3 requests wait: it goes once another serves, or once nothing waits"),
        ((GOES, COMES), 4, (), "it goes once another serves"),
        ((GOES,), 1, (), "beside it there is no room (max_workers 1)"),
        (
            (GOES,),
            4,
            (Override("run", OverrideKind.CEILING, 0, "ada", "night", 60.0),),
            "under ceiling 0 by ada nobody comes",
        ),
        ((replace(GOES, instance=InstanceState.FAILED),), 4, (), "its provider ends it, and what waits will fail"),
    ],
)
def test_the_record_says_what_it_waits_for(
    workers: tuple[Worker, ...], max_workers: int, overrides: tuple[Override, ...], said: str
) -> None:
    last = last_one(workers, seen(), max_workers=max_workers, overrides=overrides)
    assert last is not None
    assert said in last.why


CAPS = ProviderCaps("here", idempotent_launch=True, relist_seconds=1.0)
RULES = fleet_of(("local/a", 4), policy=VanillaPolicy(), limits=Limits(max_workers=4, min_idle_seconds=60))


def fleet_with_one(
    *,
    ends_soon: str = "",
    request: ScaleRequest | None = None,
    fed: bool = False,
    state: InstanceState = InstanceState.RUNNING,
    silent: bool = False,
) -> Inputs:
    """One worker serves, three requests wait, and something means to take it out."""
    row = Instance(ID, "i-1", state, "demo", "h0me0", "http://w", ends_soon=ends_soon)
    shown = MemberState.LOST if fed else MemberState.READY
    busy = None if fed or silent else False
    member = Member(ID, "7", shown, "http://w", busy, None if busy is None else 4000.0, is_fed=fed)
    worker = replace(SERVES, member=None, busy=None, last_busy=False, instance_id="i-1", unanswered_seconds=60.0)
    memory = Memory(1000.0, (worker,), (ProviderMemory("local/a", "here"),))
    return inputs_of(
        number=9,
        demand=WAITS,
        master_caps=FAILS,
        members=PushMemberList((member,)),
        providers=(ProviderLook("local/a", CAPS, InstanceList((row,))),),
        memory=memory,
        request=request,
    )


def request(kind: OverrideKind, **given: Any) -> ScaleRequest:
    return ScaleRequest("run", kind, "ada", "", 3600.0, **given)


@pytest.mark.parametrize(
    ("rules", "inputs", "comes"),
    [
        (RULES, fleet_with_one(ends_soon="its time is over"), 1),
        (fleet_of(("local/b", 4), policy=VanillaPolicy(), limits=RULES.limits), fleet_with_one(), 0),
        (RULES, fleet_with_one(request=request(OverrideKind.CEILING, worker_ids=(ID,), force=True, count=1)), 0),
        (RULES, fleet_with_one(request=request(OverrideKind.CEILING, count=0, is_absolute=True)), 0),
        (RULES, fleet_with_one(fed=True), 1),
    ],
    ids=["age", "removed provider", "a person, by force", "an override", "silence"],
)
def test_regression_whatever_drains_the_last_one_fails_every_request_that_waits(
    rules: Any, inputs: Inputs, comes: int
) -> None:
    decided = evaluate(inputs, rules)
    verbs = [action.verb for action in decided.plan.actions]
    assert Verb.DRAIN not in verbs
    assert Verb.TEAR_DOWN not in verbs
    assert verbs.count(Verb.LAUNCH) == comes
    worker = decided.worker(ID)
    said = [reason.text for reason in decided.plan.reasons if reason.rule == "upkeep.last"]
    assert [ID in text for text in said] == ([True] if worker.mark is not None else [])


@pytest.mark.parametrize("state", [InstanceState.FAILED, InstanceState.TERMINATING, InstanceState.RUNNING])
def test_regression_a_dying_worker_was_given_work_until_its_master_looked_again(state: InstanceState) -> None:
    inputs = fleet_with_one(ends_soon="" if state is not InstanceState.RUNNING else "reclaimed", state=state)
    if state is InstanceState.RUNNING:
        inputs = replace(inputs, demand=Demand())
    decided = evaluate(inputs, RULES)
    (drain,) = decided.plan.of(Verb.DRAIN)
    assert (drain.worker_id, drain.urgent) == (ID, True), "before anything else, in the turn that sees it"


def test_regression_a_gone_worker_was_given_work_until_its_master_looked_again() -> None:
    inputs = fleet_with_one(state=InstanceState.GONE, silent=True)
    (forgotten,) = evaluate(inputs, RULES).plan.of(Verb.DEREGISTER)
    assert (forgotten.worker_id, forgotten.urgent) == (ID, True)
