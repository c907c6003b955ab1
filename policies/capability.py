"""`capability`: keep the tasks of each kind per worker that can do them between two ratios.

Source: opengris-scaler 1.15.0, `capability` scaling policy: tasks and workers are grouped by capability sets; a kind of
task without a worker that can do it, or with more than 5 tasks per such worker, gets one more; a kind of worker with
fewer than 0.5 tasks each loses one, unless it is the last that can do some task or the rest would call for a start.
In 2.9.0 each kind simply gets n / 5 workers, rounded up. Amounts are compared where the library compares names only.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ebbflow.core.capabilities import fits
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Shape
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want
from ebbflow.core.text import counted
from ebbflow.policies.formulas import opengris_1_15, opengris_2_9
from ebbflow.policies.formulas.averages import latest
from ebbflow.policies.formulas.bands import check_band
from ebbflow.policies.formulas.corrections import Corrections, told
from ebbflow.policies.formulas.needs import (
    MOST,
    Need,
    demand_unknown,
    seconds_since_seen,
    serving,
    spelt,
    unfinished,
    wants,
)
from ebbflow.policies.formulas.opengris_1_15 import UNLIMITED, Group, Start, Stop
from ebbflow.policies.formulas.packing import Packed, pack, unplaced_reasons
from ebbflow.policies.formulas.words import Words

CORRECTIONS = ("count_starting", "compare_amounts", "lend_wanted")


class CapabilityPolicy(BaseModel):
    """Tasks per capable worker, kept between two ratios for each capability set."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    needs_shapes: ClassVar[bool] = True
    """It is refused with a master that does not tell what waiting work requires."""

    kind: Literal["capability"] = "capability"
    upper_task_ratio: Annotated[
        float, Field(gt=0, le=10_000, description="Launch while a kind of task has more per capable worker than this.")
    ] = 5.0
    lower_task_ratio: Annotated[
        float, Field(gt=0, le=10_000, description="Stop idle workers of a kind while they have fewer tasks each.")
    ] = 0.5
    steps_per_turn: Annotated[
        int, Field(ge=1, le=1000, description="How often the rule is applied in one turn; 1 is the library's step.")
    ] = 15
    patience_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=86_400,
            description="How long `lend_wanted` holds: workers that are wanted for one kind of task are counted on for "
            "others too, unless none of what is wanted has come for this long, as when a provider has nothing to give.",
        ),
    ] = 300.0
    used_up: Annotated[
        Words,
        Field(description="Capabilities that running tasks use up: what members of a gang on one worker share."),
    ] = ("cpu", "gpu")
    library: Annotated[
        Literal["1.15.0", "2.9.0"], Field(description="The release of opengris-scaler whose rule is applied.")
    ] = "1.15.0"
    uncorrected: Annotated[
        tuple[Literal["count_starting", "compare_amounts", "lend_wanted"], ...],
        Field(description="Corrections to switch off: there the rule does as its library."),
    ] = ()

    @model_validator(mode="after")
    def _bands_do_not_cross(self) -> Self:
        check_band(self.upper_task_ratio, self.lower_task_ratio)
        return self

    def decide(self, observation: Observation) -> Decision:
        """One want per capability set; a set that is not named is not wanted."""
        if not observation.demand.complete:
            return demand_unknown(self.kind, observation)
        least, packed = self._of_gangs(observation)
        needs = unfinished(_without(observation.demand, (*packed.held, *packed.unplaced)))
        stuck = _stuck_seconds(observation)
        wanted, reasons = told(
            self.kind,
            self.uncorrected,
            CORRECTIONS,
            lambda corrections: self._wanted(
                needs, observation, corrections, shares=corrections.lend_wanted and stuck < self.patience_seconds
            ),
            is_starting=serving(observation) < observation.supply,
        )
        wanted = _together(least, wanted) if least else wanted
        total, supply = sum(want.count for want in wanted), observation.supply
        unfinished_tasks = observation.demand.total
        headline = f"queue {unfinished_tasks}{',' if total == supply else ':'} {counted(total, 'worker')}"
        unplaced = unplaced_reasons(self.kind, packed, "this fleet")
        # Only while something is missing: a fleet at rest remembers nothing.
        remembers = {"supply": (float(supply),), "stuck_seconds": (stuck,)} if total > supply else {}
        return Decision(wanted, headline, (self._explain(needs, wanted, observation), *reasons, *unplaced), remembers)

    def _of_gangs(self, observation: Observation) -> tuple[tuple[Want, ...], Packed]:
        """How many workers of each kind whole gangs need; the library knows none, and a ratio makes none whole."""
        supply = [worker for worker in observation.workers if worker.is_supply]
        packed = pack(
            (shape for shape in observation.demand.shapes if shape.gang > 1),
            [worker.capabilities if worker.free is None else worker.free for worker in supply],
            can_launch=observation.can_launch,
            used_up=tuple(dict.fromkeys((*self.used_up, *observation.demand.used_up))),
        )
        taken = [worker.capabilities for worker, unused in zip(supply, packed.unused, strict=True) if not unused]
        return wants([*taken, *packed.new]), packed

    def _wanted(
        self, needs: tuple[Need, ...], observation: Observation, corrections: Corrections, *, shares: bool
    ) -> tuple[Want, ...]:
        if self.library == "2.9.0":
            asked = opengris_2_9.targets(needs, upper=self.upper_task_ratio, corrections=corrections)
            return tuple(Want(want.capabilities, min(want.count, MOST)) for want in asked)
        present = [
            Group(worker.worker_id, worker.capabilities, connected=int(worker.state is WorkerState.READY))
            for worker in observation.workers
            if worker.is_supply
        ]
        fresh: list[Group] = []
        rounds = 0
        for need in _most_demanding_first(needs):
            counted = [*present, *(fresh if shares else ())]
            started = self._started(need, counted, len(fresh), corrections)
            rounds = max(rounds, len(started))
            fresh += started
        groups = [*present, *fresh]
        # The library stops only in a round without a start.
        for _ in range(self.steps_per_turn - rounds):
            gone = {
                command.group for command in self._commands(needs, groups, corrections) if isinstance(command, Stop)
            }
            if not gone:
                break
            groups = [group for group in groups if group.name not in gone]
        return wants(group.capabilities for group in groups)

    def _started(self, need: Need, counted: list[Group], before: int, corrections: Corrections) -> list[Group]:
        """What the rule starts for one kind of task in a turn."""
        started: list[Group] = []
        for step in range(self.steps_per_turn):
            commands = self._commands((need,), [*counted, *started], corrections)
            asked = [command.capabilities for command in commands if isinstance(command, Start)]
            if not asked:
                break
            started += [Group(f"+{before + step}", words, connected=0) for words in asked]
        return started

    def _commands(
        self, needs: tuple[Need, ...], groups: list[Group], corrections: Corrections
    ) -> tuple[opengris_1_15.Command, ...]:
        return opengris_1_15.capability(
            needs,
            [group.capabilities for group in groups if group.connected],
            groups,
            UNLIMITED,
            upper=self.upper_task_ratio,
            lower=self.lower_task_ratio,
            corrections=corrections,
        )

    def _explain(self, needs: tuple[Need, ...], wanted: tuple[Want, ...], observation: Observation) -> Reason:
        tasks = ", ".join(f"{need.count} x {spelt(need.capabilities)}" for need in needs) or "none"
        had = Counter(worker.capabilities for worker in observation.workers if worker.is_supply)
        want = {each.capabilities: each.count for each in wanted}
        workers = ", ".join(
            f"{spelt(words)} {had[words]} -> {want.get(words, 0)}" for words in dict([*had.items(), *want.items()])
        )
        band = f"{self.lower_task_ratio:g} to {self.upper_task_ratio:g} per capable worker"
        if self.library == "2.9.0":
            band = f"one worker per {self.upper_task_ratio:g}"
        return Reason(f"policy.{self.kind}", f"tasks: {tasks}; {band}; workers: {workers or 'none'}")


def _without(demand: Demand, lost: Sequence[Shape]) -> Demand:
    """Demand without gangs for which there is no room."""
    lacking: Counter[Shape] = Counter()
    for shape in lost:
        lacking[replace(shape, count=0)] += shape.count
    shapes = []
    for shape in demand.shapes:
        kind = replace(shape, count=0)
        taken = min(shape.count, lacking[kind])
        lacking[kind] -= taken
        shapes.append(replace(shape, count=shape.count - taken))
    return replace(demand, shapes=tuple(shapes), queued=demand.queued - sum(shape.count for shape in lost))


def _together(least: tuple[Want, ...], wanted: tuple[Want, ...]) -> tuple[Want, ...]:
    """What is needed at least, and of what is wanted that which it does not cover."""
    left = {want.capabilities: want.count for want in least}
    counts = dict(left)
    for want in wanted:
        missing = want.count
        for words in [words for words in left if fits(words, want.capabilities)]:
            covered = min(missing, left[words])
            left[words] -= covered
            missing -= covered
        counts[want.capabilities] = counts.get(want.capabilities, 0) + missing
    return tuple(Want(words, count) for words, count in counts.items() if count)


def _most_demanding_first(needs: tuple[Need, ...]) -> list[Need]:
    """Workers for these can do the work of the others too, so that theirs are counted when all of these are there."""
    return sorted(needs, key=lambda need: -sum(fits(need.capabilities, other.capabilities) for other in needs))


def _stuck_seconds(observation: Observation) -> float:
    """How long workers have been wanted and none has come."""
    before = latest(observation.remembered.get("supply"))
    if before is None or observation.supply > before:
        return 0.0
    return min(86_400.0, (latest(observation.remembered.get("stuck_seconds")) or 0.0) + seconds_since_seen(observation))
