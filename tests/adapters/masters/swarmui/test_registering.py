"""A worker comes into a SwarmUI master: when it may, as which entry, and what a crash leaves behind."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from ebbflow.contracts.master import worker_at
from ebbflow.core.errors import MasterUnavailable, RegistrationRejected
from ebbflow.core.member import MemberState
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.swarmui.backend import BackendSettings
from ebbflow.standins.swarmui.load import BackendState
from ebbflow.standins.swarmui.sessions import Access
from ebbflow.standins.swarmui.worker import WorkerSettings
from tests.adapters.masters.swarmui.played_master import (
    FLEET,
    FOREIGN_TITLE,
    HANG_SECONDS,
    HOME,
    SwarmUIWorld,
    opened_world,
    ready,
    worker_of,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("kind", [FaultKind.FAIL, FaultKind.HANG, FaultKind.GARBAGE, FaultKind.NO_RESULT])
async def test_a_worker_that_answers_badly_is_not_registered_yet(world: SwarmUIWorld, kind: FaultKind) -> None:
    worker = await world.start_worker()
    world.workers[worker.worker_id].app.faults.add(Fault(kind))
    answer = await world.adapter(call_timeout_seconds=HANG_SECONDS).register(
        worker, connect_timeout_seconds=HANG_SECONDS
    )
    assert (answer.registered, answer.reached) == (False, False)
    assert worker.url is not None
    assert worker.url in answer.detail
    assert world.entries() == []
    world.workers[worker.worker_id].app.faults.clear()
    assert (await world.adapter().register(worker)).registered


async def test_a_worker_that_is_loading_is_not_registered_yet(world: SwarmUIWorld) -> None:
    worker = await world.start_worker(WorkerSettings(load_seconds=60))
    answer = await world.adapter().register(worker)
    assert "loading" in answer.detail
    assert answer.reached, "it answers as a worker, and takes its time"
    await world.clock.advance(61)
    assert (await world.adapter().register(worker)).registered


@pytest.mark.parametrize("url", [None, "", "7801", "http://", "http://user:pass@host:1", "http://host:99999"])
async def test_a_url_that_is_none_is_refused(world: SwarmUIWorld, url: str | None) -> None:
    worker = worker_at("sdxl-0abc-1-0", url)
    with pytest.raises(RegistrationRejected, match="sdxl-0abc-1-0"):
        await world.adapter().register(worker)
    assert not any((await world.adapter().keepalive([worker])).values())


async def test_a_worker_that_does_not_let_us_in_is_refused(world: SwarmUIWorld) -> None:
    locked = await world.start_worker(WorkerSettings(access=Access(token="of-the-worker")))
    weak = await world.start_worker(WorkerSettings(access=Access(permissions=frozenset({"view_backends_list"}))))
    with pytest.raises(RegistrationRejected, match="swarm_token"):
        await world.adapter().register(locked)
    with pytest.raises(RegistrationRejected, match="automated_control"):
        await world.adapter().register(weak)
    assert (await world.adapter(worker_token="of-the-worker").register(locked)).registered


async def test_the_master_reaches_a_worker_that_wants_a_token(world: SwarmUIWorld) -> None:
    world.settings["worker_token"] = "of-the-worker"
    await ready(world, await world.start_worker(WorkerSettings(access=Access(token="of-the-worker"))))
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.busy) == (MemberState.READY, False)


async def test_every_setting_of_the_backend_is_sent(world: SwarmUIWorld) -> None:
    world.settings |= {"authorization_header": "Bearer abc", "other_headers": {"X-Key": "k"}}
    worker = await world.start_worker()
    assert (await world.adapter(connect_timeout_seconds=40).register(worker)).registered
    (entry,) = world.entries()
    assert entry.title == f"ebbflow/{FLEET}/{HOME}/{worker.worker_id} - added and removed by ebbflow"
    assert entry.own_settings == BackendSettings(
        address=worker.url or "",
        allow_idle=True,
        authorization_header="Bearer abc",
        other_headers="X-Key: k",
        connection_attempt_timeout_seconds=40,
    )


async def test_another_worker_on_the_same_address_is_reported_until_it_is_deregistered(world: SwarmUIWorld) -> None:
    old = await world.start_worker()
    new = replace(old, worker_id="sdxl-0abc-2-0")
    await ready(world, old)
    answer = await world.adapter().register(new)
    assert not answer.registered
    assert old.worker_id in answer.detail
    assert [worker_of(entry.title) for entry in world.entries()] == [old.worker_id]
    await world.adapter().deregister(old)
    assert (await world.adapter().register(new)).registered
    assert [worker_of(entry.title) for entry in world.entries()] == [new.worker_id]


@pytest.mark.parametrize("title", ["", "Bob's GPU", FOREIGN_TITLE])
async def test_an_entry_of_somebody_else_on_the_same_address_is_not_touched(world: SwarmUIWorld, title: str) -> None:
    worker = await world.start_worker()
    entry = await world.add_entry(title, worker.url or "")
    with pytest.raises(RegistrationRejected, match="not ours"):
        await world.adapter().register(worker)
    await world.adapter().drain(worker, 60)
    await world.adapter().deregister(worker)
    assert world.entries() == [entry]
    assert (entry.enabled, entry.title, entry.modcount) == (True, title, 1)


async def test_two_addresses_of_one_id_become_one_entry(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await world.add_entry(f"ebbflow/{FLEET}/{HOME}/{worker.worker_id}", "http://127.0.0.1:9")
    await world.add_entry(f"ebbflow/{FLEET}/{HOME}/{worker.worker_id}", worker.url or "")
    assert (await world.adapter().register(worker)).registered
    assert [(entry.id, entry.settings.address) for entry in world.entries()] == [(0, worker.url)]


async def test_overlapping_registrations_leave_one_entry(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await asyncio.gather(*(world.adapter().register(worker) for _ in range(4)))
    assert len(world.entries()) == 1


async def test_the_same_object_completes_the_entry_that_it_added(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    world.master.app.faults.add(Fault(FaultKind.FAIL, "EditBackend", times=1))
    adapter = world.adapter()
    with pytest.raises(MasterUnavailable):
        await adapter.register(worker)
    assert (await adapter.register(worker)).registered
    assert [entry.id for entry in world.entries()] == [0]


async def test_an_answer_that_was_lost_after_the_edit_adds_nothing(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    world.master.app.faults.add(Fault(FaultKind.LOSE_ANSWER, "EditBackend", times=1))
    with pytest.raises(MasterUnavailable):
        await world.adapter(call_timeout_seconds=HANG_SECONDS).register(worker)
    assert (await world.adapter().register(worker)).registered
    assert [entry.modcount for entry in world.entries()] == [1]


async def test_a_worker_that_dies_while_it_is_registered_is_lost_and_not_busy(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await world.crash_in_registration(worker)
    await world.end_worker(worker)
    assert not (await world.adapter().register(worker)).registered
    listing = await world.adapter().members()
    assert (listing.members, listing.unfinished) == ((), ("0",))


async def test_an_entry_that_was_filled_in_meanwhile_is_not_removed(world: SwarmUIWorld) -> None:
    entry = await world.add_entry("Bob's GPU", "")
    empty = await world.add_entry("", "")
    assert (await world.adapter().members()).unfinished == (str(empty.id),)
    for ref in (str(entry.id), str(empty.id), "nonsense", "-1"):
        await world.adapter().remove_unfinished(ref)
    assert world.entries() == [entry]


async def test_regression_a_slow_worker_at_a_new_master_got_two_children(tmp_path: Path) -> None:
    async with opened_world(tmp_path, is_new=True) as world:
        worker = await world.start_worker()
        world.workers[worker.worker_id].app.faults.add(Fault(FaultKind.SLOW, "ListBackends", seconds=2))

        async def register() -> bool:
            return (await world.adapter().register(worker)).registered

        registering = asyncio.ensure_future(register())
        await world.until(registering.done)
        assert registering.result()
        for _ in range(60):
            await world.advance()
        children = [entry for entry in world.master.backends if entry.parent is not None]
        assert [(child.remote_id, child.parent.id if child.parent else None) for child in children] == [(0, 0)]
        assert list(children[0].parent.children.values() if children[0].parent else ()) == children, "it has its owner"


@pytest.mark.parametrize(
    ("state", "words", "reached"),
    [(None, "none of its backends runs", True), ("errored", "1 of its backends errored, and none runs", False)],
)
async def test_regression_a_worker_without_a_running_backend_was_registered_and_failed_requests(
    world: SwarmUIWorld, state: str | None, words: str, reached: bool
) -> None:
    worker = await world.start_worker()
    serving = world.workers[worker.worker_id]
    serving.show_backends(None if state is None else BackendState(state))
    answer = await world.adapter().register(worker)
    assert (answer.registered, answer.reached, words in answer.detail) == (False, reached, True)
    assert world.entries() == []
    serving.show_backends(BackendState.RUNNING)
    assert (await world.adapter().register(worker)).registered
