"""What becomes of the requests of a stand-in SwarmUI master's users."""

import asyncio
from pathlib import Path

import pytest

from ebbflow.standins.clock import ManualClock
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.master import MasterSettings, PlayedMaster
from ebbflow.standins.swarmui.worker import PlayedWorker, WorkerSettings
from tests.standins.swarmui.talk import (
    Client,
    Json,
    connected,
    outcome,
    pass_time,
    reach,
    seconds_until_done,
    states,
    until,
    working,
)

pytestmark = pytest.mark.anyio


LOST = {"error": "Something went wrong while generating images."}
NONE_LEFT = {"error": "No backends available!"}


class TestGenerations:
    async def test_waiting_counts_live_ones_and_a_limited_number_looks_for_a_backend(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=1, images=10)
            await working(worker)
            load = await client.load()
            assert load == {"waiting_gens": 10, "loading_models": 0, "waiting_backends": 4, "live_gens": 1}
            (user,) = (await client.call("ListConnectedUsers"))["users"]
            assert user == {
                "id": "local",
                "last_active_seconds": 0,
                "active_sessions": [{"address": "127.0.0.1", "count": 1}],
                "last_active": "0 seconds ago",
                **load,
            }
            async with connected(client.url) as other:
                assert (await other.call("GetCurrentStatus"))["status"]["waiting_gens"] == 0, "own requests only"
            assert len((await outcome(master, image))["images"]) == 10
            assert (master.tally.served, master.tally.lost) == (10, 0)
            assert max(master.tally.wait_seconds) > 0
            assert (await client.load())["waiting_gens"] == 0

    async def test_seconds_since_used_grows_during_a_generation_and_stays_never_on_the_control_entry(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=60)
            await working(worker)
            await pass_time(master, 40, step=5)
            listed = await client.backends()
            assert listed["-1"]["seconds_since_used"] == 40
            assert (listed["0"]["seconds_since_used"], listed["0"]["time_since_used"]) == (0, "Never")
            assert "images" in await outcome(master, image)

    async def test_a_test_may_let_the_images_that_run_be_done_without_time_passing(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=60)
            await working(worker)
            answer = await client.http.post(f"{url}/Control/Finish")
            assert answer.status_code == 200
            assert len((await image)["images"]) == 1

    async def test_a_request_prefers_the_child_that_has_its_model(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        worker = PlayedWorker(WorkerSettings(backends=2, seconds_per_step=0), clock=clock)
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-2: "running", -1: "running", 0: "running"})
            for model in ("sdxl.safetensors", "sdxl.safetensors"):
                assert "images" in await client.generate(model=model)
            used = {request.body["exactbackendid"] for request in worker.app.requests_for("GenerateText2Image")}
            assert len(used) == 1
            refused = await client.generate(model="nobody.has.it")
            assert "Invalid model value" in refused["error"]

    async def test_a_worker_that_dies_loses_the_image_it_made(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=60)
            await working(worker)
            worker.crash()
            assert await image == LOST
            assert (master.tally.served, master.tally.lost, worker.lost) == (0, 1, 1)

    async def test_without_any_backend_a_request_fails_after_a_second(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        image = client.generate(images=4)
        await until(lambda: master._loads.total().waiting_backends == 1)
        await clock.advance(0.5)
        assert not image.done()
        assert (await client.load())["waiting_gens"] == 4
        assert await outcome(master, image) == {"error": "No backends available!"}
        assert master.tally.lost == 4

    async def test_while_a_backend_is_loading_a_request_waits(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        worker.begin_loading(20)
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {0: "loading"})
            image = client.generate(steps=1)
            await pass_time(master, 15)
            assert not image.done()
            worker.begin_loading(0)
            await reach(master, {-1: "running", 0: "running"}, seconds=5)
            assert "images" in await outcome(master, image)

    async def test_a_control_entry_without_children_fails_a_request(
        self, client: Client, master: PlayedMaster, clock: ManualClock
    ) -> None:
        worker = PlayedWorker(WorkerSettings(backends=0), clock=clock)
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {0: "running"})
            image = client.generate()
            await until(lambda: master._loads.total().waiting_backends == 1)
            assert await seconds_until_done(master, image) == pytest.approx(1.1, abs=0.2)
            assert image.result() == {"error": "No backends match the settings of the request given!"}

    @pytest.mark.parametrize("state", [None, "errored", "waiting"])
    async def test_a_worker_without_a_running_backend_fails_a_request(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, state: str | None
    ) -> None:
        async with serve(worker.app) as url, connected(url) as to_worker:
            await to_worker.control("Backends", status=state)
            await client.register(url)
            await reach(master, {0: "running"})
            image = client.generate()
            assert await seconds_until_done(master, image) == pytest.approx(1.1, abs=0.2)
            assert image.result() == {"error": "No backends match the settings of the request given!"}
            await to_worker.control("Backends", status="running")
            await reach(master, {-1: "running", 0: "running"}, seconds=6)

    async def test_one_errored_backend_makes_the_whole_status_errored(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        assert (await client.call("GetGlobalStatus"))["backend_status"]["status"] == "empty"
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            assert (await client.call("GetGlobalStatus"))["backend_status"]["status"] == "empty", "cached for a second"
            await clock.advance(1)
            assert (await client.call("GetGlobalStatus"))["backend_status"]["status"] == "running"
            await client.register("http://127.0.0.1:9", AllowIdle=False)
            await reach(master, {-1: "running", 0: "running", 1: "errored"}, seconds=120)
            await clock.advance(1)
            assert (await client.call("GetGlobalStatus"))["backend_status"]["status"] == "errored"


class TestWebsocket:
    async def test_an_image_holds_its_child_two_seconds_longer_than_the_worker_counts_it(
        self, tmp_path: Path, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        master = PlayedMaster(MasterSettings(tmp_path, is_new=False), clock=clock)
        async with serve(master.app) as own, serve(worker.app) as url, connected(own) as client:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=5)
            await working(worker)
            await pass_time(master, 5.5, 0.1)
            async with connected(url) as to_worker:
                assert (await to_worker.load())["live_gens"] == 0
            assert (await client.load())["live_gens"] == 1
            assert not image.done()
            assert await seconds_until_done(master, image) == pytest.approx(1.5, abs=0.3)

    async def test_without_websockets_on_one_entry_the_whole_master_serves_one_request_after_another(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        master = PlayedMaster(MasterSettings(tmp_path, is_new=False), clock=clock)
        first, second = (PlayedWorker(WorkerSettings(max_usages=2, seconds_per_step=1), clock=clock) for _ in range(2))
        async with (
            serve(master.app) as own,
            serve(first.app) as one,
            serve(second.app) as two,
            connected(own) as client,
        ):
            await client.register(one)
            await client.register(two)
            await reach(master, {-2: "running", -1: "running", 0: "running", 1: "running"})
            beside = [client.generate(steps=5) for _ in range(4)]
            assert max([await seconds_until_done(master, image) for image in beside]) == pytest.approx(7, abs=0.5)
            await client.edit(0, AllowWebsocket=False)
            await reach(master, {-3: "running", -2: "running", 0: "running", 1: "running"})
            asked_at = clock.now()
            after = [client.generate(steps=5) for _ in range(4)]
            await asyncio.gather(*(outcome(master, image, 0.1) for image in after))
            assert 14 < clock.now() - asked_at < 24


class TestTheLastChild:
    @pytest.mark.parametrize("way", ["toggle", "delete", "edit"])
    async def test_taking_it_away_fails_every_waiting_request_within_three_seconds(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, way: str
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            running = client.generate(steps=60)
            await working(worker)
            waiting = [client.generate() for _ in range(5)]
            await until(lambda: master._loads.total().waiting_backends == 5)
            bodies: dict[str, tuple[str, Json]] = {
                "toggle": ("ToggleBackend", {"enabled": False}),
                "delete": ("DeleteBackend", {}),
                "edit": ("EditBackend", {"title": "t", "settings": {}}),
            }
            route, body = bodies[way]
            taken = client.later(route, backend_id=0, **body)
            await until(lambda: -1 not in states(master))
            assert not any(image.done() for image in waiting)
            await pass_time(master, 3, 0.5)
            assert [await image for image in waiting] == [NONE_LEFT] * 5
            assert not taken.done()
            assert "images" in await outcome(master, running)
            await outcome(master, taken)

    async def test_a_dead_workers_child_fails_whatever_it_is_given_until_the_next_poll(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        living = PlayedWorker(WorkerSettings(seconds_per_step=1), clock=clock)
        async with serve(worker.app) as dead, serve(living.app) as url:
            await client.register(dead)
            await client.register(url)
            await reach(master, {-2: "running", -1: "running", 0: "running", 1: "running"})
            worker.crash()
            images = [client.generate(steps=5) for _ in range(12)]
            await until(lambda: sum(image.done() for image in images) == 11)
            assert [image.result() for image in images if image.done()] == [LOST] * 11
            (taken,) = (image for image in images if not image.done())
            assert "images" in await outcome(master, taken)
            await reach(master, {-2: "running", -1: "idle", 0: "idle", 1: "running"}, seconds=5)
            assert "images" in await outcome(master, client.generate())

    async def test_a_request_without_websocket_gives_a_silent_worker_ten_minutes(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url:
            await client.register(url, AllowWebsocket=False, AllowIdle=False)
            await reach(master, {-1: "running", 0: "running"})
            worker.app.faults.add(Fault(FaultKind.HANG))
            image = client.generate()
            await working(worker)
            await pass_time(master, 595, 5)
            assert not image.done()
            assert await outcome(master, image) == LOST


class TestAWorkerThatEnds:
    async def test_the_masters_request_fails_soon_after_shutdown_and_is_not_tried_elsewhere(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker, clock: ManualClock
    ) -> None:
        other = PlayedWorker(WorkerSettings(seconds_per_step=1), clock=clock)
        async with serve(worker.app) as url, connected(url) as to_worker, serve(other.app) as spare:
            await client.register(url)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=10)
            await working(worker)
            await client.register(spare)
            await reach(master, {-2: "running", -1: "running", 0: "running", 1: "running"})
            assert await to_worker.call("ShutdownServer") == {"success": True}
            assert await seconds_until_done(master, image) < 1.5
            assert image.result() == LOST
            assert other.app.requests_for("GenerateText2Image") == []
            assert (master.tally.lost, worker.lost) == (1, 1)
            assert not worker.app.ended.is_set()
            await reach(master, {-2: "running", -1: "idle", 0: "idle", 1: "running"}, seconds=5)

    async def test_without_websocket_a_request_is_given_thirty_seconds(
        self, client: Client, master: PlayedMaster, worker: PlayedWorker
    ) -> None:
        async with serve(worker.app) as url, connected(url) as to_worker:
            await client.register(url, AllowWebsocket=False)
            await reach(master, {-1: "running", 0: "running"})
            image = client.generate(steps=20)
            await working(worker)
            await to_worker.call("ShutdownServer")
            assert "images" in await outcome(master, image)


async def test_long_after_the_last_image_everything_that_waits_fails(tmp_path: Path) -> None:
    clock = ManualClock()
    master = PlayedMaster(MasterSettings(tmp_path, is_new=False, max_timeout_minutes=1), clock=clock)
    async with serve(master.app) as url, connected(url) as client:
        added = (await client.call("AddNewBackend", type_id="swarmswarmbackend"))["id"]
        await reach(master, {added: "disabled"})
        async with serve(PlayedWorker(WorkerSettings(load_seconds=3600), clock=clock).app) as loads:
            await client.call("EditBackend", backend_id=added, title="room", settings={"Address": loads})
            await reach(master, {added: "loading"})
            waits = client.generate(steps=1)
            await pass_time(master, 55)
            assert not waits.done()
            assert await outcome(master, waits) == {"error": "Timeout! All backends are occupied with other tasks."}
