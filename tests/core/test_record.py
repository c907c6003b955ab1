"""A record says what it said, or it is refused: its text is its hash's business to the last character."""

import json
from dataclasses import Field, fields, replace

import pytest

from ebbflow.core.canonical import Plain, canonical, digest
from ebbflow.core.errors import RecordError
from ebbflow.core.instance import Instance, InstanceList, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, Member, MemberList, MemberState, PushMemberList, Room, RoomState
from ebbflow.core.memory import Memory, OverrideKind, RecentClaim
from ebbflow.core.observation import Inputs, ProviderLook, ScaleRequest, TurnFacts
from ebbflow.core.plan import Action, Outcome, Plan, Reason, Result, Verb
from ebbflow.core.record import FORMAT, Link, Record, make_record, parse_record, restore_inputs
from ebbflow.core.sections import Section
from ebbflow.core.worker import Worker
from tests.making import inputs_of

FLEET: Plain = {"name": "sdxl", "limits": {"max_workers": 4}}
MEMORY = Memory(workers=(Worker("sdxl-3f9c-19-0", "local/a", WorkerState.READY),), seconds_since_start=30.0)


def look(provider: str, *instances: Instance) -> ProviderLook:
    return ProviderLook(provider, ProviderCaps(fingerprint=f"host of {provider}"), InstanceList(instances))


def member(index: int, idle_seconds: float | None = None) -> Member:
    return Member(f"sdxl-3f9c-19-{index}", str(index), MemberState.READY, idle_seconds=idle_seconds)


INPUTS = inputs_of(
    fleet="sdxl",
    home="a1b2c",
    chain="3f9c",
    number=46,
    elapsed_seconds=30.0,
    look_seconds=1.5,
    clock_back_seconds=3600.0,
    at_seconds=1_790_000_000.0,
    budget_seconds=24.0,
    demand=Demand(queued=37, running=2),
    members=MemberList((member(0, 12.5), member(1))),
    providers=(
        look("local/b"),
        look("local/a", Instance("sdxl-3f9c-19-0", "4711", InstanceState.RUNNING, "sdxl", "a1b2c")),
    ),
    memory=MEMORY,
    head=RecentClaim(45, "artifact-45", budget_seconds=24.0),
    outcomes=(Outcome(Verb.LAUNCH, "sdxl-3f9c-19-0", "local/a", Result.DONE),),
    noted=(45,),
    manager="deployment-1",
    request=ScaleRequest("run-7", OverrideKind.FLOOR, "ada", "demo", 3600.0, count=3),
    broken="it was edited",
)
PLAN = Plan(
    "queue 37 > 20",
    3,
    2,
    2,
    (Action(Verb.LAUNCH, "sdxl-3f9c-1a-0", "local/a", "queue 37 > 20", usd_per_hour=0.45),),
    (Reason("policy.vanilla", "37 waiting, 2 workers"),),
)
AFTER = replace(MEMORY, seconds_since_start=0.0, seconds_since_stop=12.5)


def record(inputs: Inputs = INPUTS, before: Record | None = None, link: Link | None = None) -> Record:
    return make_record(
        inputs,
        fleet=FLEET,
        plan=PLAN,
        memory=AFTER,
        flow="autoscale",
        flow_run_id=f"run-{inputs.number}",
        before=before,
        link=link,
    )


def follow(before: Record, **changes: object) -> Record:
    """The record of the next turn, which sees what INPUTS shows apart from some changes."""
    inputs = replace(INPUTS, number=before.number + 1, **changes)  # type: ignore[arg-type]  # names are checked by replace
    return record(inputs, before, Link(before.number, f"artifact-{before.number}", digest(before.text())))


FIRST = record()
LATER = follow(FIRST, demand=Demand(queued=12))
RECORDS = [pytest.param(FIRST, id="first"), pytest.param(LATER, id="later")]


@pytest.mark.parametrize("written", RECORDS)
def test_a_record_is_read_back_as_it_was_written(written: Record) -> None:
    text = written.text()
    assert parse_record(text) == written
    assert parse_record(text).text() == text


@pytest.mark.parametrize("written", RECORDS)
def test_the_text_always_says_its_format(written: Record) -> None:
    assert json.loads(written.text())["format"] == FORMAT


def test_a_record_says_who_decided_and_what_came_before() -> None:
    assert (LATER.fleet, LATER.home, LATER.chain, LATER.number) == ("sdxl", "a1b2c", "3f9c", 47)
    assert (LATER.flow, LATER.flow_run_id) == ("autoscale", "run-47")
    assert LATER.previous == Link(46, "artifact-46", digest(FIRST.text()))
    assert FIRST.previous is None


EDITS: dict[str, Record] = {
    "fleet": replace(LATER, fleet="sdxm"),
    "home": replace(LATER, home="a1b2d"),
    "chain": replace(LATER, chain="3f9d"),
    "number": replace(LATER, number=48),
    "flow": replace(LATER, flow="scale_down"),
    "flow_run_id": replace(LATER, flow_run_id="run-48"),
    "turn": replace(LATER, turn=replace(LATER.turn, elapsed_seconds=30.001)),
    "sections": replace(LATER, sections={"demand": LATER.sections["demand"]}),
    "plan": replace(LATER, plan=replace(LATER.plan, wanted=4)),
    "memory": replace(LATER, memory=replace(LATER.memory, seconds_since_stop=None)),
    "previous": replace(LATER, previous=None),
    "memory_by": replace(LATER, memory_by=Section("0" * 64, None, 46, "artifact-46", {})),
    "format": replace(LATER, format=FORMAT + 1),
}


@pytest.mark.parametrize("name", [field.name for field in fields(Record)])
def test_an_edit_of_any_field_changes_the_hash(name: str) -> None:
    assert getattr(EDITS[name], name) != getattr(LATER, name)
    assert digest(EDITS[name].text()) != digest(LATER.text())


def test_an_edit_deep_inside_changes_the_hash() -> None:
    (worker,) = LATER.memory.workers
    deep = replace(LATER, memory=replace(LATER.memory, workers=(replace(worker, attempts=1),)))
    assert digest(deep.text()) != digest(LATER.text())


def edited(**changes: Plain) -> str:
    return canonical(json.loads(LATER.text()) | changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "record is not JSON"),
        ("{", "record is not JSON"),
        ("[]", "record has format 'list', this version reads 1, 2 and 3"),
        ("null", "record has format 'NoneType', this version reads 1, 2 and 3"),
        ("{}", "record has format None, this version reads 1, 2 and 3"),
        (edited(format=4), "record has format 4, this version reads 1, 2 and 3"),
        (edited(format="1"), "record has format '1', this version reads 1, 2 and 3"),
        ('{"format":1}', "record: .*missing"),
        (edited(mood="fine"), "record: unknown field 'mood'"),
        (edited(memory={"mood": "fine"}), "record.memory: unknown field 'mood'"),
        (edited(turn={"mood": "fine"}), "record.turn: unknown field 'mood'"),
        (edited(number="46"), "record.number: '46' is not int"),
        (edited(plan=None), "record.plan: 'None' is not an object"),
        (edited(sections={"demand": {}}), "record.sections.demand: .*missing"),
        (edited(previous={"number": 45}), "record.previous: .*missing"),
    ],
)
def test_a_text_that_is_not_a_record_of_ours_is_refused_with_the_place(text: str, message: str) -> None:
    with pytest.raises(RecordError, match=f"^{message}"):
        parse_record(text)


def test_a_first_record_holds_every_section_in_full() -> None:
    assert list(FIRST.sections) == [
        "fleet", "master", "demand", "members", "idle", "provider:0:local/b", "provider:1:local/a"
    ]  # fmt: skip
    assert FIRST.sections["demand"] == Section(digest('{"queued":37,"running":2}'), value={"queued": 37, "running": 2})
    for section in FIRST.sections.values():
        assert section.sha256 == digest(canonical(section.value))
        assert section.number is None


def test_a_section_that_did_not_change_names_the_record_that_has_it() -> None:
    assert LATER.sections["demand"] == Section(digest('{"queued":12}'), value={"queued": 12})
    for name in LATER.sections.keys() - {"demand"}:
        sha256 = FIRST.sections[name].sha256
        assert LATER.sections[name] == Section(sha256, number=46, artifact_id="artifact-46")


def test_a_section_that_stays_the_same_names_the_record_that_has_it_in_full_not_the_last_one() -> None:
    assert follow(LATER).sections["members"] == LATER.sections["members"]


def test_a_section_that_changes_back_is_stored_in_full_again() -> None:
    assert follow(LATER).sections["demand"] == FIRST.sections["demand"]


def test_after_a_record_that_could_not_be_read_every_section_is_in_full() -> None:
    broken = Link(46, "artifact-46", digest(FIRST.text()), broken="it was edited")
    assert record(replace(INPUTS, number=47), before=None, link=broken).sections == FIRST.sections


def test_idle_seconds_do_not_make_the_list_of_members_new() -> None:
    later = follow(FIRST, members=MemberList((member(0, 42.5), member(1))))
    assert later.sections["idle"].value == {"0": 42.5}
    assert later.sections["members"] == LATER.sections["members"]


def test_a_provider_that_was_removed_is_not_carried_on() -> None:
    assert "provider:1:local/a" not in follow(FIRST, providers=INPUTS.providers[:1]).sections


def in_full(*records: Record) -> dict[str, Plain]:
    """The sections of the last of these records, looked up in the others where it does not hold them itself."""
    by_number = {each.number: each for each in records}
    values = {}
    for name, section in records[-1].sections.items():
        holder = records[-1] if section.number is None else by_number[section.number]
        values[name] = json.loads(canonical(holder.sections[name].value))
    return values


@pytest.mark.parametrize("field", [*fields(Inputs), *fields(TurnFacts)], ids=lambda field: field.name)
def test_the_example_fills_every_input_so_that_none_can_be_forgotten(field: Field[object]) -> None:
    holder = INPUTS if hasattr(INPUTS, field.name) else INPUTS.turn
    assert getattr(holder, field.name) not in (field.default, "", ())


def test_the_inputs_of_a_stored_decision_can_be_built_again() -> None:
    stored = parse_record(FIRST.text())
    assert restore_inputs(stored, in_full(stored), MEMORY) == INPUTS


@pytest.mark.parametrize(
    "pushed",
    [{"room": Room(RoomState.HOLDING)}, {"others": ("a GPU",)}, {"strays": ("w",)}, {"unfinished": ("3",)}],
    ids=lambda pushed: next(iter(pushed)),
)
def test_members_that_are_pushed_are_read_back_as_such_though_one_field_alone_says_so(
    pushed: dict[str, object],
) -> None:
    members = PushMemberList(**pushed)  # type: ignore[arg-type]
    seen = replace(INPUTS, members=members)
    stored = parse_record(record(seen).text())
    assert restore_inputs(stored, in_full(stored), MEMORY).members == members


def test_also_those_of_a_record_that_stores_only_what_changed() -> None:
    records = [parse_record(each.text()) for each in (FIRST, LATER)]
    restored = restore_inputs(records[-1], in_full(*records), MEMORY)
    assert restored == replace(INPUTS, number=47, demand=Demand(queued=12))


def test_providers_come_back_in_order_of_preference_also_beyond_ten() -> None:
    many = replace(INPUTS, providers=tuple(look(f"local/{chr(122 - place)}") for place in range(12)))
    stored = parse_record(record(many).text())
    assert restore_inputs(stored, in_full(stored), MEMORY).providers == many.providers


@pytest.mark.parametrize("name", ["fleet", "master", "demand", "members", "idle", "provider:0:local/b"])
@pytest.mark.parametrize("value", [{"mood": "fine"}, None])
def test_a_section_that_does_not_fit_its_hash_is_refused_by_name(name: str, value: Plain) -> None:
    with pytest.raises(RecordError, match=f"record 46 of sdxl: section '{name}' does not fit its hash"):
        restore_inputs(FIRST, in_full(FIRST) | {name: value}, MEMORY)


def test_a_missing_section_is_refused_by_name() -> None:
    values = in_full(FIRST)
    del values["members"]
    with pytest.raises(RecordError, match="section 'members' does not fit its hash"):
        restore_inputs(FIRST, values, MEMORY)


def test_two_members_with_one_worker_id_keep_their_own_idle_seconds() -> None:
    twice = MemberList((replace(member(0, 4.0), master_ref="7"), replace(member(0, 9.0), master_ref="8")))
    doubled = follow(FIRST, members=twice)
    values = {name: section.value for name, section in doubled.sections.items() if section.value is not None}
    values |= {name: FIRST.sections[name].value for name in doubled.sections if name not in values}
    assert restore_inputs(doubled, values, Memory()).members == twice  # type: ignore[arg-type]
