"""Ray Serve 2.60.0, as it was run; `test_real_servers.py` runs it anew."""

import pytest

from ebbflow.gateway.kinds.kind import Ask, Port, Said, Standing, Verdict, Wanted
from ebbflow.gateway.kinds.rayserve import KIND
from tests.gateway.kinds.saying import HOT, LOADING, NOT_YET, READY, SILENT, WRONG, figures, figures_of, says

SUCCESS = Said(200, "success")
OF = 'application="default",deployment="Model"'
LOOKS = 'ray_serve_num_http_requests_total{application="",route="/-/healthz",status_code="200"} 62.0'
BUSY = (
    f"ray_serve_deployment_queued_queries{{{OF}}} 2.0",
    f'ray_serve_replica_processing_queries{{{OF},replica="a"}} 3.0',
    'ray_serve_num_http_requests_total{route="/",status_code="200"} 8.0',
    'ray_serve_num_http_requests_total{route="/",status_code="503"} 1.0',
    LOOKS,
)
ONE = f'ray_serve_deployment_replica_healthy{{{OF},replica="a"}} 1.0'
GONE = f'ray_serve_deployment_replica_healthy{{{OF},replica="b"}} 0.0'
SECOND = 'ray_serve_deployment_replica_healthy{application="default",deployment="Second"}'
STARTING = (f"ray_serve_deployment_status{{{OF}}} 3.0", 'ray_serve_application_status{application="default"} 5.0')


@pytest.mark.parametrize(
    ("health", "metrics", "standing", "told"),
    [
        (SUCCESS, figures(*BUSY, ONE), READY, (3, 2, 9.0)),
        (SUCCESS, figures(*BUSY, ONE, GONE, f"{SECOND} 2.0"), READY, (3, 2, 9.0)),
        (SUCCESS, figures(LOOKS, ONE), READY, (None, None, None)),
        (SUCCESS, figures(*BUSY, ONE, f"{SECOND} 0.0"), LOADING, (None, None, None)),
        (SUCCESS, figures(*BUSY, GONE), LOADING, (None, None, None)),
        (SUCCESS, figures(*BUSY, *STARTING), LOADING, (None, None, None)),
        (SUCCESS, SILENT, READY, (None, None, None)),
        (Said(503, "Route table is not populated yet."), figures(*BUSY, ONE), LOADING, (None, None, None)),
        (SILENT, SILENT, LOADING, (None, None, None)),
    ],
    ids=[
        "busy", "two deployments, one with a replica that left", "only our looks came yet",
        "one of two deployments", "its only replica left",
        "its replica is on its way", "no figures", "no application", "refused",
    ],
)  # fmt: skip
def test_a_look_tells(health: Said, metrics: Said, standing: Standing, told: tuple[object, ...]) -> None:
    reading = KIND.read(Wanted(), {"health": health, "metrics": metrics})
    assert (reading.standing, figures_of(reading)) == (standing, told)


def test_without_a_metrics_port_its_health_must_do() -> None:
    assert KIND.read(Wanted(), {"health": SUCCESS}).standing is READY


def test_no_look_runs_the_application() -> None:
    asks = KIND.asks(Wanted()).values()
    assert [ask.path for ask in asks if ask.port is Port.MAIN] == ["/-/healthz"]
    assert [ask.path for ask in asks if ask.port is Port.METRICS] == ["/metrics"]


def test_its_figures_are_old() -> None:
    assert KIND.lag_seconds == 10


@pytest.mark.parametrize(
    ("said", "verdict", "detail"),
    [
        (says({"output": 16}), HOT, ""),
        (Said(200, "sixteen"), HOT, ""),
        (SILENT, NOT_YET, "it does not answer"),
        (Said(503, "Request dropped due to backpressure (num_queued_requests=2)."), NOT_YET, "it answers 503"),
        (Said(200, " "), WRONG, "it answers something else than was asked for: nothing"),
        (says({"error": {"message": "model not found"}}), WRONG, "model not found"),
        (Said(404, "Path '/' not found."), WRONG, "it answers 404"),
    ],
    ids=["JSON", "text", "hangs until a replica is there", "queue full", "nothing", "an error", "no such route"],
)
def test_the_answer_to_its_prompt_means(said: Said, verdict: Verdict, detail: str) -> None:
    judgement = KIND.judge(Wanted(prompt="{}"), said)
    assert judgement.verdict is verdict
    assert detail in judgement.detail


def test_only_a_person_knows_what_its_application_takes() -> None:
    assert KIND.test(Wanted()) is None
    assert KIND.test(Wanted(prompt='{"a": 1}')) == Ask("/", "POST", {"a": 1})
    assert KIND.test(Wanted(prompt='{"a": 1}', prompt_path="/app")) == Ask("/app", "POST", {"a": 1})
