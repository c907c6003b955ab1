"""What a fleet costs while time passes: the one rule of turns, and of sums over their records. Pure."""

from collections.abc import Iterable

from ebbflow.core.observation import Spare
from ebbflow.core.worker import Worker


def usd_spent(seconds: float, workers: Iterable[Worker], spares: Iterable[Spare]) -> float:
    """What a time between two turns cost, as far as prices are known.

    Args:
        seconds: since the earlier turn began to look: until its claim (`TurnFacts.look_seconds`), and since then, two
            intervals at most (`TurnFacts.elapsed_seconds`).
        workers: as the earlier turn left them; those that may exist cost.
        spares: instances that are no workers, as the later turn found them.
    """
    priced = sum(worker.usd_per_hour or 0.0 for worker in workers if worker.may_exist)
    return seconds / 3600.0 * (priced + sum(spare.usd_per_hour or 0.0 for spare in spares))
