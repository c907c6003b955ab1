"""A driver that takes turns by counts alone, where a policy reads no more and no other rule has a say.

Nearly all turns of a simulation come to nothing: nobody comes and nobody goes. A policy that says how it answers a
course of turns (`core.ports.Counting`) is then asked by the numbers of the world, and keeps what it remembers as it has
it. Whatever it wants otherwise goes the way of all decisions, and every other turn is its base's from beginning to end.
"""

from ebbflow.core.plan import Decision
from ebbflow.core.ports import Counting, Course
from ebbflow.decision.decide import decide
from ebbflow.decision.guard import checked
from ebbflow.fleet.model import Fleet
from ebbflow.policies.formulas.needs import any_workers
from ebbflow.simulation.policy_driver import PolicyDriver
from ebbflow.simulation.seen_counts import SeenCounts
from ebbflow.simulation.seen_crew import SeenCrew
from ebbflow.simulation.world import Soon, World


class QuickDriver(PolicyDriver):
    """Decides as its base does where it is brief, and is quicker at it."""

    _examined: Fleet | None = None
    """The fleet for which this holds:"""
    _counting: Counting | None = None
    """Its policy, where that and the fleet's rules read no more than counts."""
    _course: Course | None = None
    """As far as it has come; None: what it remembers is with the base."""

    def tick(self, world: World) -> Soon | None:
        """Observe, decide and act."""
        if self._examined is not self._fleet:
            self._hand_back()
            self._examine(world)
        if self._counting is None or not self._is_plain(world):
            self._hand_back()
            return super().tick(world)
        if self._course is None:
            self._course = self._counting.course(self._policy_memory)
        self._see_ready(world)
        seen = self._counts
        seen.look(0.0 if self._decided_at is None else world.now - self._decided_at)
        try:
            wanted = self._course.wanted(seen)
        # Whatever a policy raises is for the guard to tell, in this turn and in all that follow.
        except Exception:
            self._hand_back()
            self._counting = None
            return super().tick(world)
        seconds = self._time_passed(world)
        self._age(world, seconds)
        if wanted == seen.supply and self._least <= wanted <= self._most:
            self._leave(world, seconds)
        else:
            self._change(world, seconds, Decision(any_workers(wanted), "unsaid", (), self._course.remembers))
        return self._soon(world)

    def _is_plain(self, world: World) -> bool:
        """Whether this turn is one of whose workers and circumstances there is nothing to say but counts."""
        return (
            not world.stopped
            and not self.refused
            and not self._overrides
            and not self._marks
            and SeenCrew.suits(world, self._fleet.readiness.launch_timeout_seconds)
        )

    def _examine(self, world: World) -> None:
        fleet, policy = self._fleet, self._fleet.policy
        self._examined, self._counting = fleet, None
        self._least = fleet.limits.min_workers
        # Nobody retires whose provider may hold all that there are.
        self._most = min([fleet.limits.max_workers, *(entry.max_workers for entry in fleet.providers)])
        has_other_rules = fleet.schedules or fleet.placement.return_below_ratio is not None or world.trace.requires
        if self._is_brief and not has_other_rules and isinstance(policy, Counting) and _is_one(type(policy)):
            self._counting, self._counts = policy, SeenCounts(world)

    def _hand_back(self) -> None:
        if self._course is not None:
            self._policy_memory, self._course = self._course.remembers, None

    def _leave(self, world: World, seconds: float) -> None:
        """A turn that comes to nothing."""
        if world.ready_since_tick or world.failed_since_tick:
            self._providers_after(world, seconds, SeenCrew(world, self._blocks))
        else:
            self._unaged_seconds += seconds

    def _change(self, world: World, seconds: float, answer: Decision) -> None:
        """A turn that may come to something: limits and placement have their say."""
        observation = self._observation(world)
        decided = decide(
            observation,
            self._shared(self._providers_after(world, seconds, observation.workers)),
            self._fleet,
            self._circumstances(world, ()),
            answer=checked(self._fleet.policy.kind, answer, observation),
        )
        self._note(world, decided)
        self.act(world, decided)
        self._look_away(decided)


def _is_one(kind: type) -> bool:
    """Whether nobody has changed how a policy decides and left how it answers a course of turns as it was."""
    decides, answers = (
        next(place for place, base in enumerate(kind.__mro__) if name in vars(base)) for name in ("decide", "course")
    )
    return answers <= decides
