"""What each kind of model server answers: to a look at it, and to a prompt."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

Answer = tuple[int, object]
"""A status, and a text or JSON."""
Json = dict[str, Any]
"""Any: JSON is what it is."""
UNAUTHORIZED: Answer = 401, {"error": "Unauthorized"}
NOT_FOUND: Answer = 404, {"detail": "Not Found"}


class Loading(Enum):
    """What a server does instead of an answer while it loads."""

    REFUSED = "refused"
    """Its port is not open yet."""
    HANGS = "hangs"
    """Its port is open, and nobody answers."""
    LOOKS = "looks"
    """It answers looks, prompts hang."""


@dataclass(slots=True)
class Played:
    """What the answers depend on."""

    model: str = "played-model"
    is_loading: bool = False
    is_asleep: bool = False
    is_busy: bool = False
    """It has no room for a prompt."""
    running: int = 0
    queued: int = 0
    served: int = 0
    """Prompts that were answered."""
    jobs: dict[str, int] = field(default_factory=dict)
    """ComfyUI's: how often each was asked for."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a kind behaves.

    Attributes:
        looks: its answers to GET, by path; of `POST ...` where it takes no other.
        prompt: its answer to a prompt.
        prompt_path: where prompts go; `{model}` is the model's name.
        no_room: its answer to a prompt where it has no room; None: it always has.
        is_open: whether a path needs no key.
        loading: its answer to everything while it loads, or what it does instead.
        has_metrics_port: whether `/metrics` is on a port of its own.
        can_sleep: whether its model may be put to sleep.
    """

    looks: Callable[[Played], Mapping[str, Answer]]
    prompt: Callable[[Played, Json], Answer]
    prompt_path: str
    no_room: Answer | None
    is_open: Callable[[str], bool] = lambda path: True
    loading: Answer | Loading = Loading.REFUSED
    has_metrics_port: bool = False
    can_sleep: bool = False


def _figures(figures: Mapping[str, float], labels: str = "") -> str:
    """Of Prometheus; labels go to each that has none."""
    named = {(name if "{" in name or not labels else f"{name}{{{labels}}}"): value for name, value in figures.items()}
    return "".join(f"{name} {value}\n" for name, value in named.items())


def _models(played: Played, **more: object) -> Json:
    return {"object": "list", "data": [{"id": played.model, "object": "model", **more}]}


def _completed(played: Played, body: Json) -> Answer:
    if body.get("model", played.model) != played.model:
        return 404, {"error": {"message": f"The model `{body['model']}` does not exist.", "code": 404}}
    return 200, {"object": "text_completion", "model": played.model, "choices": [{"index": 0, "text": " there"}]}


def _vllm(played: Played) -> Mapping[str, Answer]:
    figures = {
        "vllm:num_requests_running": float(played.running),
        "vllm:num_requests_waiting": float(played.queued),
        "vllm:generation_tokens_total": float(played.served),
    }
    labels = f'engine="0",model_name="{played.model}"'
    awake = {"awake": not played.is_asleep, "weights_offloaded": played.is_asleep, "discard_all": False}
    states = {f'vllm:engine_sleep_state{{{labels},sleep_state="{state}"}}': float(on) for state, on in awake.items()}
    return {
        "/health": (200, ""),
        "/v1/models": (200, _models(played)),
        "/metrics": (200, _figures(figures, labels) + _figures(states)),
    }


def _sglang(played: Played) -> Mapping[str, Answer]:
    load = {"dp_rank": 0, "num_running_reqs": played.running, "num_waiting_reqs": played.queued, "token_usage": 0.1}
    return {
        "/ready": (200, ""),
        "/v1/models": (200, _models(played)),
        "/v1/loads": (200, {"version": "0.5.23", "loads": [load]}),
    }


def _tgi(played: Played) -> Mapping[str, Answer]:
    figures = {"tgi_batch_current_size": played.running, "tgi_queue_size": played.queued}
    return {
        "/health": (200, ""),
        "/info": (200, {"model_id": played.model, "version": "3.3.7"}),
        "/metrics": (200, _figures({**figures, "tgi_request_count": played.served})),
    }


def _tei(played: Played) -> Mapping[str, Answer]:
    return {
        "/health": (200, ""),
        "/info": (200, {"model_id": played.model, "version": "1.9.3"}),
        "/metrics": (
            200,
            _figures({"te_queue_size": played.queued, 'te_request_count{method="single"}': played.served}),
        ),
    }


def _llamacpp(played: Played) -> Mapping[str, Answer]:
    figures = {
        "llamacpp:requests_processing": played.running,
        "llamacpp:requests_deferred": played.queued,
        "llamacpp:tokens_predicted_total": played.served,
    }
    return {
        "/health": (200, {"status": "ok"}),
        "/props": (200, {"is_sleeping": played.is_asleep, "total_slots": 4}),
        "/models": (200, _models(played)),
        "/metrics": (200, _figures(figures)),
    }


def _ollama(played: Played) -> Mapping[str, Answer]:
    known = {"name": f"{played.model}:latest", "model": f"{played.model}:latest", "size": 4_000_000_000}
    held = [] if played.is_asleep else [{**known, "size_vram": 4_000_000_000, "expires_at": "2026-11-30T10:00:00Z"}]
    return {
        "/api/version": (200, {"version": "0.33.0"}),
        "/api/ps": (200, {"models": held}),
        "/api/tags": (200, {"models": [known]}),
    }


def _generated(played: Played, body: Json) -> Answer:
    if str(body.get("model")).removesuffix(":latest") != played.model:
        return 404, {"error": f"model '{body.get('model')}' not found"}
    return 200, {"model": body["model"], "response": "Hello", "done": True, "done_reason": "length"}


def _comfyui(played: Played) -> Mapping[str, Answer]:
    in_all = played.running + played.queued
    status = {
        job: "completed" if asked > 1 and not played.is_busy else "in_progress" for job, asked in played.jobs.items()
    }
    jobs: dict[str, Answer] = {f"/api/jobs/{job}": (200, {"id": job, "status": said}) for job, said in status.items()}
    return {"/prompt": (200, {"exec_info": {"queue_remaining": in_all}}), **jobs}


def _queued(played: Played, body: Json) -> Answer:
    graph = body.get("prompt")
    if not isinstance(graph, dict) or not all("class_type" in node for node in graph.values()):
        return 400, {"error": {"type": "invalid_prompt", "message": "a node has no class_type"}, "node_errors": {}}
    job = f"00000000-0000-4000-8000-{len(played.jobs):012}"
    played.jobs[job] = 0
    return 200, {"prompt_id": job, "number": len(played.jobs), "node_errors": {}}


def _triton(played: Played) -> Mapping[str, Answer]:
    labels = f'model="{played.model}",version="1"'
    figures = {"nv_inference_pending_request_count": played.queued, "nv_inference_request_success": played.served}
    state = "LOADING" if played.is_loading else "READY"
    not_ready: Answer = 400, {"error": "Model version not ready"}
    return {
        f"/v2/models/{played.model}/ready": not_ready if played.is_loading else (200, ""),
        "POST /v2/repository/index": (200, [{"name": played.model, "version": "1", "state": state}]),
        "/metrics": (200, _figures(figures, labels)),
    }


def _inferred(played: Played, body: Json) -> Answer:
    if not isinstance(body.get("inputs"), list):
        return 400, {"error": "Unable to parse 'inputs': JSON array was expected"}
    output = {"name": "OUTPUT0", "datatype": "FP32", "shape": [1], "data": [0.5]}
    return 200, {"model_name": played.model, "model_version": "1", "outputs": [output]}


def _rayserve(played: Played) -> Mapping[str, Answer]:
    labels = 'application="default",deployment="Model"'
    figures = {
        "ray_serve_replica_processing_queries": played.running,
        "ray_serve_deployment_queued_queries": played.queued,
        'ray_serve_num_http_requests_total{route="/",status_code="200"}': played.served,
        'ray_serve_num_http_requests_total{route="/-/healthz",status_code="200"}': 62,
    }
    replicas = {} if played.is_loading else {"ray_serve_deployment_replica_healthy": 1}
    return {"/-/healthz": (200, "success"), "/metrics": (200, _figures({**figures, **replicas}, labels))}


def _infinity(played: Played) -> Mapping[str, Answer]:
    # Its count of texts falls to 0 while requests still wait.
    stats = {"queue_fraction": 0.0, "queue_absolute": played.queued, "results_pending": 0, "batch_size": 32}
    return {"/health": (200, {"unix": 1_790_000_000.0}), "/models": (200, _models(played, stats=stats))}


def _bentoml(played: Played) -> Mapping[str, Answer]:
    in_all = played.running + played.queued
    figures = {
        'bentoml_service_request_in_progress{endpoint="/predict"}': float(in_all),
        'bentoml_service_request_total{endpoint="/predict",http_response_code="200"}': float(played.served),
    }
    return {"/readyz": (200, "\n"), "/metrics": (200, _figures(figures))}


def _begins(*paths: str) -> Callable[[str], bool]:
    return lambda path: path.startswith(paths)


def _litserve(played: Played) -> Mapping[str, Answer]:
    return {"/health": (200, "ok")}


def _embedded(played: Played, body: Json) -> Answer:
    return 200, {"object": "list", "model": played.model, "data": [{"index": 0, "embedding": [0.1, -0.2, 0.3]}]}


def _echoed(played: Played, body: Json) -> Answer:
    return 200, {"output": body}


UNHEALTHY: Answer = 503, {"error": "unhealthy", "error_type": "healthcheck"}
OVERLOADED: Answer = 429, {"error": "Model is overloaded", "error_type": "overloaded"}
LOADING: Answer = 503, {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}

MANNERS: Mapping[str, Manner] = {
    # 0.33.0
    "vllm": Manner(
        _vllm, _completed, "/v1/completions", (503, {"error": {"message": "queue is full"}}),
        is_open=lambda path: not path.startswith("/v1"), can_sleep=True,
    ),
    # 0.5.23
    "sglang": Manner(
        _sglang, _completed, "/v1/completions", (503, {"message": "The request queue is full."}),
        is_open=_begins("/health", "/ready", "/metrics"), loading=(503, ""),
    ),
    # 3.3.7
    "tgi": Manner(
        _tgi, lambda played, body: (200, {"generated_text": " there"}), "/generate",
        OVERLOADED,
        is_open=lambda path: path != "/generate", loading=UNHEALTHY,
    ),
    # 1.9.3
    "tei": Manner(
        _tei, lambda played, body: (200, [[0.1, -0.2, 0.3]]), "/embed",
        OVERLOADED,
        is_open=_begins("/health", "/metrics"), loading=UNHEALTHY,
    ),
    # b11434
    "llamacpp": Manner(
        _llamacpp, lambda played, body: (200, {"content": " there", "model": played.model}), "/completion", LOADING,
        is_open=_begins("/health"), loading=LOADING, can_sleep=True,
    ),
    # 0.33.0-rc2
    "ollama": Manner(
        _ollama, _generated, "/api/generate",
        (503, {"error": "server busy, please try again.  maximum pending requests exceeded"}),
        loading=Loading.LOOKS, can_sleep=True,
    ),
    # 0.8.0; it always has room
    "comfyui": Manner(_comfyui, _queued, "/prompt", None),
    # 2.51.0, with models loaded by request
    "triton": Manner(
        _triton, _inferred, "/v2/models/{model}/infer",
        (503, {"error": "[request id: <id_unknown>] Exceeds maximum queue size"}),
        loading=Loading.LOOKS, has_metrics_port=True,
    ),
    # 0.2.19
    "litserve": Manner(
        _litserve, _echoed, "/predict", (504, {"detail": "Request timed out"}),
        is_open=lambda path: False, loading=(503, "not ready"),
    ),
    # 2.60.0
    "rayserve": Manner(
        _rayserve, _echoed, "/", (503, "Request dropped due to backpressure (num_queued_requests=2)."),
        loading=Loading.LOOKS, has_metrics_port=True,
    ),
    # 0.0.78
    "infinity": Manner(
        _infinity, _embedded, "/embeddings", (429, {"error": {"message": "model m is currently overloaded"}}),
        is_open=_begins("/health", "/metrics"),
    ),
    # 1.4.40
    "bentoml": Manner(_bentoml, _echoed, "/predict", (429, {"error": "Too many requests"}), loading=Loading.HANGS),
}  # fmt: skip
