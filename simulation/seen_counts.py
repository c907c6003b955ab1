"""The numbers of one turn as the world counts them, where no rule looks at anything else."""

from ebbflow.simulation.virtual_worker import Phase
from ebbflow.simulation.world import World


def joining_seconds(world: World) -> list[float]:
    """For how long each that boots has done so, in order of launch."""
    return [world.now - worker.launched_at for worker in world.joining.values()]


def fresh(world: World, seconds: float) -> int:
    """How many have begun to serve within this time, as far as turns have seen."""
    now, ready = world.now, Phase.READY
    return sum(worker.phase is ready and now - worker.seen_ready_at < seconds for worker in world.alive.values())


def rested(world: World, seconds: float) -> int:
    """How many have been idle for so long at least."""
    now, workers = world.now, world.workers
    return sum([now - workers[number].idle_since >= seconds for number in world.idle])


def eased(world: World, seconds: float) -> int:
    """How many have gone idle within this time, by having worked before."""
    now, workers = world.now, world.workers
    return sum(
        now - workers[number].idle_since < min(seconds, now - workers[number].seen_ready_at) for number in world.idle
    )


class SeenCounts:
    """What an `Observation` of the same turn would count (`core.observation.Counted`); one object for all turns."""

    __slots__ = (
        "_counts_requests",
        "_world",
        "arrived",
        "demand",
        "elapsed_seconds",
        "idle",
        "queued",
        "running",
        "served",
        "serving",
        "supply",
        "waiting",
    )

    def __init__(self, world: World) -> None:
        """Look at nothing yet.

        Args:
            world: nobody in it drains or has failed whenever it is looked at.
        """
        self._world = world
        self._counts_requests = world.environment.master.counts_requests
        self.demand = self
        self.arrived: int | None = None
        self.served: int | None = None
        self.look(0.0)

    def look(self, elapsed_seconds: float) -> None:
        """Count anew.

        Args:
            elapsed_seconds: since the turn before.
        """
        world = self._world
        self.elapsed_seconds = elapsed_seconds
        self.queued = self.waiting = len(world.queue)
        self.running = world.running
        self.supply, self.serving, self.idle = len(world.alive), world.ready, len(world.idle)
        if self._counts_requests:
            self.arrived, self.served = world.arrived, world.served

    @property
    def joining_seconds(self) -> list[float]:
        """For how long each that boots has done so."""
        return joining_seconds(self._world)

    def fresh(self, seconds: float) -> int:
        """How many have begun to serve within this time."""
        return fresh(self._world, seconds)

    def rested(self, seconds: float) -> int:
        """How many have been idle for so long at least."""
        return rested(self._world, seconds)

    def eased(self, seconds: float) -> int:
        """How many have gone idle within this time, by having worked before."""
        return eased(self._world, seconds)
