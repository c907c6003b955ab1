"""A fleet's page: how it stands, why, what it did last, and small however large the fleet is."""

from dataclasses import replace

import pytest

from ebbflow.contracts.ledger import record_of
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand
from ebbflow.core.memory import Memory, Override, OverrideKind
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Action, Outcome, Plan, Reason, Result, Verb
from ebbflow.core.record import Record
from ebbflow.core.worker import Mark, Worker
from ebbflow.turn.fleet_page import MOST_BYTES, MOST_DEEDS, FleetPage, Kept, fleet_page, kept_after, kept_of

NOON = 1_796_040_000.0
WHY = (Reason("policy.vanilla", "6 tasks > 4 per worker x 1 worker: 2 wanted"), Reason("limits.max_workers", "4", "x"))


def worker(index: int, state: WorkerState = WorkerState.READY, usd: float | None = 0.4) -> Worker:
    return Worker(f"demo-3f9c-1-{index}", "local-provider/a", state, usd_per_hour=usd, busy=index % 2 == 0)


def turn(number: int, *actions: Action, minutes: float = 0.0, workers: tuple[Worker, ...] = ()) -> Record:
    record = record_of("demo", number)
    return replace(
        record,
        flow_run_id="0f0f",
        turn=replace(record.turn, at_seconds=NOON + 60 * minutes),
        plan=Plan("queue 6 > 4", 2, len(workers), len(workers), actions, WHY, usd_per_hour=0.8),
        memory=Memory(workers=workers, spent_usd=1.234),
    )


def launch(index: int) -> Action:
    return Action(Verb.LAUNCH, f"demo-3f9c-2-{index}", "local-provider/a", "next in order")


def done(action: Action) -> Outcome:
    return Outcome(action.verb, action.worker_id, action.provider, Result.DONE, "started")


def shown(record: Record, kept: Kept | None = None, outcomes: tuple[Outcome, ...] = ()) -> FleetPage:
    observation = Observation(Demand(queued=5, running=1), record.memory.workers)
    return fleet_page(record, observation, kept_after(kept or Kept(), record, observation, outcomes), "demo: +1 (why)")


def test_a_page_tells_how_the_fleet_stands_what_it_costs_and_its_last_hours() -> None:
    summary = shown(turn(7, workers=(worker(0), worker(1)))).summary.split("\n")
    assert summary[0] == "demo: +1 (why)"
    assert summary[3] == "workers  last 2, most 2  █"
    assert summary[4] == "demand   last 6, most 6  █"
    assert summary[-4:] == [
        "- **Demand** 5 queued and 1 running",
        "- **Workers** 2 ready; 2 serve or start, 2 may exist",
        "- **The policy asks for** 2 workers, before limits and persons",
        "- **Cost** 0.8 USD/h; 1.23 USD since midnight UTC, as far as prices are known",
    ]


def test_its_details_tell_why_who_there_is_and_where_to_read_on() -> None:
    leaving = replace(worker(2), mark=Mark(6, "idle", 60.0))
    details = shown(turn(7, workers=(worker(0), worker(1), leaving))).details
    assert "- 6 tasks > 4 per worker x 1 worker: 2 wanted · `policy.vanilla`" in details
    rows = [line for line in details.split("\n") if line.startswith("| demo")]
    assert rows == [
        "| demo-3f9c-1-2 | ready, leaves | local-provider/a | 0.4 |",
        "| demo-3f9c-1-0 | ready, busy | local-provider/a | 0.4 |",
        "| demo-3f9c-1-1 | ready, idle | local-provider/a | 0.4 |",
    ]
    assert "record 7, [this run](/runs/flow-run/0f0f). `ebbflow why demo` tells more." in details


def test_a_turn_that_holds_shows_what_was_done_before_it() -> None:
    acted = turn(1, launch(0), launch(1))
    kept = kept_after(Kept(), acted, Observation(Demand(), ()), (done(launch(0)),))
    page = shown(turn(2, minutes=1), kept_of(kept.texts()))
    assert "- 12:00 record 1: launch demo-3f9c-2-0: done; launch demo-3f9c-2-1: no note" in page.details


def test_many_actions_of_a_turn_are_counted_and_few_turns_are_remembered() -> None:
    kept = Kept()
    for number in range(1, 9):
        actions = tuple(launch(index) for index in range(5))
        outcomes = tuple(done(action) for action in actions[:4])
        kept = kept_after(kept, turn(number, *actions, minutes=number), Observation(Demand(), ()), outcomes)
    assert len(kept.deeds) == MOST_DEEDS
    assert kept.deeds[0] == "12:08 record 8: launch 4 workers: done; launch 1 worker: no note"


def test_a_page_of_a_thousand_workers_is_small_and_counts_them() -> None:
    workers = tuple(worker(index, (WorkerState.READY, WorkerState.STARTING)[index % 2]) for index in range(1000))
    actions = tuple(launch(index) for index in range(100))
    page = shown(turn(7, *actions, workers=workers), outcomes=tuple(map(done, actions)))
    assert len((page.summary + page.details).encode()) <= MOST_BYTES
    assert "- **Workers** 500 starting, 500 ready; 1000 serve or start, 1000 may exist" in page.summary
    assert "and 992 workers more: 497 starting, 495 ready" in page.details


HOSTILE = "![x](http://evil.example/p.png)\n# big\n```\n<script>alert(1)</script>| a | b |" + "\N{GRINNING FACE}" * 5000


@pytest.mark.parametrize("reasons", [1, 50])
def test_hostile_text_is_escaped_and_makes_no_page_large(reasons: int) -> None:
    record = turn(7, workers=tuple(replace(worker(index), provider=HOSTILE, detail=HOSTILE) for index in range(20)))
    override = Override("k", OverrideKind.FLOOR, 3, HOSTILE, HOSTILE, 60.0)
    record = replace(
        record,
        plan=replace(record.plan, reasons=(Reason("policy.x", HOSTILE),) * reasons),
        memory=replace(record.memory, overrides=(override,) * 9),
    )
    observation = Observation(Demand(complete=False, detail=HOSTILE), record.memory.workers)
    kept = kept_after(Kept(deeds=(HOSTILE,) * 9), record, observation, ())
    page = fleet_page(record, observation, kept_of(kept.texts()), HOSTILE)
    whole = f"{page.summary}\n\n{page.details}"
    assert len(whole.encode()) <= MOST_BYTES + 2
    assert "\n# big" not in whole
    assert "<script" not in whole.replace("\\<", "")
    assert "![x]" not in whole
    assert whole.count("\n```") == 2, "those of the plot"


@pytest.mark.parametrize("texts", [None, {}, {"record": "x", "deed_0": 7}, {"record": "-3", "deed_1": ""}])
def test_what_somebody_wrote_beside_a_page_is_not_believed(texts: dict[str, object] | None) -> None:
    assert kept_of(texts) == Kept()
