"""Workers as rented instances: one create per worker, listed whole or not at all, stopped or destroyed by their id."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from ebbflow.adapters.providers.vast.adapter import VastAdapter, create_body
from ebbflow.adapters.providers.vast.listing import PAGE
from ebbflow.adapters.providers.vast.settings import VastSettings
from ebbflow.contracts.provider import BreakBackend, MakeProvider, ProviderContract
from ebbflow.core.errors import (
    CapacityUnavailable,
    ConfigError,
    LaunchOutcomeUnknown,
    LaunchRejected,
    ProviderUnavailable,
    TerminationRefused,
)
from ebbflow.core.instance import Failure, Instance, InstanceState, JoinSpec
from ebbflow.standins.vast.limits import RATES
from ebbflow.standins.vast.server import Boot, Fault, FaultKind, Key, Offer, answering, some_offers
from tests.vast_market import Market, Pace, market, request

pytestmark = pytest.mark.anyio

CREATE, LIST, ONE = "/api/v0/asks/", "/api/v1/instances/", "/api/v0/instances/"


@pytest.fixture(autouse=True)
def _disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Instances live in the session's folder, so that nothing is left when the session is killed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
async def account() -> AsyncIterator[Market]:
    async with market() as opened:
        yield opened


@pytest.fixture
def provider(account: Market) -> VastAdapter:
    return account.provider()


async def listed(provider: VastAdapter, index: int = 0) -> Instance:
    listing = await provider.list_instances("sdxl")
    assert listing.complete, listing.detail
    (instance,) = [each for each in listing.instances if each.worker_id == request(index).worker_id]
    return instance


class TestVastProvider(ProviderContract):
    """Against the stand-in, where the address is a mapped port."""

    settings: dict[str, Any] = {}  # noqa: RUF012 - a subclass replaces it

    @pytest.fixture
    async def account(self) -> AsyncIterator[Market]:
        async with market(**self.settings) as opened:
            yield opened

    @pytest.fixture
    def make_provider(self, account: Market) -> MakeProvider:
        return account.provider

    @pytest.fixture
    def break_backend(self, account: Market) -> BreakBackend:
        return lambda: account.api.faults.append(answering("unavailable"))


class TestVastProviderByLog(TestVastProvider):
    """The same, where the worker announces its address in its log."""

    settings = {"url": "log"}  # noqa: RUF012 - as above


class TestCreate:
    """A create is sent once per offer, and nothing is rented twice."""

    @pytest.mark.parametrize(
        "fault",
        [
            Fault(FaultKind.DROP_AFTER, "PUT", CREATE, times=1),
            answering("unavailable", "PUT", CREATE, times=1, after=True),
            answering("too_frequent_text", "PUT", CREATE, times=1, after=True),
            answering("unreadable", "PUT", CREATE, times=1, after=True),
        ],
        ids=["dropped", "503", "429", "unreadable"],
    )
    async def test_a_create_whose_answer_was_lost_is_found_by_its_label(
        self, account: Market, provider: VastAdapter, fault: Fault
    ) -> None:
        account.api.faults.append(fault)
        launched = await provider.launch(request())
        assert account.api.count("PUT", CREATE) == 1
        assert [launched.instance_id] == [str(number) for number in account.api.instances]

    async def test_a_lost_create_that_is_not_listed_yet_is_unknown_and_never_sent_again(
        self, account: Market, provider: VastAdapter
    ) -> None:
        account.api.faults += [
            Fault(FaultKind.DROP_AFTER, "PUT", CREATE, times=1),
            Fault(FaultKind.LAG, "PUT", CREATE, times=1, reads=1),
        ]
        with pytest.raises(LaunchOutcomeUnknown, match="not listed yet"):
            await provider.launch(request())
        assert account.api.count("PUT", CREATE) == 1
        assert (await listed(provider)).worker_id == request().worker_id

    @pytest.mark.parametrize("name", ["no_such_ask_404", "no_such_ask_410"])
    async def test_an_offer_that_somebody_else_took_is_followed_by_the_next_one(
        self, account: Market, provider: VastAdapter, name: str
    ) -> None:
        account.api.faults.append(answering(name, "PUT", CREATE, times=1))
        launched = await provider.launch(request())
        assert [each.path for each in account.api.log if CREATE in each.path] == [f"{CREATE}1001/", f"{CREATE}1002/"]
        assert launched.machine == "102"

    async def test_launches_of_one_turn_search_once_and_take_different_offers(
        self, account: Market, provider: VastAdapter
    ) -> None:
        machines = [(await provider.launch(request(index))).machine for index in range(3)]
        assert machines == ["101", "102", "103"]
        assert account.api.count("POST", "/api/v0/bundles/") == 1

    @pytest.mark.parametrize(
        ("name", "error", "said"),
        [
            ("invalid_args", LaunchRejected, "disk: below the minimum"),
            ("missing_billing", LaunchRejected, "the account has no credit, add some at Vast"),
            ("not_your_own", LaunchRejected, "not your own"),
            ("not_done", LaunchRejected, "not carried out"),
            ("bad_key_401", ConfigError, "renew `api_key` in the block"),
            ("bad_key_404", ConfigError, "renew `api_key` in the block"),
            ("session_expired", ConfigError, "renew `api_key` in the block"),
            ("no_rights", ConfigError, "give the key the right to do this"),
        ],
    )
    async def test_a_refusal_is_final_and_says_what_to_do(
        self, account: Market, provider: VastAdapter, name: str, error: type[Exception], said: str
    ) -> None:
        account.api.faults.append(answering(name, "PUT", CREATE))
        with pytest.raises(error, match=said):
            await provider.launch(request())
        assert account.api.count("PUT", CREATE) == 1
        assert not account.api.instances

    async def test_a_launch_that_was_never_sent_is_temporary(self, account: Market) -> None:
        refusing = account.provider(address="http://127.0.0.1:9")
        with pytest.raises(ProviderUnavailable, match="search of offers"):
            await refusing.launch(request())

    async def test_a_create_says_whose_it_is_and_never_leaves_a_stopped_instance_behind(
        self, account: Market, provider: VastAdapter
    ) -> None:
        await provider.launch(request(join=JoinSpec({"MASTER": "m"}, ("--flag", "a b")), capabilities=("gpu",)))
        (sent,) = [each.body for each in account.api.log if CREATE in each.path]
        assert sent["label"] == "ebbflow/sdxl/homea/sdxl-3f9c-1a-0"
        assert sent["cancel_unavail"] is True
        assert sent["client_id"] == "me"
        assert (sent["price"], sent["disk"]) == (None, 20)
        assert sent["env"] == {
            "-p 7801:7801": "1",
            "MASTER": "m",
            "EBBFLOW_WORKER_ID": "sdxl-3f9c-1a-0",
            "EBBFLOW_FLEET": "sdxl",
            "EBBFLOW_HOME": "homea",
            "EBBFLOW_CAPABILITIES": "gpu",
            "EBBFLOW_ARGUMENTS": "--flag 'a b'",
        }
        assert (await listed(provider)).capabilities == ("gpu",)

    async def test_an_image_with_its_own_entry_point_gets_our_arguments(self) -> None:
        settings = VastSettings.model_validate(
            {"api_key": "k", "image": "i", "gpu_names": ["A"], "start": "image", "arguments": ["--port", "80"]}
        )
        body = create_body(settings, request(join=JoinSpec(arguments=("--x", "1"))))
        assert (body["runtype"], body["args"]) == ("args", ["--port", "80", "--x", "1"])
        assert "onstart" not in body

    @pytest.mark.parametrize(
        ("settings", "words"),
        [
            ({"onstart": "exec worker"}, "onstart neither passes on its arguments nor names $EBBFLOW_ARGUMENTS"),
            ({"onstart": "exec worker $EBBFLOW_ARGUMENTS"}, ""),
            ({"onstart": ""}, ""),
            ({"onstart": "", "start": "image", "arguments": ["-c", "exec worker"]}, "the script of `-c` neither"),
            ({"onstart": "", "start": "image", "arguments": ["--port", "80"]}, ""),
        ],
    )
    async def test_regression_a_start_that_loses_the_dead_mans_switch_is_warned_of(
        self, account: Market, settings: dict[str, Any], words: str
    ) -> None:
        launched = await account.provider(**settings).launch(request(join=JoinSpec(arguments=("--x", "1"))))
        assert words in launched.warning
        assert bool(words) is bool(launched.warning)

    async def test_a_bid_is_above_the_lowest_that_wins_and_counts_the_disk(self, account: Market) -> None:
        bidder = account.provider(rental="interruptible", bid_factor=1.5)
        launched = await bidder.launch(request())
        (sent,) = [each.body for each in account.api.log if CREATE in each.path]
        assert sent["price"] == pytest.approx(0.15)
        assert launched.usd_per_hour == pytest.approx(0.15 + 20 * 0.15 / 720)


class TestOffers:
    """What is rented costs at most what it may; and what was not found is explained."""

    async def test_when_no_offer_will_do_each_condition_says_how_many_it_removed(self) -> None:
        bad: list[dict[str, Any]] = [{"reliability": 0.5}, {"reliability": 0.6}, {"verified": False}]
        bad.extend([{"dph_base": 2.0}, {"gpu_name": "A100"}])
        offers = [
            replace(some_offers(1)[0], id=1001 + index, machine_id=101 + index, **changes)
            for index, changes in enumerate(bad)
        ]
        async with market(offers, max_usd_per_hour=0.5) as account:
            provider = account.provider()
            with pytest.raises(CapacityUnavailable) as caught:
                await provider.launch(request(avoid=("999",)))
            assert str(caught.value) == (
                "Vast could not launch sdxl-3f9c-1a-0: no offer will do: 4 offers of 1 GPUs with GPU RTX 4090; "
                "verified machines only removed 1; reliability >= 0.98 removed 2; at most 0.5 USD/h removed 1"
            )
            assert account.api.count("PUT", CREATE) == 0

    @pytest.mark.parametrize(("block", "asked"), [(0.33, None), (None, 0.33), (9.0, 0.33), (0.33, 9.0)])
    async def test_the_lower_of_two_price_caps_holds(self, block: float | None, asked: float | None) -> None:
        async with market(max_usd_per_hour=block) as account:
            provider = account.provider()
            for index in range(3):
                assert ((await provider.launch(request(index, max_usd_per_hour=asked))).usd_per_hour or 9) <= 0.33
            with pytest.raises(CapacityUnavailable, match="taken"):
                await provider.launch(request(3, max_usd_per_hour=asked))

    async def test_an_offer_without_a_price_is_not_rented(self) -> None:
        async with market([replace(some_offers(1)[0], more={"dph_total": None})]) as account:
            provider = account.provider()
            with pytest.raises(CapacityUnavailable, match="a price that is known removed 1"):
                await provider.launch(request())

    async def test_machines_that_failed_lately_are_avoided(self, account: Market, provider: VastAdapter) -> None:
        assert (await provider.launch(request(avoid=("101", "102")))).machine == "103"

    async def test_the_best_performance_per_dollar_may_go_first(self) -> None:
        cheap, fast = some_offers(2)
        async with market([cheap, replace(fast, more={"dlperf_per_dphtotal": 9000.0})], order="performance") as account:
            provider = account.provider()
            assert (await provider.launch(request())).machine == str(fast.machine_id)

    async def test_regions_are_the_countries_of_the_machines(self) -> None:
        here, there = some_offers(2)
        async with market([here, replace(there, more={"geolocation": "Oslo, NO "})]) as account:
            account.api.offers[here.id].more = {"geolocation": "Texas, US"}
            provider = account.provider(regions=["NO"])
            assert (await provider.launch(request())).machine == str(there.machine_id)

    async def test_a_used_up_search_quota_is_asked_once(self, account: Market, provider: VastAdapter) -> None:
        account.api.limits.searches_per_day = 0
        with pytest.raises(CapacityUnavailable, match="searches of today are used up"):
            await provider.launch(request())
        assert account.api.count("POST", "/api/v0/bundles/") == 1


class TestListing:
    """Whole or not at all; strangers are not looked at."""

    @pytest.mark.parametrize(
        "fault",
        [
            answering("unavailable", "GET", "after_token="),
            answering("no_instances", "GET", LIST),
            answering("instances_not_a_list", "GET", LIST),
            answering("unreadable", "GET", LIST),
            Fault(FaultKind.SHORT, "GET", LIST),
            Fault(FaultKind.DROP, "GET", LIST),
        ],
        ids=["second page", "no list", "not a list", "unreadable", "too few rows", "dropped"],
    )
    async def test_a_listing_that_is_not_whole_says_so(self, fault: Fault) -> None:
        async with market(some_offers(PAGE + 3)) as account:
            provider = account.provider()
            for index in range(PAGE + 1):
                await provider.launch(request(index))
            whole = await provider.list_instances("sdxl")
            assert (whole.complete, len(whole.instances)) == (True, PAGE + 1)
            account.api.faults.append(fault)
            listing = await provider.list_instances("sdxl")
            assert not listing.complete
            assert listing.detail.startswith("Vast's list: ")

    async def test_a_wrong_key_is_told_from_an_empty_account(self, account: Market) -> None:
        for status in (401, 404):
            account.api.bad_key_status = status
            with pytest.raises(ConfigError, match="refused the API key"):
                await account.provider(api_key="wrong").list_instances("sdxl")

    async def test_a_listing_that_came_too_often_waits_as_long_as_it_is_told(self, account: Market) -> None:
        pace = Pace()
        account.api.faults.append(answering("too_frequent_retry_after", "GET", LIST, times=1))
        listing = await account.provider(pace=pace).list_instances("sdxl")
        assert listing.complete
        assert 2.0 in pace.waits

    async def test_a_strangers_instance_with_a_similar_label_is_never_shown_as_ours(
        self, account: Market, provider: VastAdapter
    ) -> None:
        mine = await provider.launch(request())
        labels = [
            None,
            "",
            "ebbflow/sdxl2/homea/sdxl2-3f9c-1a-0",
            "ebbflow/sdxl",
            "other/sdxl/homea/sdxl-3f9c-1a-0",
            "ebbflow/sdxl/homea/of-somebody-else",
            "ebbflow/sdxl/homeb/sdxl-3f9c-1a-0",
        ]
        for index, label in enumerate(labels):
            other = await provider.launch(request(index + 1)) if index < 5 else None
            if other is None:
                account.api.offers[2000 + index] = Offer(2000 + index, 900 + index)
                other = await account.provider().launch(request(index + 1))
            account.api.instances[int(other.instance_id)].label = label
        listing = await provider.list_instances("sdxl")
        assert {(each.worker_id, each.home) for each in listing.instances} == {
            (mine.worker_id, "homea"),
            ("of-somebody-else", ""),
            ("sdxl-3f9c-1a-0", "homeb"),
        }

    async def test_a_page_is_not_asked_for_earlier_than_its_rate_allows(self) -> None:
        async with market(some_offers(PAGE + 1)) as account:
            provider, pace = account.provider(), Pace()
            for index in range(PAGE + 1):
                await provider.launch(request(index))
            later = account.provider(pace=pace)
            assert len((await later.list_instances("sdxl")).instances) == PAGE + 1
            assert sum(pace.waits) >= 1.0


class TestEnding:
    """Destroyed until it is seen gone; stopped where it is kept."""

    @pytest.mark.parametrize(
        ("name", "error"),
        [
            ("server_error", ProviderUnavailable),
            ("bad_gateway", ProviderUnavailable),
            ("not_done", TerminationRefused),
            ("not_your_own", TerminationRefused),
            ("not_found", ProviderUnavailable),
            ("bad_key_404", ConfigError),
        ],
    )
    async def test_a_destroy_that_failed_is_no_end(
        self, account: Market, provider: VastAdapter, name: str, error: type[Exception]
    ) -> None:
        instance = await provider.launch(request())
        account.api.faults.append(answering(name, "DELETE"))
        with pytest.raises(error):
            await provider.terminate(instance)
        assert (await listed(provider)).instance_id == instance.instance_id
        account.api.faults.clear()
        await provider.terminate(instance)
        assert not account.api.instances

    async def test_a_destroy_that_is_only_said_is_seen_in_the_next_listing(
        self, account: Market, provider: VastAdapter
    ) -> None:
        instance = await provider.launch(request())
        account.api.faults.append(answering("only_said", "DELETE", times=1))
        await provider.terminate(instance)
        assert (await listed(provider)).instance_id == instance.instance_id

    async def test_an_instance_that_was_destroyed_in_the_console_is_ended_already(
        self, account: Market, provider: VastAdapter
    ) -> None:
        instance = await provider.launch(request())
        await account.api.account.destroy(int(instance.instance_id))
        await provider.terminate(instance)
        await provider.stop(instance)
        assert (await provider.list_instances("sdxl")).instances == ()

    async def test_a_stopped_instance_costs_its_disk_and_a_started_one_what_it_did(
        self, account: Market, provider: VastAdapter
    ) -> None:
        instance = await provider.launch(request())
        await account.until(instance.instance_id, "running")
        before = (await listed(provider)).usd_per_hour
        await provider.stop(instance)
        await account.until(instance.instance_id, "stopped")
        warm = await listed(provider)
        assert warm.is_warm
        assert warm.usd_per_hour == pytest.approx(20 * 0.15 / 720, abs=1e-6)
        again = await provider.launch(request(1, start_instance_id=warm.instance_id))
        assert again.usd_per_hour == pytest.approx(before)

    async def test_a_warm_instance_above_the_cap_is_not_started(self, account: Market, provider: VastAdapter) -> None:
        instance = await provider.launch(request())
        await provider.stop(instance)
        with pytest.raises(CapacityUnavailable, match=r"the cap is 0\.1 USD/h"):
            await provider.launch(request(1, start_instance_id=instance.instance_id, max_usd_per_hour=0.1))

    async def test_a_warm_instance_whose_gpu_is_rented_out_waits_as_pending(
        self, account: Market, provider: VastAdapter
    ) -> None:
        instance = await provider.launch(request())
        await account.until(instance.instance_id, "running")
        await provider.stop(instance)
        await account.until(instance.instance_id, "stopped")
        account.api.account.rent_elsewhere(1001)
        await provider.launch(request(1, start_instance_id=instance.instance_id))
        await account.until(instance.instance_id, "scheduling")
        waiting = await listed(provider, 1)
        assert waiting.state is InstanceState.PENDING
        assert "rented to somebody else" in waiting.detail

    async def test_another_homes_warm_instance_is_never_started(self, account: Market, provider: VastAdapter) -> None:
        theirs = await provider.launch(request(home="homeb"))
        await provider.stop(theirs)
        with pytest.raises(CapacityUnavailable, match="not there any more"):
            await provider.launch(request(1, start_instance_id=theirs.instance_id))


class TestKeys:
    """A key is never told, and one without rights is recognised."""

    async def test_a_key_without_the_right_to_create_is_a_matter_for_its_owner(self, account: Market) -> None:
        account.api.keys["reader"] = Key("reader", frozenset({"list", "search"}))
        reader = account.provider(api_key="reader")
        assert (await reader.list_instances("sdxl")).complete
        with pytest.raises(ConfigError, match="give the key the right"):
            await reader.launch(request())

    async def test_the_key_is_in_no_error_and_in_no_address(self, account: Market, provider: VastAdapter) -> None:
        await provider.launch(request())
        asked = [f"{each.path}?{each.query}" for each in account.api.log]
        assert asked
        assert not [each for each in asked if "stand-in-key" in each]
        account.api.faults.append(answering("bad_key_401"))
        with pytest.raises(ConfigError) as caught:
            await provider.list_instances("sdxl")
        assert "stand-in-key" not in str(caught.value)

    def test_a_renewed_key_keeps_a_named_account(self) -> None:
        def fingerprint(**changes: object) -> str:
            plain = {"api_key": "one", "image": "i", "gpu_names": ["A"], **changes}
            return VastAdapter(VastSettings.model_validate(plain)).caps.fingerprint

        assert fingerprint() != fingerprint(api_key="two")
        assert fingerprint(account="us") == fingerprint(account="us", api_key="two")
        assert "one" not in fingerprint()


class TestRates:
    """No endpoint is asked more often than it allows."""

    async def test_twenty_launches_and_ends_stay_within_the_limits_of_the_service(self) -> None:
        pace = Pace()
        sent: list[tuple[str, float]] = []

        async def answer(request: httpx.Request) -> httpx.Response:
            sent.append((request.method, pace.now))
            if request.method == "POST":
                return httpx.Response(200, json={"offers": [offer.row(0.0) for offer in some_offers(22)]})
            return httpx.Response(200, json={"success": True, "new_contract": len(sent)})

        settings = VastSettings.model_validate({"api_key": "k", "image": "i", "gpu_names": ["RTX 4090"]})
        transport = httpx.MockTransport(answer)
        provider = VastAdapter(settings, transport=transport, monotonic=pace, sleep=pace.sleep)
        for instance in [await provider.launch(request(index)) for index in range(20)]:
            await provider.terminate(instance)
        for method, least in (("PUT", RATES["create"].seconds), ("DELETE", RATES["destroy"].seconds)):
            times = [at for name, at in sent if name == method]
            gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
            assert min(gaps) >= least, (method, gaps)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"disk_gb": 4}, "disk_gb"),
        ({"gpu_names": []}, "gpu_names"),
        ({"regions": ["Norway"]}, "two-letter country codes"),
        ({"api_key": "a b"}, "without white space"),
        ({"onstart": "x" * 5000}, "onstart and arguments have 5000 characters"),
        ({"start": "image", "onstart": "x"}, "would replace the image's entry point"),
        ({"arguments": ["x"]}, "are for start: image"),
        ({"environment": {"A": "x" * 300}}, "A has more than 256 characters"),
        ({"capabilities": ["a b"]}, "capability 'a b'"),
        ({"max_usd_per_hour": 0}, "max_usd_per_hour"),
        ({"wam_workers": 1}, "wam_workers"),
        ({"address": "vast"}, "expected an address"),
    ],
)
def test_a_setting_that_cannot_work_is_named(changes: dict[str, Any], said: str) -> None:
    plain = {"api_key": "k", "image": "i", "gpu_names": ["RTX 4090"], **changes}
    with pytest.raises(ValueError, match=said):
        VastSettings.model_validate(plain)


async def test_a_worker_that_joins_its_master_by_itself_asks_for_no_port_and_has_no_address(account: Market) -> None:
    provider = account.provider(url="none", onstart="exec sleep 600")
    assert provider.caps.tells_urls is False
    launched = await provider.launch(request())
    await account.until(launched.instance_id, "running")
    instance = await listed(provider)
    assert (instance.state, instance.url) == (InstanceState.RUNNING, None)
    rented = account.api.instances[int(launched.instance_id)]
    assert not [name for name in rented.launch.environment if name.startswith("-p")]


async def test_a_worker_that_declares_itself_failed_in_its_log_has_failed(account: Market) -> None:
    said = "echo '[SwarmAutoScaleBackend]DeclareFailed: no weights[/SwarmAutoScaleBackend]'; exec sleep 600"
    provider = account.provider(url="log", onstart=said)
    launched = await provider.launch(request())
    await account.until(launched.instance_id, "running")
    # What it prints is in its log a moment after it runs.
    deadline = time.monotonic() + 10
    while (instance := await listed(provider)).state is InstanceState.STARTING:
        assert time.monotonic() < deadline, "its log says nothing"
        await asyncio.sleep(0.05)
    assert (instance.state, instance.failure) == (InstanceState.FAILED, Failure.CAPACITY)
    assert "no weights" in instance.detail


async def test_an_instance_that_never_leaves_loading_is_still_starting(account: Market, provider: VastAdapter) -> None:
    account.api.hosts.next_boots.append(Boot(is_stuck=True))
    launched = await provider.launch(request())
    await account.until(launched.instance_id, "loading")
    assert (await listed(provider)).state is InstanceState.STARTING
