"""Ray Serve. Facts: 2.60.0, RUN.

On its main port only paths under `/-/` are its own: any other may run the application. Its health is good while its
replicas are still on their way; its figures, on the metrics port of the Ray node, are up to ten seconds old.
"""

from collections.abc import Mapping

from ebbflow.gateway.kinds.judging import answered, not_ready, own_prompt, unready
from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Port, Reading, Said, Standing, Wanted
from ebbflow.gateway.kinds.prometheus import samples, whole


class RayServe:
    """Tells with a metrics port whether its replicas are there, what runs and what waits; without one nothing."""

    name = "rayserve"
    key_header = KeyHeader.BEARER
    lag_seconds = 10.0
    usual_port = 8000

    def asks(self, wanted: Wanted) -> Mapping[str, Ask]:
        """Its own health, and the figures of its node."""
        return {"health": Ask("/-/healthz"), "metrics": Ask("/metrics", port=Port.METRICS)}

    def read(self, wanted: Wanted, said: Mapping[str, Said]) -> Reading:
        """Each deployment needs a healthy replica. Without figures its health must do, and the test decides."""
        if (loading := unready(said.get("health"))) is not None:
            return loading
        metrics = said.get("metrics")
        if metrics is None or metrics.status != 200:
            return Reading(Standing.READY)
        if not _has_replicas(metrics):
            return not_ready("its figures tell of no healthy replica, or not of one in each deployment")
        return Reading(
            Standing.READY,
            running=whole(metrics, "ray_serve_replica_processing_queries"),
            queued=whole(metrics, "ray_serve_deployment_queued_queries"),
            served=_served(metrics),
        )

    def test(self, wanted: Wanted) -> Ask | None:
        """The person's own prompt. It hangs until a replica is there."""
        return own_prompt(wanted, "/") if wanted.prompt or wanted.prompt_path else None

    def judge(self, wanted: Wanted, said: Said) -> Judgement:
        """A full queue is 503."""
        return answered(wanted, said)


def _served(metrics: Said) -> float | None:
    every = samples(metrics, "ray_serve_num_http_requests_total")
    # Each look at its health is one of them.
    of_clients = [each.value for each in every if not each.labels.get("route", "").startswith("/-/")]
    return sum(of_clients) if of_clients else None


def _has_replicas(metrics: Said) -> bool:
    healthy: dict[tuple[str | None, str | None], float] = {}
    for each in samples(metrics, "ray_serve_deployment_replica_healthy"):
        deployment = each.labels.get("application"), each.labels.get("deployment")
        healthy[deployment] = healthy.get(deployment, 0.0) + each.value
    return bool(healthy) and all(count >= 1 for count in healthy.values())


KIND: Kind = RayServe()
