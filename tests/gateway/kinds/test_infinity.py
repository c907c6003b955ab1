"""infinity-emb 0.0.78, as it was run."""

from typing import Any

import pytest

from ebbflow.gateway.kinds.infinity import KIND
from ebbflow.gateway.kinds.kind import Said, Standing, Verdict, Wanted
from tests.gateway.kinds.saying import HOT, LOADING, NOT_YET, READY, SILENT, WRONG, asked_in_turn, figures_of, says

HEALTH = says({"unix": 1764496000.1})
EMBEDDED = {"object": "list", "model": "m", "data": [{"object": "embedding", "index": 0, "embedding": [0.1, -0.2]}]}


def models(*waiting: Any, name: str = "m") -> Said:
    """Any: a server says what it likes."""
    stats = [
        {"queue_fraction": 0.0, "queue_absolute": each, "results_pending": 0, "batch_size": 32} for each in waiting
    ]
    return says({"object": "list", "data": [{"id": name, "object": "model", "stats": each} for each in stats]})


@pytest.mark.parametrize(
    ("health", "listed", "standing", "queued"),
    [
        (HEALTH, models(192), READY, 192),
        (HEALTH, models(0), READY, None),
        (HEALTH, models(0, 5), READY, 5),
        (HEALTH, models("many"), READY, None),
        (HEALTH, Said(404), READY, None),
        (HEALTH, Said(401), READY, None),
        (SILENT, SILENT, LOADING, None),
    ],
    ids=[
        "at least so many wait", "0, which eleven waiting requests show too", "two models", "no number",
        "another prefix", "wrong key", "port refused while it loads",
    ],
)  # fmt: skip
def test_a_look_tells(health: Said, listed: Said, standing: Standing, queued: int | None) -> None:
    reading = KIND.read(Wanted(), {"health": health, "models": listed})
    assert (reading.standing, figures_of(reading)) == (standing, (None, queued, None))


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says(EMBEDDED), HOT, ""),
        (says(EMBEDDED | {"model": "other"}), WRONG, "its model is other, not m"),
        (says(EMBEDDED | {"data": [{"embedding": []}]}), WRONG, "it answers something else"),
        (says({"error": {"message": "model m is currently overloaded"}}, 429), NOT_YET, "it answers 429"),
        (says({"detail": "Unauthorized"}, 401), WRONG, "the server refuses its key"),
        (says({"detail": "Not Found"}, 404), WRONG, "it answers 404"),
    ],
    ids=["answered", "another model", "no vector", "no room", "wrong key", "another prefix"],
)
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(Wanted(model="m"), said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_without_a_wanted_model_the_first_of_its_list_is_asked() -> None:
    assert asked_in_turn(KIND, Wanted(), models(0), says(EMBEDDED)) == ["GET /models", "POST /embeddings", "hot"]
    assert asked_in_turn(KIND, Wanted(model="m"), says(EMBEDDED)) == ["POST /embeddings", "hot"]
