"""A stored decision, decided again from its stored inputs: by its own fleet, or by one with another policy or limits.

The shapes below are what `ebbflow replay --json` prints; a name that is there stays there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from ebbflow.core.canonical import Plain, canonical, encode
from ebbflow.core.errors import ConfigError, FleetError, RecordError
from ebbflow.core.observation import Inputs
from ebbflow.core.plan import Action, Plan
from ebbflow.core.text import one_line
from ebbflow.decision.evaluate import evaluate
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.problems import spelled
from ebbflow.turn.chain_reader import ChainEntry, ChainReader, Past
from ebbflow.turn.differences import Difference, differences
from ebbflow.turn.telling import words

WORDS = frozenset({"text", "short", "headline", "reason"})
"""Fields of a plan that are sentences, which another release may say otherwise."""


@dataclass(frozen=True, slots=True)
class DecisionTold:
    """One decision."""

    headline: str
    wanted: int | None
    """By the policy; None: no opinion."""
    supply: int
    existing: int
    usd_per_hour: float
    actions: tuple[str, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ReplayTold:
    """One record, decided again."""

    record: int
    at_seconds: float
    """When it was recorded: epoch seconds, UTC."""
    format: int
    same: bool
    """The same plan, to the byte."""
    only_words: bool
    """It differs, and only in its sentences: as another release says them."""
    same_actions: bool
    """The same would be done for the same workers, whatever the reasons."""
    differences: tuple[Difference, ...]
    """Of the plans; first as it was stored."""
    remembers: tuple[Difference, ...]
    """Of what the two leave for the next turn."""
    stored: DecisionTold
    again: DecisionTold | None
    """None: it could not be decided again."""
    problem: str = ""
    """Why not."""


@dataclass(frozen=True, slots=True)
class ReplayedTold:
    """Records that were decided again."""

    fleet: str
    is_what_if: bool
    """With another policy or other limits than the fleet's own."""
    turns: int
    same: int
    """Of the turns, with the same plan to the byte."""
    same_actions: int
    """Of the turns, in which the same would be done, whatever the reasons."""
    fewer: str
    """Fewer than were asked for are there; empty: as many are."""
    missing: str
    """Why what came before cannot be read; empty: nothing did, or as many as were asked for are there."""
    replayed: tuple[ReplayTold, ...]
    """Oldest first."""

    @property
    def is_right(self) -> bool:
        """Whether everything could be decided again, and as it was decided, where that is asked."""
        decided = all(each.again is not None for each in self.replayed)
        return decided and not self.missing and (self.is_what_if or self.same == self.turns)


@dataclass(frozen=True, slots=True)
class Change:
    """Another configuration to decide with; empty: the fleet's own."""

    sections: Mapping[str, object] = field(default_factory=dict)
    """By their names in a fleet: `policy`, `limits`."""

    def of(self, fleet: Fleet, inputs: Inputs) -> Fleet:
        """A fleet with these sections in the place of its own.

        Raises:
            ConfigError: what the fleet itself says of them, also of what its master cannot tell.
        """
        if not self.sections:
            return fleet
        try:
            changed = Fleet.model_validate({**fleet.model_dump(mode="json"), **self.sections})
        except ValidationError as error:
            found = error.errors(include_url=False, include_context=False)
            said = (": ".join(filter(None, (spelled(each["loc"]), _said(each["msg"])))) for each in found)
            raise ConfigError(f"fleet {fleet.name!r}: {'; '.join(said)}") from error
        changed.check(inputs.master.caps, {look.provider: look.caps for look in inputs.providers})
        return changed


def _said(message: str) -> str:
    return one_line(message.removeprefix("Value error, "))


async def replay(reader: ChainReader, entry: ChainEntry, change: Change) -> ReplayTold:
    """Decide one record again; one that cannot be is told with why.

    Raises:
        ConfigError: the fleet refuses the change.
    """
    record = entry.record
    try:
        inputs, fleet = await reader.inputs(record), await reader.fleet(record)
    except RecordError as error:
        return _undecided(entry, str(error))
    changed = change.of(fleet, inputs)
    try:
        again = evaluate(inputs, changed)
    except FleetError as error:
        return _undecided(entry, f"it is refused: {error}")
    found = differences(encode(record.plan), encode(again.plan))
    return ReplayTold(
        record=record.number,
        at_seconds=entry.stored_at,
        format=record.format,
        same=canonical(record.plan) == canonical(again.plan),
        only_words=bool(found) and all(_field(each) in WORDS for each in found),
        same_actions=_deeds(record.plan) == _deeds(again.plan),
        differences=found,
        remembers=differences(encode(record.memory), encode(again.memory)),
        stored=_decision(record.plan),
        again=_decision(again.plan),
    )


async def replay_all(
    reader: ChainReader, fleet: str, past: Past, change: Change, *, asked: int, entries: Iterable[ChainEntry]
) -> ReplayedTold:
    """Decide records again.

    Args:
        reader: that has read them.
        fleet: its name.
        past: the records.
        change: another configuration to decide with.
        asked: how many were asked for.
        entries: those of the past, one after the other: whoever hands them out sees how far this is.

    Raises:
        ConfigError: the fleet refuses the change.
    """
    told = tuple([await replay(reader, entry, change) for entry in entries])
    few = "" if len(told) >= asked or past.is_cut else f"there are only {len(told)}"
    return ReplayedTold(
        fleet=fleet,
        is_what_if=bool(change.sections),
        turns=len(told),
        same=sum(each.same for each in told),
        same_actions=sum(each.same_actions for each in told),
        fewer=few,
        missing=f"before record {told[0].record} nothing can be read: {past.broken}" if few and past.broken else "",
        replayed=told,
    )


def _undecided(entry: ChainEntry, problem: str) -> ReplayTold:
    record = entry.record
    return ReplayTold(
        record=record.number,
        at_seconds=entry.stored_at,
        format=record.format,
        same=False,
        only_words=False,
        same_actions=False,
        differences=(),
        remembers=(),
        stored=_decision(record.plan),
        again=None,
        problem=one_line(problem),
    )


def _deeds(plan: Plan) -> list[Action]:
    return [replace(action, reason="") for action in plan.actions]


def _field(difference: Difference) -> str:
    return difference.where.rpartition(".")[2]


def _decision(plan: Plan) -> DecisionTold:
    return DecisionTold(
        headline=plan.headline,
        wanted=plan.wanted,
        supply=plan.supply,
        existing=plan.existing,
        usd_per_hour=plan.usd_per_hour,
        actions=tuple(
            f"{words(action.verb)} {action.worker_id or f'entry {action.member_ref}'}"
            f"{f' at {action.provider}' if action.provider else ''}: {action.reason}"
            for action in plan.actions
        ),
        reasons=tuple(f"{reason.text} ({reason.rule})" for reason in plan.reasons),
    )


def section_of(name: str, given: Plain) -> Mapping[str, object]:
    """One section of a fleet, as a file holds it: by itself, or under its name.

    Raises:
        ConfigError: it is no section.
    """
    inner = given[name] if isinstance(given, dict) and given.keys() == {name} else given
    if not isinstance(inner, dict):
        raise ConfigError(
            f"{name}: {one_line(given, 80)!r} is no section of a fleet; `key: value` lines would be right"
        )
    return {name: inner}
