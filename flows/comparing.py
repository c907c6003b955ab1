"""What a backtest leaves on the Prefect server: a table, plots, and a page that says who is cheapest."""

from base64 import b64encode
from collections.abc import Mapping, Sequence

from prefect.artifacts import acreate_image_artifact, acreate_markdown_artifact, acreate_table_artifact
from pydantic import BaseModel

from ebbflow.core.errors import ConfigError
from ebbflow.core.ports import Policy
from ebbflow.core.text import counted
from ebbflow.simulation.contest import Contest, verdicts
from ebbflow.simulation.league import Row
from ebbflow.simulation.report import cost_against_wait, over_time
from ebbflow.simulation.table import HEAD, cells, league_table


def named(policies: Sequence[Policy]) -> dict[str, Policy]:
    """Each different policy by its kind and what differs from its defaults; the first one is the fleet's own."""
    found: dict[str, Policy] = {}
    for policy in policies:
        if policy in found.values():
            continue
        label = f"{_label(policy)}{'' if found else ', as deployed'}"
        found[label] = policy
    return found


def check_candidates(candidates: Mapping[str, Policy]) -> None:
    """Refuse what a trace without requirements cannot judge.

    Raises:
        ConfigError: names the candidate.
    """
    for label, policy in candidates.items():
        if getattr(policy, "needs_shapes", False):
            raise ConfigError(
                f"backtest: {label} needs to know what waiting work requires, and traces do not tell: leave it out"
            )


async def leave_comparison(fleet: str, contest: Contest, rows: Sequence[Row], notes: Sequence[str]) -> str:
    """Leave the table, the plots and the page; return the sentence that the run ends with."""
    ordered = sorted(rows, key=lambda row: (row.score is None, row.cost(1.0)))
    key = f"ebbflow-{fleet}-backtest"
    said = verdicts(ordered)
    trace = contest.trace
    about = (
        f"Trace {trace.name}: {counted(len(trace.at_seconds), 'request')}, {trace.work_hours:.2f} h of work "
        f"({trace.digest})",
        "J_k is paid GPU-hours and k times the hours that users waited, here over that of a clairvoyant who never lets "
        f"anybody wait ({ordered[0].opt0_hours:.2f} h); less is better",
        *notes,
        contest.sharing_note,
    )
    bullets = "\n".join(f"- {line}" for line in said)
    await acreate_table_artifact(
        [dict(zip(HEAD, cells(row), strict=True)) for row in ordered],
        key=key,
        description=f"{bullets}\n\n" + "\n".join(f"- {line}" for line in about),
    )
    pictures = {
        "cost": cost_against_wait(ordered, marked={row.candidate for row in rows if "as deployed" in row.candidate})
    }
    pictures |= {f"workers-{place}": over_time(row) for place, row in enumerate(ordered, 1) if row.timeline}
    shown = []
    for name, svg in pictures.items():
        url = f"data:image/svg+xml;base64,{b64encode(svg.encode()).decode()}"
        await acreate_image_artifact(url, key=f"{key}-{name}", description=f"{fleet}: {name}")
        shown.append(f"![{name}]({url})")
    page = [f"# {fleet}: policies on {trace.name}", bullets, league_table(ordered), *shown]
    page.append("\n".join(f"- {line}" for line in about))
    await acreate_markdown_artifact("\n\n".join(page), key=f"{key}-page", description=said[0])
    return "; ".join(said[:3])


def _label(policy: Policy) -> str:
    if not isinstance(policy, BaseModel):
        return policy.kind
    set_by_hand = {
        name: getattr(policy, name)
        for name, field in type(policy).model_fields.items()
        if name != "kind" and getattr(policy, name) != field.get_default(call_default_factory=True)
    }
    differing = ", ".join(f"{name}={value}" for name, value in set_by_hand.items())
    return f"{policy.kind} ({differing})" if differing else policy.kind
