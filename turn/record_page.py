"""A record as a page that a person can read, with the record itself in it to the byte. Pure text.

What is hashed and read again is the one line between the marks of its block. No text from outside begins a line of the
page: each is one line, escaped, behind words of ours.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from ebbflow.core.canonical import Plain, encode, spell
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Outcome
from ebbflow.core.record import Record
from ebbflow.core.text import counted, markdown, one_line
from ebbflow.turn.explain import action_rows, cost
from ebbflow.turn.telling import asked_for, seen_by

MOST_LINES = 15
"""Of a list, and of the table: a turn may have a hundred actions, and all of them are in the record."""
LINE_CHARACTERS = 200
MOST_COLOURED = 20_000
"""Characters of a record that a browser colours while somebody waits."""
COLUMNS = ("action", "worker", "result", "reason", "provider", "usd_per_hour", "detail")
_RECORD = re.compile(r"\n```(?:json|text) record\n(\{[^\n]*)\n```(?=\n|$)")
_OUTCOMES = re.compile(r"\n```(?:json|text) outcomes\n(\[[^\n]*)\n```(?=\n|$)")


def page_summary(record: Record, inputs: Inputs) -> str:
    """What a turn saw and decided, as Markdown, before anything is done.

    Args:
        record: the turn's.
        inputs: what was decided from.
    """
    return "\n\n".join(_summary(record, inputs))


def record_page(summary: str, record: Record, outcomes: Sequence[Outcome] | None = None) -> str:
    """The whole page.

    Args:
        summary: of `page_summary`, or a few words.
        record: stands in the page as its text is, to the byte.
        outcomes: what came of its actions; None: nobody noted it.
    """
    itself = "**The record itself**, as `ebbflow why`, `replay` and `costs` read it"
    parts = [summary, *_actions(record, outcomes or ()), itself, _block("record", record.text())]
    if outcomes is not None:
        parts += ["**The note on its outcome**", _block("outcomes", spell(encode(tuple(outcomes))))]
    return "\n\n".join(parts) + "\n"


def parse_page(page: str) -> tuple[str | None, Plain]:
    """The record's text and its note; None for what is not there.

    A person who edits the page elsewhere changes neither.
    """
    records, notes = _RECORD.findall(page), _OUTCOMES.findall(page)
    return (records[-1] if records else None), (_plain(notes[-1]) if notes else None)


def _plain(text: str) -> Plain:
    try:
        plain: Plain = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return plain


def _block(what: str, text: str) -> str:
    return f"```{'json' if len(text) <= MOST_COLOURED else 'text'} {what}\n{text}\n```"


def _summary(record: Record, inputs: Inputs) -> Iterator[str]:
    when = datetime.fromtimestamp(record.turn.at_seconds, UTC)
    yield (
        f"Record {record.number} of {record.fleet}, by `{record.flow}`, {when:%Y-%m-%d %H:%M:%S} UTC "
        f"(chain {record.chain}, home {record.home})"
    )
    if record.turn.request is not None:
        yield f"**Asked** {_line(asked_for(record.turn.request))}"
    yield "**Seen**\n\n" + _listed(seen_by(inputs))
    plan = record.plan
    wanted = "no opinion of the policy" if plan.wanted is None else f"{counted(plan.wanted, 'worker')} for the policy"
    money = f"; {cost(plan)}" if plan.usd_per_hour else ""
    head = f"**Decided** {wanted}; {plan.supply} serve or start, {plan.existing} may exist{money}"
    yield f"{head}\n\n{_listed([f'{reason.text} ({reason.rule})' for reason in plan.reasons])}".rstrip()


def _actions(record: Record, outcomes: Sequence[Outcome]) -> Iterator[str]:
    rows = action_rows(record.plan.actions, outcomes, record.memory)
    if not rows:
        yield "**Done** nothing, on purpose"
        return
    lines = ["|".join(["", *(name.replace("_", " ") for name in COLUMNS), ""]), "|---" * len(COLUMNS) + "|"]
    lines += [_row(row) for row in rows[:MOST_LINES]]
    rest = f"\n\nand {counted(len(rows) - MOST_LINES, 'action')} more" if len(rows) > MOST_LINES else ""
    yield "**Done**\n\n" + "\n".join(lines) + rest


def _row(row: Mapping[str, str | float | None]) -> str:
    cells = ("" if row[name] is None else _line(row[name]) for name in COLUMNS)
    return "|".join(["", *cells, ""])


def _listed(texts: Sequence[str]) -> str:
    lines = [f"- {_line(text)}" for text in texts[:MOST_LINES]]
    rest = [f"- and {len(texts) - MOST_LINES} more"] if len(texts) > MOST_LINES else []
    return "\n".join([*lines, *rest])


def _line(text: object) -> str:
    return markdown(one_line(text, LINE_CHARACTERS))
