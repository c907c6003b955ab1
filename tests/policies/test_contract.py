"""Every policy of ours passes the public suite, and a wrong one does not."""

import random
from dataclasses import replace
from typing import cast

import pytest

from ebbflow.contracts import PolicyContract
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want
from ebbflow.core.ports import Policy
from ebbflow.fleet.nameable import ours
from ebbflow.policies.busy_ratio import BusyRatioPolicy
from ebbflow.policies.capability import CapabilityPolicy
from ebbflow.policies.fixed_elastic import FixedElasticPolicy
from ebbflow.policies.pending_tasks import PendingTasksPolicy
from ebbflow.policies.swarmui import SwarmUIPolicy
from ebbflow.policies.target_queue_time import TargetQueueTimePolicy
from ebbflow.policies.vanilla import VanillaPolicy

POLICIES: dict[str, Policy] = {
    **{kind: cast(Policy, model()) for kind, model in ours().items() if kind != "swarmui"},
    "vanilla of 2.9.0": VanillaPolicy(library="2.9.0"),
    "vanilla, narrow": VanillaPolicy(upper_task_ratio=2, lower_task_ratio=1),
    "capability of 2.9.0": CapabilityPolicy(library="2.9.0"),
    "capability, narrow": CapabilityPolicy(upper_task_ratio=2, lower_task_ratio=1),
    "fixed_elastic, three": FixedElasticPolicy(base_workers=3),
    "pending_tasks, shared": PendingTasksPolicy(worker_capabilities=("a100", "gpu=4")),
    "busy_ratio, five": BusyRatioPolicy(tasks_per_worker=5, actions_per_turn=100),
    "target_queue_time, never zero": TargetQueueTimePolicy(inactivity_timeout_seconds=-1, units_per_second=0.3),
    "target_queue_time, at once": TargetQueueTimePolicy(inactivity_timeout_seconds=0, half_life_seconds=0),
}


class TestOurs(PolicyContract):
    @pytest.fixture(
        params=[
            # As a fleet names it without more in every run, with other numbers in the long ones.
            pytest.param(policy, id=name, marks=() if name in ours() else pytest.mark.soak)
            for name, policy in POLICIES.items()
        ]
    )
    def policy(self, request: pytest.FixtureRequest) -> Policy:
        return cast(Policy, request.param)


class TestSwarmUI(PolicyContract):
    settles = False

    @pytest.fixture
    def policy(self) -> Policy:
        return SwarmUIPolicy()


class PerTask:
    """A right policy, of which the wrong ones differ in one thing: a worker for each task, and it counts turns."""

    kind = "per_task"

    def decide(self, observation: Observation) -> Decision:
        if not observation.demand.complete:
            return Decision(None, "demand unknown", (Reason("policy.per_task", "stays"),), observation.remembered)
        (turns,) = observation.remembered.get("turns", (0.0,))
        total = observation.demand.total
        reasons = (Reason("policy.per_task", f"{total} tasks"),)
        return Decision((Want(count=total),), f"{total} tasks", reasons, {"turns": (turns + 1,)})


class TestPerTask(PolicyContract):
    @pytest.fixture
    def policy(self) -> Policy:
        return PerTask()


class CountsItself(PerTask):
    """Remembers in itself, which no later turn has."""

    calls = 0

    def decide(self, observation: Observation) -> Decision:
        self.calls += 1
        return replace(super().decide(observation), headline=f"call {self.calls}")


class Throws(PerTask):
    """Decides by chance."""

    def decide(self, observation: Observation) -> Decision:
        decision = super().decide(observation)
        return replace(decision, remembers={"chance": (random.random(),)}) if decision.wanted else decision


class WritesInto(PerTask):
    """Takes the observation's memory for its own."""

    def decide(self, observation: Observation) -> Decision:
        decision = super().decide(observation)
        cast(dict[str, tuple[float, ...]], observation.remembered)["turns"] = (7.0,)
        return decision


class TakesSilenceForNothing(PerTask):
    """Unknown is zero."""

    def decide(self, observation: Observation) -> Decision:
        return replace(super().decide(observation), wanted=(Want(count=observation.demand.total),))


class Forgets(PerTask):
    """Unknown demand is a new beginning."""

    def decide(self, observation: Observation) -> Decision:
        decision = super().decide(observation)
        return replace(decision, remembers={}) if decision.wanted is None else decision


class SaysNothing(PerTask):
    """Has no reason for doing nothing."""

    def decide(self, observation: Observation) -> Decision:
        decision = super().decide(observation)
        return decision if decision.total else replace(decision, reasons=())


class WantsHalves(PerTask):
    """Counts in what no fleet can have."""

    def decide(self, observation: Observation) -> Decision:
        return replace(super().decide(observation), wanted=(Want(count=cast(int, observation.demand.total / 2)),))


class NamesTwice(PerTask):
    """Says one set in two ways."""

    def decide(self, observation: Observation) -> Decision:
        return replace(super().decide(observation), wanted=(Want(("gpu",), 1), Want(("gpu=1",), 1)))


class RemembersNoNumber(PerTask):
    """What it remembers cannot be stored."""

    def decide(self, observation: Observation) -> Decision:
        return replace(super().decide(observation), remembers={"until": (float("inf"),)})


class GivesUp(PerTask):
    """Wants nobody where there is too much to do."""

    def decide(self, observation: Observation) -> Decision:
        decision = super().decide(observation)
        return replace(decision, wanted=()) if observation.demand.queued > 50 else decision


class Swings(PerTask):
    """Wants them when they are not there, and no more once they are."""

    def decide(self, observation: Observation) -> Decision:
        return replace(super().decide(observation), wanted=(Want(count=0 if observation.supply else 2),))


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (CountsItself, "test_the_same_observation_gives_the_same_decision_whatever_came_between"),
        (Throws, "test_the_same_observation_gives_the_same_decision_whatever_came_between"),
        (WritesInto, "test_an_observation_is_left_as_it_is"),
        (TakesSilenceForNothing, "test_unknown_demand_is_no_opinion_and_forgets_nothing"),
        (Forgets, "test_unknown_demand_is_no_opinion_and_forgets_nothing"),
        (SaysNothing, "test_every_answer_is_valid_and_says_why"),
        (WantsHalves, "test_every_answer_is_valid_and_says_why"),
        (NamesTwice, "test_every_answer_is_valid_and_says_why"),
        (RemembersNoNumber, "test_every_answer_is_valid_and_says_why"),
        (GivesUp, "test_more_queued_work_never_means_fewer_workers"),
        (Swings, "test_a_fleet_settles_under_constant_demand"),
    ],
)
def test_a_wrong_policy_breaks_a_law(wrong: type[PerTask], law: str) -> None:
    with pytest.raises(AssertionError):
        getattr(PolicyContract(), law)(wrong())
