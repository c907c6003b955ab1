"""The virtual workers of one turn, counted by the world, and made only where a rule looks at one of them."""

from collections import Counter
from collections.abc import Mapping

from ebbflow.core.crew import Alike, Counts, Crew
from ebbflow.core.worker import Worker
from ebbflow.simulation import seen, seen_counts
from ebbflow.simulation.virtual_worker import Phase
from ebbflow.simulation.world import World

NOBODY: tuple[Worker, ...] = ()


class SeenCrew(Crew):
    """Everyone boots or serves, or has just failed: nobody drains, or has booted for too long."""

    __slots__ = ("_blocks", "_world", "existing", "failed", "idle", "is_over", "retiring", "serving", "supply")

    supply: int
    serving: int
    idle: int
    existing: int
    retiring: int

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
        self.supply = self.existing = len(world.alive)
        self.serving, self.idle, self.retiring = world.ready, len(world.idle), 0
        self.failed = NOBODY
        """Those whose launch has failed since the turn before."""
        if world.failed_since_tick:
            failed = world.failed_since_tick
            self.failed = tuple([seen.failed(worker, blocks[worker.place], world.now) for worker in failed])
            self.existing += len(failed)
        self.is_over = False
        """The world moves on: who was not looked at is never shown."""

    @staticmethod
    def suits(world: World, launch_timeout_seconds: float) -> bool:
        """Whether everyone is as such a crew has them."""
        if len(world.alive) != world.booting + world.ready:
            return False
        # Whoever was launched first boots for longest.
        oldest = next(iter(world.joining.values()), None)
        if oldest is not None and world.now - oldest.launched_at >= launch_timeout_seconds:
            return False
        return not world.failed_since_tick or not any(
            world.now - worker.launched_at >= launch_timeout_seconds for worker in world.failed_since_tick
        )

    @property
    def joining(self) -> tuple[Worker, ...]:
        """Those that boot."""
        self._check()
        now, blocks = self._world.now, self._blocks
        return tuple([seen.joining(worker, blocks[worker.place], now) for worker in self._world.joining.values()])

    @property
    def joining_seconds(self) -> list[float]:
        """For how long those have been on their way."""
        self._check()
        return seen_counts.joining_seconds(self._world)

    def fresh(self, seconds: float) -> int:
        """How many have begun to serve within this time."""
        self._check()
        return seen_counts.fresh(self._world, seconds)

    def rested(self, seconds: float) -> int:
        """How many have been idle for so long at least."""
        self._check()
        return seen_counts.rested(self._world, seconds)

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

    @property
    def is_alike(self) -> bool:
        """Whether all are of one provider, that says nothing of what they can do."""
        self._check()
        providers = self._world.environment.providers
        here = [provider for provider, there in zip(providers, self._world.there, strict=True) if there]
        return len(here) == 1 and not here[0].capabilities

    def longest_idle(self, count: int, seconds: float) -> list[tuple[str, float]]:
        """Id and idle seconds of so many at most that have been idle for so long at least, the longest first."""
        self._check()
        now, workers = self._world.now, self._world.workers
        idle = [(workers[number].worker_id, now - workers[number].idle_since) for number in self._world.idle]
        rested = [found for found in idle if found[1] >= seconds]
        rested.sort(key=lambda found: (-found[1], found[0]))
        return rested[: max(0, count)]

    def eased(self, seconds: float) -> int:
        """How many have gone idle within this time, by having worked before."""
        self._check()
        return seen_counts.eased(self._world, seconds)

    def _made(self) -> tuple[Worker, ...]:
        self._check()
        now, blocks = self._world.now, self._blocks
        return (
            tuple(
                [
                    seen.serving(worker, blocks[worker.place], now)
                    if worker.phase is Phase.READY
                    else seen.joining(worker, blocks[worker.place], now)
                    for worker in self._world.alive.values()
                ]
            )
            + self.failed
        )

    def _counted(self) -> Counts:
        self._check()
        world, count = self._world, len(self._world.alive)
        held = {block: there for block, there in zip(self._blocks, world.there, strict=True) if there}
        at = held
        if self.failed:
            at = Counter(held)
            at.update(worker.provider for worker in self.failed)
        return Counts(count, world.ready, len(world.idle), self.existing, 0, at, held)

    def _check(self) -> None:
        if self.is_over:
            raise RuntimeError("the workers of a turn were looked at after it, where only its decision may")

    def __len__(self) -> int:
        """How many there are."""
        return self.existing
