"""Placement over several providers: bases, prices, capabilities, rests that grow, tiers, and the way back."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from ebbflow.core.crew import Crew
from ebbflow.core.instance import InstanceList, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MasterCaps, MemberList
from ebbflow.core.memory import Memory
from ebbflow.core.observation import CanLaunch, MasterLook, Observation, Offer, ProviderLook
from ebbflow.core.plan import Decision, Reason, Want
from ebbflow.core.worker import Worker
from ebbflow.decision.evaluate import evaluate
from ebbflow.decision.limits import Bounded, Limits
from ebbflow.decision.placement.launching import can_launch
from ebbflow.decision.placement.place import place
from ebbflow.decision.placement.shares import Placed, PlacementRules, ProviderShare
from ebbflow.decision.placement.victims import retire
from ebbflow.fleet.model import Fleet
from ebbflow.policies.master import MasterPolicy
from ebbflow.policies.no import NoPolicy
from tests.making import fleet_of, inputs_of

CAPS = ProviderCaps("here", idempotent_launch=True)
SLURM = ProviderShare("slurm/a", 2, replace(CAPS, capabilities=("a100", "gpu=4")))
PODS = ProviderShare("kubernetes/b", 2, replace(CAPS, capabilities=("gpu",), usd_per_hour=0.9))
VAST = ProviderShare("vast/c", 20, replace(CAPS, capabilities=("rtx4090",), usd_per_hour=0.4))
POOLS = (SLURM, PODS, VAST)
CALM = Limits(max_workers=50, min_idle_seconds=60, min_seconds_after_failure=100)


def idle(index: int, provider: str, *able: str, seconds: float = 900.0, usd: float | None = None) -> Worker:
    return Worker(f"w-{index}", provider, WorkerState.READY, able, busy=False, idle_seconds=seconds, usd_per_hour=usd)


def launched(*wants: Want, shares: tuple[ProviderShare, ...] = POOLS, workers: tuple[Worker, ...] = ()) -> Placed:
    count = sum(want.count for want in wants)
    asked = Bounded(count, count, 0, missing=wants)
    return place(asked, Observation(Demand(), workers), shares, CALM)


def where(placed: Placed) -> list[str]:
    return [launch.provider for launch in placed.launches]


def victims(
    stops: int,
    *workers: Worker,
    shares: tuple[ProviderShare, ...] = POOLS,
    rules: PlacementRules | None = None,
    wanted: tuple[Want, ...] = (),
) -> list[str]:
    asked = Bounded(0, 0, stops, wanted=wanted)
    placed = place(asked, Observation(Demand(), workers), shares, CALM, rules=rules)
    return [victim.worker_id for victim in placed.victims]


def measured(index: int, speed: float | None, usd: float | None, seconds: float = 900.0) -> Worker:
    return replace(idle(index, "vast/c", "rtx4090", seconds=seconds, usd=usd), units_per_second=speed)


@pytest.mark.parametrize(
    ("workers", "goes"),
    [
        ((measured(0, 200, 0.4), measured(1, 100, 0.4, 100), measured(2, 190, 0.4)), "w-1"),
        ((measured(0, 200, 0.4), measured(1, 300, 0.9, 100)), "w-1"),
        ((measured(0, 200, None), measured(1, 100, 0.1, 100)), "w-1"),
        ((measured(0, 200, 0.4), measured(1, 100, 0.4, 100), measured(2, None, 0.4, 500)), "w-0"),
        ((measured(0, 200, 0.4, 100), measured(1, 205, 0.4)), "w-1"),
    ],
    ids=[
        "the slowest of one price",
        "the fastest that costs more than it does",
        "the slowest where a price is unknown",
        "idle longest where one is not measured",
        "idle longest where they hardly differ",
    ],
)
def test_who_does_least_for_its_price_goes_first_where_workers_are_measured(
    workers: tuple[Worker, ...], goes: str
) -> None:
    assert victims(1, *workers) == [goes]


def test_what_can_be_launched_is_what_each_provider_has_room_for_and_not_what_a_removed_one_could_give() -> None:
    removed = replace(SLURM, max_workers=0)
    rests = replace(PODS, seconds_since_failure=1.0)
    seen = Observation(Demand(), (idle(1, "vast/c", "rtx4090"),))
    found = can_launch(seen, (removed, rests, VAST), CALM.model_copy(update={"max_workers": 9}), PlacementRules())
    assert found == CanLaunch((Offer(("gpu",), 0), Offer(("rtx4090",), 19)), 8)


def test_a_launch_goes_to_the_first_provider_whose_workers_can_do_it() -> None:
    placed = launched(Want(("gpu",), 1), Want(("rtx4090",), 1), Want(("gpu=2",), 3), Want((), 1))
    assert where(placed) == ["slurm/a", "vast/c", "slurm/a", "kubernetes/b"]
    assert placed.launches[0].capabilities == ("a100", "gpu=4")
    said = {reason.text for reason in placed.reasons}
    assert "kubernetes/b gives gpu; gpu=2 is asked for" in said
    assert "2 of 6 launches found no provider with room" in said


def test_a_base_is_launched_first_wherever_it_stands_in_the_order() -> None:
    based = (SLURM, PODS, replace(VAST, base_workers=2))
    placed = launched(Want((), 4), shares=based)
    assert where(placed) == ["vast/c", "vast/c", "slurm/a", "slurm/a"]
    assert placed.launches[0].reason == "vast/c has 0 of its 2 base workers"
    there = (idle(0, "vast/c"), idle(1, "vast/c"))
    assert where(launched(Want((), 1), shares=based, workers=there)) == ["slurm/a"]


def test_spot_workers_come_beside_an_on_demand_base_and_overflow_to_on_demand() -> None:
    spot = ProviderShare("vast/spot", 2, replace(CAPS, usd_per_hour=0.1))
    on_demand = ProviderShare("vast/on-demand", 5, replace(CAPS, usd_per_hour=0.4), base_workers=1)
    assert where(launched(Want((), 4), shares=(spot, on_demand))) == [
        "vast/on-demand",
        "vast/spot",
        "vast/spot",
        "vast/on-demand",
    ]


def test_a_base_stays_and_only_a_person_takes_it() -> None:
    based = (replace(SLURM, base_workers=1), PODS, VAST)
    there = (idle(0, "slurm/a"), idle(1, "slurm/a"))
    assert victims(2, *there, shares=based) == ["w-0"]
    asked = Bounded(0, 0, 2, hurried=2)
    placed = place(asked, Observation(Demand(), there), based, CALM)
    assert len(placed.victims) == 2


def test_tier_by_tier_a_provider_gives_up_nobody_while_a_later_one_has_a_worker() -> None:
    busy = replace(idle(2, "vast/c"), busy=True, idle_seconds=None)
    there = (idle(0, "slurm/a"), idle(1, "kubernetes/b"), busy)
    assert victims(2, *there) == ["w-1", "w-0"]
    tiered = PlacementRules(drain="tier_by_tier")
    assert victims(2, *there, rules=tiered) == []
    assert victims(2, *there[:2], rules=tiered) == ["w-1"]
    ending = replace(there[1], state=WorkerState.TERMINATING)
    assert victims(2, there[0], ending, rules=tiered) == []
    assert victims(2, there[0], rules=tiered) == ["w-0"]


def test_nobody_goes_who_alone_can_do_what_is_wanted() -> None:
    there = (idle(0, "slurm/a", "gpu", seconds=9000.0), idle(1, "slurm/a"), idle(2, "slurm/a"))
    wanted = (Want(("gpu",), 1), Want((), 1))
    assert victims(1, *there, wanted=wanted) == ["w-1"]
    assert victims(3, *there, wanted=wanted) == ["w-1"]


def test_the_last_holder_of_a_capability_goes_last() -> None:
    there = (idle(0, "slurm/a", "a100", seconds=9000.0), idle(1, "slurm/a", "gpu"), idle(2, "slurm/a", "gpu"))
    assert victims(1, *there) == ["w-1"]


@pytest.mark.parametrize(
    ("failures", "since", "rests"),
    [
        (1, 99, True),
        (1, 100, False),
        (2, 199, True),
        (2, 200, False),
        (3, 399, True),
        (9, 3599, True),
        (9, 3600, False),
    ],
)
def test_a_rest_grows_with_each_failure_in_a_row_up_to_its_limit(failures: int, since: float, rests: bool) -> None:
    failed = replace(SLURM, failures=failures, seconds_since_failure=float(since), failure="no offers")
    assert failed.rests(CALM, PlacementRules()) is rests
    placed = launched(Want((), 1), shares=(failed, PODS))
    assert where(placed) == (["kubernetes/b"] if rests else ["slurm/a"])


def test_a_rest_need_not_grow_and_is_never_shorter_than_the_limit() -> None:
    failed = replace(SLURM, failures=5, seconds_since_failure=101.0)
    assert not failed.rests(CALM, PlacementRules(backoff_factor=1))
    assert failed.rest_seconds(CALM, PlacementRules(max_rest_seconds=10)) == 100


def test_a_second_failure_in_a_row_is_told() -> None:
    failed = replace(SLURM, failures=2, seconds_since_failure=50.0, failure="no offers")
    (reason, _) = launched(Want((), 1), shares=(failed,)).reasons
    assert reason.text == "slurm/a: rests for another 150 s after a failure, 2 in a row: no offers"


def rules(**changes: object) -> Fleet:
    plain: dict[str, object] = {
        "policy": NoPolicy(),
        "limits": Limits(min_workers=3, max_workers=9),
        "interval_seconds": 60.0,
        "providers": (("slurm/a", 9), ("vast/c", 2)),
    }
    given = {**plain, **changes}
    return fleet_of(*given.pop("providers"), **given)  # type: ignore[misc]


def test_by_price_the_cheapest_provider_comes_first_and_an_unknown_price_last() -> None:
    looks = tuple(
        ProviderLook(name, replace(caps, capabilities=()), InstanceList())
        for name, caps in (("slurm/a", CAPS), ("vast/c", VAST.caps))
    )
    seen = inputs_of("demo", "h0me0", "3f9c", 1, 0.0, 24.0, Demand(), MemberList(), MasterCaps(), looks, Memory())
    listed = evaluate(seen, rules())
    assert [action.provider for action in listed.plan.actions] == ["slurm/a"] * 3
    cheap = evaluate(seen, rules(placement=PlacementRules(order="price")))
    assert [action.provider for action in cheap.plan.actions] == ["vast/c", "vast/c", "slurm/a"]


def test_an_idle_worker_is_replaced_where_the_saving_is_worth_it() -> None:
    there = [idle(0, "kubernetes/b", usd=0.9), idle(1, "kubernetes/b", usd=1.0), idle(2, "vast/c", usd=0.4)]
    back = PlacementRules(return_below_ratio=0.5)

    def retiring(*shares: ProviderShare, rules: PlacementRules = back, workers: list[Worker] = there) -> list[str]:
        return [worker.worker_id for worker in retire(Crew(workers), shares, CALM, rules) if worker.is_retiring]

    assert retiring(*POOLS) == ["w-1"]
    assert retiring(*POOLS, rules=PlacementRules()) == []
    assert retiring(*POOLS, rules=PlacementRules(return_below_ratio=0.3)) == []
    assert retiring(SLURM, PODS, replace(VAST, max_workers=1)) == []
    assert retiring(SLURM, PODS, replace(VAST, complete=False)) == []
    assert retiring(SLURM, PODS, replace(VAST, failures=1, seconds_since_failure=1.0)) == []
    assert retiring(*POOLS, workers=[replace(worker, busy=True, idle_seconds=None) for worker in there]) == []


class Wants(NoPolicy):
    """A policy with an opinion."""

    def decide(self, observation: Observation) -> Decision:
        return Decision((Want(("tpu",), 2), Want(("gpu",), 1)), "x")


def test_what_no_provider_can_give_takes_nobodys_room_and_is_told() -> None:
    look = ProviderLook("kubernetes/b", PODS.caps, InstanceList())
    tells = MasterCaps(per_shape_demand=True)
    seen = inputs_of("demo", "h0me0", "3f9c", 1, 0.0, 24.0, Demand(), MemberList(), tells, (look,), Memory())
    tight = rules(policy=Wants(), limits=Limits(min_workers=2, max_workers=2), providers=(("kubernetes/b", 9),))
    plan = evaluate(seen, tight).plan
    assert len(plan.actions) == 2, "the one that is wanted, and the least that the fleet needs"
    assert Reason("placement.unsatisfiable", "2 x tpu: no provider can give it") in plan.reasons
    alike = evaluate(replace(seen, master=MasterLook(MasterCaps())), tight).plan
    assert len(alike.actions) == 2, "workers are alike to a master that does not tell what work requires"


def test_kinds_that_the_master_itself_wants_are_placed_one_by_one_though_it_does_not_tell_what_its_tasks_require() -> (
    None
):
    demand = Demand(queued=30, desired=(Want((), 1), Want(("a100",), 2), Want(("tpu",), 2)))
    looks = tuple(ProviderLook(share.provider, share.caps, InstanceList()) for share in (PODS, SLURM))
    caps = MasterCaps(decides_counts=True)
    seen = inputs_of("demo", "h0me0", "3f9c", 1, 0.0, 24.0, demand, MemberList(), caps, looks, Memory())
    pools = tuple((look.provider, 2) for look in looks)
    plan = evaluate(seen, rules(policy=MasterPolicy(), limits=CALM, providers=pools)).plan
    assert sorted(action.provider for action in plan.actions) == ["kubernetes/b", "slurm/a", "slurm/a"]
    assert Reason("placement.unsatisfiable", "2 x tpu: no provider can give it") in plan.reasons


FLEET = {
    "name": "sdxl",
    "master": "swarmui-master/main",
    "providers": [{"block": "slurm-provider/a", "max_workers": 2, "base_workers": 1}],
}


def test_a_fleet_says_how_it_is_placed() -> None:
    plain = {**FLEET, "placement": {"order": "price", "drain": "tier_by_tier"}}
    made = Fleet.model_validate(plain)
    assert (made.placement.order, made.placement.drain) == ("price", "tier_by_tier")
    assert made.providers[0].base_workers == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"placement": {"order": "random"}}, "placement.order"),
        ({"placement": {"backoff_factor": 0.5}}, "placement.backoff_factor"),
        ({"placement": {"return_below_ratio": 1}}, "placement.return_below_ratio"),
        ({"providers": [{"block": "a-provider/b", "max_workers": 1, "base_workers": 2}]}, "lower base_workers"),
    ],
)
def test_a_placement_that_cannot_work_is_named(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Fleet.model_validate({**FLEET, **changes})
