"""SGLang 0.5.23, as read in its wheel."""

import pytest

from ebbflow.gateway.kinds.kind import Said, Standing, Verdict, Wanted
from ebbflow.gateway.kinds.sglang import KIND
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

RANK = {"dp_rank": 0, "num_running_reqs": 3, "num_waiting_reqs": 2, "token_usage": 0.5, "gen_throughput": 80.1}
LOADS = {"version": "0.5.23", "num_accelerators": 1, "loads": [RANK]}
TOKENS = figures(
    'sglang:generation_tokens_total{is_streaming="true"} 7.0',
    'sglang:generation_tokens_total{is_streaming="false"} 5.0',
)
COMPLETION = {"object": "text_completion", "model": "m", "choices": [{"index": 0, "text": " there"}]}
MODELS = {"object": "list", "data": [{"id": "m"}]}


@pytest.mark.parametrize(
    ("ready", "loads", "metrics", "standing", "told"),
    [
        (EMPTY, says(LOADS), TOKENS, READY, (3, 2, 12.0)),
        (EMPTY, says(LOADS), Said(404), READY, (3, 2, None)),
        (EMPTY, says(LOADS | {"loads": [RANK, RANK | {"dp_rank": 1}]}), Said(404), READY, (6, 4, None)),
        (EMPTY, says(LOADS | {"loads": [RANK, {"dp_rank": 1}]}), Said(404), READY, (None, None, None)),
        (EMPTY, says(LOADS | {"loads": [RANK | {"num_running_reqs": 2.5}]}), Said(404), READY, (None, 2, None)),
        (EMPTY, says(LOADS | {"loads": []}), Said(404), READY, (None, None, None)),
        (EMPTY, says({"error": "Unauthorized"}, 401), Said(404), READY, (None, None, None)),
        (SILENT, SILENT, SILENT, LOADING, (None, None, None)),
        (Said(503), says(LOADS), TOKENS, LOADING, (None, None, None)),
    ],
    ids=[
        "busy", "without --enable-metrics", "two ranks", "a rank that does not tell", "half a request", "no rank",
        "wrong key", "port refused while it loads", "it warms up, or is paused",
    ],
)  # fmt: skip
def test_a_look_tells(ready: Said, loads: Said, metrics: Said, standing: Standing, told: tuple[object, ...]) -> None:
    reading = KIND.read(Wanted(), {"ready": ready, "loads": loads, "metrics": metrics})
    assert (reading.standing, figures_of(reading)) == (standing, told)


def test_its_health_is_never_asked_for_that_makes_the_model_generate() -> None:
    assert not [ask.path for ask in KIND.asks(Wanted()).values() if ask.path.startswith("/health")]


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says(COMPLETION), HOT, ""),
        (says(MODELS), NOT_YET, ""),
        (says({"data": [{"id": "other"}]}), WRONG, "its model is other, not m"),
        (says({"data": []}), NOT_YET, "it has no model yet"),
        (says({"message": "The request queue is full."}, 503), NOT_YET, "it answers 503"),
        (says({"error": "Unauthorized"}, 401), WRONG, "the server refuses its key"),
        (says({"text": "there"}), WRONG, "it answers something else than was asked for"),
    ],
    ids=["answered", "its models", "another model", "no model", "queue full", "wrong key", "nonsense"],
)
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(Wanted(model="m"), said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


@pytest.mark.parametrize("wanted", [Wanted(), Wanted(model="m")], ids=["any model", "one model"])
def test_its_list_of_models_comes_before_the_prompt(wanted: Wanted) -> None:
    turns = asked_in_turn(KIND, wanted, says(MODELS), says(COMPLETION))
    assert turns == ["GET /v1/models", "POST /v1/completions", "hot"]
