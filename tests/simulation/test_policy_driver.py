"""Our policies decide in the virtual world on what production knows, by what production decides with."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.memory import Override, OverrideKind
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Want
from ebbflow.core.ports import Policy
from ebbflow.decision.decide import Decided
from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.decision.rules import Drain, Readiness
from ebbflow.decision.sooner import can_change, waits
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.simulation.environment import K8S, BootTimes, Environment, VirtualProvider
from ebbflow.simulation.league import Played, simulate
from ebbflow.simulation.league_fleet import UNSPACED, league_fleet
from ebbflow.simulation.policy_driver import EPOCH_SECONDS, PolicyDriver
from ebbflow.simulation.policy_faults import PolicyFaults
from ebbflow.simulation.polling import Polls
from ebbflow.simulation.recorded import Trace, load
from ebbflow.simulation.world import Soon, World

STEADY = BootTimes(100.0, 0.0, 100.0, 100.0)
SURE = Environment("sure", (VirtualProvider("sure", STEADY, usd_per_hour=1.0),))


@dataclass
class Scripted:
    """Wants what it is told, and keeps what it saw."""

    wanted: Any = 1
    """Any: also what no policy may want."""
    kind: str = "scripted"
    seen: list[Observation] = field(default_factory=list)

    def decide(self, observation: Observation) -> Decision:
        self.seen.append(observation)
        if isinstance(self.wanted, Exception):
            raise self.wanted
        count = self.wanted(observation) if callable(self.wanted) else self.wanted
        before = observation.remembered.get("ticks", (0.0,))[0]
        return Decision((Want(count=count),), "scripted", remembers={"ticks": (before + 1,)})


def driver(
    policy: Policy,
    environment: Environment = SURE,
    *,
    interval_seconds: float = 10.0,
    overrides: tuple[Override, ...] = (),
    **sections: Any,
) -> PolicyDriver:
    """A league fleet with some sections of its own."""
    fleet = league_fleet(environment, policy).model_copy(update=sections)
    return PolicyDriver(fleet, environment, interval_seconds=interval_seconds, overrides=overrides)


def burst(count: int = 1, service: float = 30.0) -> Trace:
    return Trace("burst", (0.0,) * count, (service,) * count)


def test_a_policy_sees_a_worker_start_serve_and_idle() -> None:
    policy = Scripted()
    simulate(burst(), SURE, driver(policy))
    first, starting, busy, idle = (policy.seen[place] for place in (0, 4, 12, 20))
    assert first.workers == ()
    assert [first.demand.queued, first.demand.running, first.demand.arrived] == [1, 0, 1]
    (worker,) = starting.workers
    assert (worker.state, worker.joining_seconds, worker.state_seconds) == (WorkerState.STARTING, 40.0, 40.0)
    (worker,) = busy.workers
    assert (worker.state, worker.busy, worker.idle_seconds, worker.state_seconds) == (
        WorkerState.READY,
        True,
        None,
        20.0,
    )
    (worker,) = idle.workers
    assert (worker.busy, worker.idle_seconds, worker.usd_per_hour) == (False, 70.0, 1.0)
    assert (idle.demand.served, idle.demand.served_units, idle.demand.total) == (1, 30.0, 0)


def test_a_policy_is_told_the_hour_and_what_it_remembered() -> None:
    policy = Scripted()
    simulate(burst(), SURE, driver(policy))
    assert policy.seen[0].at_seconds == EPOCH_SECONDS
    assert policy.seen[0].remembered == {}
    assert policy.seen[3].at_seconds == EPOCH_SECONDS + 30
    assert (policy.seen[3].elapsed_seconds, policy.seen[3].remembered) == (10.0, {"ticks": (3.0,)})


def test_a_failed_launch_is_seen_once_and_its_provider_rests() -> None:
    failing = Environment("failing", (VirtualProvider("f", STEADY, failing_share=1.0),))
    policy = Scripted()
    limits = Limits(max_workers=5, min_seconds_after_failure=120)
    outcome = simulate(burst(), failing, driver(policy, failing, limits=limits))
    states = [[worker.state for worker in seen.workers] for seen in policy.seen]
    assert states[15:17] == [[WorkerState.FAILED], []]
    assert states[28] == [WorkerState.STARTING]
    assert outcome.score is not None
    assert outcome.score.unserved == 1


def test_out_of_stock_sends_the_next_launch_elsewhere() -> None:
    first = VirtualProvider("first", STEADY, out_of_stock=((0.0, 1e9),))
    two = Environment("two", (first, VirtualProvider("second", STEADY)))
    policy = Scripted()
    limits = Limits(max_workers=5, min_seconds_after_failure=120)
    simulate(burst(), two, driver(policy, two, limits=limits))
    assert [worker.provider for worker in policy.seen[5].workers] == ["simulated/second"]


def test_busy_workers_are_never_stopped() -> None:
    policy = Scripted(lambda observation: 3 if observation.at_seconds < EPOCH_SECONDS + 130 else 0)
    outcome = simulate(burst(3, 500.0), SURE, driver(policy))
    assert outcome.score is not None
    assert (outcome.score.lost, outcome.score.unserved) == (0, 0)


def test_limits_hold_in_the_virtual_world_as_they_do_in_a_turn() -> None:
    limits = Limits(max_workers=2, min_idle_seconds=600)
    policy = Scripted(lambda observation: 50 if observation.at_seconds < EPOCH_SECONDS + 130 else 0)
    simulate(burst(), SURE, driver(policy, limits=limits))
    assert max(len(seen.workers) for seen in policy.seen) == 2
    longest = max(worker.idle_seconds or 0.0 for seen in policy.seen for worker in seen.workers)
    assert 600 <= longest <= 680


def test_demand_is_shown_by_what_it_requires() -> None:
    trace = Trace("shapes", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (("gpu=2",), (), ("gpu=2",)))
    policy = Scripted()
    simulate(trace, SURE, driver(policy))
    assert [(shape.requires, shape.count) for shape in policy.seen[0].demand.shapes] == [((), 1), (("gpu=2",), 2)]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        (RuntimeError("out of ideas"), "scripted raised RuntimeError: out of ideas"),
        (float("nan"), "scripted answered count nan, which is no whole number"),
        (1_000_001, "scripted answered a count above 1000000"),
        (-1, "scripted answered count -1, which is negative"),
        ("many", "scripted answered count 'many', which is no whole number"),
    ],
    ids=["raises", "nan", "a million and one", "negative", "text"],
)
def test_a_policy_that_fails_is_reported_and_nobody_else_suffers(wanted: object, said: str) -> None:
    outcome = simulate(burst(), SURE, driver(Scripted(wanted)))
    assert outcome.score is None
    assert said in outcome.failure
    assert outcome.failure.startswith("after 0 s: no answer in 721 of 721 turns")


def test_memory_that_is_no_number_is_a_failure() -> None:
    class Forgetful(Scripted):
        def decide(self, observation: Observation) -> Decision:
            return replace(super().decide(observation), remembers={"rates": (float("nan"),)})

    played = simulate(burst(), SURE, driver(Forgetful()))
    assert "remembers rates nan, which is no finite number" in played.failure


def raising_between(first: float, last: float) -> Scripted:
    """Wants one worker, and raises for a while."""

    def wanted(observation: Observation) -> int:
        if first <= observation.at_seconds - EPOCH_SECONDS < last:
            raise RuntimeError("out of ideas")
        return 1

    return Scripted(wanted)


def test_a_policy_that_raises_for_a_while_holds_its_fleet_and_the_run_says_so() -> None:
    policy = raising_between(50, 250)
    played = simulate(burst(), SURE, driver(policy))
    assert played.score is not None
    assert (played.score.unserved, played.score.launches) == (0, 1)
    assert played.faults == PolicyFaults(20, 721, "policy scripted raised RuntimeError: out of ideas", 50.0)
    assert [len(seen.workers) for seen in policy.seen[5:25]] == [1] * 20, "it is held as it is"
    assert policy.seen[25].remembered == {"ticks": (5.0,), "unseen_seconds": (200.0,)}


def test_a_policy_without_an_answer_has_the_fleets_minimum_all_the_same() -> None:
    policy = Scripted(RuntimeError("out of ideas"))
    simulate(burst(), SURE, driver(policy, limits=UNSPACED.model_copy(update={"min_workers": 2})))
    assert len(policy.seen[1].workers) == 2


def test_what_only_the_limits_keep_from_being_launched_is_no_failure() -> None:
    policy = Scripted(1_000_000)
    played = simulate(burst(), SURE, driver(policy, limits=Limits(max_workers=3)))
    assert (played.faults.failed, max(len(seen.workers) for seen in policy.seen)) == (0, 3)


def test_a_run_of_mostly_no_answers_tells_nothing_of_the_policy() -> None:
    assert [PolicyFaults(failed, 10).prevail for failed in (0, 5, 6, 10)] == [False, False, True, True]


@pytest.mark.parametrize("interval", [0.0, -5.0, float("nan"), float("inf")])
def test_an_interval_that_is_none_is_refused(interval: float) -> None:
    with pytest.raises(ValueError, match="it must be positive"):
        driver(VanillaPolicy(), K8S, interval_seconds=interval)


def test_what_a_policy_remembers_is_plain_json() -> None:
    policy = Scripted()
    simulate(burst(), SURE, driver(policy))
    assert json.loads(json.dumps({**policy.seen[-1].remembered}))


def test_the_same_seed_gives_the_same_bytes() -> None:
    trace = load("mooncake").first(1500)
    runs = [simulate(trace, K8S, driver(VanillaPolicy(), K8S), seed=2) for _ in range(2)]
    assert runs[0] == runs[1]


def test_a_provider_that_the_environment_lacks_is_named() -> None:
    with pytest.raises(ValueError, match="environment sure has no provider simulated/k8s; there are simulated/sure"):
        PolicyDriver(league_fleet(K8S, VanillaPolicy()), SURE)


def test_a_worker_that_was_seen_is_never_written_to() -> None:
    policy = Scripted()
    simulate(burst(), SURE, driver(policy))
    ages = [worker.state_seconds for seen in policy.seen[1:10] for worker in seen.workers]
    assert ages == [10.0 * place for place in range(1, 10)]


def held(kind: OverrideKind, count: int = 0, seconds: float = 300.0, **given: Any) -> Override:
    return Override("run-1", kind, count, "ada", "", seconds, **given)


def test_an_override_holds_until_its_time_is_over() -> None:
    policy = Scripted(0)
    simulate(burst(), SURE, driver(policy, overrides=(held(OverrideKind.FLOOR, 2),)))
    counts = [len(seen.workers) for seen in policy.seen]
    assert counts[1:30] == [2] * 29
    assert counts[31:] == [0] * len(counts[31:])


class Asked(PolicyDriver):
    """A fleet of which a person demands something after 150 s."""

    def decide(self, world: World) -> Decided:
        if world.now == 150:
            self.memory = replace(self.memory, overrides=(held(OverrideKind.CEILING, 0, 170.0, force=True),))
        return super().decide(world)


@pytest.mark.parametrize(("work", "lost", "ended"), [(500.0, 1, 230), (110.0, 0, 200)], ids=["late", "in time"])
def test_who_is_forced_out_while_it_works_is_ended_at_the_drain_deadline(work: float, lost: int, ended: int) -> None:
    policy = Scripted()
    fleet = league_fleet(SURE, policy).model_copy(update={"drain": Drain(deadline_seconds=75.0)})
    played = simulate(burst(1, work), SURE, Asked(fleet, SURE, interval_seconds=10))
    assert played.score is not None
    assert played.score.lost == lost
    draining = [seen for seen in policy.seen if any(worker.mark for worker in seen.workers)]
    assert [seen.at_seconds - EPOCH_SECONDS for seen in draining] == [float(at) for at in range(160, ended + 1, 10)]
    (worker,) = draining[2].workers
    assert worker.mark is not None
    assert (worker.state, worker.mark.age_seconds, worker.mark.forced) == (WorkerState.DRAINING, 30.0, True)


def test_a_boot_beyond_the_launch_timeout_is_given_up_and_its_provider_rests() -> None:
    policy = Scripted()
    limits = Limits(max_workers=5, min_seconds_after_failure=120)
    played = simulate(burst(), SURE, driver(policy, limits=limits, readiness=Readiness(launch_timeout_seconds=45.0)))
    assert played.score is not None
    assert (played.score.unserved, played.score.wasted_hours) == (1, played.score.paid_hours)
    assert [len(seen.workers) for seen in policy.seen[1:20]] == [1] * 5 + [0] * 12 + [1] * 2


def failed_at(policy: Scripted) -> list[float]:
    seen = policy.seen
    return [
        observation.at_seconds - EPOCH_SECONDS
        for observation in seen
        if any(worker.state is WorkerState.FAILED for worker in observation.workers)
    ]


def test_a_providers_rest_grows_with_each_failure_in_a_row() -> None:
    failing = Environment("failing", (VirtualProvider("f", BootTimes(20.0, 0.0, 20.0, 20.0), failing_share=1.0),))
    policy = Scripted()
    simulate(burst(), failing, driver(policy, failing, limits=Limits(max_workers=1, min_seconds_after_failure=60)))
    assert failed_at(policy)[:4] == [30.0, 120.0, 270.0, 540.0]


def warm_environment(**given: Any) -> Environment:
    keeping = {"warm_boots": BootTimes(10.0, 0.0, 10.0, 10.0), "storage_price": 0.1, "least_billed_seconds": 0.0}
    return Environment("warm", (VirtualProvider("x/warm", STEADY, **{**keeping, **given}),))


def warm_run(environment: Environment, **given: Any) -> tuple[Scripted, Played]:
    """One worker, nobody from 200 s on, one again from 1000 s to 1200 s."""
    policy = Scripted(lambda seen: int(not 200 <= seen.at_seconds - EPOCH_SECONDS < 1000 and seen.at_seconds < END))
    entry = ProviderEntry(block="x/warm", warm_workers=1)
    played = simulate(
        burst(), environment, driver(policy, environment, **{"providers": (entry,), **given}), after_seconds=3600.0
    )
    return policy, played


END = EPOCH_SECONDS + 1200


def test_a_surplus_worker_is_stopped_and_started_again_in_its_warm_time() -> None:
    policy, played = warm_run(warm_environment())
    before, stopped, restarted, ready = (policy.seen[place] for place in (20, 21, 101, 102))
    assert (len(before.workers), before.warm) == (1, 0)
    assert (len(stopped.workers), stopped.warm, stopped.existing) == (0, 1, 1)
    assert (restarted.warm, [worker.worker_id for worker in restarted.workers]) == (0, ["sim-0000-1-1"])
    assert [worker.state for worker in ready.workers] == [WorkerState.READY]
    assert played.score is not None
    assert played.score.launches == 2
    # 200 s and 200 s of running, the storage of 800 s and of the rest of the time.
    assert played.score.paid_hours == pytest.approx((200 + 200 + 0.1 * (800 + 2400)) / 3600)


def test_who_cannot_keep_stopped_instances_ends_them() -> None:
    policy, played = warm_run(warm_environment(warm_boots=None))
    assert max(seen.warm for seen in policy.seen) == 0
    assert [worker.state for worker in policy.seen[102].workers] == [WorkerState.STARTING]
    assert played.score is not None


def test_what_is_warm_beyond_the_number_to_keep_is_ended() -> None:
    class Shrinking(Scripted):
        def decide(self, observation: Observation) -> Decision:
            at = observation.at_seconds - EPOCH_SECONDS
            return replace(super().decide(observation), reserve=1 if at < 400 else 0)

    policy = Shrinking(lambda seen: int(seen.at_seconds - EPOCH_SECONDS < 200))
    environment = warm_environment()
    entry = ProviderEntry(block="x/warm", warm_workers=3)
    played = simulate(burst(), environment, driver(policy, environment, providers=(entry,)))
    assert [seen.warm for seen in policy.seen[19:44]] == [0] * 2 + [1] * 20 + [0] * 3
    assert played.score is not None
    assert played.score.paid_hours == pytest.approx((200 + 0.1 * 200) / 3600)


def test_a_stopped_instance_without_stock_stays_and_its_provider_rests() -> None:
    environment = warm_environment(out_of_stock=((900.0, 1050.0),))
    limits = UNSPACED.model_copy(update={"min_seconds_after_failure": 30.0})
    policy, played = warm_run(environment, limits=limits)
    assert played.score is not None
    assert played.score.refused_launches == 2
    assert [seen.warm for seen in policy.seen[100:111]] == [1] * 11
    assert policy.seen[112].warm == 0


@pytest.mark.parametrize("poll_seconds", [None, 5.0])
def test_a_turn_is_asked_for_sooner_where_the_turn_or_the_poll_of_a_flow_asks_for_one(
    poll_seconds: float | None,
) -> None:
    asked: list[bool] = []
    fleet = league_fleet(K8S, VanillaPolicy(upper_task_ratio=2.0)).model_copy(
        update={
            "waiting_interval_seconds": 15.0,
            "poll_interval_seconds": poll_seconds,
            "limits": UNSPACED.model_copy(update={"max_workers": 6}),
        }
    )

    class Compared(PolicyDriver):
        def _soon(self, world: World) -> Soon | None:
            soon, seen = super()._soon(world), self._observation(world)
            is_of_use = can_change(fleet, seen.workers, ())
            asks = waits(seen.demand) and is_of_use
            polls = None if poll_seconds is None else Polls(poll_seconds, 15.0, is_of_use)
            assert soon == Soon(15.0 if asks else None, fleet.least_apart_seconds, polls)
            asked.append(asks)
            return soon

    World(load("mooncake").first(1500), K8S, 1).run(Compared(fleet, K8S, interval_seconds=60.0))
    assert {True, False} == set(asked)


def test_a_turn_that_a_poll_brought_is_a_turn_as_any_other() -> None:
    policy = Scripted(wanted=0)
    polled = driver(policy, interval_seconds=60.0, waiting_interval_seconds=15.0, poll_interval_seconds=5.0)
    World(Trace("late", (32.0, 113.0), (1.0, 1.0)), SURE, 1, after_seconds=20.0).run(polled)
    seen = [(each.at_seconds - EPOCH_SECONDS, each.elapsed_seconds, each.demand.queued) for each in policy.seen]
    assert seen[:3] == [(0.0, 0.0, 0), (35.0, 35.0, 1), (50.0, 15.0, 1)]
    assert policy.seen[2].remembered == {"ticks": (2.0,)}
    assert polled.faults.turns == len(policy.seen)


@pytest.mark.parametrize(
    ("sections", "overrides", "brings"),
    [
        pytest.param({}, (), True, id="there is room"),
        pytest.param({"limits": UNSPACED.model_copy(update={"max_workers": 1})}, (), False, id="it is full"),
        pytest.param({}, (held(OverrideKind.PAUSE, seconds=900.0),), False, id="it is paused"),
    ],
)
def test_a_poll_brings_no_turn_that_can_do_nothing(
    sections: dict[str, Any], overrides: tuple[Override, ...], brings: bool
) -> None:
    """One worker is ready at 100 s, and the second request waits from 132 s on."""
    policy = Scripted(wanted=1)
    polled = driver(
        policy,
        interval_seconds=60.0,
        overrides=overrides,
        waiting_interval_seconds=15.0,
        poll_interval_seconds=5.0,
        **sections,
    )
    World(Trace("two", (131.0, 132.0), (60.0, 1.0)), SURE, 1, after_seconds=10.0).run(polled)
    turns = [each.at_seconds - EPOCH_SECONDS for each in policy.seen]
    assert turns == [0.0, 60.0, 120.0, *([135.0] if brings else [])]
