"""What a person may hold a fleet to: absolute floors and ceilings, pins, a pause, and the end of all of them."""

import pytest

from ebbflow.core.errors import OverrideRefused
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
