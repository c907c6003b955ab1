"""Draws `docs/lifecycle.md` from the table in `core/lifecycle.py`: `python docs/draw_lifecycle.py` rewrites it."""

import ast
import inspect
import runpy
from itertools import pairwise
from pathlib import Path

from ebbflow.core import lifecycle
from ebbflow.core.lifecycle import TRANSITIONS, WorkerState

PAGE = Path(__file__).with_name("lifecycle.md")

TEMPLATE = """\
# The life of a worker

<!-- Drawn from core/lifecycle.py, do not edit: `python docs/draw_lifecycle.py` renews it. -->

Arrows are what one turn may find after another: listings are sparse, so steps in between may be skipped. A state may
always stay as it is.

![The states of a worker, and what may follow](images/life-of-a-worker.svg)

| state | how the scaler treats it | may become |
|---|---|---|
{rows}
"""


def draw() -> str:
    """The whole page."""
    sentences = member_sentences(inspect.getsource(lifecycle), WorkerState.__name__)
    rows = (
        f"| `{state.value}` | {sentences[state.name]} | {_names(TRANSITIONS[state]) or 'nothing'} |"
        for state in WorkerState
    )
    return TEMPLATE.format(rows="\n".join(rows))


def arrows() -> list[str]:
    """The diagram's arrows; a state that every living one may become gets a single arrow, from `any`."""
    living = [state for state in WorkerState if TRANSITIONS[state]]
    common = {
        following
        for following in WorkerState
        if all(following is state or following in TRANSITIONS[state] for state in living)
    }
    first = next(iter(WorkerState))
    return [
        f"[*] --> {first.value}",
        *(
            f"{state.value} --> {following.value}"
            for state in living
            for following in WorkerState
            if following in TRANSITIONS[state] - common
        ),
        *(f"any --> {following.value}" for following in WorkerState if following in common),
        *(f"{state.value} --> [*]" for state in WorkerState if state not in living),
    ]


def member_sentences(source: str, enum: str) -> dict[str, str]:
    """The docstring below each member of an enum, which Python itself does not keep."""
    body = next(node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == enum)
    sentences = {}
    for member, text in pairwise(body):
        match member, text:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(sentence))):
                sentences[name] = " ".join(sentence.split())
    return sentences


def _names(states: "list[WorkerState] | frozenset[WorkerState]") -> str:
    return ", ".join(state.value for state in WorkerState if state in states)


if __name__ == "__main__":
    PAGE.write_text(draw(), encoding="utf-8")
    pictures = runpy.run_path(str(PAGE.with_name("draw_pictures.py")))
    (PAGE.parent / "images" / "life-of-a-worker.svg").write_text(pictures["life_of_a_worker"](), encoding="utf-8")
