"""The contract that every provider passes, ours and those of other packages."""

# ruff: noqa: D102
# The names of the tests are the sentences of the contract.

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from ebbflow.core.errors import CapacityUnavailable, TerminationRefused
from ebbflow.core.ids import worker_id
from ebbflow.core.instance import LOG_BYTES, Instance, InstanceList, InstanceState, LaunchRequest, ProviderCaps
from ebbflow.core.ports import Provider

MakeProvider = Callable[[], Provider]
BreakBackend = Callable[[], Awaitable[None] | None]

ENDED = frozenset({InstanceState.GONE, InstanceState.FAILED})


class ProviderContract:
    """What the scaler relies on. Subclass it in a test module and say how your provider is made.

    ::

        class TestMyProvider(ProviderContract):
            @pytest.fixture
            def make_provider(self, my_server) -> MakeProvider:
                return lambda: MyProvider(MySettings(address=my_server.address))

            @pytest.fixture
            def break_backend(self, my_server) -> BreakBackend:
                return my_server.stop

    Required: `make_provider`, whose every call gives a new object on the same backend, as a later flow run has it, and
    which launches workers that announce an address and then stay; and `break_backend`, after which the backend answers
    no listing. Optional: `announce` where a worker does not announce by itself, `deadline_seconds`, and the names.
    The test run needs anyio's pytest plugin and an `anyio_backend` fixture.
    """

    pytestmark = pytest.mark.anyio

    fleet = "contract"
    other_fleet = "contract-2"
    home = "homea"
    other_home = "homeb"
    deadline_seconds = 15.0
    """How long a worker may take to be listed, to announce its address, and to be gone."""

    @pytest.fixture
    def make_provider(self) -> MakeProvider:
        """Gives a function that makes a new provider object on the same backend."""
        raise NotImplementedError("override the fixture make_provider")

    @pytest.fixture
    def break_backend(self) -> BreakBackend:
        """Gives a function after which the backend answers no listing."""
        raise NotImplementedError("override the fixture break_backend")

    async def announce(self, instance: Instance) -> None:
        """Let a launched worker announce its address; nothing to do where it does so by itself."""

    @pytest.fixture
    async def provider(self, make_provider: MakeProvider) -> AsyncIterator[Provider]:
        """One provider; whatever the test launched is ended afterwards."""
        provider = make_provider()
        yield provider
        cleaner = make_provider()
        for fleet in (self.fleet, self.other_fleet):
            while await self._some_are_refused(cleaner, fleet):
                pass
        await provider.aclose()
        await cleaner.aclose()

    async def _some_are_refused(self, cleaner: Provider, fleet: str) -> bool:
        """Ask all of a fleet to end; whether a pending one started meanwhile, and must be asked as what it is."""
        refused = False
        for instance in (await cleaner.list_instances(fleet)).instances:
            try:
                if instance.state is not InstanceState.GONE:
                    await cleaner.terminate(instance)
            except TerminationRefused:
                refused = cleaner.caps.cancels_pending and instance.state is InstanceState.PENDING
                if not refused:
                    raise
        return refused

    def request(self, index: int = 0, *, fleet: str = "", home: str = "") -> LaunchRequest:
        """A launch as a turn would ask for it."""
        fleet = fleet or self.fleet
        return LaunchRequest(worker_id(fleet=fleet, chain="c0nt", number=1, index=index), fleet, home or self.home)

    async def until(
        self, provider: Provider, is_so: Callable[[InstanceList], bool], what: str, *, fleet: str = ""
    ) -> InstanceList:
        """List until it is so, or fail."""
        pause = min(provider.caps.relist_seconds or 0.1, 0.1)
        deadline = anyio.current_time() + self.deadline_seconds
        while True:
            listing = await provider.list_instances(fleet or self.fleet)
            if is_so(listing):
                return listing
            assert anyio.current_time() < deadline, f"not {what} within {self.deadline_seconds} s: {listing}"
            await anyio.sleep(pause)

    async def launched(self, provider: Provider, request: LaunchRequest) -> Instance:
        """Launch, and wait until it is listed; where ending a pending one races with its start, until it started."""
        await provider.launch(request)

        def is_there(seen: InstanceList) -> bool:
            states = [instance.state for instance in of(seen, request)]
            return bool(states) and not (provider.caps.cancels_pending and InstanceState.PENDING in states)

        listing = await self.until(provider, is_there, "listed", fleet=request.fleet)
        (instance,) = of(listing, request)
        return instance

    async def stopped(self, provider: Provider, instance: Instance) -> None:
        """Stop, and wait until it is listed as warm."""
        await self.announce(instance)
        await provider.stop(instance)

        def is_warm(seen: InstanceList) -> bool:
            rows = [each for each in seen.instances if each.instance_id == instance.instance_id]
            return [(row.state, row.is_warm) for row in rows] == [(InstanceState.STOPPED, True)]

        await self.until(provider, is_warm, "warm")

    async def test_caps_say_what_the_scaler_needs(self, provider: Provider, make_provider: MakeProvider) -> None:
        caps = provider.caps
        assert isinstance(caps, ProviderCaps)
        assert caps.fingerprint
        assert caps.call_seconds > 0
        assert caps.settle_seconds >= 0
        assert caps.relist_seconds is None or caps.relist_seconds > 0
        assert caps == make_provider().caps, "the caps of one backend must not differ between two objects"

    async def test_a_fleet_without_workers_is_an_empty_complete_list(self, provider: Provider) -> None:
        # A list that was cut short says nothing, and is asked for again.
        listing = await self.until(provider, lambda seen: seen.complete, "complete")
        assert listing == InstanceList(), f"listed {listing}"

    async def test_a_launch_returns_at_once_and_is_listed(self, provider: Provider) -> None:
        request = self.request()
        with anyio.fail_after(provider.caps.call_seconds):
            answer = await provider.launch(request)
        assert (answer.worker_id, answer.fleet, answer.home) == (request.worker_id, self.fleet, self.home)
        assert answer.state in {InstanceState.PENDING, InstanceState.STARTING, InstanceState.RUNNING}
        instance = await self.launched(provider, self.request(1))
        assert (instance.fleet, instance.home) == (self.fleet, self.home)
        listing = await self.until(provider, lambda seen: len(seen.instances) == 2, "both listed")
        assert listing.complete

    async def test_a_second_launch_of_an_id_makes_no_second_instance(
        self, provider: Provider, make_provider: MakeProvider
    ) -> None:
        first = await self.launched(provider, self.request())
        if provider.caps.idempotent_launch:
            for again in (provider, make_provider()):
                assert (await again.launch(self.request())).worker_id == first.worker_id
        listing = await provider.list_instances(self.fleet)
        assert [each.instance_id for each in listing.instances] == [first.instance_id]

    async def test_concurrent_launches_of_an_id_make_one_instance(
        self, provider: Provider, make_provider: MakeProvider
    ) -> None:
        callers = [provider, make_provider(), make_provider()] if provider.caps.idempotent_launch else [provider]
        async with anyio.create_task_group() as group:
            for caller in callers:
                group.start_soon(caller.launch, self.request())
        listing = await self.until(provider, lambda seen: bool(of(seen, self.request())), "listed")
        assert len(listing.instances) == 1

    async def test_a_listing_shows_another_homes_workers_with_their_home(self, provider: Provider) -> None:
        await self.launched(provider, self.request(0))
        await self.launched(provider, self.request(1, home=self.other_home))
        listing = await self.until(provider, lambda seen: len(seen.instances) == 2, "both listed")
        homes = {each.worker_id: each.home for each in listing.instances}
        assert homes == {self.request(0).worker_id: self.home, self.request(1).worker_id: self.other_home}

    async def test_fleets_do_not_see_each_others_workers(self, provider: Provider) -> None:
        # One name begins with the other: names are compared whole.
        await self.launched(provider, self.request())
        await self.launched(provider, self.request(fleet=self.other_fleet))
        for fleet in (self.fleet, self.other_fleet):
            listing = await provider.list_instances(fleet)
            assert [each.fleet for each in listing.instances] == [fleet]

    async def test_an_announced_address_is_listed(self, provider: Provider) -> None:
        await self.announce(await self.launched(provider, self.request()))
        listing = await self.until(provider, lambda seen: bool(seen.instances[0].url), "announced")
        (instance,) = listing.instances
        assert instance.state is InstanceState.RUNNING
        assert instance.url
        assert instance.url.startswith("http")

    async def test_a_terminated_worker_is_gone_from_a_later_listing(self, provider: Provider) -> None:
        instance = await self.launched(provider, self.request(0))
        stays = await self.launched(provider, self.request(1))
        await provider.terminate(instance)
        listing = await self.until(provider, lambda seen: is_gone(seen, self.request(0)), "gone")
        (left,) = of(listing, self.request(1))
        assert left.instance_id == stays.instance_id
        assert left.state not in ENDED

    async def test_terminating_twice_succeeds(self, provider: Provider) -> None:
        instance = await self.launched(provider, self.request())
        await provider.terminate(instance)
        await provider.terminate(instance)
        await self.until(provider, lambda seen: is_gone(seen, self.request()), "gone")
        await provider.terminate(instance)

    async def test_terminating_a_vanished_worker_succeeds(self, provider: Provider) -> None:
        instance = await self.launched(provider, self.request())
        await provider.terminate(instance)
        await self.until(provider, lambda seen: is_gone(seen, self.request()), "gone")
        never_was = replace(instance, worker_id=self.request(7).worker_id)
        await provider.terminate(never_was)

    async def test_a_worker_is_stopped_and_kept_only_where_the_caps_say_so(self, provider: Provider) -> None:
        instance = await self.launched(provider, self.request())
        if not provider.caps.keeps_stopped:
            with pytest.raises(TerminationRefused):
                await provider.stop(instance)
            return
        await self.stopped(provider, instance)
        await provider.stop(instance)
        (kept,) = (await provider.list_instances(self.fleet)).instances
        assert (kept.instance_id, kept.worker_id) == (instance.instance_id, instance.worker_id)

    async def test_a_warm_instance_is_started_under_a_new_worker_id(
        self, provider: Provider, make_provider: MakeProvider
    ) -> None:
        if not provider.caps.keeps_stopped:
            return
        before = await self.launched(provider, self.request())
        await self.stopped(provider, before)
        again = replace(self.request(1), start_instance_id=before.instance_id)
        for caller in (provider, make_provider()):
            answer = await caller.launch(again)
            assert (answer.worker_id, answer.instance_id) == (again.worker_id, before.instance_id)
        await self.announce(answer)
        listing = await self.until(
            provider, lambda seen: any(each.url and not each.is_warm for each in of(seen, again)), "announced again"
        )
        assert [each.instance_id for each in listing.instances] == [before.instance_id]

    async def test_a_warm_instance_that_is_gone_is_no_capacity(self, provider: Provider) -> None:
        if not provider.caps.keeps_stopped:
            return
        before = await self.launched(provider, self.request())
        await self.stopped(provider, before)
        await provider.terminate(before)
        await self.until(provider, lambda seen: is_gone(seen, self.request()), "gone")
        with pytest.raises(CapacityUnavailable):
            await provider.launch(replace(self.request(1), start_instance_id=before.instance_id))
        assert not (await provider.list_instances(self.fleet)).instances, "nothing else is launched instead"

    async def test_what_a_worker_printed_is_shown_and_of_an_unknown_one_nothing(self, provider: Provider) -> None:
        instance = await self.launched(provider, self.request())
        await self.until(provider, lambda seen: any(each.url for each in of(seen, self.request())), "announced")
        printed = await provider.logs(instance)
        deadline = anyio.current_time() + self.deadline_seconds
        # Where the provider itself knows the address, it may show the worker before that has printed anything.
        while provider.caps.keeps_logs and not printed and anyio.current_time() < deadline:
            await anyio.sleep(0.1)
            printed = await provider.logs(instance)
        assert bool(printed) is provider.caps.keeps_logs
        assert all(len(text) <= LOG_BYTES for text in printed.values())
        assert await provider.logs(replace(instance, worker_id=self.request(7).worker_id)) == {}

    async def test_an_id_that_was_used_is_not_started_again(self, provider: Provider) -> None:
        instance = await self.launched(provider, self.request())
        await provider.terminate(instance)
        await self.until(provider, lambda seen: is_gone(seen, self.request()), "gone")
        listing = await provider.list_instances(self.fleet)
        if provider.caps.idempotent_launch and of(listing, self.request()):
            assert (await provider.launch(self.request())).state in ENDED

    async def test_a_later_run_sees_and_ends_the_same_workers(
        self, provider: Provider, make_provider: MakeProvider
    ) -> None:
        await self.announce(await self.launched(provider, self.request()))
        seen = await self.until(provider, lambda seen: bool(seen.instances[0].url), "announced")
        later = make_provider()
        assert await later.list_instances(self.fleet) == seen
        await later.terminate(seen.instances[0])
        await self.until(provider, lambda seen: is_gone(seen, self.request()), "gone")

    async def test_a_backend_that_does_not_answer_makes_the_listing_incomplete(
        self, provider: Provider, make_provider: MakeProvider, break_backend: BreakBackend
    ) -> None:
        await provider.list_instances(self.fleet)
        answer = break_backend()
        if inspect.isawaitable(answer):
            await answer
        for caller in (provider, make_provider()):
            listing = await caller.list_instances(self.fleet)
            assert not listing.complete
            assert listing.detail, "an incomplete listing says why"


def of(listing: InstanceList, request: LaunchRequest) -> list[Instance]:
    """The rows of one worker id."""
    return [instance for instance in listing.instances if instance.worker_id == request.worker_id]


def is_gone(listing: InstanceList, request: LaunchRequest) -> bool:
    """Whether a complete listing leaves a worker out, or says that it is gone."""
    return listing.complete and all(each.state is InstanceState.GONE for each in of(listing, request))
