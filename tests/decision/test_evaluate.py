"""A whole decision: from what was seen to plan and memory, the same bytes every time."""

import json
from dataclasses import replace

import pytest

from ebbflow.core.canonical import canonical, encode
from ebbflow.core.errors import ConfigError, OverrideRefused
from ebbflow.core.instance import Failure, Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Member, MemberList, MemberState
from ebbflow.core.memory import Memory, OverrideKind, ProviderMemory, RecentClaim
from ebbflow.core.observation import Inputs, ProviderLook, ScaleRequest
from ebbflow.core.plan import Outcome, Result, Verb, Want
from ebbflow.core.record import make_record, parse_record, restore_inputs
from ebbflow.core.worker import Worker
from ebbflow.decision.evaluate import Evaluation, evaluate
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.decision.rules import Readiness
from ebbflow.policies.master import MasterPolicy
from ebbflow.policies.no import NoPolicy
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.turn.explain import explain
from tests.making import changed, fleet_of, inputs_of

CAPS = ProviderCaps("here", idempotent_launch=True, relist_seconds=1.0)
RULES = fleet_of(
    ("local/a", 4),
    policy=VanillaPolicy(),
    limits=Limits(max_workers=4, min_idle_seconds=60),
    readiness=Readiness(launch_timeout_seconds=600.0),
)
FIRST = inputs_of(
    number=1,
    elapsed_seconds=0.0,
    demand=Demand(queued=15),
    providers=(ProviderLook("local/a", CAPS, InstanceList()),),
)


def later(decided: Evaluation, before: Inputs, *, elapsed: float = 30.0) -> Inputs:
    """The inputs of the turn after, with the same world."""
    head = RecentClaim(before.number, f"artifact-{before.number}", 24.0, elapsed)
    return changed(
        before,
        number=before.number + 1,
        elapsed_seconds=elapsed,
        memory=decided.memory,
        head=head,
        outcomes=(),
        noted=(),
        request=None,
    )


def with_world(inputs: Inputs, *worker_ids: str, busy: bool | None = False, idle: float | None = 700.0) -> Inputs:
    """The same turn, with these workers listed and serving."""
    rows = tuple(
        Instance(name, f"i-{name}", InstanceState.RUNNING, "demo", "h0me0", f"http://{name}") for name in worker_ids
    )
    members = tuple(
        Member(name, f"m-{name}", MemberState.READY, f"http://{name}", busy, idle if busy is False else None)
        for name in worker_ids
    )
    looks = (changed(inputs.providers[0], listing=InstanceList(rows)), *inputs.providers[1:])
    return changed(inputs, providers=looks, members=MemberList(members))


def serving(count: int, *, queued: int = 0, busy: bool | None = False, idle: float | None = 700.0) -> Inputs:
    """A turn of a fleet of some age in which this many workers serve."""
    names = [f"demo-3f9c-1-{index}" for index in range(count)]
    workers = tuple(Worker(name, "local/a", WorkerState.READY, registered=True) for name in names)
    memory = Memory(1000.0, workers, (ProviderMemory("local/a", "here"),))
    seen = changed(
        FIRST,
        number=9,
        demand=Demand(queued=queued),
        memory=memory,
        elapsed_seconds=30.0,
        head=RecentClaim(8, "artifact-8", 24.0, 30.0),
    )
    return with_world(seen, *names, busy=busy, idle=idle)


def request(kind: OverrideKind, count: int = 0, *ids: str, key: str = "run-1", force: bool = False) -> ScaleRequest:
    return ScaleRequest(key, kind, "ada", "demo day", 3600.0, count, ids, force)


def did(decided: Evaluation) -> list[str]:
    return [f"{action.verb.value} {action.worker_id}" for action in decided.plan.actions]


def rules_of(decided: Evaluation) -> list[str]:
    return [reason.rule for reason in decided.plan.reasons]


def test_the_first_turn_launches_what_is_wanted_under_ids_of_its_own_number() -> None:
    decided = evaluate(FIRST, RULES)
    assert did(decided) == ["launch demo-3f9c-1-0", "launch demo-3f9c-1-1"]
    assert (decided.plan.headline, decided.plan.wanted, decided.plan.supply) == ("queue 15 > 0", 2, 0)
    assert rules_of(decided) == ["chain.new", "policy.vanilla"]
    assert [(worker.state, worker.launch_number) for worker in decided.memory.workers] == [(WorkerState.WISHED, 1)] * 2
    assert decided.memory.seconds_since_start == 0.0


@pytest.mark.parametrize("result", [Result.UNKNOWN, Result.FAILED])
@pytest.mark.parametrize(("caps", "sent", "turns"), [(CAPS, 2, 2), (ProviderCaps("here"), 1, 1)])
def test_regression_submissions_without_a_clear_answer_went_on_for_seventy_five_turns(
    result: Result, caps: ProviderCaps, sent: int, turns: int
) -> None:
    rules = fleet_of(("local/a", 4), ("local/b", 4), policy=VanillaPolicy(), limits=Limits(max_workers=1))
    looks = tuple(ProviderLook(name, caps, InstanceList()) for name in ("local/a", "local/b"))
    seen, launches = changed(FIRST, providers=looks), []
    for number in range(1, turns + 2):
        decided = evaluate(seen, rules)
        launched = [(action.worker_id, action.provider) for action in decided.plan.actions]
        launches += launched
        said = tuple(Outcome(Verb.LAUNCH, name, place, result, "odd text") for name, place in launched)
        seen = changed(later(decided, seen), outcomes=said, noted=(number,), demand=FIRST.demand)
    assert [place for _, place in launches] == ["local/a"] * sent + ["local/b"]
    assert len({name for name, place in launches if place == "local/a"}) == 1, "it is sent again under the same id"
    rests = decided.memory.provider("local/a")
    assert rests is not None
    assert (rests.failures, "odd text" in rests.detail) == (1, True)


def test_regression_lists_from_before_a_launch_gave_the_wish_up_that_it_had_fulfilled() -> None:
    """The first list lacks it and it is sent again; the second lacks it once, after the launch timeout."""
    seen, limits = wished(waited=30.0)
    again = evaluate(seen, changed(RULES, limits=limits))
    assert [action.verb for action in again.plan.actions] == [Verb.LAUNCH]
    patient = changed(RULES, limits=limits, readiness=Readiness(launch_timeout_seconds=40.0))
    late = evaluate(later(again, seen, elapsed=60.0), patient)
    assert [worker.worker_id for worker in late.memory.workers] == ["demo-3f9c-1-0"]
    over = evaluate(later(late, seen, elapsed=60.0), patient)
    assert any(reason.rule == "upkeep.given_up" for reason in over.plan.reasons)


def test_a_launch_that_was_answered_at_last_is_waited_for() -> None:
    seen = FIRST
    for number, result in enumerate((Result.UNKNOWN, Result.DONE, Result.DONE, Result.DONE), 1):
        decided = evaluate(seen, RULES)
        said = tuple(Outcome(Verb.LAUNCH, action.worker_id, "local/a", result) for action in decided.plan.actions)
        seen = changed(later(decided, seen), outcomes=said, noted=(number,))
    assert [worker.state for worker in decided.memory.workers] == [WorkerState.WISHED] * 2
    assert decided.memory.providers[0].failures == 0


def test_regression_a_new_chain_with_one_false_list_launched_above_the_limit() -> None:
    """Two serve; the chain is lost, the first list fails, the second lacks one of them, and then the truth comes."""
    names = ("demo-0ld0-1-0", "demo-0ld0-1-1")
    truth = with_world(FIRST, *names, busy=True)
    (look,) = truth.providers
    shown = look.listing.instances
    limits = Limits(max_workers=2)
    lists = (InstanceList((), complete=False), InstanceList(shown[:1]), InstanceList(shown))
    # The master has been asked, and shows only the one that it knows already.
    seen = changed(truth, members=MemberList(truth.members.members[:1]))
    for listing in lists:
        seen = changed(seen, providers=(changed(look, listing=listing),), demand=Demand(queued=40))
        decided = evaluate(seen, changed(RULES, limits=limits))
        assert decided.plan.of(Verb.LAUNCH) == (), listing
        seen = changed(later(decided, seen, elapsed=60.0), members=seen.members)
    assert decided.plan.existing == 2
    assert evaluate(seen, RULES).plan.of(Verb.LAUNCH) != (), "two whole looks have agreed"


def test_a_fleet_that_begins_launches_in_its_first_turn_and_one_that_goes_on_in_its_second() -> None:
    queue = Demand(queued=40)
    assert evaluate(changed(FIRST, demand=queue), RULES).plan.of(Verb.LAUNCH) != ()
    goes_on = changed(with_world(FIRST, "demo-0ld0-1-0", busy=True), demand=queue)
    first = evaluate(goes_on, RULES)
    assert first.plan.of(Verb.LAUNCH) == ()
    assert "placement.settle" in rules_of(first)
    assert evaluate(later(first, goes_on), RULES).plan.of(Verb.LAUNCH) != ()


def test_ids_carry_the_claims_number_in_base_36() -> None:
    decided = evaluate(changed(FIRST, number=46), RULES)
    assert did(decided) == ["launch demo-3f9c-1a-0", "launch demo-3f9c-1a-1"]
    assert decided.worker("demo-3f9c-1a-1").provider == "local/a"


def test_an_id_that_anybody_carries_is_not_given_again() -> None:
    foreign = Instance("demo-3f9c-1-0", "i-9", InstanceState.RUNNING, "demo", "other")
    seen = changed(FIRST, providers=(changed(FIRST.providers[0], listing=InstanceList((foreign,))),))
    assert did(evaluate(seen, RULES)) == ["launch demo-3f9c-1-1", "launch demo-3f9c-1-2"]


def test_wishes_are_supply_so_that_nothing_is_launched_twice() -> None:
    first = evaluate(FIRST, RULES)
    again = evaluate(later(first, FIRST, elapsed=10.0), RULES)
    assert did(again) == []
    assert again.plan.holds


def test_a_turn_that_holds_says_why() -> None:
    decided = evaluate(serving(2, queued=15), RULES)
    assert decided.plan.holds
    assert rules_of(decided) == ["policy.vanilla"]
    assert decided.plan.headline == "queue 15, 2 workers"


def test_surplus_is_marked_in_one_claim_and_torn_down_by_a_later_one() -> None:
    inputs = serving(1)
    marked = evaluate(inputs, RULES)
    assert did(marked) == ["drain demo-3f9c-1-0"]
    (worker,) = marked.memory.workers
    assert worker.mark is not None
    assert (worker.state, worker.mark.number, worker.mark.reason) == (
        WorkerState.DRAINING,
        9,
        "not needed any more, idle 700 s",
    )
    assert marked.memory.seconds_since_stop == 0.0
    early = evaluate(later(marked, inputs, elapsed=23.0), RULES)
    assert did(early) == ["drain demo-3f9c-1-0"]
    assert did(evaluate(later(marked, inputs, elapsed=24.0), RULES)) == ["tear_down demo-3f9c-1-0"]


def test_a_whole_life_from_wish_to_forgotten() -> None:
    inputs = changed(FIRST, demand=Demand(queued=1))
    decided = evaluate(inputs, RULES)
    name = "demo-3f9c-1-0"
    inputs = with_world(later(decided, inputs), name)
    lived = [decided.memory.workers[0].state]
    for queued, listed in ((1, True), (0, True), (0, True), (0, False), (0, False), (0, False)):
        seen = changed(inputs, demand=Demand(queued=queued))
        if not listed:
            rest = seen.members.members if decided.memory.workers[0].state is not WorkerState.GONE else ()
            lost = tuple(changed(one, state=MemberState.LOST, busy=None) for one in rest)
            look = changed(seen.providers[0], listing=InstanceList())
            seen = changed(seen, members=MemberList(lost), providers=(look,))
        decided = evaluate(seen, RULES)
        lived += [worker.state for worker in decided.memory.workers]
        inputs = later(decided, inputs)
        if Verb.TEAR_DOWN in {action.verb for action in decided.plan.actions}:
            inputs = changed(inputs, outcomes=(Outcome(Verb.TEAR_DOWN, name, "local/a", Result.DONE),), noted=(4,))
    assert lived == [
        WorkerState.WISHED,
        WorkerState.READY,
        WorkerState.DRAINING,
        WorkerState.DRAINING,
        WorkerState.TERMINATING,
        WorkerState.GONE,
    ]
    assert decided.memory.workers == ()


def test_unknown_demand_keeps_everybody_and_fills_the_minimum() -> None:
    blind = changed(serving(1), demand=Demand(complete=False, detail="timeout"))
    assert did(evaluate(blind, RULES)) == []
    filled = evaluate(blind, changed(RULES, limits=Limits(min_workers=2)))
    assert did(filled) == ["launch demo-3f9c-9-0"]
    assert "limits.min_workers" in rules_of(filled)


def test_unknown_members_stop_and_register_nobody() -> None:
    blind = changed(serving(2), members=MemberList((), complete=False, detail="timeout"))
    decided = evaluate(blind, RULES)
    assert did(decided) == []
    assert {"roster.unknown", "placement.unknown"} <= set(rules_of(decided))


@pytest.mark.parametrize("busy", [True, None])
def test_who_works_or_cannot_tell_stays(busy: bool | None) -> None:
    decided = evaluate(serving(2, busy=busy), RULES)
    assert did(decided) == []
    assert "placement.no_victim" in rules_of(decided)


def test_a_scale_up_becomes_an_absolute_floor() -> None:
    asked = changed(serving(1), request=request(OverrideKind.FLOOR, 2))
    decided = evaluate(asked, RULES)
    assert did(decided) == ["launch demo-3f9c-9-0", "launch demo-3f9c-9-1"]
    (held,) = decided.memory.overrides
    assert (held.key, held.kind, held.count, held.owner, held.remaining_seconds) == (
        "run-1",
        OverrideKind.FLOOR,
        3,
        "ada",
        3600.0,
    )
    assert "override.floor" in rules_of(decided)


def test_a_repeated_run_adds_nothing_and_another_run_does() -> None:
    inputs = changed(serving(1), request=request(OverrideKind.FLOOR, 1))
    first = evaluate(inputs, RULES)
    again = evaluate(changed(later(first, inputs), request=inputs.turn.request), RULES)
    assert again.memory.overrides == tuple(changed(held, remaining_seconds=3570.0) for held in first.memory.overrides)
    assert not [action for action in again.plan.actions if action.worker_id.startswith("demo-3f9c-a-")]
    other = changed(later(first, inputs), request=request(OverrideKind.FLOOR, 1, key="run-2"))
    assert [held.count for held in evaluate(other, RULES).memory.overrides] == [2, 3]


def test_an_override_ends_with_its_time() -> None:
    inputs = changed(serving(1), request=request(OverrideKind.FLOOR, 1))
    first = evaluate(inputs, RULES)
    assert evaluate(later(first, inputs, elapsed=3600.0), RULES).memory.overrides == ()


def test_a_scale_down_of_named_workers_takes_those() -> None:
    asked = changed(serving(3, queued=15, idle=0.0), request=request(OverrideKind.CEILING, 0, "demo-3f9c-1-1"))
    decided = evaluate(asked, RULES)
    assert did(decided) == ["drain demo-3f9c-1-1"]
    assert decided.memory.overrides[0].count == 2


def test_a_scale_down_spares_the_busy_unless_forced() -> None:
    busy = serving(2, queued=15, busy=True)
    calm = changed(busy, request=request(OverrideKind.CEILING, 0, "demo-3f9c-1-1"))
    assert did(evaluate(calm, RULES)) == []
    forced = evaluate(changed(busy, request=request(OverrideKind.CEILING, 0, "demo-3f9c-1-1", force=True)), RULES)
    assert did(forced) == ["drain demo-3f9c-1-1"]
    mark = forced.worker("demo-3f9c-1-1").mark
    assert mark is not None
    assert mark.forced


def test_a_request_beyond_the_limits_is_refused_and_names_the_numbers() -> None:
    with pytest.raises(OverrideRefused, match=r"scale_up by 4 from 1 means 5 workers, above limits.max_workers 4"):
        evaluate(changed(serving(1), request=request(OverrideKind.FLOOR, 4)), RULES)
    with pytest.raises(OverrideRefused, match=r"scale_down by 2 from 1 means -1 workers, below limits.min_workers 0"):
        evaluate(changed(serving(1), request=request(OverrideKind.CEILING, 2)), RULES)


def test_a_request_for_a_worker_that_is_not_there_is_refused_with_who_is() -> None:
    with pytest.raises(ConfigError, match="worker_ids: nobody not in this fleet; it has demo-3f9c-1-0"):
        evaluate(changed(serving(1), request=request(OverrideKind.CEILING, 0, "nobody")), RULES)


def test_two_deployments_of_one_fleet_are_refused_until_one_is_silent() -> None:
    ours = changed(serving(1), manager="autoscale/a")
    first = evaluate(ours, RULES)
    assert (first.memory.manager, first.memory.manager_age_seconds) == ("autoscale/a", 0.0)
    theirs = changed(later(first, ours), manager="autoscale/b")
    with pytest.raises(ConfigError, match=r"already run by another deployment \(autoscale/a, 30 s ago; this one is"):
        evaluate(theirs, RULES)
    assert evaluate(changed(later(first, ours, elapsed=90.0), manager="autoscale/b"), RULES)
    assert evaluate(changed(theirs, manager=""), RULES).memory.manager == "autoscale/a"


@pytest.mark.parametrize(("silent_seconds", "taken_over"), [(89.0, False), (91.0, True), (86_400.0, True)])
def test_regression_a_renamed_deployment_locked_its_fleet_out_for_ever(silent_seconds: float, taken_over: bool) -> None:
    """Refused turns claim nothing, so the head grows older, and the memory by two intervals at most."""
    ours = changed(serving(1), manager="autoscale/old")
    first = evaluate(ours, RULES)
    renamed = changed(later(first, ours, elapsed=min(silent_seconds, 60.0)), manager="autoscale/new")
    renamed = changed(renamed, head=RecentClaim(9, "artifact-9", 24.0, silent_seconds))
    if taken_over:
        assert evaluate(renamed, RULES).memory.manager == "autoscale/new"
        return
    with pytest.raises(ConfigError, match=r"where autoscale/old is gone or renamed, this one takes over in 1 s"):
        evaluate(renamed, RULES)


def test_a_block_that_points_elsewhere_is_refused_while_workers_may_live_there() -> None:
    moved = (ProviderLook("local/a", changed(CAPS, fingerprint="there"), InstanceList()),)
    with pytest.raises(ConfigError, match="local/a now points to there, but 1 worker of fleet 'demo' may live at here"):
        evaluate(changed(serving(1), providers=moved), RULES)
    nobody = changed(serving(0), providers=moved)
    assert evaluate(nobody, RULES).memory.providers[0].fingerprint == "there"


def test_a_removed_provider_takes_nothing_new_and_its_workers_are_replaced_first() -> None:
    removed = changed(RULES, providers=(ProviderEntry(block="local/b", max_workers=4),))
    inputs = serving(1, queued=1)
    inputs = changed(inputs, providers=(ProviderLook("local/b", CAPS, InstanceList()), *inputs.providers))
    rows = inputs.providers[1]
    decided = evaluate(changed(inputs, providers=(inputs.providers[0], changed(rows, provider="local/a"))), removed)
    assert [(action.verb, action.provider) for action in decided.plan.of(Verb.LAUNCH)] == [(Verb.LAUNCH, "local/b")]
    assert decided.worker("demo-3f9c-1-0").is_retiring
    assert not decided.plan.of(Verb.DRAIN)


def test_regression_a_wish_at_a_removed_provider_is_remembered_until_it_would_be_listed() -> None:
    # Forgotten earlier, nobody would look at that provider any more when the worker appears.
    lagging = ProviderLook("local/a", changed(CAPS, settle_seconds=60.0), InstanceList())
    first = evaluate(changed(FIRST, providers=(lagging,), memory=Memory(chain_age_seconds=900.0)), RULES)
    assert len(first.memory.workers) == 2
    inputs = changed(FIRST, providers=(lagging,), demand=Demand())
    removed = changed(RULES, providers=())
    inputs = later(first, inputs, elapsed=60.0)
    second = evaluate(inputs, removed)
    assert [worker.state for worker in second.memory.workers] == [WorkerState.WISHED] * 2
    assert did(second) == []
    third = evaluate(later(second, inputs, elapsed=30.0), removed)
    assert third.memory.workers == ()


def test_a_lost_record_is_said_and_what_is_listed_is_adopted() -> None:
    broken = changed(
        serving(2, queued=15), memory=Memory(), elapsed_seconds=0.0, chain="zzzz", broken="record 8 was lost"
    )
    decided = evaluate(broken, RULES)
    assert decided.plan.reasons[0].text == "record 8 was lost: memory starts at zero, what is listed is adopted"
    assert [(worker.state, worker.detail) for worker in decided.memory.workers] == [(WorkerState.READY, "adopted")] * 2
    assert did(decided) == []


def test_regression_a_new_chain_launches_nothing_while_the_run_of_the_lost_record_may() -> None:
    head = RecentClaim(1, "artifact-1", 24.0, 3.0)
    inputs = changed(FIRST, number=2, chain="zzzz", head=head, broken="record 1 was lost")
    broken = evaluate(inputs, RULES)
    assert did(broken) == []
    assert "placement.settle" in rules_of(broken)
    after = changed(later(broken, inputs, elapsed=10.0), broken="")
    assert did(evaluate(after, RULES)) == []
    assert len(did(evaluate(changed(later(broken, inputs, elapsed=30.0), broken=""), RULES))) == 2


def test_a_failed_worker_cools_its_provider_down() -> None:
    inputs = serving(1, queued=25)
    failed = Instance("demo-3f9c-1-0", "i-1", InstanceState.FAILED, "demo", "h0me0", detail="exit code 1")
    seen = changed(
        inputs, members=MemberList(), providers=(changed(inputs.providers[0], listing=InstanceList((failed,))),)
    )
    decided = evaluate(seen, RULES)
    assert did(decided) == ["drain demo-3f9c-1-0"]
    (provider,) = decided.memory.providers
    assert (provider.failures, provider.detail) == (1, "demo-3f9c-1-0: exit code 1")
    assert "placement.cooldown" in rules_of(decided)


def test_regression_a_job_that_cannot_start_rests_its_provider_and_counts_once() -> None:
    inputs = serving(1, queued=25)
    blocked = Instance(
        "demo-3f9c-1-0", "i-1", InstanceState.PENDING, "demo", "h0me0", failure=Failure.CAPACITY, detail="Licenses"
    )
    starting = replace(inputs.memory.workers[0], state=WorkerState.PENDING, registered=False, url=None)
    seen = changed(
        inputs,
        members=MemberList(),
        providers=(changed(inputs.providers[0], listing=InstanceList((blocked,))),),
        memory=replace(inputs.memory, workers=(starting,)),
    )
    first = evaluate(seen, RULES)
    (provider,) = first.memory.providers
    assert (provider.failures, provider.detail) == (1, "demo-3f9c-1-0: Licenses")
    assert first.plan.of(Verb.LAUNCH) == ()
    (provider,) = evaluate(later(first, seen, elapsed=30.0), RULES).memory.providers
    assert provider.failures == 1


def test_the_same_inputs_give_the_same_bytes() -> None:
    for inputs in (FIRST, serving(3), serving(3, queued=99, busy=None)):
        first, second = (evaluate(inputs, RULES) for _ in range(2))
        assert canonical(first.plan) == canonical(second.plan)
        assert canonical(first.memory) == canonical(second.memory)


def test_a_stored_decision_replays_to_the_stored_bytes() -> None:
    before: Memory = Memory()
    inputs = FIRST
    for turn in range(5):
        decided = evaluate(inputs, RULES)
        record = make_record(
            inputs, fleet={"name": "demo"}, plan=decided.plan, memory=decided.memory, flow="autoscale",
            flow_run_id="run", before=None, link=None,
        )  # fmt: skip
        read = parse_record(record.text())
        values = {name: encode(section.value) for name, section in read.sections.items()}
        replayed = evaluate(restore_inputs(read, values, before), RULES)
        assert canonical(replayed.plan) == canonical(read.plan), f"turn {turn}"
        assert canonical(replayed.memory) == canonical(read.memory), f"turn {turn}"
        assert json.loads(record.text())["number"] == inputs.number
        before = decided.memory
        inputs = with_world(later(decided, inputs), *(worker.worker_id for worker in decided.memory.workers))
        inputs = changed(inputs, demand=Demand(queued=max(0, 15 - 5 * turn)))


def test_a_plan_explains_itself() -> None:
    decided = evaluate(serving(2, queued=99), changed(RULES, limits=Limits(max_workers=3)))
    assert explain(decided.observation, decided.plan).split("\n") == [
        "**Demand** 99 queued and 0 running",
        "",
        "**Workers** 2 ready; 2 serve or start, 2 may exist",
        "",
        "**The policy asks for** 10 workers, before limits and persons",
        "",
        "- 99 tasks > 10 per worker x 2 workers: 10 wanted · `policy.vanilla`",
        "- max_workers is 3: 10 becomes 3 · `limits.max_workers`",
    ]


def test_policy_no_moves_nothing_but_what_limits_and_persons_say() -> None:
    rules = changed(RULES, policy=NoPolicy())
    assert did(evaluate(serving(2), rules)) == []
    assert did(evaluate(changed(serving(1), request=request(OverrideKind.FLOOR, 1)), rules)) == ["launch demo-3f9c-9-0"]
    assert did(evaluate(serving(1), changed(rules, limits=Limits(min_workers=2)))) == ["launch demo-3f9c-9-0"]


def test_what_the_master_itself_wants_is_told_beside_what_another_policy_decides() -> None:
    seen = changed(serving(2), demand=Demand(queued=99, desired=(Want((), 7),)))
    told = [reason.text for reason in evaluate(seen, RULES).plan.reasons if reason.rule == "policy.master"]
    assert told == ["its master would want 7 workers"]
    assert did(evaluate(seen, changed(RULES, policy=MasterPolicy()))) == [
        "launch demo-3f9c-9-0",
        "launch demo-3f9c-9-1",
    ]


def wished(*, waited: float, caps: ProviderCaps = CAPS, most: int = 1) -> tuple[Inputs, Limits]:
    """A turn of a fleet whose only wish no list has shown for so long, the one before neither."""
    wish = Worker("demo-3f9c-1-0", "local/a", WorkerState.WISHED, launch_number=1, absent_looks=1)
    wish = changed(wish, state_seconds=waited, joining_seconds=waited)
    memory = Memory(1000.0, (wish,), (ProviderMemory("local/a", "here"),))
    looks = (ProviderLook("local/a", caps, InstanceList()),)
    return changed(FIRST, number=5, elapsed_seconds=0.0, memory=memory, providers=looks), Limits(max_workers=most)


SENT_ONCE = ProviderCaps("here", settle_seconds=40.0)


def test_regression_a_wish_that_was_given_up_kept_its_place_for_another_turn() -> None:
    seen, limits = wished(waited=100.0, caps=SENT_ONCE)
    decided = evaluate(seen, changed(RULES, limits=limits))
    assert [worker.worker_id for worker in decided.memory.workers] == ["demo-3f9c-5-0"]
    assert any(reason.rule == "upkeep.given_up" for reason in decided.plan.reasons)


def test_regression_a_wish_was_launched_again_in_a_fleet_of_more_workers_than_may_exist() -> None:
    seen, limits = wished(waited=30.0)
    more = with_world(changed(seen, demand=Demand(queued=15)), "demo-3f9c-1-1", "demo-3f9c-1-2")
    decided = evaluate(more, changed(RULES, limits=limits))
    assert decided.plan.of(Verb.LAUNCH) == ()
    assert "demo-3f9c-1-0" not in {worker.worker_id for worker in decided.memory.workers}


@pytest.mark.parametrize("caps", [CAPS, SENT_ONCE], ids=["sent again", "sent once"])
def test_regression_a_wish_that_is_listed_in_a_state_unknown_was_given_up_or_sent_again(caps: ProviderCaps) -> None:
    seen, limits = wished(waited=100.0, caps=caps)
    row = Instance("demo-3f9c-1-0", "i-1", InstanceState.UNKNOWN, "demo", "h0me0")
    listed = changed(seen, providers=(ProviderLook("local/a", caps, InstanceList((row,))),))
    decided = evaluate(listed, changed(RULES, limits=limits))
    assert decided.plan.of(Verb.LAUNCH) == ()
    assert [worker.worker_id for worker in decided.memory.workers] == ["demo-3f9c-1-0"]


def test_a_wish_that_is_listed_in_a_state_unknown_for_longer_than_a_launch_may_take_has_failed() -> None:
    seen, limits = wished(waited=700.0)
    row = Instance("demo-3f9c-1-0", "i-1", InstanceState.UNKNOWN, "demo", "h0me0")
    listed = changed(seen, providers=(ProviderLook("local/a", CAPS, InstanceList((row,))),))
    (worker,) = evaluate(listed, changed(RULES, limits=limits)).memory.workers
    assert (worker.state, worker.mark is not None) == (WorkerState.FAILED, True)


def test_demand_that_does_not_fall_though_nobody_works_is_named_after_ten_minutes() -> None:
    seen, said = serving(1, queued=3), []
    for _ in range(22):
        decided = evaluate(seen, changed(RULES, policy=NoPolicy()))
        said.append(next((reason.text for reason in decided.plan.reasons if reason.rule == "demand.stuck"), ""))
        seen = later(decided, seen)
    assert said[:20] == [""] * 20
    assert "3 requests have waited for 10 min while every worker is idle" in said[20]
    busy = evaluate(changed(seen, members=with_world(seen, "demo-3f9c-1-0", busy=True).members), RULES)
    assert busy.memory.in_vain_seconds is None


def test_what_a_day_costs_is_summed_up_and_begins_anew_at_midnight() -> None:
    seen = changed(serving(1), at_seconds=86_400.0 * 20_000 + 3600.0)
    dear = tuple(replace(worker, usd_per_hour=3.6) for worker in seen.memory.workers)
    seen = changed(seen, memory=changed(seen.memory, workers=dear, spent_usd=2.0, spent_day=20_000))
    assert evaluate(seen, RULES).memory.spent_usd == 2.03, "thirty seconds more"
    slow = changed(seen, look_seconds=10.0)
    assert evaluate(slow, RULES).memory.spent_usd == 2.04, "and the ten that the turn before took until its claim"
    midnight = changed(seen, at_seconds=86_400.0 * 20_001 + 10.0)
    decided = evaluate(midnight, RULES)
    assert (decided.memory.spent_usd, decided.memory.spent_day) == (0.01, 20_001), "ten seconds of the new day"
