"""The gateway's figures for Prometheus, collected when they are asked for."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ebbflow.gateway.desk import Desk

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
"""Within which a route is answered."""


class Metrics:
    """What `/metrics` shows.

    Args:
        desk: where the figures are.
        monotonic: seconds of a clock that only goes on.
    """

    def __init__(self, desk: Desk, monotonic: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Figures(desk, monotonic))
        self._route = Histogram(
            "ebbflow_gateway_route_seconds",
            "Time to answer /route/, from its whole body to its answer.",
            buckets=SECONDS,
            registry=self._registry,
        )

    def routed(self, seconds: float) -> None:
        """A route was answered."""
        self._route.observe(seconds)

    def text(self) -> str:
        """All of them, as Prometheus reads them."""
        return generate_latest(self._registry).decode()


class _Figures(Collector):
    def __init__(self, desk: Desk, monotonic: Callable[[], float]) -> None:
        self._desk, self._monotonic = desk, monotonic

    def collect(self) -> Iterator[Metric]:
        counts = self._desk.counts
        for name, value, words in (
            ("reports", counts.reports, "Reports of workers that were taken."),
            ("bad_reports", counts.bad_reports, "Reports that could not be read."),
            ("forged_reports", counts.forged_reports, "Reports and settlements without our token."),
            ("refused", counts.refused, "Requests of whoever may not."),
            ("crowded", counts.crowded, "Requests beyond what may be asked at once."),
            ("tickets", counts.tickets, "Clients that were sent to a worker."),
            ("waits", counts.waits, "Clients that were told to wait."),
            ("unsaved", counts.unsaved, "Times that the database did not take what it was given."),
        ):
            yield CounterMetricFamily(f"ebbflow_gateway_{name}", words, value=value)
        yield GaugeMetricFamily("ebbflow_gateway_saved", "1 while the database answers.", value=self._desk.is_saved)
        yield from self._of_endpoints()

    def _of_endpoints(self) -> Iterator[Metric]:
        now, label = self._monotonic(), ["endpoint"]
        queued = GaugeMetricFamily("ebbflow_gateway_queued_requests", "Requests that wait.", labels=label)
        queued_units = GaugeMetricFamily("ebbflow_gateway_queued_units", "Their cost.", labels=label)
        oldest = GaugeMetricFamily("ebbflow_gateway_oldest_seconds", "How long the oldest has waited.", labels=label)
        running = GaugeMetricFamily("ebbflow_gateway_in_flight_requests", "Requests at workers.", labels=label)
        running_units = GaugeMetricFamily("ebbflow_gateway_in_flight_units", "Their cost.", labels=label)
        arrived = CounterMetricFamily("ebbflow_gateway_arrived", "Requests, each once.", labels=label)
        served = CounterMetricFamily("ebbflow_gateway_served", "Requests that workers were done with.", labels=label)
        workers = GaugeMetricFamily("ebbflow_gateway_workers", "Workers by state.", labels=["endpoint", "state"])
        perf = GaugeMetricFamily(
            "ebbflow_gateway_units_per_second", "Measured performance of its ready workers.", labels=label
        )
        load = GaugeMetricFamily(
            "ebbflow_gateway_load_seconds", "What its workers usually take to be loaded; absent: unknown.", labels=label
        )
        for endpoint in self._desk.endpoints:
            name, routing = endpoint.row.name, endpoint.routing
            if routing.load_seconds is not None:
                load.add_metric([name], routing.load_seconds)
            queued.add_metric([name], routing.waiting)
            queued_units.add_metric([name], routing.queued)
            oldest.add_metric([name], routing.oldest_seconds(now) or 0.0)
            running.add_metric([name], routing.in_flight_requests)
            running_units.add_metric([name], routing.in_flight)
            arrived.add_metric([name], routing.totals.arrived)
            served.add_metric([name], routing.totals.served)
            perf.add_metric([name], routing.units_per_second)
            for state, count in routing.states().items():
                workers.add_metric([name, state], count)
        yield from (queued, queued_units, oldest, running, running_units, arrived, served, workers, perf, load)
