"""The page about a worker's life is drawn from the table that the code obeys."""

import runpy
from pathlib import Path

import pytest

from ebbflow.core.lifecycle import TRANSITIONS, WorkerState

DOCS = Path(__file__).parents[2] / "docs"
SCRIPT = runpy.run_path(str(DOCS / "draw_lifecycle.py"))


def test_the_page_is_what_the_table_says() -> None:
    page = (DOCS / "lifecycle.md").read_text(encoding="utf-8")
    if page != SCRIPT["draw"]():
        pytest.fail("docs/lifecycle.md is stale; renew it with `python docs/draw_lifecycle.py`", pytrace=False)


def test_the_arrows_say_the_same_as_the_table() -> None:
    drawn = set()
    living = [state for state in WorkerState if TRANSITIONS[state]]
    for arrow in SCRIPT["arrows"]():
        start, end = arrow.split(" --> ")
        if "[*]" in (start, end):
            continue
        starts = living if start == "any" else [WorkerState(start)]
        drawn |= {(state, WorkerState(end)) for state in starts if state.value != end}
    assert drawn == {(state, following) for state in WorkerState for following in TRANSITIONS[state]}


@pytest.mark.parametrize("state", WorkerState)
def test_every_state_says_how_the_scaler_treats_it(state: WorkerState) -> None:
    rows = [line for line in SCRIPT["draw"]().splitlines() if line.startswith(f"| `{state.value}` |")]
    assert len(rows) == 1
    sentence = rows[0].split("|")[2].strip()
    assert sentence.endswith(".")


def test_sentences_belong_to_the_member_above_them() -> None:
    source = 'class WorkerState(Enum):\n    READY = "ready"\n    """Serves."""\n    LOST = "lost"\n'
    assert SCRIPT["member_sentences"](source, "WorkerState") == {"READY": "Serves."}
