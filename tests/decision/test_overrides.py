"""What a person may hold a fleet to: absolute floors and ceilings, pins, a pause, and the end of all of them."""

from dataclasses import replace

import pytest

from ebbflow.core.errors import ConfigError, OverrideRefused
from ebbflow.core.instance import Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Member, MemberList, MemberState
from ebbflow.core.memory import Memory, Override, OverrideKind, ProviderMemory
from ebbflow.core.observation import Inputs, ProviderLook, ScaleRequest
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.evaluate import Evaluation, evaluate
from ebbflow.decision.limits import Limits
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.turn.explain import run_name
from tests.making import changed, fleet_of, inputs_of

RULES = fleet_of(("local/a", 4), policy=VanillaPolicy(), limits=Limits(max_workers=4, min_idle_seconds=600))
IDS = ("demo-3f9c-1-0", "demo-3f9c-1-1")
HOLDS = {
    OverrideKind.FLOOR: Override("k", OverrideKind.FLOOR, 4, "ada", "a sale", 100.0),
    OverrideKind.PAUSE: Override("k", OverrideKind.PAUSE, 0, "ada", "an upgrade", 100.0),
    OverrideKind.PIN: Override("k", OverrideKind.PIN, 0, "ada", "a debugger", 100.0, IDS[:1]),
}


def fleet(*held: Override, queued: int = 0, request: ScaleRequest | None = None) -> Inputs:
    """Two workers that have been idle for long, and what holds."""
    workers = tuple(Worker(name, "local/a", WorkerState.READY, registered=True) for name in IDS)
    rows = tuple(Instance(name, name, InstanceState.RUNNING, "demo", "h0me0", f"http://{name}") for name in IDS)
    members = tuple(Member(name, name, MemberState.READY, f"http://{name}", False, 900.0) for name in IDS)
    return inputs_of(
        fleet="demo",
        home="h0me0",
        chain="3f9c",
        number=9,
        elapsed_seconds=30.0,
        budget_seconds=24.0,
        demand=Demand(queued=queued),
        members=MemberList(members),
        providers=(ProviderLook("local/a", ProviderCaps("here", idempotent_launch=True), InstanceList(rows)),),
        memory=Memory(1000.0, workers, (ProviderMemory("local/a", "here"),), held),
        request=request,
    )


def request(kind: OverrideKind, count: int = 0, *ids: str) -> ScaleRequest:
    return ScaleRequest("run-1", kind, "ada", "demo day", 3600.0, count, ids, is_absolute=True)


def did(decided: Evaluation) -> list[str]:
    return [f"{action.verb.value} {action.worker_id}" for action in decided.plan.actions]


def test_a_floor_of_the_number_itself_does_not_depend_on_what_is_there() -> None:
    decided = evaluate(fleet(request=request(OverrideKind.FLOOR, 3)), RULES)
    assert did(decided) == ["launch demo-3f9c-9-0"]
    assert decided.memory.overrides[0].count == 3


def test_a_ceiling_of_the_number_itself_takes_out_what_is_above() -> None:
    decided = evaluate(fleet(queued=15, request=request(OverrideKind.CEILING, 1)), RULES)
    assert did(decided) == ["drain demo-3f9c-1-0"]


@pytest.mark.parametrize(("kind", "count"), [(OverrideKind.FLOOR, 5), (OverrideKind.CEILING, 0)])
def test_numbers_beyond_the_fleets_own_limits_are_refused(kind: OverrideKind, count: int) -> None:
    rules = changed(RULES, limits=Limits(min_workers=1, max_workers=4))
    with pytest.raises(OverrideRefused, match=f"{kind.value} {count} means {count} workers"):
        evaluate(fleet(request=request(kind, count)), rules)


def test_a_pinned_worker_stays_while_another_goes() -> None:
    decided = evaluate(fleet(HOLDS[OverrideKind.PIN]), RULES)
    assert did(decided) == ["drain demo-3f9c-1-1"]


def test_a_paused_fleet_launches_nothing_and_takes_nobody_out_and_says_who_paused_it() -> None:
    for queued in (0, 100):
        decided = evaluate(fleet(HOLDS[OverrideKind.PAUSE], queued=queued), RULES)
        assert did(decided) == []
        (said,) = [reason.text for reason in decided.plan.reasons if reason.rule == "override.pause"]
        assert said == "pause by ada for another 70 s: an upgrade"


def test_a_paused_fleet_finishes_what_was_begun() -> None:
    paused = fleet(HOLDS[OverrideKind.PAUSE])
    going = changed(paused.memory.workers[0], state=WorkerState.DRAINING, mark=Mark(7, "surplus", 900.0))
    members = (changed(paused.members.members[0], state=MemberState.DRAINING), paused.members.members[1])
    memory = changed(paused.memory, workers=(going, paused.memory.workers[1]))
    decided = evaluate(changed(paused, memory=memory, members=MemberList(members)), RULES)
    assert did(decided) == ["tear_down demo-3f9c-1-0"]


def test_a_pause_is_gone_within_one_turn_of_its_end() -> None:
    ended = changed(HOLDS[OverrideKind.PAUSE], remaining_seconds=30.0)
    decided = evaluate(fleet(ended, queued=100), RULES)
    assert did(decided) == ["launch demo-3f9c-9-0", "launch demo-3f9c-9-1"]
    assert decided.memory.overrides == ()


def test_a_person_ends_all_that_is_held() -> None:
    decided = evaluate(fleet(*HOLDS.values(), queued=15, request=request(OverrideKind.END)), RULES)
    assert decided.memory.overrides == ()
    assert did(decided) == []


def test_a_run_is_named_by_the_override_and_who_asked_for_it() -> None:
    asked = request(OverrideKind.PAUSE)
    decided = evaluate(fleet(queued=15, request=asked), RULES)
    assert run_name("demo", decided.plan, decided.memory, 9, asked) == "demo: hold (pause by ada: demo day)"


def test_one_of_several_overrides_can_be_ended_and_the_others_hold_on() -> None:
    held = [replace(each, key=f"held-{number}") for number, each in enumerate(HOLDS.values())]
    ends = replace(request(OverrideKind.END), ends=("held-1",))
    decided = evaluate(fleet(*held, request=ends), RULES)
    assert [each.key for each in decided.memory.overrides] == ["held-0", "held-2"]
    everything = evaluate(fleet(*held, request=request(OverrideKind.END)), RULES)
    assert everything.memory.overrides == ()


def test_an_override_that_does_not_hold_is_refused_with_those_that_do() -> None:
    ends = replace(request(OverrideKind.END), ends=("run-9",))
    with pytest.raises(ConfigError, match=r"run-9 holds nothing here \(any more\); there are: k: pause by ada"):
        evaluate(fleet(HOLDS[OverrideKind.PAUSE], request=ends), RULES)


WOUND_DOWN = Override("down", OverrideKind.WIND_DOWN, 0, "ada", "moving house", 3600.0)


@pytest.mark.parametrize("others", [(), tuple(HOLDS.values())])
def test_a_fleet_that_is_wound_down_goes_below_its_own_minimum_whatever_else_holds(
    others: tuple[Override, ...],
) -> None:
    rules = changed(RULES, limits=Limits(min_workers=2, max_workers=4, min_idle_seconds=6000))
    decided = evaluate(fleet(*others, WOUND_DOWN, queued=0), rules)
    assert sorted(did(decided)) == [f"drain {name}" for name in IDS]
    assert [reason.rule for reason in decided.plan.reasons if reason.rule.startswith("override")] == [
        "override.wind_down"
    ]


def test_winding_down_launches_nobody_for_a_queue_and_sends_no_wish_again() -> None:
    wish = Worker("demo-3f9c-2-0", "local/a", WorkerState.WISHED, launch_number=2, state_seconds=60.0, absent_looks=2)
    seen = fleet(WOUND_DOWN, queued=40)
    seen = changed(seen, memory=changed(seen.memory, workers=(*seen.memory.workers, wish)))
    decided = evaluate(seen, RULES)
    assert not any(action.startswith("launch") for action in did(decided))
    assert "demo-3f9c-2-0" not in [worker.worker_id for worker in decided.memory.workers]


def test_winding_down_leaves_who_works_until_it_is_idle_unless_by_force() -> None:
    seen = fleet(WOUND_DOWN)
    busy = tuple(replace(member, busy=True, idle_seconds=None) for member in seen.members.members)
    seen = changed(seen, members=MemberList(busy))
    assert did(evaluate(seen, RULES)) == []
    by_force = changed(seen, memory=changed(seen.memory, overrides=(replace(WOUND_DOWN, force=True),)))
    decided = evaluate(by_force, RULES)
    assert sorted(did(decided)) == [f"drain {name}" for name in IDS]
    assert all(worker.mark is not None and worker.mark.forced for worker in decided.memory.workers)


def test_what_is_kept_warm_is_ended_with_the_fleet() -> None:
    caps = ProviderCaps("here", idempotent_launch=True, keeps_stopped=True)
    warm = Instance("demo-3f9c-1-7", "i-7", InstanceState.STOPPED, "demo", "h0me0", is_warm=True)
    seen = fleet(WOUND_DOWN)
    look = ProviderLook("local/a", caps, InstanceList((*seen.providers[0].listing.instances, warm)))
    rules = changed(RULES, providers=(changed(RULES.providers[0], warm_workers=2),))
    decided = evaluate(changed(seen, providers=(look,)), rules)
    assert "terminate demo-3f9c-1-7" in did(decided)


@pytest.mark.parametrize("last_is_forced", [True, False])
def test_of_two_words_to_wind_down_the_last_one_says_whether_by_force(*, last_is_forced: bool) -> None:
    held = (replace(WOUND_DOWN, force=not last_is_forced), replace(WOUND_DOWN, key="again", force=last_is_forced))
    seen = fleet(*held)
    busy = tuple(replace(member, busy=True, idle_seconds=None) for member in seen.members.members)
    decided = evaluate(changed(seen, members=MemberList(busy)), RULES)
    assert bool(did(decided)) is last_is_forced


def test_regression_force_that_came_after_the_mark_did_nothing() -> None:
    seen = fleet(replace(WOUND_DOWN, force=True))
    mark = Mark(7, "surplus", 900.0)
    marked = tuple(replace(worker, state=WorkerState.DRAINING, mark=mark) for worker in seen.memory.workers)
    decided = evaluate(changed(seen, memory=changed(seen.memory, workers=marked)), RULES)
    assert [worker.mark and worker.mark.forced for worker in decided.memory.workers] == [True, True]
