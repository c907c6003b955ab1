"""The parts of a record: in full, by the record that holds the same, or as the change of what another one holds.

A large part that differs in little is stored as its change. All changes of a record are of parts of one other, its
base, which holds them in full, so that reading one needs one more; and never of a change. When they are no longer
small, or the base is old, the record holds all large parts in full, and is the base of those that follow. Of a part
that stays the same it holds a copy of its own now and then.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import cast

from ebbflow.core.canonical import Plain, digest, spell
from ebbflow.core.changes import change_between, with_change
from ebbflow.core.errors import RecordError

LARGE = 4000
"""Characters from which on a part is stored as a change. A fleet of ten workers has none so large."""
QUIET, MOVING = 32, 8
"""Changes are small while they are together no more than one in so many characters of all large parts: few, once they
hardly grow any more, and more while they do, since those against a new base would grow as well."""
HARDLY = 16
"""They hardly grow where no more than one in so many characters came with the last record."""
MOST_RECORDS = 240
"""No record leans on one so many before it: servers forget what is old, and nobody could read what leans on that."""


@dataclass(frozen=True, slots=True)
class Section:
    """One part of a record: in full, by the record that holds the same in full, or as the change of what one holds."""

    sha256: str
    """Of the canonical JSON of the value."""
    value: object = None
    number: int | None = None
    """The record that holds the value, or what the change is of, where this one does not."""
    artifact_id: str | None = None
    change: object = None
    """From what that record holds to the value (`core.changes`); None: it holds the value itself."""


@dataclass(frozen=True, slots=True)
class Base:
    """What a record holds in full."""

    number: int
    artifact_id: str
    values: Mapping[str, Plain]
    """By name; what it stores in another way is not among them."""

    def value(self, name: str, section: Section) -> Plain:
        """A part of another record that leans on this one; its hash is not compared here.

        Raises:
            RecordError: this one does not hold it in full, or the change is of something else.
        """
        if name not in self.values:
            raise RecordError(f"record {self.number} has no section {name!r} to lean on")
        held = self.values[name]
        return held if section.change is None else with_change(held, cast(Plain, section.change))


@dataclass(frozen=True, slots=True)
class _Part:
    section: Section
    length: int
    """Characters of its value."""
    stored: int
    """Characters that its record stores of it."""

    @property
    def is_large(self) -> bool:
        return self.length >= LARGE


def store_parts(
    values: Mapping[str, Plain], *, number: int, earlier: Mapping[str, Section], base: Base | None
) -> dict[str, Section]:
    """How a record stores its parts.

    Args:
        values: the parts in full, by name.
        number: of the record.
        earlier: how the parts of the record before are named from here: none of them in full.
        base: whose parts changes may be of; None: nobody's.
    """
    young = {name: part for name, part in earlier.items() if number - (part.number or 0) < MOST_RECORDS}
    parts = {name: _part(value, young.get(name), base, name) for name, value in values.items()}
    large = {name: part for name, part in parts.items() if part.is_large}
    is_left = base is not None and (number - base.number >= MOST_RECORDS or not _are_small(large.values(), earlier))
    return {
        name: Section(part.section.sha256, values[name]) if is_left and name in large else part.section
        for name, part in parts.items()
    }


def _are_small(large: Collection[_Part], earlier: Mapping[str, Section]) -> bool:
    stored = sum(part.stored for part in large)
    before = sum(map(_told, earlier.values()))
    share = QUIET if HARDLY * (stored - before) <= stored else MOVING
    return share * stored <= sum(part.length for part in large)


def _part(value: Plain, earlier: Section | None, base: Base | None, name: str) -> _Part:
    text = spell(value)
    sha256, length = digest(text), len(text)
    if earlier is not None and earlier.sha256 == sha256:
        return _Part(earlier, length, _told(earlier))
    whole = _Part(Section(sha256, value), length, length)
    if base is None or not whole.is_large or name not in base.values:
        return whole
    change = change_between(base.values[name], value)
    changed = Section(sha256, None, base.number, base.artifact_id, change)
    return min(whole, _Part(changed, length, _told(changed)), key=lambda part: part.stored)


def _told(section: Section) -> int:
    """Characters of its change."""
    return 0 if section.change is None else len(spell(cast(Plain, section.change)))


def is_of_hash(value: Plain, sha256: str) -> bool:
    """Whether this is the value that a section was made of."""
    try:
        return digest(spell(value)) == sha256
    except (ValueError, TypeError, RecursionError):
        return False
