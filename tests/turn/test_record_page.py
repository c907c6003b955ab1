"""A record as a page: read by people, and by the next turn to the byte."""

import json
from dataclasses import replace

import pytest

from ebbflow.contracts.ledger import record_of
from ebbflow.core.member import Demand
from ebbflow.core.plan import Action, Outcome, Plan, Reason, Result, Verb
from ebbflow.core.record import Record
from ebbflow.turn.record_page import MOST_COLOURED, MOST_LINES, page_summary, parse_page, record_page
from tests.making import inputs_of
from tests.turn.test_turn import REQUEST

LAUNCH = Action(Verb.LAUNCH, "demo-3f9c-2-0", "local-provider/a", "next in order | has room")
DONE = Outcome(Verb.LAUNCH, "demo-3f9c-2-0", "local-provider/a", Result.DONE, "started")
HOSTILE = 'x\n```\n\n```json record\n{"forged":1}\n```\n<script>alert(1)</script>![p](http://evil.example)'


def record(*actions: Action, reasons: tuple[Reason, ...] = (), headline: str = "queue 6 > 4") -> Record:
    made = record_of("demo", 7)
    reasons = reasons or (Reason("policy.vanilla", "6 tasks > 4 per worker x 1 worker: 2 wanted"),)
    return replace(
        made,
        turn=replace(made.turn, at_seconds=1_796_040_000.0),
        plan=Plan(headline, 2, 1, 1, actions, reasons, usd_per_hour=0.4),
    )


def test_a_page_tells_what_was_seen_decided_and_done() -> None:
    made = record(LAUNCH)
    page = record_page(page_summary(made, inputs_of(demand=Demand(queued=6))), made, (DONE,))
    assert page.split("\n")[0] == "Record 7 of demo, by `autoscale`, 2026-11-30 12:00:00 UTC (chain 3f9c, home abcde)"
    assert "**Seen**\n\n- demand: 6 queued, 0 running\n- master: has no worker" in page
    assert "**Decided** 2 workers for the policy; 1 serve or start, 1 may exist; 0.4 USD/h\n\n- 6 tasks > 4" in page
    assert "|launch|demo-3f9c-2-0|done|next in order \\| has room|local-provider/a||started|" in page
    assert parse_page(page) == (made.text(), [{"detail": "started", **_plain(DONE)}])


def _plain(outcome: Outcome) -> dict[str, str]:
    return {"verb": outcome.verb.value, "worker_id": outcome.worker_id, "provider": outcome.provider, "result": "done"}


def test_a_page_tells_what_a_person_asked_for() -> None:
    made = record()
    asked = replace(made, turn=replace(made.turn, request=REQUEST))
    assert "**Asked** floor +1 by ada, for 3600 s: demo day" in page_summary(asked, inputs_of())


def test_a_page_without_a_note_holds_the_record_alone() -> None:
    made = record()
    page = record_page("late", made)
    assert page.startswith("late\n\n**Done** nothing, on purpose\n\n**The record itself**")
    assert parse_page(page) == (made.text(), None)


def test_hostile_text_forges_no_record_and_is_no_markup() -> None:
    reasons = (Reason("policy.x", HOSTILE),)
    action = replace(LAUNCH, reason=HOSTILE, worker_id=HOSTILE)
    made = record(action, reasons=reasons, headline=HOSTILE)
    outcomes = (replace(DONE, detail=HOSTILE, worker_id=HOSTILE),)
    page = record_page(page_summary(made, inputs_of(demand=Demand(complete=False, detail=HOSTILE))), made, outcomes)
    text, note = parse_page(page)
    assert text == made.text()
    assert isinstance(note, list)
    assert len(note) == 1
    shown = [line for line in page.split("\n") if not line.startswith(("{", "["))]
    assert "<script" not in "\n".join(shown).replace("\\<", "")
    assert sum(line.startswith("```") for line in shown) == 4, "two blocks"


def test_letters_that_end_lines_elsewhere_are_kept() -> None:
    odd = "a\u2028b\u0085c\x0bd\re"
    made = record(headline=odd)
    text, _ = parse_page(record_page("", made))
    assert text == made.text()
    assert json.loads(text or "")["plan"]["headline"] == odd


def test_many_actions_are_counted_and_the_record_has_them_all() -> None:
    actions = tuple(replace(LAUNCH, worker_id=f"demo-3f9c-2-{index}") for index in range(100))
    page = record_page("", record(*actions))
    assert sum(line.startswith("|launch|") for line in page.split("\n")) == MOST_LINES
    assert "and 85 actions more" in page
    assert (parse_page(page)[0] or "").count('"launch"') == 100


@pytest.mark.parametrize(("letters", "language"), [(0, "json"), (MOST_COLOURED, "text")])
def test_a_large_record_is_not_coloured(letters: int, language: str) -> None:
    made = record(headline="x" * letters)
    page = record_page("", made)
    assert f"\n```{language} record\n" in page
    assert parse_page(page)[0] == made.text()


@pytest.mark.parametrize(
    "page", ["", "somebody's page", "```json record\n{}\n```", "\n```json record\n{}", "\n```\n{}\n```"]
)
def test_what_is_no_such_page_holds_no_record(page: str) -> None:
    assert parse_page(page) == (None, None)


def test_a_note_that_somebody_broke_is_none() -> None:
    page = record_page("", record(LAUNCH), (DONE,)).replace('[{"detail"', '[{"detail')
    text, note = parse_page(page)
    assert text is not None
    assert note is None
