"""How entries of a stand-in SwarmUI master are switched off, deleted and kept."""

from collections.abc import AsyncIterator

import pytest

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.master import PlayedMaster
from ebbflow.standins.swarmui.worker import PlayedWorker, WorkerSettings
from tests.standins.swarmui.talk import (
    Client,
    connected,
    outcome,
    pass_time,
    reach,
    states,
    until,
    working,
)

pytestmark = pytest.mark.anyio


class TestPersistence:
    async def test_a_restart_drops_children_and_keeps_real_entries_with_title_and_enabled(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url, "one")
            await client.register("", "two")
            await reach(master, {-1: "running", 0: "running", 1: "disabled"})
            await client.toggle(False)
            await client.control("Restart")
            await reach(master, {0: "disabled", 1: "disabled"})
            listed = await client.backends()
            assert [(entry["title"], entry["enabled"]) for entry in listed.values()] == [("one", False), ("two", True)]

    async def test_a_restart_brings_an_enabled_entrys_child_back(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            await master.restart()
            await reach(master, {-1: "running", 0: "running"})

    async def test_the_id_of_a_deleted_entry_comes_again_after_a_restart(
        self, client: Client, master: PlayedMaster
    ) -> None:
        for _ in range(3):
            await client.call("AddNewBackend", type_id="swarmswarmbackend")
        assert (await client.delete(2)) == {"result": "Deleted."}
        assert (await client.call("AddNewBackend", type_id="swarmswarmbackend"))["id"] == 3
        await client.delete(3)
        await master.restart()
        assert (await client.call("AddNewBackend", type_id="swarmswarmbackend"))["id"] == 2

    async def test_a_crash_loses_edits_younger_than_the_last_save(
        self, master: PlayedMaster, clock: ManualClock
    ) -> None:
        async with serve(master.app) as url, connected(url) as client:
            await client.call("AddNewBackend", type_id="swarmswarmbackend")
            await clock.advance(10)
            await client.call("AddNewBackend", type_id="swarmswarmbackend")
            await clock.advance(5)
            master.crash()
        async with serve(master.app):
            assert list(states(master)) == [0]
            assert master.app.sessions.find(client.session_id) is not None, "session ids are persisted"

    async def test_an_orderly_end_keeps_every_edit_and_shutdown_loses_those_since_the_last_save(
        self, master: PlayedMaster, clock: ManualClock
    ) -> None:
        async with serve(master.app) as url, connected(url) as client:
            await client.call("AddNewBackend", type_id="swarmswarmbackend")
        async with serve(master.app) as url, connected(url) as client:
            assert list(states(master)) == [0]
            await client.call("AddNewBackend", type_id="swarmswarmbackend")
            assert await client.call("ShutdownServer") == {"success": True}
            await clock.advance(0.6)
            assert (master.app.ended.is_set(), master.app.exit_code) == (True, 0)
        async with serve(master.app):
            assert list(states(master)) == [0]


class TestDrain:
    async def test_toggle_and_delete_wait_while_a_child_is_full(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=20)
            await working(worker)
            drain = client.later("ToggleBackend", backend_id=0, enabled=False)
            await until(lambda: not master.backends[-1].enabled)
            again = await client.toggle(False)
            assert again == {"result": "No change."}
            await pass_time(master, 15)
            assert not drain.done()
            assert (await client.load())["live_gens"] == 1
            assert "images" in await outcome(master, image)
            assert await outcome(master, drain) == {"result": "Success."}
            assert states(master) == {0: "disabled"}

    async def test_a_child_with_a_free_usage_goes_while_it_works(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        worker = PlayedWorker(WorkerSettings(max_usages=2, seconds_per_step=1), clock=clock)
        async with serve(worker.app) as url, connected(url) as to_worker:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=20)
            await working(worker)
            assert await client.delete() == {"result": "Deleted."}
            assert states(master) == {}
            assert (await to_worker.load())["live_gens"] == 1, "the worker still works"
            assert "images" in await outcome(master, image)

    async def test_children_are_removed_one_at_a_time(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        worker = PlayedWorker(WorkerSettings(backends=2, seconds_per_step=1), clock=clock)
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-2: "running", -1: "running", 0: "running"})
            short = client.generate(steps=1)
            await working(worker, 1)
            long = client.generate(steps=60)
            await working(worker, 2)
            assert "images" in await outcome(master, short)
            busy = next(entry.id for entry in master.backends if entry.usages)
            assert busy == -1, "the child that is removed first is the busy one"
            drain = client.later("ToggleBackend", backend_id=0, enabled=False)
            await until(lambda: -1 not in states(master))
            assert states(master)[-2] == "running"
            assert "images" in await outcome(master, client.generate(steps=1)), "the second child still takes work"
            assert not drain.done()
            assert "images" in await outcome(master, long)
            assert await outcome(master, drain) == {"result": "Success."}
            assert states(master) == {0: "disabled"}

    async def test_an_errored_entry_keeps_that_status_when_disabled(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        await client.register("http://127.0.0.1:9", AllowIdle=False)
        await reach(master, {0: "errored"}, seconds=120)
        await client.toggle(False)
        entry = (await client.backends())["0"]
        assert (entry["status"], entry["enabled"]) == ("errored", False)

    async def test_delete_during_a_drain_that_waits_answers_at_once(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=20)
            await working(worker)
            drain = client.later("ToggleBackend", backend_id=0, enabled=False)
            await until(lambda: -1 not in states(master))
            assert await client.delete() == {"result": "Deleted."}
            assert states(master) == {}
            assert "images" in await outcome(master, image)
            assert await outcome(master, drain) == {"result": "Success."}

    async def test_switched_on_again_it_serves_within_two_seconds_more_than_a_start(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            await client.toggle(False)
            assert await client.toggle(True) == {"result": "Success."}
            assert states(master) == {0: "waiting"}
            await reach(master, {-2: "running", 0: "running"}, seconds=2.2)

    async def test_a_child_deleted_by_hand_comes_back_only_after_an_edit_or_off_and_on(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            assert await client.delete(-1) == {"result": "Deleted."}
            await pass_time(master, 20)
            assert states(master) == {0: "running"}
            await client.toggle(False)
            await client.toggle(True)
            await reach(master, {-2: "running", 0: "running"}, seconds=3)


class TestOffThenOn:
    """What remains if an entry is switched on while its switching off still waits."""

    @pytest.fixture
    async def url(self, client: Client, master: PlayedMaster, worker: PlayedWorker) -> AsyncIterator[str]:
        """A worker whose entry 0 was left with child -2, by switching it on too early."""
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=10)
            await working(worker)
            off = client.later("ToggleBackend", backend_id=0, enabled=False)
            await until(lambda: -1 not in states(master))
            assert (states(master), master.backends[-1].enabled) == ({0: "running"}, False)
            assert await client.toggle(True) == {"result": "Success."}
            await reach(master, {-2: "running", 0: "running"}, seconds=3)
            assert not off.done()
            await outcome(master, image)
            assert await outcome(master, off) == {"result": "Success."}
            yield url

    async def test_the_entry_is_disabled_though_enabled_and_its_new_child_serves_on(
        self, client: Client, master: PlayedMaster, url: str
    ) -> None:
        listed = await client.backends()
        assert (listed["0"]["status"], listed["0"]["enabled"]) == ("disabled", True)
        assert (listed["-2"]["status"], listed["-2"]["settings"]["Address"]) == ("running", url)
        assert "images" in await outcome(master, client.generate())

    async def test_nobody_polls_the_child_any_more(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, url: str
    ) -> None:
        asked = len(worker.app.requests)
        await pass_time(master, 30)
        assert len(worker.app.requests) == asked
        worker.crash()
        await pass_time(master, 30)
        assert states(master) == {-2: "running", 0: "disabled"}
        assert "error" in await client.generate()

    async def test_only_the_childs_own_id_ends_it(self, client: Client, master: PlayedMaster, url: str) -> None:
        assert await client.delete(0) == {"result": "Deleted."}
        assert states(master) == {-2: "running"}
        assert "images" in await outcome(master, client.generate())
        assert await client.delete(-2) == {"result": "Deleted."}
        assert states(master) == {}

    async def test_off_and_on_once_more_repairs_the_entry(self, client: Client, master: PlayedMaster, url: str) -> None:
        await client.delete(-2)
        assert await client.toggle(False) == {"result": "Success."}
        assert await client.toggle(True) == {"result": "Success."}
        await reach(master, {-3: "running", 0: "running"}, seconds=3)


class TestLateAnswer:
    """A poll that was asked before an entry was switched off or deleted, and answered after it."""

    @pytest.fixture
    async def url(self, client: Client, master: PlayedMaster, worker: PlayedWorker) -> AsyncIterator[str]:
        """A worker that is being asked, and answers a second later."""
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            worker.app.faults.add(Fault(FaultKind.SLOW, "ListBackends", times=1, seconds=1))
            asked = len(worker.app.requests)
            while len(worker.app.requests) == asked:
                await pass_time(master, 0.5, 0.5)
            yield url

    async def test_it_puts_the_child_of_a_switched_off_entry_back(
        self, client: Client, master: PlayedMaster, url: str
    ) -> None:
        await client.toggle(False)
        assert states(master) == {0: "disabled"}
        await reach(master, {-2: "running", 0: "disabled"}, seconds=3)
        assert "images" in await outcome(master, client.generate())
        await client.toggle(True)
        await reach(master, {-2: "running", 0: "running"}, seconds=3)

    async def test_deleting_the_switched_off_entry_takes_that_child_along(
        self, client: Client, master: PlayedMaster, url: str
    ) -> None:
        await client.toggle(False)
        await reach(master, {-2: "running", 0: "disabled"}, seconds=3)
        await client.delete(0)
        assert states(master) == {}

    async def test_once_that_child_is_deleted_switching_on_alone_gives_none(
        self, client: Client, master: PlayedMaster, url: str
    ) -> None:
        await client.toggle(False)
        await reach(master, {-2: "running", 0: "disabled"}, seconds=3)
        await client.delete(-2)
        await client.toggle(True)
        await reach(master, {0: "running"}, seconds=3)
        await pass_time(master, 10)
        assert states(master) == {0: "running"}
        await client.toggle(False)
        await client.toggle(True)
        await reach(master, {-3: "running", 0: "running"}, seconds=3)

    async def test_it_puts_the_child_of_a_deleted_entry_back_without_an_owner(
        self, client: Client, master: PlayedMaster, url: str
    ) -> None:
        await client.delete(0)
        assert states(master) == {}
        await reach(master, {-2: "running"}, seconds=3)
        assert (await client.backends())["-2"]["settings"]["Address"] == url
        assert "images" in await outcome(master, client.generate())
        await client.delete(-2)
        await pass_time(master, 10)
        assert states(master) == {}
