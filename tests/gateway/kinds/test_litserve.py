"""LitServe 0.2.19, as it was run; `test_real_servers.py` runs it anew."""

import pytest

from ebbflow.gateway.kinds.kind import Ask, KeyHeader, Said, Standing, Verdict, Wanted
from ebbflow.gateway.kinds.litserve import KIND
from tests.gateway.kinds.saying import HOT, LOADING, NOT_YET, READY, SILENT, WRONG, figures_of, says

WANTED = Wanted(prompt='{"input": 4}')


@pytest.mark.parametrize(
    ("health", "standing"),
    [(Said(200, "ok"), READY), (Said(503, "not ready"), LOADING), (Said(401), LOADING), (SILENT, LOADING)],
    ids=["ready", "one of two workers is ready", "wrong key", "refused until the first worker is ready"],
)
def test_a_look_tells_nothing_of_its_load(health: Said, standing: Standing) -> None:
    reading = KIND.read(WANTED, {"health": health})
    assert (reading.standing, figures_of(reading)) == (standing, (None, None, None))


def test_its_key_is_in_a_header_of_its_own() -> None:
    assert KIND.key_header is KeyHeader.X_API_KEY


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says({"output": 16}), HOT, ""),
        (says({"detail": "Request timed out"}, 504), NOT_YET, "it answers 504"),
        (Said(401), WRONG, "the server refuses its key"),
        (says({"detail": "Internal server error"}, 500), WRONG, "it answers 500"),
        (Said(200, "<!doctype html><html></html>"), WRONG, "it answers something else than was asked for"),
    ],
    ids=["answered", "waited too long for a worker", "wrong key", "broken", "a web page"],
)
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(WANTED, said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_only_a_person_knows_what_its_model_takes() -> None:
    assert KIND.test(Wanted()) is None
    assert KIND.test(WANTED) == Ask("/predict", "POST", {"input": 4})
    assert KIND.test(Wanted(prompt="{}", prompt_path="/v1/other")) == Ask("/v1/other", "POST", {})
