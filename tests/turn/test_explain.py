"""What a person reads of a turn: a name, a reason, a table."""

from dataclasses import replace

import pytest

from ebbflow.core.instance import InstanceList, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.memory import Memory, Override, OverrideKind
from ebbflow.core.observation import Observation, ProviderLook
from ebbflow.core.plan import Action, Outcome, Plan, Reason, Result, Verb
from ebbflow.core.worker import Mark, Worker
from ebbflow.decision.evaluate import evaluate
from ebbflow.decision.limits import Limits
from ebbflow.policies.vanilla import VanillaPolicy
from ebbflow.turn.explain import action_rows, delta, explain, run_name
from tests.making import fleet_of, inputs_of

NUMBER = 46


def launched(index: int, usd: float | None = None) -> Worker:
    return Worker(f"demo-3f9c-1a-{index}", "local/a", WorkerState.WISHED, usd_per_hour=usd, launch_number=NUMBER)


def marked(index: int, number: int = NUMBER) -> Worker:
    return Worker(f"demo-3f9c-1-{index}", "local/a", WorkerState.DRAINING, mark=Mark(number, "idle", 60.0))


def action(verb: Verb, worker_id: str = "demo-3f9c-1a-0") -> Action:
    return Action(verb, worker_id, "local/a", "because")


SHORT = {"limits.max_workers": "max_workers", "placement.cooldown": "cooldown"}


def plan(headline: str, *rules: str, acts: bool = True) -> Plan:
    reasons = tuple(Reason(rule, f"text of {rule}", SHORT.get(rule, "")) for rule in rules)
    return Plan(headline, 4, 2, 2, (action(Verb.LAUNCH),) if acts else (), reasons)


UP = Memory(workers=(launched(0), launched(1)))
BOTH = Memory(workers=(launched(0), marked(0), marked(1, number=45)))


@pytest.mark.parametrize(
    ("what", "memory", "name"),
    [
        (plan("queue 37 > 20", "policy.vanilla"), UP, "demo: +2 (queue 37 > 20)"),
        (plan("queue 2 < 3"), Memory(workers=(marked(0),)), "demo: -1 (queue 2 < 3)"),
        (plan("queue 11 > 10"), BOTH, "demo: +1 -1 (queue 11 > 10)"),
        (plan("queue 5, 1 workers", acts=False), Memory(), "demo: hold (queue 5, 1 workers)"),
        (plan("queue 5, 1 workers"), Memory(), "demo: launch 1 (queue 5, 1 workers)"),
        (
            plan("queue 99 > 20", "policy.vanilla", "limits.max_workers", "limits.max_workers", "placement.cooldown"),
            UP,
            "demo: +2 (queue 99 > 20, max_workers, cooldown)",
        ),
        (plan("demand unknown", "roster.unknown", acts=False), Memory(), "demo: hold (demand unknown)"),
    ],
)
def test_a_run_is_named_by_what_it_did_and_why(what: Plan, memory: Memory, name: str) -> None:
    assert run_name("demo", what, memory, NUMBER) == name


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("ada", "demo: +2 (floor 3 by ada)"),
        # A reason used to be parsed back, and this person became "ops".
        ("ops for another team", "demo: +2 (floor 3 by ops for another team)"),
    ],
)
def test_a_run_that_a_person_asked_for_is_named_by_the_person(owner: str, name: str) -> None:
    held = Override("run-1", OverrideKind.FLOOR, 3, owner, "demo day", 3600.0)
    reason = Reason("override.floor", f"{held}: 1 becomes 3", held.short)
    asked = Plan("queue 0, 1 workers", 1, 1, 1, (action(Verb.LAUNCH),), (reason,))
    assert run_name("demo", asked, UP, NUMBER) == name


def test_every_limit_and_placement_rule_that_binds_stands_in_the_name() -> None:
    fleet = fleet_of(("local/a", 1), limits=Limits(max_workers=3), policy=VanillaPolicy())
    look = ProviderLook("local/a", ProviderCaps("here"), InstanceList())
    decided = evaluate(inputs_of(number=NUMBER, demand=Demand(queued=99), providers=(look,)), fleet)
    assert run_name("demo", decided.plan, decided.memory, NUMBER) == "demo: +1 (queue 99 > 0, max_workers, full)"


def test_a_long_reason_is_cut_to_what_a_name_may_hold() -> None:
    name = run_name("demo", plan("x" * 300), UP, NUMBER)
    assert (len(name), name[:12]) == (120, "demo: +2 (xx")


def test_a_turn_that_goes_on_with_older_work_neither_adds_nor_removes() -> None:
    assert delta(plan("x"), Memory(workers=(marked(0, number=45),)), NUMBER) == "launch 1"


def test_a_decision_to_do_nothing_is_explained_too() -> None:
    held = Plan("demand unknown", None, 1, 2, (), (Reason("policy.vanilla", "demand is unknown"),))
    workers = (Worker("w-1", "local/a", WorkerState.READY), Worker("w-2", "local/a", WorkerState.LOST))
    text = explain(Observation(Demand(complete=False, detail="timeout"), workers), held)
    assert text.split("\n\n") == [
        "**Demand** unknown (timeout)",
        "**Workers** 1 ready, 1 lost; 1 serve or start, 2 may exist",
        "**The policy asks for** no opinion",
        "- demand is unknown · `policy.vanilla`",
    ]


def test_an_empty_fleet_is_explained_too() -> None:
    text = explain(Observation(Demand(queued=3, running=1), ()), plan("x", acts=False))
    assert text.startswith("**Demand** 3 queued and 1 running\n\n**Workers** none; ")


def test_a_row_tells_launch_and_registration_at_the_price_that_is_paid() -> None:
    outcomes = [
        Outcome(Verb.LAUNCH, "demo-3f9c-1a-0", "local/a", Result.DONE, "i-1 pending"),
        Outcome(Verb.REGISTER, "demo-3f9c-1a-0", "local/a", Result.WAITING, "has not announced its URL"),
    ]
    (row,) = action_rows([action(Verb.LAUNCH)], outcomes, Memory(workers=(launched(0, usd=0.4),)))
    assert row == {
        "action": "launch",
        "worker": "demo-3f9c-1a-0",
        "provider": "local/a",
        "reason": "because",
        "usd_per_hour": 0.4,
        "result": "done, register waiting",
        "detail": "i-1 pending; has not announced its URL",
    }


def test_an_action_without_a_note_says_so() -> None:
    entry = Action(Verb.DEREGISTER, "", "", "left unfinished", member_ref="7")
    (row,) = action_rows([entry], [], Memory())
    assert (row["worker"], row["result"], row["usd_per_hour"]) == ("entry 7", "no note", None)


def test_the_cost_and_what_of_it_is_storage_is_shown() -> None:
    held = replace(plan("x", acts=False), usd_per_hour=0.42, storage_usd_per_hour=0.02)
    seen = Observation(Demand(), ())
    assert "**Cost** 0.42 USD/h, 0.02 of it for what is kept warm" in explain(seen, held).split("\n\n")
    assert "**Cost** 0.4 USD/h" in explain(seen, replace(held, usd_per_hour=0.4, storage_usd_per_hour=0.0)).split(
        "\n\n"
    )
    assert "Cost" not in explain(seen, plan("x", acts=False))
