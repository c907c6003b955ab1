"""The record of one turn: what was seen, decided and meant, chained to the one before it by hash.

A record that sees what an earlier one saw names that one's section instead of storing it again. The memory that a
decision started from is always the memory that the record before it ended with, so it is stored once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from ebbflow.core.canonical import Plain, canonical, decode, digest, encode, spell
from ebbflow.core.errors import RecordError
from ebbflow.core.member import Demand, MemberList, PushMemberList
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, MasterLook, ProviderLook, TurnFacts
from ebbflow.core.plan import Plan
from ebbflow.core.record_formats import master_section

FORMAT = 2
READABLE = (1, 2)
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
class Section:
    """One part of the inputs: in full, or by the record that holds the same in full."""

    sha256: str
    """Of the canonical JSON of the value."""
    value: object = None
    number: int | None = None
    """The record that holds the value, where this one does not."""
    artifact_id: str | None = None


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
    format: int = field(default=FORMAT)

    def text(self) -> str:
        """The canonical JSON that is stored and hashed."""
        plain = encode(self)
        assert isinstance(plain, dict)
        return spell({**plain, "format": self.format})


def parse_record(text: str) -> Record:
    """Read a record back.

    Raises:
        RecordError: names what is wrong with the text.
    """
    try:
        plain: Plain = json.loads(text)
    except ValueError as error:
        raise RecordError(f"record is not JSON: {error}") from error
    if not isinstance(plain, dict) or plain.get("format") not in READABLE:
        found = plain.get("format") if isinstance(plain, dict) else type(plain).__name__
        raise RecordError(f"record has format {found!r}, this version reads {' and '.join(map(str, READABLE))}")
    return decode(Record, plain)


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
    """
    earlier = before.sections if before is not None else {}
    return Record(
        fleet=inputs.fleet,
        home=inputs.home,
        chain=inputs.chain,
        number=inputs.number,
        flow=flow,
        flow_run_id=flow_run_id,
        turn=inputs.turn,
        sections={name: _section(value, earlier.get(name), link) for name, value in _values(inputs, fleet).items()},
        plan=plan,
        memory=memory,
        previous=link,
    )


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


def _section(value: Plain, known: Section | None, link: Link | None) -> Section:
    sha256 = digest(spell(value))
    if known is None or link is None or known.sha256 != sha256:
        return Section(sha256, value)
    if known.number is not None:
        return known
    return Section(sha256, None, link.number, link.artifact_id)


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
        if digest(canonical(values.get(name))) != section.sha256:
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
