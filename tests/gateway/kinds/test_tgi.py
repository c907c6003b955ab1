"""Text Generation Inference 3.3.7, as read in its source."""

import pytest

from ebbflow.gateway.kinds.kind import Said, Standing, Verdict, Wanted
from ebbflow.gateway.kinds.tgi import KIND
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

BUSY = figures(
    "# TYPE tgi_request_count counter", "tgi_request_count 9", "tgi_request_success 7", "tgi_queue_size 2",
    "tgi_batch_current_size 3", "tgi_batch_current_max_tokens 4096", "tgi_request_queue_duration_count 9",
)  # fmt: skip


@pytest.mark.parametrize(
    ("health", "metrics", "standing", "told"),
    [
        (EMPTY, BUSY, READY, (3, 2, 9.0)),
        (EMPTY, figures("tgi_batch_current_max_tokens 4096", "tgi_request_success 7"), READY, (None, None, None)),
        (EMPTY, SILENT, READY, (None, None, None)),
        (says({"error": "unhealthy", "error_type": "healthcheck"}, 503), BUSY, LOADING, (None, None, None)),
        (SILENT, SILENT, LOADING, (None, None, None)),
    ],
    ids=["busy", "nothing served yet", "no figures", "unhealthy", "refused"],
)
def test_a_look_tells(health: Said, metrics: Said, standing: Standing, told: tuple[object, ...]) -> None:
    reading = KIND.read(Wanted(), {"health": health, "metrics": metrics})
    assert (reading.standing, figures_of(reading)) == (standing, told)


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says({"generated_text": " there"}), HOT, ""),
        (says({"model_id": "m", "version": "3.3.7"}), NOT_YET, ""),
        (says({"model_id": "other"}), WRONG, "its model is other, not m"),
        (says({"error": "Model is overloaded", "error_type": "overloaded"}, 429), NOT_YET, "it answers 429"),
        (says({"error": "Request failed during generation"}, 424), WRONG, "Request failed during generation"),
        (says([{"generated_text": " there"}]), WRONG, "it answers something else than was asked for"),
        (Said(401), WRONG, "the server refuses its key"),
    ],
    ids=["answered", "its model", "another model", "no room", "generation failed", "a list", "wrong key"],
)
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(Wanted(model="m"), said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_its_answers_name_no_model_so_a_wanted_one_is_asked_for_before() -> None:
    answer = says({"generated_text": " there"})
    assert asked_in_turn(KIND, Wanted(), answer) == ["POST /generate", "hot"]
    turns = asked_in_turn(KIND, Wanted(model="m"), says({"model_id": "m"}), answer)
    assert turns == ["GET /info", "POST /generate", "hot"]
