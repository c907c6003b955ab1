"""Who leaves a large fleet is who would leave by the plain rule: choose one, look at all who are left, choose again."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from ebbflow.core.instance import ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Want
from ebbflow.core.worker import Worker
from ebbflow.decision.coverage import is_typed, missing, total
from ebbflow.decision.limits import Bounded, Limits
from ebbflow.decision.placement.shares import PlacementRules, ProviderShare
from ebbflow.decision.placement.victims import WORTH_STEP, _may_go, choose_victims

SHARES = (
    ProviderShare("slurm/a", 50, ProviderCaps("f", cancels_pending=True), base_workers=1),
    ProviderShare("vast/b", 50, ProviderCaps("f")),
)
KINDS = ((), ("a100",), ("h100",), ("a100", "gpu=2"), ("gpu=4",))
LIMITS = Limits(max_workers=100, min_idle_seconds=60)
RULES = PlacementRules()
BY_PROVIDER = {share.provider: (place, share) for place, share in enumerate(SHARES)}


@st.composite
def fleets(draw: st.DrawFn) -> tuple[Bounded, Observation]:
    is_measured, is_priced = draw(st.booleans()), draw(st.booleans())
    workers = [
        Worker(
            f"demo-3f9c-1-{number}",
            draw(st.sampled_from([share.provider for share in SHARES])),
            draw(st.sampled_from([WorkerState.READY, WorkerState.READY, WorkerState.PENDING])),
            busy=draw(st.sampled_from([False, False, True, None])),
            idle_seconds=draw(st.sampled_from([0.0, 70.0, 90.0, None])),
            model=draw(st.sampled_from([None, "sdxl", "flux"])),
            capabilities=draw(st.sampled_from(KINDS)),
            units_per_second=draw(st.sampled_from([10.0, 40.0] if is_measured else [10.0, None])),
            usd_per_hour=draw(st.sampled_from([0.3, 0.9] if is_priced else [0.3, None])),
        )
        for number in range(draw(st.integers(1, 9)))
    ]
    stops = draw(st.integers(1, len(workers)))
    hurried = draw(st.integers(0, stops))
    names = draw(st.lists(st.sampled_from([worker.worker_id for worker in workers]), max_size=2, unique=True))
    wanted = [
        Want(kind, draw(st.integers(0, 3))) for kind in draw(st.lists(st.sampled_from(KINDS), max_size=3, unique=True))
    ]
    bounded = Bounded(
        target=len(workers) - stops,
        launches=0,
        stops=stops,
        hurried=hurried,
        preferred=tuple(names),
        pinned=tuple(draw(st.lists(st.sampled_from([worker.worker_id for worker in workers]), max_size=1))),
        forced=draw(st.integers(0, hurried)),
        forced_ids=tuple(names),
        wanted=tuple(wanted),
    )
    return bounded, Observation(Demand(), tuple(workers))


@given(fleets())
def test_the_same_go_in_the_same_order_as_by_the_plain_rule(fleet: tuple[Bounded, Observation]) -> None:
    bounded, observation = fleet
    victims, _ = choose_victims(bounded, observation, SHARES, LIMITS, RULES)
    assert [victim.worker_id for victim in victims] == plainly_chosen(bounded, observation)


def plainly_chosen(bounded: Bounded, observation: Observation) -> list[str]:
    stoppable = [worker for worker in observation.workers if worker.is_supply]
    named = [worker for worker in stoppable if worker.worker_id in bounded.preferred]
    first = plainly_picked(bounded.hurried, named or stoppable, [], bounded)
    calm = replace(bounded, hurried=0, forced=0)
    return first + plainly_picked(bounded.stops - bounded.hurried, stoppable, first, calm)


def plainly_picked(count: int, workers: Sequence[Worker], before: Sequence[str], bounded: Bounded) -> list[str]:
    chosen: list[str] = []
    while len(chosen) < count:
        asked = bounded if len(chosen) < bounded.forced else replace(bounded, forced=0)
        left = [worker for worker in workers if worker.worker_id not in {*before, *chosen}]
        able = [worker for worker in left if _may_go(worker, BY_PROVIDER[worker.provider][1], asked, LIMITS)]
        if not asked.hurried and not asked.forced:
            able = [worker for worker in able if is_spare(worker, left, asked)]
        if not able:
            break
        worth = worth_of(left)
        chosen.append(min(able, key=lambda worker: order(worker, left, asked, worth)).worker_id)
    return chosen


def is_spare(worker: Worker, left: Sequence[Worker], asked: Bounded) -> bool:
    here = sum(each.provider == worker.provider for each in left)
    if here <= BY_PROVIDER[worker.provider][1].base_workers:
        return False
    if not is_typed(asked.wanted):
        return True
    without = [each for each in left if each is not worker]
    return total(missing(asked.wanted, without)) <= total(missing(asked.wanted, left))


def worth_of(left: Sequence[Worker]) -> Mapping[str, int]:
    if not all(worker.units_per_second for worker in left):
        return {}
    has_prices = all(worker.usd_per_hour for worker in left)
    return {
        worker.worker_id: round(
            math.log(
                (worker.units_per_second or 0.0) / ((worker.usd_per_hour or 0.0) if has_prices else 1.0), WORTH_STEP
            )
        )
        for worker in left
    }


def order(worker: Worker, left: Sequence[Worker], asked: Bounded, worth: Mapping[str, int]) -> tuple[object, ...]:
    models = Counter(each.model for each in left)
    holders = Counter(word for each in left for word in each.capabilities)
    return (
        worker.worker_id not in asked.preferred,
        worker.state is WorkerState.READY,
        worker.state is WorkerState.READY and worker.busy is not False,
        worker.model is not None and models[worker.model] == 1,
        any(holders[word] == 1 for word in worker.capabilities),
        -BY_PROVIDER[worker.provider][0],
        worth.get(worker.worker_id, 0),
        -(worker.idle_seconds or 0.0),
        worker.worker_id,
    )
