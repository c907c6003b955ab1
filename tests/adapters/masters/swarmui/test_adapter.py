"""The SwarmUI master against the stand-in: the contract, and what can go wrong with SwarmUI in particular."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr, ValidationError

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings, backend_settings
from ebbflow.contracts import SessionContract
from ebbflow.contracts.master import Trouble, worker_at
from ebbflow.core.errors import ConfigError, MasterRejected, MasterUnavailable, RegistrationRejected
from ebbflow.core.member import DrainAnswer, MemberState
from ebbflow.core.worker import Worker
from ebbflow.standins.clock import ManualClock
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.backend import Backend, BackendSettings
from ebbflow.standins.swarmui.http import SwarmApi
from ebbflow.standins.swarmui.load import BackendState
from ebbflow.standins.swarmui.master import MasterSettings, PlayedMaster
from ebbflow.standins.swarmui.sessions import Access
from ebbflow.standins.swarmui.worker import PlayedWorker, WorkerSettings

pytestmark = pytest.mark.anyio

FLEET, HOME = "sdxl", "h0me1"
FOREIGN_TITLE = f"ebbflow/{FLEET}/h0me2/{FLEET}-9zzz-1-0"
CALL_SECONDS = 6.0
HANG_SECONDS = 0.25
"""The call timeout where a test waits for it."""


class SwarmUIWorld:
    """One stand-in master with its workers on a clock that a test moves."""

    troubles = (
        Trouble.DOWN,
        Trouble.HANGING,
        Trouble.FAILING,
        Trouble.UNAUTHORISED,
        Trouble.BAD_REQUEST,
        Trouble.NONSENSE,
    )

    def __init__(
        self, folder: Path, stack: AsyncExitStack, *, is_new: bool = False, websocket_seconds: float = 0
    ) -> None:
        self.clock = ManualClock()
        settings = MasterSettings(folder, is_new=is_new, websocket_seconds=websocket_seconds)
        self.master = PlayedMaster(settings, clock=self.clock)
        self.sessions = InMemorySessionStore()
        self.address = ""
        self.workers: dict[str, PlayedWorker] = {}
        self.settings: dict[str, object] = {"call_timeout_seconds": CALL_SECONDS}
        self._stack = stack
        self._served: dict[str, AsyncExitStack] = {}
        self._urls: dict[str, str] = {}
        self._user = httpx.AsyncClient(timeout=None, trust_env=False)
        self._work: asyncio.Task[httpx.Response] | None = None

    async def open(self) -> None:
        self._stack.push_async_callback(self._close)
        self.address = await self._serve("master", self.master.app)

    def adapter(self, **settings: object) -> SwarmUIAdapter:
        given = SwarmUISettings.model_validate({"address": self.address, **self.settings, **settings})
        adapter = SwarmUIAdapter(given, fleet=FLEET, home=HOME, sessions=self.sessions, sleep=self.pause)
        self._stack.push_async_callback(adapter.aclose)
        return adapter

    async def pause(self, seconds: float) -> None:
        """Let the clock go on by what the adapter waits."""
        await self.clock.advance(seconds)
        await asyncio.sleep(0.002)

    async def start_worker(self, settings: WorkerSettings | None = None) -> Worker:
        worker_id = f"{FLEET}-0abc-1-{len(self.workers)}"
        self.workers[worker_id] = PlayedWorker(settings, clock=self.clock)
        return worker_at(worker_id, await self._serve(worker_id, self.workers[worker_id].app))

    async def end_worker(self, worker: Worker) -> None:
        name = next((name for name, served in self._urls.items() if served == worker.url), None)
        if name is not None and name in self._served:
            await self._served.pop(name).aclose()

    async def make_busy(self, worker: Worker) -> None:
        session = await self._user_call("GetNewSession", {})
        body = {"session_id": session.json()["session_id"], "images": 1, "steps": 20, "model": "sdxl.safetensors"}
        self._work = asyncio.ensure_future(self._user_call("GenerateText2Image", body))
        serving = self.workers[worker.worker_id]
        await self.until(lambda: serving.app.requests_for("GenerateText2Image") != [])

    async def finish_work(self) -> bool:
        work = self._work
        assert work is not None
        await self.until(work.done)
        return work.result().json().get("images") is not None

    async def advance(self) -> None:
        await self.clock.advance(0.4)
        await asyncio.sleep(0.002)  # what the stand-ins say to each other is real

    async def start_loading(self, worker: Worker) -> None:
        self.workers[worker.worker_id].begin_loading(3600)

    async def add_foreign_member(self) -> str:
        entry = await self.add_entry(FOREIGN_TITLE, "http://127.0.0.1:9")
        self.foreign_id = entry.id
        return FOREIGN_TITLE

    async def has_foreign_member(self) -> bool:
        entry = next((entry for entry in self.master.backends if entry.id == self.foreign_id), None)
        return entry is not None and entry.enabled and (entry.title, entry.modcount) == (FOREIGN_TITLE, 1)

    async def duplicate(self, worker: Worker) -> None:
        await self.add_entry(f"ebbflow/{FLEET}/{HOME}/{worker.worker_id}", worker.url or "")

    async def crash_in_registration(self, worker: Worker) -> None:
        self.master.app.faults.add(Fault(FaultKind.HANG, "EditBackend", times=1))
        with pytest.raises(MasterUnavailable):
            await self.adapter(call_timeout_seconds=HANG_SECONDS).register(worker)

    async def break_master(self, trouble: Trouble) -> None:
        faults = {
            Trouble.HANGING: FaultKind.HANG,
            Trouble.FAILING: FaultKind.FAIL,
            Trouble.BAD_REQUEST: FaultKind.NO_RESULT,
            Trouble.NONSENSE: FaultKind.GARBAGE,
        }
        if trouble is Trouble.DOWN:
            await self._served.pop("master").aclose()
        elif trouble is Trouble.UNAUTHORISED:
            self.master.app.access = Access(token="changed")
            self.master.app.sessions.expire_all()
        else:
            self.master.app.faults.add(Fault(faults[trouble]))
        if trouble is Trouble.HANGING:
            self.settings["call_timeout_seconds"] = HANG_SECONDS

    async def heal_master(self) -> None:
        self.settings["call_timeout_seconds"] = CALL_SECONDS
        self.master.app.faults.clear()
        self.master.app.access = Access()
        if "master" not in self._served:
            await self._serve("master", self.master.app, port=httpx.URL(self.address).port or 0)

    async def restart_master(self) -> None:
        await self.master.restart()

    def sessions_given(self) -> int:
        return self.master.app.sessions.given + sum(worker.app.sessions.given for worker in self.workers.values())

    async def until(self, holds: Callable[[], bool]) -> None:
        for _ in range(500):
            if holds():
                return
            await self.advance()
        pytest.fail("it did not happen in time")

    async def add_entry(self, title: str, address: str) -> Backend:
        """Add an entry past the adapter under test, as a person or another installation does."""
        session = (await self._user_call("GetNewSession", {})).json()["session_id"]
        self.master.app.sessions.given -= 1  # it is not the adapter's
        body = {"session_id": session, "type_id": "swarmswarmbackend"}
        added = (await self._user_call("AddNewBackend", body)).json()["id"]
        settings = BackendSettings(address=address, allow_idle=True).saved()
        body = {"session_id": session, "backend_id": added, "title": title, "settings": settings}
        await self._user_call("EditBackend", body)
        return next(entry for entry in self.master.backends if entry.id == added)

    async def start_registered(self, count: int) -> list[Worker]:
        workers = [await self.start_worker() for _ in range(count)]
        await asyncio.gather(*(self.duplicate(worker) for worker in workers))
        return workers

    def entries(self) -> list[Backend]:
        return [entry for entry in self.master.backends if entry.parent is None]

    async def _user_call(self, route: str, body: dict[str, object]) -> httpx.Response:
        return await self._user.post(f"{self.address}/API/{route}", json=body)

    async def _serve(self, name: str, app: SwarmApi, port: int = 0) -> str:
        self._served[name] = AsyncExitStack()
        self._urls[name] = await self._served[name].enter_async_context(serve(app, port=port))
        return self._urls[name]

    async def _close(self) -> None:
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        await self._user.aclose()
        for served in self._served.values():
            await served.aclose()


@asynccontextmanager
async def opened_world(
    folder: Path, *, is_new: bool = False, websocket_seconds: float = 0
) -> AsyncIterator[SwarmUIWorld]:
    async with AsyncExitStack() as stack:
        world = SwarmUIWorld(folder, stack, is_new=is_new, websocket_seconds=websocket_seconds)
        await world.open()
        yield world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[SwarmUIWorld]:
    async with opened_world(tmp_path) as world:
        yield world


class TestSwarmUI(SessionContract):
    @pytest.fixture
    async def world(self, tmp_path: Path) -> AsyncIterator[SwarmUIWorld]:
        async with opened_world(tmp_path) as world:
            yield world


async def ready(world: SwarmUIWorld, worker: Worker) -> None:
    await world.adapter().register(worker)
    await world.until(lambda: any(entry.parent and entry.may_run for entry in world.master.backends))


async def test_a_worker_with_the_address_of_the_master_is_refused_and_never_shut_down(world: SwarmUIWorld) -> None:
    itself = worker_at("sdxl-0abc-1-0", world.address)
    with pytest.raises(RegistrationRejected, match="master's own address"):
        await world.adapter().register(itself)
    await world.adapter().shut_down(itself)
    assert world.entries() == []
    assert world.master.app.requests_for("ShutdownServer") == []


async def test_the_master_is_known_under_another_address_also_after_its_restart(world: SwarmUIWorld) -> None:
    itself = worker_at("sdxl-0abc-1-0", world.address.replace("127.0.0.1", "localhost"))
    await world.adapter().probe()
    world.master.app.server_id = "made anew when the process starts"
    await world.adapter().keepalive([itself])  # a session of its own, whose server id is newer than the master's
    with pytest.raises(RegistrationRejected, match="master's own address"):
        await world.adapter().register(itself)
    await world.adapter().shut_down(itself)
    assert world.entries() == []
    assert world.master.app.requests_for("ShutdownServer") == []


async def test_locked_settings_are_a_matter_for_a_person(world: SwarmUIWorld) -> None:
    await world.adapter().probe()
    world.master.app.are_settings_locked = True
    with pytest.raises(ConfigError, match="--lock_settings"):
        await world.adapter().probe()
    with pytest.raises(ConfigError, match="--lock_settings"):
        await world.adapter().register(await world.start_worker())


@pytest.mark.parametrize(
    "permission",
    ["view_backends_list", "add_remove_backends", "edit_backends", "toggle_backends", "read_server_info_panels"],
)
async def test_a_missing_permission_is_a_matter_for_a_person_until_it_is_given(
    world: SwarmUIWorld, permission: str
) -> None:
    needed = {"view_backends_list", "add_remove_backends", "edit_backends", "toggle_backends"}
    granted = frozenset(needed | {"read_server_info_panels"})
    world.master.app.access = Access(permissions=granted - {permission})
    for _ in range(2):
        with pytest.raises(ConfigError, match=permission):
            await world.adapter().probe()
    world.master.app.access = Access(permissions=granted)
    assert (await world.adapter().probe()).reachable
    assert world.sessions_given() == 1
    assert world.entries() == []


async def test_a_wrong_token_is_a_matter_for_a_person_and_is_never_shown(world: SwarmUIWorld) -> None:
    world.master.app.access = Access(token="the-right-one")
    adapter = world.adapter(token="the-wrong-one")
    with pytest.raises(ConfigError, match="swarm_token") as caught:
        await adapter.probe()
    assert "the-wrong-one" not in repr(caught.value)
    assert (await world.adapter(token="the-right-one").probe()).version


async def test_a_forgotten_session_is_renewed_once(world: SwarmUIWorld) -> None:
    await world.adapter().probe()
    world.master.app.sessions.expire_all()
    assert (await world.adapter().demand()).complete
    assert world.sessions_given() == 2


async def test_a_session_that_is_forgotten_at_once_is_not_renewed_in_a_loop() -> None:
    calls = []

    def forgetful(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path)
        if request.url.path.endswith("GetNewSession"):
            return httpx.Response(200, json={"session_id": "a" * 40, "permissions": ["*"]})
        return httpx.Response(401, json={"error_id": "invalid_session_id", "error": "Invalid session ID."})

    adapter = mocked(forgetful)
    demand = await adapter.demand()
    await adapter.aclose()
    assert not demand.complete
    assert [path.rsplit("/")[-1] for path in calls] == ["GetNewSession", "GetGlobalStatus"] * 2


async def test_calls_at_the_same_time_share_one_session(world: SwarmUIWorld) -> None:
    adapter = world.adapter()
    await asyncio.gather(adapter.probe(), adapter.demand(), adapter.members())
    world.master.app.sessions.expire_all()
    await asyncio.gather(adapter.probe(), adapter.demand(), adapter.members())
    assert world.sessions_given() == 2


async def test_an_old_master_tells_demand_by_its_users(world: SwarmUIWorld) -> None:
    world.master.app.faults.add(Fault(FaultKind.BAD_ROUTE, "GetGlobalStatus"))
    assert (await world.adapter().demand()).complete
    assert world.master.app.requests_for("ListConnectedUsers")


async def test_an_error_with_status_200_is_an_error(world: SwarmUIWorld) -> None:
    world.master.app.faults.add(Fault(FaultKind.ERROR, text="the disk is full"))
    assert "the disk is full" in (await world.adapter().demand()).detail
    assert "the disk is full" in (await world.adapter().members()).detail
    assert "the disk is full" in (await world.adapter().probe()).detail
    with pytest.raises(MasterRejected, match="the disk is full"):
        await world.adapter().drain(worker_at("sdxl-0abc-1-0", None), 60)


async def test_one_temporary_failure_of_a_look_is_not_seen(world: SwarmUIWorld) -> None:
    await world.adapter().probe()
    world.master.app.faults.add(Fault(FaultKind.FAIL, "GetGlobalStatus", times=1))
    assert (await world.adapter().demand()).complete


async def test_a_slow_master_is_waited_for_only_so_long(world: SwarmUIWorld) -> None:
    await world.adapter().probe()
    world.master.app.faults.add(Fault(FaultKind.SLOW, seconds=3600))
    began = time.monotonic()
    demand = await world.adapter(call_timeout_seconds=HANG_SECONDS).demand()
    assert not demand.complete
    assert time.monotonic() - began < 2 * HANG_SECONDS + 0.5


async def test_waiting_and_running_images_are_counted_apart(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await world.make_busy(worker)
    demand = await world.adapter().demand()
    (member,) = (await world.adapter().members()).members
    assert (demand.queued, demand.running, demand.shapes) == (0, 1, ())
    assert (member.busy, member.idle_seconds) == (True, None)
    assert await world.finish_work()
    await world.clock.advance(90)
    (member,) = (await world.adapter().members()).members
    assert member.busy is False
    assert member.idle_seconds is not None
    assert 89 <= member.idle_seconds <= 120
    assert member.model == "sdxl.safetensors"


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
    assert entry.title == f"ebbflow/{FLEET}/{HOME}/{worker.worker_id}"
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
    assert [entry.title.rsplit("/")[-1] for entry in world.entries()] == [old.worker_id]
    await world.adapter().deregister(old)
    assert (await world.adapter().register(new)).registered
    assert [entry.title.rsplit("/")[-1] for entry in world.entries()] == [new.worker_id]


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


async def test_a_worker_with_a_full_backend_is_drained_although_the_master_does_not_answer(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await world.make_busy(worker)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    (entry,) = world.entries()
    assert not entry.enabled
    assert await world.finish_work()


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


async def test_regression_a_veto_enabled_an_entry_that_was_still_being_emptied(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await world.make_busy(worker)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    assert await world.adapter().drain(worker, 0) is DrainAnswer.HELD
    (entry,) = world.entries()
    assert not entry.enabled
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.busy) == (MemberState.DRAINING, True)
    assert await world.finish_work()
    await world.until(lambda: str(entry.state) == "disabled")
    assert [each.id for each in world.master.backends] == [entry.id], "nobody serves on without an owner"
    assert await world.adapter().drain(worker, 0) is DrainAnswer.ACCEPTED, "its work is done, and it leaves"


async def test_a_worker_with_a_free_slot_goes_back_into_service_at_once(world: SwarmUIWorld) -> None:
    worker = await world.start_worker(WorkerSettings(max_usages=2))
    await ready(world, worker)
    await world.make_busy(worker)
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    (entry,) = world.entries()
    await world.until(lambda: str(entry.state) == "disabled")
    assert await world.adapter().drain(worker, 0) is DrainAnswer.BUSY
    await world.until(lambda: any(each.may_run for each in world.master.backends if each.parent is entry))
    assert await world.finish_work()


async def test_regression_a_worker_that_counts_nothing_any_more_was_empty_before_its_image_was_delivered(
    tmp_path: Path,
) -> None:
    async with opened_world(tmp_path, websocket_seconds=2) as world:
        worker = await world.start_worker()
        await ready(world, worker)
        await world.make_busy(worker)
        assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
        serving = world.workers[worker.worker_id]
        await world.until(lambda: serving.served == 1)
        (member,) = (await world.adapter().members()).members
        assert member.busy, "the master's request has not its image yet"
        assert await world.finish_work()


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


async def child_that_came_back(world: SwarmUIWorld, worker: Worker, leave: Callable[[], Awaitable[object]]) -> Backend:
    """Let the master's poll be answered only after the entry has gone: its child is back, and nobody watches it."""
    serving = world.workers[worker.worker_id]
    serving.app.faults.add(Fault(FaultKind.SLOW, "ListBackends", seconds=2))
    asked = len(serving.app.requests_for("ListBackends"))
    await world.until(lambda: len(serving.app.requests_for("ListBackends")) > asked)
    serving.app.faults.clear()
    await leave()
    assert not [entry for entry in world.master.backends if entry.parent is not None]
    await world.until(lambda: any(entry.parent is not None for entry in world.master.backends))
    return next(entry for entry in world.master.backends if entry.parent is not None)


async def test_regression_a_drained_worker_got_work_through_a_child_that_came_back(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await child_that_came_back(world, worker, lambda: world.adapter().drain(worker, 60))
    (member,) = (await world.adapter().members()).members
    assert member.busy, "work may reach it"
    assert await world.adapter().drain(worker, 60) is DrainAnswer.ACCEPTED
    (member,) = (await world.adapter().members()).members
    assert (member.state, member.busy) == (MemberState.DRAINING, False)


async def test_regression_a_deregistered_worker_left_a_child_that_fails_every_request(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await child_that_came_back(world, worker, lambda: world.adapter().deregister(worker))
    await world.end_worker(worker)
    await world.adapter().deregister(worker)
    assert world.master.backends == ()


async def test_a_toggle_without_effect_is_an_error(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    world.master.app.faults.add(Fault(FaultKind.HANG, "ToggleBackend"))
    with pytest.raises(MasterUnavailable, match="ToggleBackend"):
        await world.adapter(call_timeout_seconds=HANG_SECONDS).drain(worker, 60)


async def test_a_busy_worker_that_the_master_does_not_know_is_not_gone(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    await world.make_busy(worker)
    known = next(iter(world.entries()))
    known.own_title = "renamed by a person"
    assert await world.adapter().drain(worker, 60) is DrainAnswer.BUSY
    assert known.enabled


async def test_shutting_down_asks_the_worker_and_forgives_a_dead_one(world: SwarmUIWorld) -> None:
    worker = await world.start_worker()
    await world.adapter().shut_down(worker)
    assert len(world.workers[worker.worker_id].app.requests_for("ShutdownServer")) == 1
    await world.end_worker(worker)
    await world.adapter().shut_down(worker)
    await world.adapter().shut_down(replace(worker, url=None))


async def test_fifty_workers_of_which_half_hang_fit_into_one_call(world: SwarmUIWorld) -> None:
    workers = await world.start_registered(50)
    await world.adapter(call_timeout_seconds=30).keepalive(workers)
    for worker in workers[:25]:
        world.workers[worker.worker_id].app.faults.add(Fault(FaultKind.HANG))
    # On a loaded machine those that live need longer; nobody may take longer than a call altogether.
    for seconds in (4, 12, 36):
        adapter = world.adapter(call_timeout_seconds=seconds)
        began = time.monotonic()
        taken = await adapter.keepalive(workers)
        assert time.monotonic() - began < adapter.caps.call_seconds
        began = time.monotonic()
        listing = await adapter.members()
        assert time.monotonic() - began < adapter.caps.call_seconds
        busy = sorted(str(member.busy) for member in listing.members)
        answered = [taken[worker.worker_id] for worker in workers]
        if (answered, busy) == ([False] * 25 + [True] * 25, ["False"] * 25 + ["None"] * 25):
            return
    pytest.fail(f"{answered} {busy} {listing.detail}")


@pytest.mark.parametrize("workers", [1, 50])
async def test_a_turn_asks_the_master_three_times_and_each_worker_once(world: SwarmUIWorld, workers: int) -> None:
    await world.start_registered(workers)
    world.settings["call_timeout_seconds"] = 5
    await asyncio.gather(world.adapter().probe(), world.adapter().members())  # sessions are kept between turns
    before = requests_to_all(world)
    adapter = world.adapter()
    await adapter.probe()
    await adapter.demand()
    assert len((await adapter.members()).members) == workers
    assert requests_to_all(world) - before == 3 + workers


def requests_to_all(world: SwarmUIWorld) -> int:
    """Requests of the adapter; the master's own to its workers look the same but for one route."""
    to_workers = sum(len(worker.app.requests_for("GetGlobalStatus")) for worker in world.workers.values())
    return len(world.master.app.requests) + to_workers


async def test_no_secret_is_in_any_error_repr_or_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", logger="ebbflow")
    secrets = ["tok-master", "tok-worker", "tok-auth", "tok-other"]
    session_id = "5e55" * 10

    def gossip(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("GetNewSession"):
            return httpx.Response(200, json={"session_id": session_id, "permissions": ["*"]})
        said = f"{dict(request.headers)} {request.content.decode()} {request.headers.get('cookie')} tok-auth"
        return httpx.Response(200, json={"error": said[-150:]})

    settings = {
        "token": "tok-master",
        "worker_token": "tok-worker",
        "authorization_header": "Bearer tok-auth",
        "other_headers": {"X-Key": "tok-other"},
    }
    adapter = mocked(gossip, **settings)
    worker = worker_at("sdxl-0abc-1-0", "http://worker:7801")
    shown = [repr(adapter), repr(vars(adapter)), (await adapter.demand()).detail, (await adapter.members()).detail]
    shown += [(await adapter.probe()).detail, (await adapter.register(worker)).detail]
    await adapter.keepalive([worker])
    for call in (adapter.deregister(worker), adapter.drain(worker, 60)):
        with pytest.raises(MasterRejected) as caught:
            await call
        shown.append(repr(caught.value))
    await adapter.aclose()
    text = " ".join([*shown, caplog.text])
    assert "***" in text
    assert [secret for secret in [*secrets, session_id] if secret in text] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"address": "ftp://master"},
        {"address": "http://user:s3cret@master:7801"},
        {"address": "http://master:7801/?token=s3cret"},
        {"token": "s3cret word"},
        {"token": "s3cret;"},
        {"worker_token": "s3cret:x"},
        {"authorization_header": "s3cret\nHost: other"},
        {"other_headers": {"X Key": "s3cret"}},
        {"other_headers": {"Cookie": "s3cret"}},
        {"other_headers": {"X-Key": "s3cret:colon"}},
        {"require_control_within_minutes": 2},
        {"unknown": "s3cret"},
    ],
)
def test_wrong_settings_are_refused_without_being_quoted(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        SwarmUISettings.model_validate({"address": "http://master:7801", **wrong})
    assert "s3cret" not in str(caught.value)


def test_settings_become_caps_arguments_and_backends() -> None:
    settings = SwarmUISettings(
        address=" https://master/swarm/ ", worker_token=SecretStr("w"), require_control_within_minutes=7
    )
    adapter = SwarmUIAdapter(settings, fleet=FLEET, home=HOME, sessions=InMemorySessionStore())
    assert settings.address == "https://master/swarm"
    assert adapter.join_spec("sdxl-0abc-1-0").arguments == ("--require_control_within", "7")
    assert adapter.caps.needs_keepalive_seconds == 420
    assert not adapter.caps.can_start_from_zero
    assert adapter.caps.call_seconds == 10
    assert backend_settings(settings, "http://w:1")["OtherHeaders"] == "Cookie: swarm_token=w"


def mocked(handler: Callable[[httpx.Request], httpx.Response], **settings: object) -> SwarmUIAdapter:
    given = SwarmUISettings.model_validate({"address": "http://master:7801", "call_timeout_seconds": 1, **settings})
    transport = httpx.MockTransport(handler)
    return SwarmUIAdapter(given, fleet=FLEET, home=HOME, sessions=InMemorySessionStore(), transport=transport)
