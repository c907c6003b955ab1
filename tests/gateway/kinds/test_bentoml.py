"""BentoML 1.4.40, as it was run."""

import pytest

from ebbflow.gateway.kinds import check_wanted
from ebbflow.gateway.kinds.bentoml import KIND
from ebbflow.gateway.kinds.kind import Ask, Said, Standing, Verdict, Wanted
from tests.gateway.kinds.saying import HOT, LOADING, NOT_YET, READY, SILENT, WRONG, figures, figures_of, says

LINE = Said(200, "\n")
BUSY = figures(
    'bentoml_service_request_in_progress{endpoint="/summarize"} 3.0',
    'bentoml_service_request_total{endpoint="/summarize",http_response_code="200"} 8.0',
    'bentoml_service_request_total{endpoint="/summarize",http_response_code="429"} 1.0',
    "bentoml_service_last_request_timestamp_seconds 1.764496e+09",
)


@pytest.mark.parametrize(
    ("ready", "metrics", "standing", "told"),
    [
        (LINE, BUSY, READY, (3, None, 9.0)),
        (LINE, figures("bentoml_service_last_request_timestamp_seconds 0.0"), READY, (None, None, None)),
        (LINE, SILENT, READY, (None, None, None)),
        (SILENT, SILENT, LOADING, (None, None, None)),
        (Said(503), BUSY, LOADING, (None, None, None)),
    ],
    ids=["one runs and two wait", "nothing came yet", "no figures", "hangs while it loads", "not ready"],
)
def test_a_look_tells(ready: Said, metrics: Said, standing: Standing, told: tuple[object, ...]) -> None:
    reading = KIND.read(Wanted(), {"ready": ready, "metrics": metrics})
    assert (reading.standing, figures_of(reading)) == (standing, told)


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says({"summary": "short"}), HOT, ""),
        (says({"error": "Too many requests"}, 429), NOT_YET, "it answers 429"),
        (Said(504), NOT_YET, "it answers 504"),
        (says({"error": "1 validation error for Input"}, 400), WRONG, "1 validation error"),
        (Said(404, "Not Found"), WRONG, "it answers 404"),
    ],
    ids=["answered", "no room", "waited for a minute", "prompt not understood", "no such path"],
)
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(Wanted(prompt="{}", prompt_path="/summarize"), said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_only_a_person_knows_what_its_service_takes_and_where() -> None:
    assert KIND.test(Wanted()) is None
    assert KIND.test(Wanted(prompt='{"text": "a"}', prompt_path="/sum")) == Ask("/sum", "POST", {"text": "a"})
    with pytest.raises(ValueError, match="prompt: only you know where it goes: prompt_path is needed"):
        check_wanted(KIND, Wanted(prompt='{"text": "a"}'))
