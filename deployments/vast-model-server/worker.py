"""The vendor's worker software in front of the model server: it checks tickets, measures, and reports to the gateway.

Environment, beside what the vendor's software reads itself: MODEL_PORT, MODEL_LOG, WORKER_HOST (where it listens).
"""

import os

from vastai.serverless.server.worker import (
    BenchmarkConfig,
    HandlerConfig,
    LogActionConfig,
    Worker,
    WorkerConfig,
)


def tokens(payload: dict[str, object]) -> float:
    """Work is counted in tokens, as its clients do by the `cost` of their requests."""
    return float(payload.get("max_tokens", 100))  # type: ignore[arg-type]


def sample() -> dict[str, object]:
    """One request of the benchmark; not streamed, since the benchmark takes a stream for done once it begins."""
    return {"prompt": "How fast is it?", "max_tokens": 50, "stream": False}


worker = Worker(
    WorkerConfig(
        model_server_url="http://127.0.0.1",
        model_server_port=int(os.environ.get("MODEL_PORT", "18000")),
        model_log_file=os.environ["MODEL_LOG"],
        model_healthcheck_url="/health",
        handlers=[
            HandlerConfig(
                route="/generate",
                allow_parallel_requests=True,
                max_queue_time=30.0,
                workload_calculator=tokens,
                benchmark_config=BenchmarkConfig(generator=sample, runs=2, concurrency=4, do_warmup=False),
            )
        ],
        # Lines of the model's own log.
        log_action_config=LogActionConfig(
            on_load=["model loaded"], on_error=["the model server ended", "CUDA error", "out of memory"]
        ),
    )
)

if __name__ == "__main__":
    worker.run(host=os.environ.get("WORKER_HOST", "0.0.0.0"))
