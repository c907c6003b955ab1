"""A fleet that an earlier release deployed goes on after the upgrade: names stay, records are read, nobody is doubled.

`data/chain_format_1.json` holds the records of seven turns as commit 39d6d59 left them on a Prefect server: up to
three workers, a scale-up, and down again. `data/interfaces_before.json` is what people had deployed and saved by then.
"""

import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ebbflow.adapters.providers.ends_for_good import EndsForGood
from ebbflow.core.canonical import canonical, digest
from ebbflow.core.chain import Claim, Stored
from ebbflow.core.instance import Instance, InstanceList, InstanceState, JoinSpec, LaunchRequest, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import (
    Demand,
    DrainAnswer,
    Health,
    MasterCaps,
    Member,
    MemberState,
    PushMemberList,
    Registration,
)
from ebbflow.core.plan import Outcome, Verb
from ebbflow.core.record import FORMAT, Record
from ebbflow.core.worker import Worker
from ebbflow.decision.evaluate import evaluate
from ebbflow.fleet.model import Fleet
from ebbflow.turn.chain_reader import ChainReader
from ebbflow.turn.memory_ledger import MemoryLedger
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.results import Acted, Held
from ebbflow.turn.surroundings import RunIdentity, Surroundings
from ebbflow.turn.turn import take_turn
from tests.interfaces import interfaces
from tests.turn.outside import Clock

DATA = Path(__file__).parent / "data"
CHAIN: dict[str, Any] = json.loads((DATA / "chain_format_1.json").read_text(encoding="utf-8"))
BEFORE: dict[str, Any] = json.loads((DATA / "interfaces_before.json").read_text(encoding="utf-8"))
NAME: str = CHAIN["fleet"]
WORDS = ("text", "short", "headline", "reason", "detail")
NUMBERS = sorted(int(number) for number in CHAIN["claims"])


def ledger_up_to(number: int, *, age_seconds: float = 60.0) -> MemoryLedger:
    """A ledger that holds the old chain as it was after one of its turns."""
    created = {each: datetime.fromisoformat(CHAIN["claims"][str(each)]["created"]).timestamp() for each in NUMBERS}
    ledger = MemoryLedger(clock=lambda: created[number] + age_seconds)
    for each in NUMBERS[:number]:
        value = CHAIN["claims"][str(each)]["value"]
        data = CHAIN["artifacts"][value["artifact"]]
        stored = Stored(data["record"], data.get("outcomes"), created[each], created[each])
        ledger.records[value["artifact"]] = stored
        claim = Claim(each, value["artifact"], value["sha256"], value["budget_seconds"])
        ledger.claims.setdefault(NAME, {})[each] = claim
        ledger.claimed_at[NAME, each] = created[each]
        ledger.kept_home = stored.record().home
    return ledger


def without_words(decided: object) -> object:
    """Everything but the sentences, which a later release may say better."""
    return json.loads(
        canonical(decided),
        object_hook=lambda row: {name: value for name, value in row.items() if name not in WORDS},
    )


async def record_at(number: int) -> Record:
    head = await ChainReader(ledger_up_to(number)).head(NAME)
    assert head is not None
    assert head.record is not None, head.broken
    return head.record


@pytest.mark.anyio
@pytest.mark.parametrize("number", NUMBERS)
async def test_a_decision_of_the_old_format_is_read_fits_its_hash_and_replays(number: int) -> None:
    reader = ChainReader(ledger_up_to(number))
    record = await record_at(number)
    assert record.format == 1
    assert digest(record.text()) == CHAIN["claims"][str(number)]["value"]["sha256"]
    again = evaluate(await reader.inputs(record), await reader.fleet(record))
    assert without_words(again.plan) == without_words(record.plan)
    assert without_words(again.memory) == without_words(record.memory)
    assert again.inputs.master.takes_urls
    assert again.inputs.master.caps.needs_keepalive_seconds == 600.0


@pytest.mark.anyio
async def test_the_past_of_a_fleet_is_read_whole() -> None:
    entries = await ChainReader(ledger_up_to(NUMBERS[-1])).history(NAME)
    assert [entry.record.number for entry in entries] == NUMBERS
    assert [bool(entry.outcomes) for entry in entries] == [bool(entry.record.plan.actions) for entry in entries]


@dataclass
class Host(EndsForGood):
    """The provider with the workers that a record knows, as they run on."""

    record: Record
    caps: ProviderCaps
    shows_wishes: bool
    launched: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)

    async def list_instances(self, fleet: str) -> InstanceList:
        return InstanceList(tuple(self._row(worker) for worker in self.record.memory.workers if self._is_shown(worker)))

    def _is_shown(self, worker: Worker) -> bool:
        return worker.state is not WorkerState.WISHED or self.shows_wishes

    def _row(self, worker: Worker) -> Instance:
        names = (worker.worker_id, worker.instance_id or "1:1", InstanceState.RUNNING, self.record.fleet)
        return Instance(*names, self.record.home, worker.url or "http://127.0.0.1:9")

    async def launch(self, request: LaunchRequest) -> Instance:
        self.launched.append(request.worker_id)
        return Instance(request.worker_id, "2:2", InstanceState.STARTING, request.fleet, request.home)

    async def terminate(self, instance: Instance) -> None:
        self.ended.append(instance.worker_id)

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        return {}

    async def aclose(self) -> None:
        return


@dataclass
class Queue:
    """The master with the members that a record knows, all of which work."""

    record: Record
    caps: MasterCaps
    kept_alive: set[str] = field(default_factory=set)

    async def keepalive(self, workers: Sequence[Worker]) -> Mapping[str, bool]:
        self.kept_alive |= {worker.worker_id for worker in workers}
        return {worker.worker_id: True for worker in workers}

    async def probe(self) -> Health:
        return Health(True)

    async def demand(self) -> Demand:
        return Demand(queued=3, running=3, waiting=0)

    async def members(self, worker_ids: Sequence[str] | None = None, *, known: Sequence[Worker] = ()) -> PushMemberList:
        known = [worker for worker in self.record.memory.workers if worker.registered]
        return PushMemberList(
            tuple(
                Member(worker.worker_id, str(place), MemberState.READY, worker.url, busy=True)
                for place, worker in enumerate(known)
            )
        )

    def join_spec(self, worker_id: str, capabilities: Sequence[str] = ()) -> JoinSpec:
        return JoinSpec()

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        return Registration(True)

    async def deregister(self, worker: Worker) -> None:
        raise AssertionError(f"{worker.worker_id} lives")

    async def mend(self, worker: Worker) -> Registration:
        raise AssertionError("nothing is wrong with it")

    async def remove_unfinished(self, master_ref: str) -> None:
        raise AssertionError(f"entry {master_ref} is not ours to remove")

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        return DrainAnswer.BUSY

    async def shut_down(self, worker: Worker) -> None:
        raise AssertionError(f"{worker.worker_id} works")

    async def aclose(self) -> None:
        return


async def turn_after(number: int, *, shows_wishes: bool) -> tuple[Acted | Held, Host, MemoryLedger]:
    """The first turn of this release, after one of the old chain's."""
    ledger, record = ledger_up_to(number), await record_at(number)
    inputs = await ChainReader(ledger).inputs(record)
    host = Host(record, inputs.providers[0].caps, shows_wishes)
    fleet = Fleet.model_validate(json.loads((await ChainReader(ledger).fleet(record)).model_dump_json()))

    @asynccontextmanager
    async def opened(
        fleet: Fleet, home: str, *, remembered: Iterable[str] = (), dry_run: bool
    ) -> AsyncIterator[OpenFleet]:
        yield OpenFleet(fleet, home, master, {fleet.providers[0].block: host}, {})

    master, clock = Queue(record, inputs.master.caps), Clock()
    run = RunIdentity("autoscale", f"upgraded-{number}")
    result = await take_turn(fleet, Surroundings(ledger, opened, run, clock=lambda: clock.now, sleep=clock.sleep))
    assert isinstance(result, Acted | Held), result
    reachable = {worker.worker_id for worker in record.memory.workers if worker.url is not None and worker.may_exist}
    assert master.kept_alive >= reachable, "the sign of life goes on"
    return result, host, ledger


@pytest.mark.anyio
@pytest.mark.parametrize("number", NUMBERS)
async def test_the_first_turn_after_the_upgrade_knows_every_worker_and_launches_none_twice(number: int) -> None:
    before = await record_at(number)
    result, host, ledger = await turn_after(number, shows_wishes=True)
    record = result.record
    assert (record.format, record.number, record.chain, record.home) == (FORMAT, number + 1, before.chain, before.home)
    assert record.previous is not None
    assert record.previous.sha256 == CHAIN["claims"][str(number)]["value"]["sha256"]
    assert {worker.worker_id for worker in record.memory.workers} >= {
        worker.worker_id for worker in before.memory.workers
    }
    assert not [worker for worker in record.memory.workers if worker.detail == "adopted"]
    assert set(host.launched) & {worker.worker_id for worker in before.memory.workers} == set()
    ended = {outcome.worker_id for outcome in _noted(number) if outcome.verb is Verb.TEAR_DOWN}
    assert set(host.ended) <= ended, "only what the old turn has seen empty and ended is ended on"
    reader = ChainReader(ledger)
    again = evaluate(await reader.inputs(record), await reader.fleet(record))
    assert canonical(again.plan) == canonical(record.plan), "it leans on sections of the old format"


@pytest.mark.anyio
async def test_a_wish_of_the_old_format_is_launched_under_its_own_id() -> None:
    number = next(each for each in NUMBERS if _wishes(each))
    _, host, _ = await turn_after(number, shows_wishes=False)
    assert set(_wishes(number)) <= set(host.launched)
    assert len(host.launched) == len(set(host.launched))


def _noted(number: int) -> tuple[Outcome, ...]:
    artifact = CHAIN["claims"][str(number)]["value"]["artifact"]
    return Stored(None, CHAIN["artifacts"][artifact].get("outcomes")).outcomes() or ()


def _wishes(number: int) -> list[str]:
    stored = CHAIN["artifacts"][CHAIN["claims"][str(number)]["value"]["artifact"]]["record"]
    workers = json.loads(stored)["memory"]["workers"]
    return [worker["worker_id"] for worker in workers if worker["state"] == "wished"]


NOW = interfaces()


@pytest.mark.parametrize("slug", BEFORE["blocks"])
def test_a_saved_block_keeps_its_slug_its_name_and_its_fields(slug: str) -> None:
    before, now = BEFORE["blocks"][slug], NOW["blocks"][slug]
    assert (now["name"], now["class"], now["capabilities"]) == (
        before["name"],
        before["class"],
        before["capabilities"],
    )
    assert set(now["fields"]) >= set(before["fields"])
    assert set(now["required"]) <= set(before["required"])


@pytest.mark.parametrize("entrypoint", BEFORE["flows"])
def test_a_deployed_entrypoint_keeps_its_flow_and_its_parameters(entrypoint: str) -> None:
    before, now = BEFORE["flows"][entrypoint], NOW["flows"][entrypoint]
    assert now["name"] == before["name"]
    assert set(now["parameters"]) >= set(before["parameters"])


@pytest.mark.parametrize("model", BEFORE["fleet"])
def test_a_fleet_that_was_written_before_has_every_field(model: str) -> None:
    assert set(NOW["fleet"][model]) >= set(BEFORE["fleet"][model])
