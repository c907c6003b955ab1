"""How the workers of a fleet are known to a scheduler, which tells nothing of them but their names. Pure.

2.9 keeps the id of the manager that each came under only while that manager speaks, and 1.15 keeps no managers, so that
everything stands in the names: `Worker|<worker id>+<home>+<capability>...|<random>`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ebbflow.core.capabilities import amounts, capability_set
from ebbflow.core.errors import ConfigError
from ebbflow.core.ids import parse_worker_id

MANAGER = "ebbflow"
"""How the id of a manager of ours begins; fleet and home follow."""
BETWEEN = "+"


@dataclass(frozen=True, slots=True)
class Known:
    """What a name tells."""

    worker_id: str = ""
    """Ours; empty: it is none of ours."""
    manager: str = ""
    """The id of the manager under which it came; empty: unknown."""
    capabilities: tuple[str, ...] = ()


def manager_id(fleet: str, home: str) -> str:
    """Under which the workers of a fleet are known to the scheduler."""
    return f"{MANAGER}.{fleet}.{home}"


def name_of(worker_id: str, home: str, capabilities: Sequence[str]) -> str:
    """What the name of a worker begins with, behind `Worker|`."""
    return BETWEEN.join((worker_id, home, *capabilities))


def known_by(name: str, managed: Mapping[str, str]) -> Known:
    """Whose a worker is.

    Args:
        name: as the scheduler lists it, with its random ends.
        managed: names to the ids of managers, where the scheduler keeps them.
    """
    parts = name.split("|")
    if len(parts) < 3 or parts[0] != "Worker":
        return Known(manager=managed.get(name, ""))
    worker_id, *more = parts[1].split(BETWEEN)
    identified = parse_worker_id(worker_id)
    if identified is None:
        return Known(manager=managed.get(name, ""))
    if not more:
        return Known(worker_id, managed.get(name, ""))
    try:
        able = capability_set(amounts(more[1:]))
    except ConfigError:
        # Whoever started it by hand may have written anything.
        able = ()
    return Known(worker_id, manager_id(identified.fleet, more[0]), able)


def group_of(worker_id: str, home: str) -> str:
    """The id of the group that a worker of 1.15 is."""
    return f"{worker_id}{BETWEEN}{home}"
