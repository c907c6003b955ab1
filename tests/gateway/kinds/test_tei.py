"""Text Embeddings Inference 1.9.3, as read in its source."""

import pytest

from ebbflow.gateway.kinds.kind import Said, Standing, Verdict, Wanted
from ebbflow.gateway.kinds.tei import KIND
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
    'te_request_count{method="single"} 4',
    'te_request_count{method="batch"} 5',
    "te_queue_size 2",
    "te_batch_next_size 3",
)


@pytest.mark.parametrize(
    ("health", "metrics", "standing", "told"),
    [
        (EMPTY, BUSY, READY, (None, 2, 9.0)),
        (EMPTY, figures("te_batch_next_size 3"), READY, (None, None, None)),
        (EMPTY, SILENT, READY, (None, None, None)),
        (says({"error": "unhealthy", "error_type": "unhealthy"}, 503), BUSY, LOADING, (None, None, None)),
        (SILENT, SILENT, LOADING, (None, None, None)),
    ],
    ids=["busy, without a figure of what runs", "the next batch is no queue", "no figures", "unhealthy", "refused"],
)
def test_a_look_tells(health: Said, metrics: Said, standing: Standing, told: tuple[object, ...]) -> None:
    reading = KIND.read(Wanted(), {"health": health, "metrics": metrics})
    assert (reading.standing, figures_of(reading)) == (standing, told)


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says([[0.1, -0.2]]), HOT, ""),
        (says([]), WRONG, "it answers something else than was asked for"),
        (says([[None, 0.2]]), WRONG, "it answers something else than was asked for"),
        (says({"model_id": "m"}), NOT_YET, ""),
        (says({"model_id": "other"}), WRONG, "its model is other, not m"),
        (says({"error": "Model is overloaded", "error_type": "overloaded"}, 429), NOT_YET, "it answers 429"),
        (says({"error": "model is not an embedding model", "error_type": "backend"}, 424), WRONG, "not an embedding"),
        (says({"error": "tokenizer", "error_type": "tokenizer"}, 422), WRONG, "it answers 422"),
        (Said(401), WRONG, "the server refuses its key"),
    ],
    ids=[
        "answered", "no vector", "not a number", "its model", "another model", "no room", "a model that ranks",
        "prompt not understood", "wrong key",
    ],
)  # fmt: skip
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(Wanted(model="m"), said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_its_answers_name_no_model_so_a_wanted_one_is_asked_for_before() -> None:
    assert asked_in_turn(KIND, Wanted(), says([[0.1]])) == ["POST /embed", "hot"]
    turns = asked_in_turn(KIND, Wanted(model="m"), says({"model_id": "m"}), says([[0.1]]))
    assert turns == ["GET /info", "POST /embed", "hot"]


def test_a_model_that_ranks_is_tested_with_a_prompt_and_a_path_of_ones_own() -> None:
    wanted = Wanted(prompt='{"query": "a", "texts": ["b"]}', prompt_path="/rerank")
    assert asked_in_turn(KIND, wanted, says([{"index": 0, "score": 0.9}])) == ["POST /rerank", "hot"]
