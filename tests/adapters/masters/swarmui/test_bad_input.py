"""A SwarmUI behind a bad line, with strange names, shared with others, or replaced by another one."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings
from ebbflow.core.errors import MasterUnavailable, RegistrationRejected
from ebbflow.core.member import DrainAnswer, MemberState
from ebbflow.core.worker import Worker
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.turn.plausible import plausible_members
from tests.adapters.masters.swarmui.played_master import FLEET, HANG_SECONDS, HOME, SwarmUIWorld, ready, worker_of

pytestmark = pytest.mark.anyio

LONG = "x" * 10_000
PROXY_SECONDS = 0.3


class FarMaster(httpx.AsyncHTTPTransport):
    """A proxy in front of the master, which takes its time with every call."""

    def __init__(self, master: str) -> None:
        super().__init__(trust_env=False)
        self._port = httpx.URL(master).port
        self.calls = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.port == self._port:
            self.calls += 1
            await anyio.sleep(PROXY_SECONDS)
        return await super().handle_async_request(request)


async def test_a_life_of_a_worker_at_a_master_behind_a_slow_proxy_fits_into_the_time_of_its_calls(
    world: SwarmUIWorld,
) -> None:
    far = FarMaster(world.address)
    settings = SwarmUISettings.model_validate({"address": world.address, "call_timeout_seconds": 3})
    adapter = SwarmUIAdapter(
        settings, fleet=FLEET, home=HOME, sessions=world.sessions, transport=far, sleep=world.pause
    )
    worker = await world.start_worker()
    assert (await adapter.probe()).reachable
    assert (await adapter.register(worker)).registered
    await world.until(lambda: any(child.may_run for child in world.children()))
    (member,) = (await adapter.members()).members
    assert member.state is MemberState.READY
    assert await adapter.drain(worker, 60) is DrainAnswer.ACCEPTED
    await adapter.deregister(worker)
    await adapter.aclose()
    assert world.master.backends == ()
    assert far.calls > 8


async def patiently(done: Callable[[], Awaitable[bool]]) -> None:
    """As later turns do it: again, until it is done."""
    for _ in range(4):
        try:
            if await done():
                return
        except MasterUnavailable:
            continue
    pytest.fail("it was not done in four turns")


@pytest.mark.parametrize(
    "route",
    ["GetNewSession", "ListBackends", "AddNewBackend", "EditBackend", "ToggleBackend", "DeleteBackend"],
)
async def test_an_answer_that_the_proxy_lost_leaves_one_entry_and_then_none(world: SwarmUIWorld, route: str) -> None:
    worker = await world.start_worker()

    def lose() -> SwarmUIAdapter:
        return world.adapter(call_timeout_seconds=HANG_SECONDS)

    async def registered() -> bool:
        return (await lose().register(worker)).registered

    async def drained() -> bool:
        return await lose().drain(worker, 60) is DrainAnswer.ACCEPTED

    async def forgotten() -> bool:
        await lose().deregister(worker)
        return True

    world.master.app.faults.add(Fault(FaultKind.LOSE_ANSWER, route, times=1))
    await patiently(registered)
    filled = [entry for entry in world.entries() if entry.settings.address]
    assert [(worker_of(entry.title), entry.settings.address) for entry in filled] == [(worker.worker_id, worker.url)]
    await world.until(lambda: any(child.may_run for child in world.children()))
    await patiently(drained)
    assert not filled[0].enabled
    await world.until(lambda: str(filled[0].state) == "disabled")
    await patiently(forgotten)
    listing = await world.adapter().members()
    assert listing.members == ()
    for ref in listing.unfinished:
        await world.adapter().remove_unfinished(ref)
    assert world.master.backends == ()


@pytest.mark.parametrize("title", [LONG, f"ebbflow/{FLEET}/other/{LONG}", f"ebbflow/{FLEET}/{HOME}/{LONG}"])
async def test_a_title_of_ten_thousand_characters_is_somebody_elses_and_shown_in_short(
    world: SwarmUIWorld, title: str
) -> None:
    worker = await world.start_worker()
    entry = await world.add_entry(title, worker.url or "")
    with pytest.raises(RegistrationRejected, match="not ours") as caught:
        await world.adapter().register(worker)
    assert len(str(caught.value)) < 400
    await world.until(lambda: any(child.may_run for child in world.children()))
    listing = plausible_members(await world.adapter().members())
    assert listing.members == ()
    assert len(repr(listing)) < 2000
    assert entry.enabled


async def test_two_fleets_and_two_homes_at_one_master_see_and_touch_their_own_alone(world: SwarmUIWorld) -> None:
    ours: dict[tuple[str, str], tuple[SwarmUIAdapter, Worker]] = {}
    for fleet, home in ((FLEET, HOME), (FLEET, "h0me2"), ("flux", HOME)):
        settings = SwarmUISettings.model_validate({"address": world.address})
        adapter = SwarmUIAdapter(settings, fleet=fleet, home=home, sessions=InMemorySessionStore(), sleep=world.pause)
        worker = replace(await world.start_worker(), worker_id=f"{fleet}-{home[-1]}abc-1-0", registered=True)
        assert (await adapter.register(worker)).registered
        ours[fleet, home] = adapter, worker
    everybody = [worker for _, worker in ours.values()]
    await world.until(lambda: sum(child.may_run for child in world.children()) == 3)
    for adapter, worker in ours.values():
        listing = await adapter.members(known=everybody)
        assert [member.worker_id for member in listing.members] == [worker.worker_id]
        assert listing.others == (), "another fleet's are no operator's own"
        for other in everybody:
            if other is not worker:
                assert await adapter.drain(other, 60) is DrainAnswer.FED
                assert (await adapter.mend(other)).registered
                await adapter.deregister(other)
    assert [entry.enabled for entry in world.entries()] == [True] * 3
    for adapter, _ in ours.values():
        await adapter.aclose()


async def test_a_master_that_is_replaced_by_an_empty_one_gets_its_workers_anew(
    world: SwarmUIWorld, tmp_path: Path
) -> None:
    worker = await world.start_worker()
    await ready(world, worker)
    known = replace(worker, registered=True)
    await world.replace_master(tmp_path / "another")
    assert (await world.adapter().probe()).reachable
    listing = await world.adapter().members(known=[known])
    assert (listing.complete, listing.members, listing.unfinished) == (True, (), ())
    assert (await world.adapter().register(known)).registered
    await world.until(lambda: any(child.may_run for child in world.children()))
    (member,) = (await world.adapter().members(known=[known])).members
    assert member.state is MemberState.READY


async def test_an_id_that_was_ours_yesterday_is_not_touched_when_it_is_somebody_elses_today(
    world: SwarmUIWorld,
) -> None:
    empty = await world.add_entry("", "")
    (ref,) = (await world.adapter().members()).unfinished
    await world.delete(empty)
    await world.restart_master()
    other = await world.add_entry("Bob's GPU", "http://127.0.0.1:9")
    assert str(other.id) == ref, "a restarted master gives it out again"
    await world.adapter().remove_unfinished(ref)
    assert world.entries() == [other]
