"""What a person sees of a turn in Prefect: the run's name, tags, final state, its fleet's page, a table of actions."""

import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from prefect import get_run_logger
from prefect.artifacts import acreate_markdown_artifact, acreate_table_artifact
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Completed

from ebbflow.blocks.client import going_on
from ebbflow.core.plan import Outcome, Result
from ebbflow.core.record import Record
from ebbflow.core.text import counted, markdown, one_line
from ebbflow.decision.evaluate import Evaluation
from ebbflow.fleet.model import Fleet
from ebbflow.flows.fleet_page import show_fleet
from ebbflow.turn.explain import action_rows, explain, run_name
from ebbflow.turn.results import Acted, DryRun, Held, Skipped, TurnResult

MAX_WORKER_TAGS = 20
"""More would hide the others in a list of runs; the record and `ebbflow why --worker` know all."""
MAX_LOGS = 10
"""Workers of one turn whose output is kept: a fleet that ends at once has much the same to say."""


async def report(client: PrefectClient, fleet: Fleet, result: TurnResult) -> State:
    """Show how a turn ended, and make the run's final state of it."""
    match result:
        case Skipped(text=why):
            await _present(client, fleet, f"{fleet.name}: skipped ({why})", "skipped")
            return Completed(name="Skipped", message=why)
        case DryRun(number, evaluation):
            return await _report_dry_run(client, fleet, number, evaluation)
        case Held():
            return await _report_hold(client, fleet, result)
        case Acted():
            with going_on(get_run_logger(), "what ended workers printed could not be kept"):
                await leave_logs(fleet, result.logs)
            return await _report_actions(client, fleet, result)


async def _report_hold(client: PrefectClient, fleet: Fleet, held: Held) -> State:
    name = await _named(client, fleet, held.record, "held")
    plan = held.record.plan
    why = "; ".join(reason.text for reason in plan.reasons) or explain(held.evaluation.observation, plan)
    get_run_logger().info("held: %s", why)
    await show_fleet(client, held.record, held.evaluation, (), name, get_run_logger())
    return Completed(name="Held", message=name)


async def _report_actions(client: PrefectClient, fleet: Fleet, acted: Acted) -> State:
    """Only a turn that acted leaves a table."""
    name = await _named(client, fleet, acted.record, "acted")
    with going_on(get_run_logger(), "the table of actions could not be kept, the record has them"):
        await _leave_table(fleet, acted.record, acted.evaluation, acted.outcomes)
    await show_fleet(client, acted.record, acted.evaluation, acted.outcomes, name, get_run_logger())
    failed = [outcome for outcome in acted.outcomes if outcome.result not in (Result.DONE, Result.WAITING)]
    asked = counted(len(acted.outcomes), "action")
    message = f"{name}{f'; {len(failed)} of {asked} did not go through' if failed else ''}"
    return Completed(name="Acted", message=message)


async def _named(client: PrefectClient, fleet: Fleet, record: Record, mark: str) -> str:
    """Give the run a name that says what it decided and why."""
    name = run_name(fleet.name, record.plan, record.memory, record.number, record.turn.request)
    asked = [] if record.flow == "autoscale" else [record.flow.replace("_", "-")]
    await _present(client, fleet, name, mark, *asked, *_worker_tags(record))
    return name


def _worker_tags(record: Record) -> list[str]:
    """By which the runs that acted on a worker are found."""
    workers = dict.fromkeys(action.worker_id for action in record.plan.actions if action.worker_id)
    return [f"worker:{one_line(worker_id, 60)}" for worker_id in list(workers)[:MAX_WORKER_TAGS]]


async def _report_dry_run(client: PrefectClient, fleet: Fleet, number: int, evaluation: Evaluation) -> State:
    """What a turn would do now."""
    name = "dry run: " + run_name(fleet.name, evaluation.plan, evaluation.memory, number)
    await _present(client, fleet, name, "dry-run")
    rows = action_rows(evaluation.plan.actions, (), evaluation.memory)
    would = "\n".join(f"- would {row['action']} `{row['worker']}`: {markdown(str(row['reason']))}" for row in rows)
    text = f"{explain(evaluation.observation, evaluation.plan)}\n\n{would}"
    await acreate_markdown_artifact(text, key=f"ebbflow-{fleet.name}-dry-run", description=name)
    return Completed(name="DryRun", message=name)


async def leave_logs(fleet: Fleet, logs: Mapping[str, Mapping[str, str]]) -> None:
    """What workers printed that this turn has ended, one artifact each."""
    for worker_id, outputs in sorted(logs.items())[:MAX_LOGS]:
        parts = [f"## {name}\n\n{_fenced(text)}" for name, text in sorted(outputs.items())]
        if parts:
            await acreate_markdown_artifact(
                "\n\n".join(parts), key=f"ebbflow-{fleet.name}-logs", description=f"The last that {worker_id} printed"
            )


def _fenced(text: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


async def _leave_table(fleet: Fleet, record: Record, evaluation: Evaluation, outcomes: Sequence[Outcome]) -> None:
    held = "".join(f"\n\n**Override** {markdown(str(override))}" for override in record.memory.overrides)
    await acreate_table_artifact(
        [dict(row) for row in action_rows(record.plan.actions, outcomes, record.memory)],
        key=f"ebbflow-{fleet.name}-actions",
        description=f"{explain(evaluation.observation, record.plan)}{held}",
    )


async def _present(client: PrefectClient, fleet: Fleet, name: str, *marks: str) -> None:
    identity = flow_run.get_id()
    if identity is None:
        return
    tags = [*flow_run.get_tags(), "ebbflow", f"fleet:{fleet.name}", *marks]
    with going_on(get_run_logger(), f"the run could not be named {name!r}"):
        await client.update_flow_run(UUID(identity), name=name, tags=sorted(set(tags)))
