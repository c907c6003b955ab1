"""The virtual workers of one turn, counted by the world, and made only where a rule looks at one of them."""

from collections.abc import Mapping

from ebbflow.core.crew import Alike, Counts, Crew
from ebbflow.core.worker import Worker
from ebbflow.simulation import seen
from ebbflow.simulation.virtual_worker import Phase
from ebbflow.simulation.world import World


class SeenCrew(Crew):
    """Everyone boots or serves: nobody has failed, drains, or has booted for too long."""

    __slots__ = ("_blocks", "_world", "is_over")

    def __init__(self, world: World, blocks: tuple[str, ...]) -> None:
        """Show the world as it is now.

        Args:
            world: it must not move on before the turn is over.
            blocks: of its providers, by place.
        """
        self._everyone = None
        self._counts = None
        self._world = world
        self._blocks = blocks
        self.is_over = False
        """The world moves on: who was not looked at is never shown."""

    @staticmethod
    def suits(world: World, launch_timeout_seconds: float) -> bool:
        """Whether everyone is as such a crew has them."""
        if world.failed_since_tick or len(world.alive) != world.booting + world.ready:
            return False
        # Whoever was launched first boots for longest.
        oldest = next(iter(world.joining.values()), None)
        return oldest is None or world.now - oldest.launched_at < launch_timeout_seconds

    @property
    def joining(self) -> tuple[Worker, ...]:
        """Those that boot."""
        self._check()
        now, blocks = self._world.now, self._blocks
        return tuple([seen.joining(worker, blocks[worker.place], now) for worker in self._world.joining.values()])

    def rested(self, seconds: float) -> int:
        """How many have been idle for so long at least."""
        self._check()
        now, workers = self._world.now, self._world.workers
        return sum(now - workers[number].idle_since >= seconds for number in self._world.idle)

    @property
    def free(self) -> tuple[Worker, ...]:
        """Those that are idle."""
        self._check()
        now, blocks, workers = self._world.now, self._blocks, self._world.workers
        idle = [workers[number] for number in self._world.idle]
        return tuple([seen.serving(worker, blocks[worker.place], now) for worker in idle])

    @property
    def alike(self) -> Mapping[Alike, int]:
        """All of them, by their provider: nothing else tells them apart."""
        self._check()
        return {
            Alike(block, None, provider.capabilities, False, bool(provider.usd_per_hour)): there
            for block, provider, there in zip(
                self._blocks, self._world.environment.providers, self._world.there, strict=True
            )
            if there
        }

    def eased(self, seconds: float) -> int:
        """How many have gone idle within this time, by having worked before."""
        self._check()
        now, workers = self._world.now, self._world.workers
        return sum(
            now - workers[number].idle_since < min(seconds, now - workers[number].seen_ready_at)
            for number in self._world.idle
        )

    def _made(self) -> tuple[Worker, ...]:
        self._check()
        now, blocks = self._world.now, self._blocks
        return tuple(
            [
                seen.serving(worker, blocks[worker.place], now)
                if worker.phase is Phase.READY
                else seen.joining(worker, blocks[worker.place], now)
                for worker in self._world.alive.values()
            ]
        )

    def _counted(self) -> Counts:
        self._check()
        world, count = self._world, len(self._world.alive)
        at = {block: there for block, there in zip(self._blocks, world.there, strict=True) if there}
        return Counts(count, world.ready, len(world.idle), count, 0, at, at)

    def _check(self) -> None:
        if self.is_over:
            raise RuntimeError("the workers of a turn were looked at after it, where only its decision may")

    def __len__(self) -> int:
        """How many there are."""
        return self.counts.existing
