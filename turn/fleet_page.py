"""A fleet's page as Markdown: how it stands after its last turn, and what it did lately. Pure text.

Workers, queues and persons can write anything into what is shown here, so all of it is escaped; and however large the
fleet is, the page is small.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ebbflow.core.observation import Observation
from ebbflow.core.plan import Outcome
from ebbflow.core.record import Record
from ebbflow.core.text import counted, markdown, one_line
from ebbflow.core.worker import Worker
from ebbflow.turn.explain import action_rows, cost, state_lines
from ebbflow.turn.past_hours import PastHours, past_of

MOST_BYTES = 4000
SIZES = ((8, 6), (4, 4), (2, 2), (0, 1))
"""Workers and reasons of a page, the largest that fits."""
LINE_CHARACTERS = 150
MOST_DEEDS = 4
DEED_ACTIONS = 3
_NUMBER, _DEEDS = "record", "deed"


@dataclass(frozen=True, slots=True)
class Kept:
    """What one page hands on to the next."""

    number: int = 0
    """Of the record that it shows."""
    past: PastHours = field(default_factory=PastHours)
    deeds: tuple[str, ...] = ()
    """What the last turns that acted did, the newest first; as text, not yet Markdown."""

    def texts(self) -> dict[str, str]:
        """As short texts, of which `kept_of` makes it again."""
        deeds = {f"{_DEEDS}_{place}": deed for place, deed in enumerate(self.deeds)}
        return {_NUMBER: str(self.number), **self.past.kept(), **deeds}


@dataclass(frozen=True, slots=True)
class FleetPage:
    """The Markdown of a page in its two parts, which follow each other."""

    summary: str
    """How the fleet stands; its first line is the turn in a few words."""
    details: str
    """Why, what was done last, and who there is."""


def kept_of(texts: Mapping[str, object] | None) -> Kept:
    """What a page was handed; as much as can be read where somebody edited it."""
    known = texts or {}
    number = str(known.get(_NUMBER, ""))
    deeds = (known.get(f"{_DEEDS}_{place}") for place in range(MOST_DEEDS))
    return Kept(
        int(number) if number.isascii() and number.isdigit() and len(number) <= 12 else 0,
        past_of(known),
        tuple(one_line(deed, LINE_CHARACTERS) for deed in deeds if isinstance(deed, str) and deed),
    )


def kept_after(kept: Kept, record: Record, observation: Observation, outcomes: Sequence[Outcome]) -> Kept:
    """What the page of a turn hands on to the next one."""
    demand = observation.demand
    asked = demand.queued + demand.running if demand.complete else None
    past = kept.past.seen(record.turn.at_seconds, record.plan.supply, asked)
    deeds = (_deed(record, outcomes), *kept.deeds)[:MOST_DEEDS] if record.plan.actions else kept.deeds
    return Kept(record.number, past, deeds)


def fleet_page(record: Record, observation: Observation, kept: Kept, headline: str) -> FleetPage:
    """The page of a fleet, at most `MOST_BYTES` in UTF-8.

    Args:
        record: of its last turn.
        observation: what that turn saw.
        kept: with that turn in it.
        headline: the turn in a few words; not yet Markdown.
    """
    summary, details = _cut("\n\n".join(_summary(record, observation, kept, headline)), MOST_BYTES // 2), ""
    room = MOST_BYTES - len(summary.encode())
    for workers, reasons in SIZES:
        details = "\n\n".join(_details(record, kept, workers, reasons))
        if len(details.encode()) <= room:
            break
    return FleetPage(summary, _cut(details, room))


def _cut(text: str, most: int) -> str:
    """Only what somebody filled with wide letters is cut anywhere."""
    return text if len(text.encode()) <= most else text.encode()[: most - 3].decode(errors="ignore") + "…"


def _summary(record: Record, observation: Observation, kept: Kept, headline: str) -> Iterator[str]:
    plan = record.plan
    yield _line(headline)
    yield f"```\n{kept.past.plot()}\n```"
    spent = f"{record.memory.spent_usd:.2f} USD since midnight UTC, as far as prices are known"
    yield "\n".join(f"- {line}" for line in (*state_lines(observation, plan), f"**Cost** {cost(plan)}; {spent}"))


def _details(record: Record, kept: Kept, workers: int, reasons: int) -> Iterator[str]:
    memory = record.memory
    if memory.overrides:
        yield "\n".join(f"- **Override** {_line(str(held))}" for held in memory.overrides[:reasons])
    yield _why(record, reasons)
    if kept.deeds:
        yield "**Last actions**\n\n" + "\n".join(f"- {markdown(deed)}" for deed in kept.deeds)
    if workers and memory.workers:
        yield _workers(memory.workers, workers)
    when = datetime.fromtimestamp(record.turn.at_seconds, UTC)
    yield (
        f"{when:%Y-%m-%d %H:%M:%S} UTC, record {record.number}, [this run](/runs/flow-run/{record.flow_run_id}). "
        f"`ebbflow why {record.fleet}` tells more."
    )


def _why(record: Record, most: int) -> str:
    reasons = record.plan.reasons
    lines = [f"- {_line(reason.text)} · `{reason.rule}`" for reason in reasons[:most]]
    rest = [f"- and {counted(len(reasons) - most, 'reason')} more"] if len(reasons) > most else []
    return "\n".join(["**Why**", "", *lines, *rest]) if lines else "**Why** nothing spoke for a change"


def _workers(workers: Sequence[Worker], most: int) -> str:
    # Who leaves or has something wrong is what a person looks for.
    shown = sorted(workers, key=lambda worker: (worker.mark is None and not worker.detail, worker.worker_id))
    rows = [
        f"| {_line(worker.worker_id)} | {_of_state(worker)} | {markdown(worker.provider)} | {_price(worker)} |"
        for worker in shown[:most]
    ]
    rest = Counter(worker.state.value for worker in shown[most:])
    told = ", ".join(f"{count} {state}" for state, count in rest.items())
    more = [f"\nand {counted(rest.total(), 'worker')} more: {told}"] if rest else []
    return "\n".join(["| worker | state | provider | USD/h |", "|---|---|---|---|", *rows, *more])


def _of_state(worker: Worker) -> str:
    state = worker.state.value
    if worker.mark is not None:
        return f"{state}, leaves"
    return state if worker.busy is None else f"{state}, {'busy' if worker.busy else 'idle'}"


def _price(worker: Worker) -> str:
    return "" if worker.usd_per_hour is None else f"{worker.usd_per_hour:g}"


def _deed(record: Record, outcomes: Sequence[Outcome]) -> str:
    """What a turn did, in one line: few actions by name, many by number."""
    when = datetime.fromtimestamp(record.turn.at_seconds, UTC)
    rows = action_rows(record.plan.actions, outcomes, record.memory)
    if len(rows) <= DEED_ACTIONS:
        said = "; ".join(f"{_verb(row)} {row['worker']}: {row['result']}" for row in rows)
    else:
        counts = Counter((_verb(row), row["result"]) for row in rows)
        said = "; ".join(f"{verb} {counted(count, 'worker')}: {result}" for (verb, result), count in counts.items())
    return one_line(f"{when:%H:%M} record {record.number}: {said}", LINE_CHARACTERS)


def _verb(row: Mapping[str, str | float | None]) -> str:
    return str(row["action"]).replace("_", " ")


def _line(text: str) -> str:
    return markdown(one_line(text, LINE_CHARACTERS))
