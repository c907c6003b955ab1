"""The vendor's `scaler_cluster` of opengris-scaler 1.15, whose workers have the names that they were given.

Run it with the words of that command. Without it `--worker-names` is only counted there, and every worker names itself
`Worker|FIX|<random>|<random>`, so that nobody could tell whose it is. Source: cluster/cluster.py and
worker_adapter/fixed_native.py, 1.15.0.
"""

from itertools import cycle
from typing import Any

from scaler.cluster.cluster import Cluster
from scaler.config.section.cluster import ClusterConfig
from scaler.utility.event_loop import register_event_loop
from scaler.worker_adapter import fixed_native


def main() -> None:
    """Be `scaler_cluster`."""
    config = ClusterConfig.parse("Scaler Standalone Compute Cluster", "cluster")
    register_event_loop(config.event_loop)
    names, worker = cycle(config.worker_names.names), fixed_native.Worker

    def named(**settings: Any) -> Any:
        return worker(**{**settings, "name": next(names)})

    fixed_native.Worker = named
    Cluster(config).run()


if __name__ == "__main__":
    main()
