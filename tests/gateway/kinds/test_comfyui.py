"""ComfyUI 0.8.0, as it was run, and 0.38.1, as read in its source."""

import json

import pytest

from ebbflow.gateway.kinds import check_wanted
from ebbflow.gateway.kinds.comfyui import KIND
from ebbflow.gateway.kinds.kind import Ask, Said, Standing, Verdict, Wanted
from tests.gateway.kinds.saying import (
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

GRAPH = {"3": {"class_type": "KSampler", "inputs": {"seed": 1}}}
WANTED = Wanted(prompt=json.dumps(GRAPH))
JOB = "6f1d6c9e-0000-4000-8000-000000000001"
TAKEN = {"prompt_id": JOB, "number": 2, "node_errors": {}}
INVALID = {"error": {"type": "prompt_outputs_failed_validation", "message": "..."}, "node_errors": {"3": {}}}


def job(status: str, **more: object) -> Said:
    return says({"id": JOB, "status": status, **more})


@pytest.mark.parametrize(
    ("count", "standing", "running"),
    [
        (says({"exec_info": {"queue_remaining": 4}}), READY, 4),
        (says({"exec_info": {"queue_remaining": 0}}), READY, 0),
        (says({"exec_info": {}}), READY, None),
        (says({"detail": "hello"}), LOADING, None),
        (EMPTY, LOADING, None),
        (Said(404, "404: Not Found"), LOADING, None),
        (Said(403), LOADING, None),
        (SILENT, LOADING, None),
    ],
    ids=[
        "one runs and three wait", "nothing", "no count", "another server", "nothing said", "no such path",
        "foreign Origin header", "refused while it starts",
    ],
)  # fmt: skip
def test_a_look_tells_the_sum_of_what_runs_and_what_waits(count: Said, standing: Standing, running: int | None) -> None:
    reading = KIND.read(WANTED, {"count": count})
    assert (reading.standing, figures_of(reading)) == (standing, (running, None, None))


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (job("completed"), HOT, ""),
        (job("pending"), NOT_YET, "not done"),
        (job("in_progress"), NOT_YET, "not done"),
        (job("failed"), WRONG, "told as failed"),
        (job("failed", execution_error={"exception_message": "CUDA out of memory\n"}), WRONG, "CUDA out of memory"),
        (job("cancelled"), WRONG, "told as cancelled"),
        (says({"error": "Job not found"}, 404), WRONG, "somebody has deleted it"),
        (says(INVALID, 400), WRONG, "prompt_outputs_failed_validation"),
        (Said(500, "500 Internal Server Error"), WRONG, "it answers 500"),
        (says(TAKEN | {"prompt_id": "../../free"}), WRONG, "it answers something else than was asked for"),
        (says({}), WRONG, "it answers something else than was asked for"),
        (SILENT, NOT_YET, "it does not answer"),
    ],
    ids=[
        "done", "waits", "runs", "failed or, in 0.8.0, interrupted", "failed with a reason", "interrupted, in 0.38",
        "deleted from the queue", "bad graph", "broken", "a number that is a path", "nothing", "silent",
    ],
)  # fmt: skip
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(WANTED, said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_the_job_of_a_test_is_asked_for_until_it_is_done() -> None:
    turns = asked_in_turn(KIND, WANTED, says(TAKEN), job("pending"), job("in_progress"), job("completed"))
    assert turns == ["POST /prompt", *3 * [f"GET /api/jobs/{JOB}"], "hot"]


def test_the_graph_is_posted_for_a_client_so_that_its_progress_is_told_to_nobody_else() -> None:
    assert KIND.test(WANTED) == Ask("/prompt", "POST", {"prompt": GRAPH, "client_id": "ebbflow-test"})


def test_without_a_graph_there_is_no_test() -> None:
    assert KIND.test(Wanted()) is None
    with pytest.raises(ValueError, match="prompt: a JSON object is expected"):
        check_wanted(KIND, Wanted(prompt="a lighthouse"))


def test_its_queue_which_holds_whole_graphs_is_not_asked_for() -> None:
    assert [ask.path for ask in KIND.asks(WANTED).values()] == ["/prompt"]
