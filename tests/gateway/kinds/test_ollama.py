"""Ollama 0.33.0-rc2, as read in its source."""

import pytest

from ebbflow.gateway.kinds.kind import Ask, Said, Standing, Verdict, Wanted
from ebbflow.gateway.kinds.ollama import KIND
from tests.gateway.kinds.saying import (
    ASLEEP,
    EMPTY,
    HOT,
    LOADING,
    NOT_YET,
    READY,
    SILENT,
    WRONG,
    asked_in_turn,
    figures_of,
    says,
)

VERSION = says({"version": "0.33.0"})
HELD = {"name": "llama3:latest", "model": "llama3:latest", "size_vram": 4_000_000_000, "expires_at": "2026-11-30"}
QUANTISED = HELD | {"name": "hf.co/some/model:Q4_K_M"}
DONE = {"model": "llama3", "response": "Hello", "done": True}


@pytest.mark.parametrize(
    ("model", "version", "loaded", "standing"),
    [
        ("llama3", VERSION, says({"models": [HELD]}), READY),
        ("llama3:latest", VERSION, says({"models": [HELD]}), READY),
        ("llama3:8b", VERSION, says({"models": [HELD]}), ASLEEP),
        ("hf.co/some/model:Q4_K_M", VERSION, says({"models": [HELD, QUANTISED]}), READY),
        ("hf.co/some/model", VERSION, says({"models": [QUANTISED]}), ASLEEP),
        ("", VERSION, says({"models": [HELD]}), READY),
        ("", VERSION, says({"models": []}), ASLEEP),
        ("llama3", VERSION, says({"models": None}), LOADING),
        ("llama3", VERSION, Said(500, "broken"), LOADING),
        ("llama3", SILENT, SILENT, LOADING),
        ("llama3", Said(403), Said(403), LOADING),
    ],
    ids=[
        "its usual tag", "with its tag", "another tag", "from a registry", "from a registry with another tag",
        "any model", "no model in memory", "no list", "no answer of what it holds", "refused", "foreign Host header",
    ],
)  # fmt: skip
def test_a_look_tells_what_it_holds_and_nothing_of_its_load(
    model: str, version: Said, loaded: Said, standing: Standing
) -> None:
    reading = KIND.read(Wanted(model=model), {"version": version, "loaded": loaded})
    assert (reading.standing, figures_of(reading)) == (standing, (None, None, None))


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says(DONE), HOT, ""),
        (says(DONE | {"model": "llama3:latest"}), HOT, ""),
        (says(DONE | {"model": "llama3:8b"}), WRONG, "its model is llama3:8b, not llama3:latest"),
        (says(DONE | {"done": False}), WRONG, "it answers something else than was asked for"),
        (says({"models": [HELD]}), WRONG, "it answers something else than was asked for"),
        (says({"error": "model 'llama3' not found"}, 404), WRONG, "model 'llama3' not found"),
        (says({"error": "server busy, please try again.  maximum pending requests exceeded"}, 503), NOT_YET, "503"),
        (SILENT, NOT_YET, "it does not answer"),
        (EMPTY, WRONG, "it answers something else than was asked for: nothing"),
    ],
    ids=[
        "answered", "with its tag", "another model", "not done", "a list", "unknown model", "no room to load",
        "it loads for longer than a request may take", "nothing",
    ],
)  # fmt: skip
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(Wanted(model="llama3"), said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_the_prompt_is_one_token_in_one_piece() -> None:
    assert KIND.test(Wanted(model="llama3")) == Ask(
        "/api/generate",
        "POST",
        {"model": "llama3", "prompt": "Hi", "stream": False, "options": {"num_predict": 1}},
    )


def test_without_a_wanted_model_what_it_holds_is_asked_and_else_what_is_on_its_disk() -> None:
    held, none = says({"models": [HELD]}), says({"models": []})
    assert asked_in_turn(KIND, Wanted(), held, says(DONE)) == ["GET /api/ps", "POST /api/generate", "hot"]
    turns = asked_in_turn(KIND, Wanted(), none, none, held, says(DONE))
    assert turns == ["GET /api/ps", "GET /api/tags", "GET /api/tags", "POST /api/generate", "hot"]
