"""How long a stand-in SwarmUI master takes to start its entries, and what comes of an edit."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.master import MasterSettings, PlayedMaster
from ebbflow.standins.swarmui.worker import PlayedWorker
from tests.standins.swarmui.talk import SETTINGS, Client, Json, connected, pass_time, reach, states

pytestmark = pytest.mark.anyio

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def new(tmp_path: Path, clock: ManualClock) -> PlayedMaster:
    return PlayedMaster(MasterSettings(tmp_path / "new", is_new=True, websocket_seconds=0), clock=clock)


@pytest.fixture
async def of_new(new: PlayedMaster) -> AsyncIterator[Client]:
    async with serve(new.app) as url, connected(url) as client:
        yield client


async def add(client: Client) -> int:
    backend_id: int = (await client.call("AddNewBackend", type_id="swarmswarmbackend"))["id"]
    return backend_id


async def seconds_waiting(master: PlayedMaster, backend_id: int) -> float:
    """Let time pass until an entry has been started, and return how long that took."""
    since = master.clock.now()
    await pass_time(master, 0.1, 0.1)
    while states(master)[backend_id] == "waiting":
        await pass_time(master, 0.1, 0.1)
    return master.clock.now() - since


class TestANewMaster:
    async def test_its_starts_take_longer_each_time_up_to_six_seconds(self, of_new: Client, new: PlayedMaster) -> None:
        took = [await seconds_waiting(new, await add(of_new)) for _ in range(3)]
        assert took == pytest.approx([1.1, 1.2, 1.3], abs=0.11)
        for _ in range(47):
            await add(of_new)
        assert await seconds_waiting(new, await add(of_new)) == pytest.approx(6, abs=0.11)

    async def test_after_a_restart_they_take_a_tenth_of_a_second(self, of_new: Client, new: PlayedMaster) -> None:
        await add(of_new)
        await pass_time(new, 10)
        await new.restart()
        assert await seconds_waiting(new, 0) == pytest.approx(0.1, abs=0.11)
        assert await seconds_waiting(new, await add(of_new)) == pytest.approx(0.1, abs=0.11)

    async def test_its_child_runs_later_than_its_entry(
        self, of_new: Client, new: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await of_new.register(url)
            await reach(new, {-1: "waiting", 0: "running"}, seconds=3)
            await reach(new, {-1: "running", 0: "running"}, seconds=3)

    async def test_an_edit_before_the_empty_start_is_over_makes_a_child_without_owner_if_the_worker_is_slow(
        self, of_new: Client, new: PlayedMaster, worker: PlayedWorker
    ) -> None:
        worker.app.faults.add(Fault(FaultKind.SLOW, "ListBackends", seconds=1))
        async with serve(worker.app) as url:
            await of_new.register(url)
            await reach(new, {-2: "running", -1: "running", 0: "running"}, seconds=9)
            await of_new.delete(0)
            assert states(new) == {-2: "running"}

    async def test_an_edit_after_the_empty_start_is_over_makes_one_child(
        self, of_new: Client, new: PlayedMaster, worker: PlayedWorker
    ) -> None:
        worker.app.faults.add(Fault(FaultKind.SLOW, "ListBackends", seconds=1))
        async with serve(worker.app) as url:
            await add(of_new)
            await seconds_waiting(new, 0)
            assert states(new) == {0: "disabled"}
            await of_new.edit(0, **SETTINGS, Address=url)
            await reach(new, {-1: "running", 0: "running"}, seconds=9)
            await pass_time(new, 10)
            assert states(new) == {-1: "running", 0: "running"}

    async def test_an_edit_before_the_empty_start_is_over_makes_one_child_if_the_worker_is_quick(
        self, of_new: Client, new: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await of_new.register(url)
            await pass_time(new, 10, 0.1)
            assert states(new) == {-1: "running", 0: "running"}


class TestGivingUp:
    @pytest.fixture
    async def tried(self, client: Client, master: PlayedMaster) -> int:
        """How often an entry without AllowIdle was tried before it was `errored`, its empty start aside."""
        await add(client)
        await reach(master, {0: "disabled"})
        empty = master.backends[0].init_attempts
        await client.edit(0, **SETTINGS | {"AllowIdle": False, "Address": NOWHERE})
        since = master.clock.now()
        await reach(master, {0: "errored"}, seconds=6)
        assert 2 < master.clock.now() - since < 5
        return master.backends[0].init_attempts - empty

    async def test_three_tries_follow_the_empty_one_of_adding_it(self, master: PlayedMaster, tried: int) -> None:
        assert tried == 3
        await pass_time(master, 20)
        assert (states(master), master.backends[0].init_attempts) == ({0: "errored"}, 4)

    async def test_each_later_edit_or_switching_on_gives_exactly_one_more(
        self, client: Client, master: PlayedMaster, tried: int
    ) -> None:
        await client.edit(0)
        await pass_time(master, 10, 0.5)
        assert (states(master), master.backends[0].init_attempts) == ({0: "errored"}, 5)
        await client.toggle(False)
        await client.toggle(True)
        await pass_time(master, 10, 0.5)
        assert (states(master), master.backends[0].init_attempts) == ({0: "errored"}, 6)


class TestWrongSettings:
    @pytest.mark.parametrize(
        ("given", "became"),
        [
            ({"AllowForwarding": "maybe"}, {"AllowForwarding": False}),
            ({"AllowForwarding": 1}, {"AllowForwarding": False}),
            ({"AllowForwarding": "TRUE"}, {"AllowForwarding": True}),
            ({"ConnectionAttemptTimeoutSeconds": "31"}, {"ConnectionAttemptTimeoutSeconds": 31}),
            ({"OtherHeaders": 5}, {"OtherHeaders": "5"}),
            ({"allowforwarding": False, "Nonsense": 1}, {}),
        ],
    )
    async def test_a_value_that_can_be_read_somehow_is_taken(self, client: Client, given: Json, became: Json) -> None:
        await client.register(NOWHERE)
        assert (await client.edit(0, **given))["settings"] == {**SETTINGS, "Address": NOWHERE, **became}

    @pytest.mark.parametrize(
        "given",
        [
            {"ConnectionAttemptTimeoutSeconds": "many"},
            {"ConnectionAttemptTimeoutSeconds": 5.7},
            {"ConnectionAttemptTimeoutSeconds": True},
            {"OtherHeaders": None},
        ],
    )
    @pytest.mark.parametrize("repair", ["edit", "off and on"])
    async def test_one_that_cannot_leaves_the_entry_disabled_though_enabled_until_it_is_edited_or_switched(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, given: Json, repair: str
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            response = await client.post("EditBackend", backend_id=0, title="t", settings=given)
            assert (response.status_code, response.json()["error_id"]) == (400, "internal_error")
            await pass_time(master, 10)
            assert (states(master), master.backends[0].enabled) == ({0: "disabled"}, True)
            if repair == "edit":
                await client.edit(0)
            else:
                await client.toggle(False)
                await client.toggle(True)
            await reach(master, {-2: "running", 0: "running"}, seconds=3)

    async def test_no_title_is_an_empty_one(self, client: Client, master: PlayedMaster) -> None:
        await client.register(NOWHERE)
        edited = await client.call("EditBackend", backend_id=0, title=None, settings={})
        assert edited["title"] == ""


async def test_a_silent_worker_holds_up_what_is_switched_on_after_it(
    client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
) -> None:
    silent = PlayedWorker(clock=clock)
    async with serve(silent.app) as nowhere, serve(worker.app) as url:
        await client.register(nowhere)
        await client.register(url)
        await reach(master, {-2: "running", -1: "running", 0: "running", 1: "running"})
        await asyncio.gather(client.toggle(False, 0), client.toggle(False, 1))
        silent.app.faults.add(Fault(FaultKind.HANG))
        await client.toggle(True, 0)
        await client.toggle(True, 1)
        await pass_time(master, 25, 5)
        assert states(master) == {0: "loading", 1: "waiting"}
        await reach(master, {-3: "running", 0: "idle", 1: "running"}, seconds=10)
