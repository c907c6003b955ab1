"""vLLM 0.33.0, as read in its wheel."""

import pytest

from ebbflow.gateway.kinds.kind import Ask, Said, Standing, Verdict, Wanted
from ebbflow.gateway.kinds.vllm import KIND
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
    figures,
    figures_of,
    says,
)

OF = 'model_name="m",engine="0"'
BUSY = (
    f"vllm:num_requests_running{{{OF}}} 3.0",
    f"vllm:num_requests_waiting{{{OF}}} 2.0",
    f"vllm:generation_tokens_total{{{OF}}} 1200.0",
)
AWAKE = f'vllm:engine_sleep_state{{{OF},sleep_state="awake"}}'
OFFLOADED = f'vllm:engine_sleep_state{{{OF},sleep_state="weights_offloaded"}}'
DISCARDED = f'vllm:engine_sleep_state{{{OF},sleep_state="discard_all"}}'
SECOND = 'vllm:num_requests_running{model_name="m",engine="1"} 4.0'
COMPLETION = {"object": "text_completion", "model": "m", "choices": [{"index": 0, "text": " there"}]}
MODELS = {"object": "list", "data": [{"id": "m", "object": "model"}, {"id": "adapter", "object": "model"}]}
WANTED = Wanted(model="m")


@pytest.mark.parametrize(
    ("health", "metrics", "standing", "told"),
    [
        (EMPTY, figures(*BUSY), READY, (3, 2, 1200.0)),
        (EMPTY, figures(*BUSY, SECOND), READY, (7, 2, 1200.0)),
        (EMPTY, figures(*BUSY, f"{AWAKE} 1.0", f"{OFFLOADED} 0.0", f"{DISCARDED} 0.0"), READY, (3, 2, 1200.0)),
        (EMPTY, figures(f"{AWAKE} 0.0", f"{OFFLOADED} 1.0", f"{DISCARDED} 0.0"), ASLEEP, (None, None, None)),
        (EMPTY, figures(f"{AWAKE} 0.0", f"{OFFLOADED} 0.0", f"{DISCARDED} 1.0"), ASLEEP, (None, None, None)),
        (EMPTY, figures("python_info 1.0"), READY, (None, None, None)),
        (EMPTY, figures('vllm:num_requests_waiting_by_reason{reason="capacity"} 5.0'), READY, (None, None, None)),
        (EMPTY, figures('vllm:gpu_cache_usage_perc{engine="0"} 0.5'), READY, (None, None, None)),
        (EMPTY, SILENT, READY, (None, None, None)),
        (SILENT, SILENT, LOADING, (None, None, None)),
        (Said(503), figures(*BUSY), LOADING, (None, None, None)),
    ],
    ids=[
        "busy", "two engines", "awake", "weights offloaded", "weights discarded", "--disable-log-stats",
        "waiting by reason only", "an older release", "no figures", "port refused while it loads", "its engine is dead",
    ],
)  # fmt: skip
def test_a_look_tells(health: Said, metrics: Said, standing: Standing, told: tuple[object, ...]) -> None:
    reading = KIND.read(WANTED, {"health": health, "metrics": metrics})
    assert (reading.standing, figures_of(reading)) == (standing, told)


def test_it_is_never_asked_for_its_server_load_which_stays_0() -> None:
    assert {ask.path for ask in KIND.asks(WANTED).values()} == {"/health", "/metrics"}


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says(COMPLETION), HOT, ""),
        (says(COMPLETION | {"choices": [{"text": ""}]}), HOT, ""),
        (says(COMPLETION | {"model": "other"}), WRONG, "its model is other, not m"),
        (says(COMPLETION | {"choices": []}), WRONG, "it answers something else than was asked for"),
        (says({"error": {"message": "The model `m` does not exist."}}, 404), WRONG, "The model `m` does not exist."),
        (says({"error": "Unauthorized"}, 401), WRONG, "the server refuses its key"),
        (says({"error": {"message": "queue is full"}}, 503), NOT_YET, "it answers 503"),
        (SILENT, NOT_YET, "it does not answer"),
    ],
    ids=["answered", "no text", "another model", "no choice", "unknown model", "wrong key", "no room", "silent"],
)
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(WANTED, said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_the_prompt_is_one_token_of_the_wanted_model() -> None:
    assert KIND.test(Wanted(model="m", prompt="Say")) == Ask(
        "/v1/completions", "POST", {"model": "m", "prompt": "Say", "max_tokens": 1}
    )


def test_without_a_wanted_model_the_first_of_its_list_is_asked() -> None:
    turns = asked_in_turn(KIND, Wanted(), says(MODELS), says(COMPLETION))
    assert turns == ["GET /v1/models", "POST /v1/completions", "hot"]


def test_an_embedding_model_is_tested_with_a_prompt_and_a_path_of_ones_own() -> None:
    wanted = Wanted(model="m", prompt='{"model": "m", "input": "Hi"}', prompt_path="/v1/embeddings")
    assert KIND.test(wanted) == Ask("/v1/embeddings", "POST", {"model": "m", "input": "Hi"})
    assert KIND.judge(wanted, says({"model": "m", "data": []})).verdict is HOT
    assert KIND.judge(wanted, says({"model": "other", "data": []})).verdict is WRONG
