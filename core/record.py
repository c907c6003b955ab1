"""The record of one turn: what was seen, decided and meant, chained to the one before it by hash.

A record that sees what an earlier one saw names that one's section instead of storing it again. The memory that a
decision started from is always the memory that the record before it ended with, so it is stored once. Of what is large
and differs in little only the change is stored (`core.sections`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from ebbflow.core.canonical import Plain, decode, encode, spell
from ebbflow.core.errors import RecordError
from ebbflow.core.member import Demand, MemberList, PushMemberList
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, MasterLook, ProviderLook, TurnFacts
from ebbflow.core.plan import Plan
from ebbflow.core.record_formats import master_section
from ebbflow.core.sections import Base, Section, is_of_hash, store_parts

FORMAT = 3
READABLE = (1, 2, 3)
MEMORY = "memory"
PROVIDER = "provider:"

ONLY_PUSHED = frozenset(each.name for each in fields(PushMemberList)) - {each.name for each in fields(MemberList)}
"""Fields of members that are pushed into their master."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where a record hangs: the one before it, by number, artifact and hash."""

    number: int
    artifact_id: str
    sha256: str
    broken: str = ""
    """Why its memory could not be used: it was missing, or was edited. Empty where all is well."""


@dataclass(frozen=True, slots=True)
class Record:
    """One turn. Its canonical text is what the claim's hash covers."""

    fleet: str
    home: str
    chain: str
    number: int
    flow: str
    """`autoscale`, `scale_up`, `scale_down` or `override`."""
    flow_run_id: str
    turn: TurnFacts
    sections: Mapping[str, Section]
    """`fleet`, `master`, `demand`, `members`, `idle`, and one `provider:<place>:<block>` each, numbered in order."""
    plan: Plan
    memory: Memory
    """As this turn leaves it."""
    previous: Link | None = None
    memory_by: Section | None = None
    """How the memory is stored; None: in full."""
    format: int = field(default=FORMAT)

    def text(self) -> str:
        """The canonical JSON that is stored and hashed."""
        plain = encode(self if self.memory_by is None else replace(self, memory=Memory()))
        assert isinstance(plain, dict)
        if self.memory_by is not None:
            del plain["memory"]
        return spell({**plain, "format": self.format})

    @property
    def base_id(self) -> str | None:
        """The artifact of the record that its changes are of; None: it stores no change."""
        parts = (self.memory_by, *self.sections.values())
        return next((part.artifact_id for part in parts if part is not None and part.change is not None), None)


def parse_record(text: str, base: Base | None = None) -> Record:
    """Read a record back.

    Args:
        text: of the record.
        base: the record that its memory leans on; None: there is none any more, or none is needed.

    Raises:
        RecordError: names what is wrong with the text, or what it leans on that is gone or was edited.
    """
    plain = _read(text)
    if "memory_by" in plain:
        plain |= {"memory": _memory(plain, base)}
    try:
        return decode(Record, plain)
    except RecursionError as error:
        raise RecordError("record is nested too deeply") from error


def memory_leans_on(text: str) -> str | None:
    """The artifact of the record without which the memory of this one cannot be read; None: it needs none."""
    try:
        stored = _read(text).get("memory_by")
    except RecordError:
        return None
    held_by = stored.get("artifact_id") if isinstance(stored, dict) else None
    return held_by if isinstance(held_by, str) else None


def parse_base(text: str, artifact_id: str) -> Base:
    """What a record holds in full.

    Raises:
        RecordError: names what is wrong with the text.
    """
    plain = _read(text)
    number, sections = plain.get("number"), plain.get("sections")
    if type(number) is not int or not isinstance(sections, dict):
        raise RecordError("record has no number and sections")
    held = {name: part["value"] for name, part in sections.items() if isinstance(part, dict) and "value" in part}
    return Base(number, artifact_id, held | ({MEMORY: plain["memory"]} if "memory" in plain else {}))


def _read(text: str) -> dict[str, Plain]:
    try:
        plain: Plain = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise RecordError(f"record is not JSON: {error}") from error
    if not isinstance(plain, dict) or plain.get("format") not in READABLE:
        found = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
        *others, last = map(str, READABLE)
        raise RecordError(f"record has format {found!r}, this version reads {', '.join(others)} and {last}")
    return plain


def _memory(plain: Mapping[str, Plain], base: Base | None) -> Plain:
    stored = decode(Section, plain["memory_by"], where="record.memory_by")
    if "memory" in plain:
        raise RecordError("record has its memory twice")
    if base is None or base.artifact_id != stored.artifact_id:
        raise RecordError(f"its memory leans on artifact {stored.artifact_id}, which is gone or cannot be read")
    try:
        memory = base.value(MEMORY, stored)
    except RecordError as error:
        raise RecordError(f"its memory cannot be put together: {error}") from error
    if not is_of_hash(memory, stored.sha256):
        raise RecordError(
            f"its memory does not fit its hash: artifact {base.artifact_id}, on which it leans, was edited"
        )
    return memory


def make_record(
    inputs: Inputs,
    *,
    fleet: Plain,
    plan: Plan,
    memory: Memory,
    flow: str,
    flow_run_id: str,
    before: "Record | None",
    link: Link | None,
    base: Base | None = None,
) -> Record:
    """Put a turn into a record.

    Args:
        inputs: what the decision was made from.
        fleet: the fleet's own JSON, so that the decision can be replayed.
        plan: what was decided.
        memory: as this turn leaves it.
        flow: which flow decided.
        flow_run_id: its run.
        before: the record before it, where it could be read.
        link: where that one is.
        base: the record that `before` leans on, or `before` itself where it leans on none; without it nothing is
            stored as a change.
    """
    values = _values(inputs, fleet) | {MEMORY: encode(memory)}
    parts = store_parts(values, number=inputs.number, earlier=_named(before, link), base=base)
    memory_by = parts.pop(MEMORY)
    return Record(
        fleet=inputs.fleet,
        home=inputs.home,
        chain=inputs.chain,
        number=inputs.number,
        flow=flow,
        flow_run_id=flow_run_id,
        turn=inputs.turn,
        sections=parts,
        plan=plan,
        memory=memory,
        previous=link,
        memory_by=memory_by if memory_by.change is not None else None,
    )


def _named(before: Record | None, link: Link | None) -> dict[str, Section]:
    """How the parts of the record before are named from the next one."""
    if before is None or link is None:
        return {}
    parts = {**before.sections, **({MEMORY: before.memory_by} if before.memory_by is not None else {})}
    return {
        name: part if part.artifact_id is not None else Section(part.sha256, None, link.number, link.artifact_id)
        for name, part in parts.items()
    }


def _values(inputs: Inputs, fleet: Plain) -> dict[str, Plain]:
    # Idle seconds change with every look: kept apart, they do not make the list of members new.
    idle = {
        member.master_ref: member.idle_seconds for member in inputs.members.members if member.idle_seconds is not None
    }
    still = replace(
        inputs.members,
        members=tuple(replace(member, idle_seconds=None) for member in inputs.members.members),
    )
    values = {
        "fleet": encode(fleet),
        "master": encode(inputs.master),
        "demand": encode(inputs.demand),
        "members": encode(still),
        "idle": encode(idle),
    }
    for place, look in enumerate(inputs.providers):
        values[f"{PROVIDER}{place}:{look.provider}"] = encode(look)
    return values


def restore_inputs(record: Record, values: Mapping[str, Plain], memory: Memory) -> Inputs:
    """Build the inputs of a stored decision again.

    Args:
        record: the record of the decision.
        values: its sections in full, by name.
        memory: as the record before it left it; an empty one for the first of a chain.

    Raises:
        RecordError: a section does not fit its hash, or cannot be read.
    """
    if missing := {"fleet", "master", "demand", "members", "idle"} - set(record.sections):
        raise RecordError(f"record {record.number} of {record.fleet} has no section {sorted(missing)[0]!r}")
    for name, section in record.sections.items():
        if not is_of_hash(values.get(name), section.sha256):
            raise RecordError(f"record {record.number} of {record.fleet}: section {name!r} does not fit its hash")
    idle = decode(dict[str, float], values["idle"], where="idle")
    members = _members(values["members"])
    providers = (name for name in record.sections if name.startswith(PROVIDER))
    looks = sorted(providers, key=lambda name: int(name.split(":")[1]))
    return Inputs(
        fleet=record.fleet,
        home=record.home,
        chain=record.chain,
        number=record.number,
        turn=record.turn,
        demand=decode(Demand, values["demand"], where="demand"),
        members=replace(
            members,
            members=tuple(replace(member, idle_seconds=idle.get(member.master_ref)) for member in members.members),
        ),
        master=decode(MasterLook, master_section(values["master"]), where="master"),
        providers=tuple(decode(ProviderLook, values[name], where=name) for name in looks),
        memory=memory,
    )


def _members(value: Plain) -> MemberList:
    # What is at its default is left out, so that any field of the one kind alone tells it.
    kind = PushMemberList if isinstance(value, dict) and ONLY_PUSHED & value.keys() else MemberList
    return decode(kind, value, where="members")
