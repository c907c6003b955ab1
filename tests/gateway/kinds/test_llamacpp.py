"""llama.cpp's server, build b11434, as read in its source."""

from typing import Any

import pytest

from ebbflow.gateway.kinds.kind import Said, Standing, Verdict, Wanted
from ebbflow.gateway.kinds.llamacpp import KIND
from tests.gateway.kinds.saying import (
    ASLEEP,
    HOT,
    LOADING,
    NOT_YET,
    READY,
    SILENT,
    WRONG,
    asked_in_turn,
    figures,
    figures_of,
    says,
)

OK = says({"status": "ok"})
IS_LOADING = says({"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, 503)
BUSY = figures(
    "llamacpp:requests_processing 3", "llamacpp:requests_deferred 2", "llamacpp:tokens_predicted_total 1200",
    "llamacpp:predicted_tokens_seconds 50.5",
)  # fmt: skip
COMPLETION = {"content": " there", "model": "m", "stop": True}


@pytest.mark.parametrize(
    ("health", "props", "metrics", "standing", "told"),
    [
        (OK, says({"is_sleeping": False}), BUSY, READY, (3, 2, 1200.0)),
        (OK, says({"is_sleeping": True}), BUSY, ASLEEP, (3, 2, 1200.0)),
        (OK, says({}), Said(501), READY, (None, None, None)),
        (OK, Said(401), Said(401), READY, (None, None, None)),
        (IS_LOADING, IS_LOADING, IS_LOADING, LOADING, (None, None, None)),
        (SILENT, SILENT, SILENT, LOADING, (None, None, None)),
    ],
    ids=["busy", "asleep, with good health", "without --metrics", "wrong key", "loading", "refused"],
)
def test_a_look_tells(health: Said, props: Said, metrics: Said, standing: Standing, told: tuple[object, ...]) -> None:
    reading = KIND.read(Wanted(), {"health": health, "props": props, "metrics": metrics})
    assert (reading.standing, figures_of(reading)) == (standing, told)


@pytest.mark.parametrize(
    ("status", "standing", "detail"),
    [
        ({"value": "loaded"}, READY, ""),
        ({"value": "loading"}, LOADING, "on its way"),
        ({"value": "downloading"}, LOADING, "on its way"),
        ({"value": "sleeping"}, ASLEEP, "not loaded"),
        ({"value": "unloaded"}, ASLEEP, "not loaded"),
        ({"value": "unloaded", "failed": True, "exit_code": 1}, ASLEEP, "failed to load with 1"),
        ({"value": "new"}, LOADING, "does not tell of m"),
        ("loaded", LOADING, "does not tell of m"),
    ],
)
def test_a_router_tells_of_each_model(status: Any, standing: Standing, detail: str) -> None:
    models = {"data": [{"id": "other", "status": {"value": "loaded"}}, {"id": "m", "status": status}]}
    said = {"health": OK, "props": says({"role": "router"}), "models": says(models), "metrics": Said(400)}
    reading = KIND.read(Wanted(model="m"), said)
    assert reading.standing is standing
    assert detail in reading.detail
    assert KIND.read(Wanted(), said).standing is READY


def test_no_look_wakes_or_loads_a_model() -> None:
    paths = {ask.path for ask in KIND.asks(Wanted(model="a/b c")).values()}
    assert paths == {"/health", "/props", "/models", "/metrics?model=a%2Fb%20c&autoload=false"}
    assert "/metrics" in {ask.path for ask in KIND.asks(Wanted()).values()}


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says(COMPLETION), HOT, ""),
        (says(COMPLETION | {"model": "other"}), WRONG, "its model is other, not m"),
        (says({"data": [{"id": "other"}]}), WRONG, "its model is other, not m"),
        (IS_LOADING, NOT_YET, "it answers 503"),
        (says({"error": {"message": "Invalid API Key", "code": 401}}, 401), WRONG, "the server refuses its key"),
    ],
    ids=["answered", "another model answers", "another model is listed", "loading", "wrong key"],
)
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(Wanted(model="m"), said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_its_list_of_models_comes_before_the_prompt() -> None:
    turns = asked_in_turn(KIND, Wanted(model="m"), says({"data": [{"id": "m"}]}), says(COMPLETION))
    assert turns == ["GET /models", "POST /completion", "hot"]
