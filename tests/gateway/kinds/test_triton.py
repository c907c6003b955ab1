"""Triton 2.51.0, as it was run with models loaded at its start and by request."""

import pytest

from ebbflow.gateway.kinds.kind import Port, Said, Standing, Verdict, Wanted
from ebbflow.gateway.kinds.triton import KIND
from tests.gateway.kinds.saying import (
    EMPTY,
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

NOT_READY = says({"error": "Model version not ready"}, 400)
BUSY = figures(
    'nv_inference_pending_request_count{model="m",version="1"} 2',
    'nv_inference_request_success{model="m",version="1"} 0',
    'nv_inference_pending_request_count{model="other",version="1"} 5', "nv_gpu_utilization 0.5",
    'nv_inference_request_success{model="other",version="1"} 7', 'nv_inference_request_failure{reason="REJECTED"} 3',
)  # fmt: skip
PROMPT = '{"inputs": [{"name": "INPUT0", "shape": [1], "datatype": "FP32", "data": [0.5]}]}'
ANSWER = {"model_name": "m", "model_version": "1", "outputs": [{"name": "OUTPUT0", "data": [0.5]}]}


def index(**states: str) -> Said:
    return says([{"name": name, "version": "1", "state": state} for name, state in states.items()])


@pytest.mark.parametrize(
    ("model", "models", "metrics", "standing", "told"),
    [
        ("m", EMPTY, BUSY, READY, (None, 2, 0.0)),
        ("", index(m="READY", other="READY"), BUSY, READY, (None, 7, 7.0)),
        ("m", EMPTY, Said(404), READY, (None, None, None)),
        ("m", NOT_READY, BUSY, LOADING, (None, None, None)),
        ("m", SILENT, SILENT, LOADING, (None, None, None)),
        ("", index(m="LOADING"), BUSY, LOADING, (None, None, None)),
        ("", index(m="UNLOADING"), BUSY, LOADING, (None, None, None)),
        ("", says([]), BUSY, LOADING, (None, None, None)),
        ("", says({"error": "This API is restricted"}, 403), BUSY, LOADING, (None, None, None)),
    ],
    ids=[
        "one runs and two wait", "any model", "no figures", "it loads, was unloaded, or is unknown",
        "port refused while it loads", "none but one that loads", "none but one that leaves",
        "no model was ever loaded", "restricted",
    ],
)  # fmt: skip
def test_a_look_tells(model: str, models: Said, metrics: Said, standing: Standing, told: tuple[object, ...]) -> None:
    reading = KIND.read(Wanted(model=model), {"models": models, "metrics": metrics})
    assert (reading.standing, figures_of(reading)) == (standing, told)


def test_its_readiness_is_not_asked_for_that_is_good_without_any_model() -> None:
    asks = KIND.asks(Wanted(model="a b"))
    assert [(ask.path, ask.port) for ask in asks.values()] == [
        ("/v2/models/a%20b/ready", Port.MAIN),
        ("/metrics", Port.METRICS),
    ]
    assert {f"{ask.method} {ask.path}" for ask in KIND.asks(Wanted()).values()} == {
        "POST /v2/repository/index",
        "GET /metrics",
    }


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says(ANSWER), HOT, ""),
        (says(ANSWER | {"model_name": "other"}), WRONG, "its model is other, not m"),
        (says({"model_name": "m"}), WRONG, "it answers something else than was asked for"),
        (says({"error": "Request for unknown model: 'm' is not found"}, 404), WRONG, "unknown model"),
        (says({"error": "[request id: <id_unknown>] Exceeds maximum queue size"}, 503), NOT_YET, "it answers 503"),
        (NOT_READY, NOT_YET, "its model is not ready"),
        (says({"error": "Unable to parse 'inputs'"}, 400), WRONG, "Unable to parse 'inputs'"),
    ],
    ids=["answered", "another model", "no outputs", "unknown model", "queue full", "loading", "prompt not understood"],
)
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(Wanted(model="m", prompt=PROMPT), said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_without_a_wanted_model_the_first_ready_one_gets_the_prompt() -> None:
    turns = asked_in_turn(KIND, Wanted(prompt=PROMPT), index(other="LOADING", m="READY"), says(ANSWER))
    assert turns == ["POST /v2/repository/index", "POST /v2/models/m/infer", "hot"]


def test_only_a_person_knows_what_its_model_takes() -> None:
    assert KIND.test(Wanted(model="m")) is None
    own = Wanted(model="m", prompt='{"text_input": "Hi", "max_tokens": 1}', prompt_path="/v2/models/m/generate")
    assert asked_in_turn(KIND, own, says({"model_name": "m", "text_output": "Hi"})) == [
        "POST /v2/models/m/generate",
        "hot",
    ]
