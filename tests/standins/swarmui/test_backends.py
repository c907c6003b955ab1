"""The entries of a stand-in SwarmUI master, from the start to the end of a worker."""

import httpx
import pytest

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.master import PlayedMaster
from ebbflow.standins.swarmui.sessions import Access
from ebbflow.standins.swarmui.worker import PlayedWorker, WorkerSettings
from tests.standins.swarmui.talk import (
    SETTINGS,
    Client,
    pass_time,
    reach,
    states,
    until,
)

pytestmark = pytest.mark.anyio


class TestBackends:
    async def test_an_entry_between_add_and_edit_is_empty_and_disabled(
        self, client: Client, master: PlayedMaster
    ) -> None:
        added = await client.call("AddNewBackend", type_id="swarmswarmbackend")
        assert (added["id"], added["status"], added["settings"]["Address"]) == (0, "waiting", "")
        await reach(master, {0: "disabled"})

    async def test_a_registered_worker_is_a_control_entry_and_a_child_with_its_address(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            backend_id = await client.register(url, AuthorizationHeader="Bearer x")
            await reach(master, {-1: "running", 0: "running"})
            listed = await client.backends()
            assert list(listed) == ["-1", "0"]
            assert listed["-1"]["settings"] == listed["0"]["settings"]
            assert listed["-1"]["settings"]["Address"] == url
            assert listed["-1"]["settings"]["AuthorizationHeader"] == "\t<secret>"
            assert listed["-1"]["title"] == f"[Remote from {backend_id}: ebbflow/sdxl/h/w1] gpu"
            assert set(await client.call("ListBackends")) == {"0"}
            assert "current_model" not in (await client.call("ListBackends"))["0"]

    async def test_a_hidden_secret_sent_back_keeps_the_value(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url, AuthorizationHeader="Bearer x")
            await client.call(
                "EditBackend", backend_id=0, title="t", settings={**SETTINGS, "AuthorizationHeader": "\t<secret>"}
            )
            assert master.backends[-1].settings.authorization_header == "Bearer x"
            assert master.backends[-1].modcount == 2

    async def test_an_edit_to_an_id_in_use_is_refused(self, client: Client) -> None:
        for _ in range(2):
            await client.call("AddNewBackend", type_id="swarmswarmbackend")
        answer = await client.call("EditBackend", backend_id=0, title="t", settings={}, new_id=1)
        assert answer == {"error": "Backend ID 1 is already in use."}
        await client.call("EditBackend", backend_id=0, title="t", settings={}, new_id=9)
        assert set(await client.backends()) == {"1", "9"}

    async def test_a_loading_worker_keeps_its_entry_loading(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        worker.begin_loading(30)
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {0: "loading"})
            await pass_time(master, 10)
            assert states(master) == {0: "loading"}
            await reach(master, {-1: "running", 0: "running"}, seconds=120)

    async def test_a_master_without_allow_idle_does_not_serve_itself(
        self, client: Client, master: PlayedMaster
    ) -> None:
        await client.register(client.url, AllowIdle=False)
        await reach(master, {0: "errored"}, seconds=120)

    async def test_a_master_with_allow_idle_finds_itself_running_with_a_child_that_never_does(
        self, client: Client, master: PlayedMaster
    ) -> None:
        await client.register(client.url)
        await reach(master, {0: "idle"})
        await reach(master, {-1: "idle", 0: "running"}, seconds=120)

    async def test_forwarding_switched_off_hides_the_backends_that_a_worker_has_from_others(
        self, client: Client, master: PlayedMaster
    ) -> None:
        await client.register(client.url, AllowForwarding=False)
        await reach(master, {0: "running"}, seconds=120)
        await pass_time(master, 10)
        assert states(master) == {0: "running"}

    async def test_allow_idle_turns_a_dead_worker_idle_and_a_new_one_running(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            worker.crash()
            await reach(master, {-1: "idle", 0: "idle"}, seconds=120)
            worker.restart()
            async with serve(worker.app, port=httpx.URL(url).port or 0):
                await reach(master, {-1: "running", 0: "running"}, seconds=120)

    async def test_an_entry_that_was_idle_runs_before_its_worker_has_loaded(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            port = httpx.URL(url).port or 0
        await client.register(url)
        await reach(master, {0: "idle"})
        worker.begin_loading(600)
        async with serve(worker.app, port=port):
            await reach(master, {0: "running"}, seconds=120)

    async def test_a_worker_that_hangs_from_the_start_counts_as_unreachable_after_the_timeout(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        worker.app.faults.add(Fault(FaultKind.HANG))
        async with serve(worker.app) as url:
            await client.register(url, ConnectionAttemptTimeoutSeconds=30)
            await reach(master, {0: "loading"})
            await pass_time(master, 28, 4)
            assert states(master) == {0: "loading"}
            await reach(master, {0: "idle"}, seconds=10)

    async def test_a_worker_that_hangs_later_is_noticed_after_ten_minutes(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            worker.app.faults.add(Fault(FaultKind.HANG))
            await pass_time(master, 600, step=40)
            assert states(master) == {-1: "running", 0: "running"}
            await reach(master, {-1: "idle", 0: "idle"}, seconds=10)

    async def test_without_allow_idle_a_dead_worker_stays_running(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url, AllowIdle=False)
            await reach(master, {-1: "running", 0: "running"})
            worker.crash()
            await pass_time(master, 30)
            assert states(master) == {-1: "running", 0: "running"}

    async def test_the_master_renews_its_session_with_a_worker(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            worker.app.sessions.expire_all()
            await pass_time(master, 6)
            await until(lambda: len(worker.app.requests_for("GetNewSession")) == 3)
            assert states(master) == {-1: "running", 0: "running"}

    async def test_other_headers_carry_a_token_to_a_worker_that_wants_one(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        worker = PlayedWorker(WorkerSettings(access=Access(token="abc")), clock=clock)
        async with serve(worker.app) as url:
            await client.register(url, OtherHeaders="Cookie: swarm_token=abc\nX-Bad: a:b")
            await reach(master, {-1: "running", 0: "running"})
