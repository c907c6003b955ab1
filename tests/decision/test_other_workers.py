"""What serves the same master beside ours: shown always, counted by policies only where the master's block says so."""

from dataclasses import replace

import pytest

from ebbflow.core.instance import InstanceList, ProviderCaps
from ebbflow.core.member import Demand, MasterCaps, PushMemberList
from ebbflow.core.observation import Inputs, ProviderLook
from ebbflow.core.plan import Verb
from ebbflow.decision.evaluate import Evaluation, evaluate
from ebbflow.decision.limits import Limits
from ebbflow.fleet.model import Fleet
from ebbflow.policies.no import NoPolicy
from ebbflow.policies.vanilla import VanillaPolicy
from tests.making import fleet_of, inputs_of

OTHERS = ("a GPU of the master (backend 0)", "Bob's (backend 4)")
RULES = fleet_of(("local/a", 8), policy=VanillaPolicy(), limits=Limits(max_workers=8))


def seen(queued: int, *, counts: bool, others: tuple[str, ...] = OTHERS) -> Inputs:
    caps = ProviderCaps("here", idempotent_launch=True, relist_seconds=1.0)
    return inputs_of(
        number=1,
        demand=Demand(queued=queued),
        members=PushMemberList(others=others),
        master_caps=MasterCaps(counts_others=counts),
        providers=(ProviderLook("local/a", caps, InstanceList()),),
    )


def launches(decided: Evaluation) -> int:
    return len(decided.plan.of(Verb.LAUNCH))


@pytest.mark.parametrize(
    ("queued", "ignored", "counted"),
    [(15, 2, 0), (45, 5, 3), (0, 0, 0)],
)
def test_what_others_serve_is_not_launched_again_where_they_count(queued: int, ignored: int, counted: int) -> None:
    assert launches(evaluate(seen(queued, counts=False), RULES)) == ignored
    assert launches(evaluate(seen(queued, counts=True), RULES)) == counted


def test_the_record_names_them_and_says_how_many_of_the_wanted_are_theirs() -> None:
    decided = evaluate(seen(45, counts=True), RULES)
    said = {reason.rule: reason.text for reason in decided.plan.reasons}
    assert said["limits.others"] == "2 of 5 wanted workers are the operator's own"
    assert said["roster.others"] == f"beside ours serve {OTHERS[0]}, {OTHERS[1]}: counted among the workers"
    assert decided.memory.workers
    assert not any("other" in worker.worker_id for worker in decided.memory.workers), "nobody of ours"


def test_limits_hold_for_our_own_workers_alone() -> None:
    at_least = replace_limits(min_workers=1)
    assert launches(evaluate(seen(0, counts=True), at_least)) == 1
    assert launches(evaluate(seen(900, counts=True), at_least)) == 8


def test_no_opinion_stays_no_opinion() -> None:
    assert launches(evaluate(seen(45, counts=True), fleet_of(("local/a", 8), policy=NoPolicy()))) == 0
    unknown = replace(seen(45, counts=True), demand=Demand(complete=False))
    assert launches(evaluate(unknown, RULES)) == 0


def replace_limits(**limits: int) -> Fleet:
    return fleet_of(("local/a", 8), policy=VanillaPolicy(), limits=Limits(max_workers=8, **limits))
