"""What a person reads of a turn: the run's name, a table of what was done, and why. Pure text from a plan."""

from collections import Counter
from collections.abc import Mapping, Sequence

from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.memory import Memory, OverrideKind
from ebbflow.core.observation import Observation, ScaleRequest
from ebbflow.core.plan import Action, Outcome, Plan, Verb
from ebbflow.core.text import counted, markdown, one_line

NAME_LENGTH = 120
DETAIL_LENGTH = 200


def delta(plan: Plan, memory: Memory, number: int) -> str:
    """The turn in a few characters: `+2`, `-1`, `+1 -1`, `tear down 4`, or `hold`."""
    started = sum(worker.launch_number == number for worker in memory.workers)
    marked = sum(worker.mark is not None and worker.mark.number == number for worker in memory.workers)
    parts = [f"+{started}"] * bool(started) + [f"-{marked}"] * bool(marked)
    if parts:
        return " ".join(parts)
    counts = Counter(action.verb for action in plan.actions)
    return ", ".join(f"{verb.value.replace('_', ' ')} {count}" for verb, count in counts.items()) or "hold"


def run_name(fleet: str, plan: Plan, memory: Memory, number: int, request: ScaleRequest | None = None) -> str:
    """The name of a run that decided: `demo: +2 (queue 37 > 20)`, with who asked and which limits bound."""
    asked = [reason.short for reason in plan.reasons if reason.rule.startswith("override.")]
    if request is not None:
        ways = {OverrideKind.FLOOR: "scale up", OverrideKind.CEILING: "scale down"}
        way = request.kind.value if request.is_absolute else ways[request.kind]
        asked = [f"{way} by {request.owner}{f': {request.reason}' if request.reason else ''}"]
    bound = [reason.short for reason in plan.reasons if reason.short and not reason.rule.startswith("override.")]
    why = ", ".join(dict.fromkeys([*(asked or [plan.headline]), *bound]))
    return f"{fleet}: {delta(plan, memory, number)} ({why})"[:NAME_LENGTH]


def explain(observation: Observation, plan: Plan) -> str:
    """Why a turn did what it did, also why it did nothing, as Markdown lines."""
    lines = [*state_lines(observation, plan), *([f"**Cost** {cost(plan)}"] if plan.usd_per_hour else [])]
    return (
        "\n\n".join(lines)
        + "\n\n"
        + "\n".join(f"- {markdown(reason.text)} · `{reason.rule}`" for reason in plan.reasons)
    )


def state_lines(observation: Observation, plan: Plan) -> tuple[str, ...]:
    """What there is to do, who does it, and what the policy asks for, a line of Markdown each."""
    counts = ", ".join(f"{observation.count(state)} {state.value}" for state in WorkerState if observation.count(state))
    demand = observation.demand
    asked = (
        f"{demand.queued} queued and {demand.running} running"
        if demand.complete
        else f"unknown ({markdown(one_line(demand.detail, DETAIL_LENGTH))})"
    )
    wanted = "no opinion" if plan.wanted is None else f"{counted(plan.wanted, 'worker')}, before limits and persons"
    return (
        f"**Demand** {asked}",
        f"**Workers** {counts or 'none'}; {plan.supply} serve or start, {plan.existing} may exist",
        f"**The policy asks for** {wanted}",
    )


def cost(plan: Plan) -> str:
    """What everything that may exist costs: `0.42 USD/h, 0.02 of it for what is kept warm`."""
    storage = f", {plan.storage_usd_per_hour:g} of it for what is kept warm" if plan.storage_usd_per_hour else ""
    return f"{plan.usd_per_hour:g} USD/h{storage}"


def action_rows(
    actions: Sequence[Action], outcomes: Sequence[Outcome], memory: Memory
) -> list[Mapping[str, str | float | None]]:
    """One row per action: what, for whom, where, why, at what price, and what came of it."""
    notes: dict[tuple[Verb, str], list[Outcome]] = {}
    for outcome in outcomes:
        # What was launched is registered in the same turn as far as it gets: one row tells both.
        launched = (Verb.LAUNCH, outcome.worker_id) in notes
        verb = Verb.LAUNCH if launched else outcome.verb
        notes.setdefault((verb, outcome.worker_id), []).append(outcome)
    prices = {worker.worker_id: worker.usd_per_hour for worker in memory.workers}
    rows: list[Mapping[str, str | float | None]] = []
    for action in actions:
        came = notes.get((action.verb, action.worker_id), [])
        rows.append(
            {
                "action": action.verb.value,
                "worker": action.worker_id or f"entry {action.member_ref}",
                "provider": action.provider,
                "result": ", ".join(_came(action, outcome) for outcome in came) or "no note",
                "reason": action.reason,
                "usd_per_hour": prices.get(action.worker_id, action.usd_per_hour),
                "detail": "; ".join(outcome.detail for outcome in came if outcome.detail),
            }
        )
    return rows


def _came(action: Action, outcome: Outcome) -> str:
    verb = "" if outcome.verb is action.verb else f"{outcome.verb.value} "
    return f"{verb}{outcome.result.value}"
