"""The stand-in Vast API: its market, its instances as processes, its limits and its faults."""

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import httpx
import pytest

from ebbflow.standins import process
from ebbflow.standins.clock import Clock, ManualClock
from ebbflow.standins.http import serve
from ebbflow.standins.vast.server import (
    ANSWERS,
    KEY,
    Boot,
    Fault,
    FaultKind,
    Key,
    Offer,
    Program,
    VastApi,
    add_controls,
    answering,
    some_offers,
)

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
ROOT, LIST = "/api/v0/instances/", "/api/v1/instances/"
BODY: Json = {"client_id": "me", "image": "I", "disk": 20, "label": "ebbflow/sdxl/h0me0/w1", "cancel_unavail": True}
PATIENT_SECONDS = 10.0


@dataclass
class Market:
    api: VastApi
    http: httpx.AsyncClient

    async def call(self, method: str, path: str, body: object = None, **query: str) -> httpx.Response:
        return await self.http.request(method, path, json={} if body is None else body, params=query)

    async def rent(self, offer_id: int = 1001, **body: object) -> int:
        answer = await self.call("PUT", f"/api/v0/asks/{offer_id}/", {**BODY, **body})
        assert answer.status_code == 200, answer.text
        return int(answer.json()["new_contract"])

    async def refused(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        answer = await self.call(method, path, body)
        return answer.status_code, answer.json()["error"]

    async def search(self, **query: object) -> list[Json]:
        answer = await self.call("POST", "/api/v0/bundles/", query)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["offers"])

    async def found(self, **query: object) -> list[int]:
        return [offer["id"] for offer in await self.search(order=[["id", "asc"]], **query)]

    async def listing(self, **query: object) -> Json:
        texts = {name: value if isinstance(value, str) else json.dumps(value) for name, value in query.items()}
        answer = await self.http.get(LIST, params=texts)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def ids(self, **query: object) -> list[int]:
        return [row["id"] for row in (await self.listing(**query))["instances"]]

    async def show(self, number: int) -> Json:
        return dict((await self.http.get(f"{ROOT}{number}/")).json()["instances"])

    async def update(self, number: int, **body: object) -> None:
        answer = await self.call("PUT", f"{ROOT}{number}/", body)
        assert answer.json() == {"success": True}

    async def destroy(self, number: int) -> None:
        assert (await self.call("DELETE", f"{ROOT}{number}/")).json() == {"success": True}

    async def until(self, number: int, status: str) -> Json:
        row = await self.show(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENT_SECONDS):
                while row["actual_status"] != status:
                    await asyncio.sleep(0.01)
                    row = await self.show(number)
        assert row["actual_status"] == status, row
        return row

    async def printed(self, number: int, text: str) -> str:
        """The instance's log, once a text is in it."""
        log = ""
        async with asyncio.timeout(PATIENT_SECONDS):
            while text not in log:
                log = self.api.hosts.log_of(self.api.instances[number])
                await asyncio.sleep(0.01)
        return log


@contextlib.asynccontextmanager
async def served(
    offers: list[Offer] | None = None,
    *,
    clock: Clock | None = None,
    program: Program | None = None,
    folder: Path | None = None,
) -> AsyncIterator[Market]:
    api = VastApi(some_offers(5) if offers is None else offers, clock=clock, program=program, folder=folder)
    async with serve(add_controls(api)) as url:
        headers = {"authorization": f"Bearer {KEY}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False, timeout=10) as client:
            yield Market(api, client)


@pytest.fixture(autouse=True)
def disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where instances without a folder live, so that nothing is left when a session is killed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
async def market() -> AsyncIterator[Market]:
    async with served() as market:
        yield market


def is_alive(group: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, 0)
        return True
    return False


async def eventually(holds: Callable[[], bool]) -> bool:
    """Whether something holds before patience ends."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENT_SECONDS):
            while True:
                if holds():
                    return True
                await asyncio.sleep(0.01)
    return False


async def is_over(group: int) -> bool:
    """Whether a process group ends; its orphans are reaped by whoever adopts them."""
    return await eventually(lambda: not is_alive(group))


async def act_at_random(market: Market, random: Random) -> None:
    """Something that a user or the market does, whether it is possible now or not."""
    account = market.api.account
    number = random.choice([*market.api.instances, 0])
    script = random.choice(["exec sleep 60", 'trap "" TERM; while :; do sleep 0.05; done', "sleep 60 & exit 1"])
    match random.choice(["create", "bid", "stop", "start", "reboot", "recycle", "destroy", "market", "host", "wait"]):
        case "create":
            await market.call("PUT", f"/api/v0/asks/{random.randint(1001, 1004)}/", {**BODY, "onstart": script})
        case "bid":
            body = {**BODY, "onstart": script, "price": 0.2}
            await market.call("PUT", f"/api/v0/asks/{random.randint(1001, 1004)}/", body)
        case "stop" | "start" as state:
            await market.call("PUT", f"{ROOT}{number}/", {"state": "stopped" if state == "stop" else "running"})
        case "reboot" | "recycle" as how:
            await market.call("PUT", f"{ROOT}{how}/{number}/")
        case "destroy":
            await market.call("DELETE", f"{ROOT}{number}/")
        case "market":
            account.set_min_bid(random.randint(1001, 1004), random.choice([0.1, 0.3]))
        case "host":
            random.choice([account.take_offline, account.bring_back])(random.randint(101, 104))
        case "wait":
            await asyncio.sleep(0.05)


def is_settled(api: VastApi) -> bool:
    """Whether every instance is where it can stay, and only what runs has a process."""
    resting = {"running", "exited", "stopped", "scheduling"}
    rows = {number: api.row(number)["actual_status"] for number in api.instances}
    has_process = {number: api.hosts.process_of(number) is not None for number in rows}
    return set(rows.values()) <= resting and all((rows[each] == "running") == has_process[each] for each in rows)


class TestSearch:
    OFFERS = (
        Offer(1, 11, gpu_name="RTX 4090", num_gpus=1, dph_base=0.5, min_bid=0.2, reliability=0.99),
        Offer(2, 12, gpu_name="RTX 3090", num_gpus=2, dph_base=0.3, min_bid=0.1, reliability=0.9, verified=False),
        Offer(3, 13, gpu_name="RTX 4090", num_gpus=4, dph_base=0.9, min_bid=0.3, more={"geolocation": None}),
    )

    @pytest.fixture
    async def market(self) -> AsyncIterator[Market]:
        async with served([replace(offer) for offer in self.OFFERS]) as market:
            yield market

    @pytest.mark.parametrize(
        ("filters", "ids"),
        [
            ({}, [1, 2, 3]),
            ({"gpu_name": {"eq": "RTX 4090"}}, [1, 3]),
            ({"gpu_name": {"neq": "RTX 4090"}}, [2]),
            ({"gpu_name": {"in": ["RTX 3090", "H100"]}}, [2]),
            ({"gpu_name": {"notin": ["RTX 3090"]}}, [1, 3]),
            ({"num_gpus": {"eq": "1"}}, [1]),
            ({"num_gpus": {"eq": 1}}, [1]),
            ({"num_gpus": {"in": ["1", 2]}}, [1, 2]),
            ({"num_gpus": {"gt": "1", "lt": "4"}}, [2]),
            ({"num_gpus": {"gte": "2"}, "dph_base": {"lte": "0.3"}}, [2]),
            ({"reliability": {"gt": "0.98"}}, [1, 3]),
            ({"verified": {"eq": True}}, [1, 3]),
            ({"verified": {"eq": "false"}}, [2]),
            ({"machine_id": {"notin": [11, "13"]}}, [2]),
            ({"geolocation": {"eq": None}}, [3]),
            ({"geolocation": {"gt": "A"}}, [1, 2]),
            ({"limit": 2}, [1, 2]),
        ],
    )
    async def test_filters_compare_texts_and_numbers_alike(self, market: Market, filters: Json, ids: list[int]) -> None:
        assert await market.found(**filters) == ids

    @pytest.mark.parametrize(
        "query",
        [
            {"gpu_nam": {"eq": "RTX 4090"}},
            {"num_gpus": {"is": 1}},
            {"num_gpus": {"eq": "one"}},
            {"num_gpus": 1},
            {"num_gpus": {"in": 1}},
            {"type": "cheap"},
            {"order": "dph_total"},
            {"order": [["dph_total", "up"]]},
            {"order": [["price", "asc"]]},
            {"allocated_storage": "much"},
        ],
    )
    async def test_what_is_no_query_is_invalid(self, market: Market, query: Json) -> None:
        assert await market.refused("POST", "/api/v0/bundles/", query) == (400, "invalid_args")

    async def test_the_price_includes_the_disk_that_is_asked_for(self, market: Market) -> None:
        small, large = [(await market.search(allocated_storage=gb, id={"eq": 1}))[0] for gb in (8, "80")]
        assert large["dph_total"] - small["dph_total"] == pytest.approx(72 * large["storage_cost"] / 720)
        assert large["dph_base"] == small["dph_base"] == 0.5

    async def test_bids_are_priced_by_the_lowest_one(self, market: Market) -> None:
        rows = await market.search(type="bid", order=[["dph_total", "asc"]])
        assert [row["dph_base"] for row in rows] == [0.1, 0.2, 0.3]
        assert all(row["is_bid"] for row in rows)

    async def test_the_new_form_selects_columns(self, market: Market) -> None:
        body = {"select_cols": ["id", "gpu_name"], "q": {"num_gpus": {"eq": "2"}}}
        answer = await market.call("PUT", "/api/v0/search/asks/", body)
        assert answer.json() == {"offers": [{"id": 2, "gpu_name": "RTX 3090"}]}

    async def test_a_taken_offer_is_gone_until_its_instance_is(self, market: Market) -> None:
        number = await market.rent(1)
        assert await market.found() == [2, 3]
        assert (await market.refused("PUT", "/api/v0/asks/1/", BODY)) == (410, "no_such_ask")
        await market.destroy(number)
        assert await market.found() == [1, 2, 3]

    async def test_one_that_is_taken_elsewhere_is_gone_with_the_other_status_too(self, market: Market) -> None:
        market.api.account.rent_elsewhere(2)
        market.api.account.taken_status = 404
        answer = await market.call("PUT", "/api/v0/asks/2/", BODY)
        assert (answer.status_code, answer.json()["error"]) == (404, "invalid_args")
        assert "no_such_ask" in answer.json()["msg"]
        assert await market.found() == [1, 3]


class TestCreate:
    @pytest.mark.parametrize(
        ("wrong", "error"),
        [
            ({"image": None}, "invalid_args"),
            ({"image": "x" * 1025}, "invalid_args"),
            ({"disk": 7}, "invalid_args"),
            ({"disk": "much"}, "invalid_args"),
            ({"disk": 501}, "invalid_args"),
            ({"label": "x" * 257}, "label_too_long"),
            ({"env": "-e K=V"}, "invalid_args"),
            ({"env": {"K": "x" * 257}}, "invalid_args"),
            ({"env": {f"K{number}": "x" * 250 for number in range(140)}}, "invalid_args"),
            ({"env": {f"-p {port}:{port}": "1" for port in range(5000, 5065)}}, "invalid_args"),
            ({"onstart": "x" * 4090, "args": ["x" * 7]}, "invalid_args"),
            ({"price": 0.0001}, "invalid_price"),
            ({"price": "cheap"}, "invalid_price"),
            ({"price": 129}, "invalid_price"),
            ({"target_state": "frozen"}, "invalid_args"),
        ],
    )
    async def test_beyond_the_limits_it_is_invalid(self, market: Market, wrong: Json, error: str) -> None:
        assert await market.refused("PUT", "/api/v0/asks/1001/", {**BODY, **wrong}) == (400, error)
        assert await market.ids() == []

    async def test_the_row_repeats_what_was_asked_for(self, market: Market) -> None:
        number = await market.rent(env={"K": "V", "-p 8188:8188": "1"}, runtype="args", args=["--port", "80"])
        row = await market.show(number)
        assert row["extra_env"] == [["K", "V"], ["-p 8188:8188", "1"]]
        assert row["image_args"] == ["--port", "80"]
        assert (row["label"], row["image_uuid"], row["image_runtype"]) == (BODY["label"], "I", "args")
        assert (row["machine_id"], row["is_bid"], row["intended_status"]) == (101, False, "running")
        assert row["dph_total"] == pytest.approx(0.30 + 20 * 0.15 / 720)

    async def test_a_template_gives_what_the_request_leaves_out(self, market: Market) -> None:
        market.api.templates["abc"] = {"image": "T", "env": {"A": "1", "B": "1"}, "onstart": "sleep 60"}
        number = await market.rent(image=None, template_hash_id="abc", env={"B": "2"})
        row = await market.show(number)
        assert (row["image_uuid"], row["extra_env"]) == ("T", [["A", "1"], ["B", "2"]])

    async def test_one_that_shall_be_stopped_takes_no_gpu(self, market: Market) -> None:
        number = await market.rent(target_state="stopped")
        assert (await market.until(number, "stopped"))["intended_status"] == "stopped"
        assert 1001 in await market.found()

    async def test_without_credit_it_is_refused_and_everything_is_stopped(self, market: Market) -> None:
        number = await market.rent(onstart="exec sleep 60")
        await market.until(number, "running")
        market.api.account.set_credit(is_left=False)
        row = await market.until(number, "stopped")
        assert (row["intended_status"], row["is_bid"]) == ("running", False)
        assert await market.refused("PUT", "/api/v0/asks/1002/", BODY) == (400, "missing_billing")
        market.api.account.set_credit(is_left=True)
        await market.until(number, "running")


class TestListing:
    async def test_pages_hold_25_rows_and_end_with_a_null_token(self) -> None:
        async with served(some_offers(30)) as market:
            made = [await market.rent(1001 + index) for index in range(30)]
            first = await market.listing(order_by=[{"col": "id", "dir": "asc"}], limit="100")
            assert (first["instances_found"], first["total_instances"]) == (25, 30)
            assert first["label_counts"] == {BODY["label"]: 30}
            await market.destroy(made[3])
            await market.destroy(made[24])
            last = await market.listing(
                order_by=[{"col": "id", "dir": "asc"}], limit="100", after_token=first["next_token"]
            )
            assert [row["id"] for row in first["instances"] + last["instances"]] == made
            assert last["next_token"] is None
            assert len(await market.ids(limit="0")) == 5
            assert len(await market.ids(limit="7")) == 7

    async def test_pages_follow_any_order(self) -> None:
        async with served(some_offers(9)) as market:
            for index in range(9):
                await market.rent(1001 + index, label=f"l{index % 3}")
            order = [{"col": "label", "dir": "desc"}, {"col": "id", "dir": "asc"}]
            seen: list[Json] = []
            token = ""
            while True:
                page = await market.listing(order_by=order, limit="2", after_token=token)
                seen += page["instances"]
                if not (token := page["next_token"]):
                    break
            labels = [row["label"] for row in seen]
            assert labels == ["l2"] * 3 + ["l1"] * 3 + ["l0"] * 3
            assert len({row["id"] for row in seen}) == 9

    async def test_filters_and_columns_choose(self, market: Market) -> None:
        first = await market.rent(1001, label="a")
        second = await market.rent(1002, label=None)
        third = await market.rent(1003, label="b")
        assert await market.ids(select_filters={"label": {"in": ["a"]}}) == [first]
        assert await market.ids(select_filters={"label": {"in": [""]}}) == [second]
        assert await market.ids(select_filters={"id": {"gte": str(second)}, "label": {"neq": "a"}}) == [second, third]
        chosen = await market.listing(select_cols=["id", "label"], limit="1")
        assert chosen["instances"] == [{"id": first, "label": "a"}]

    @pytest.mark.parametrize(
        ("query", "error"),
        [
            ({"after_token": "bm9uZQ=="}, "invalid_token"),
            ({"after_token": "?"}, "invalid_token"),
            ({"select_filters": '{"extra_env":{"eq":1}}'}, "invalid_args"),
            ({"select_filters": '{"label":{"prefix":"a"}}'}, "invalid_args"),
            ({"select_filters": "["}, "invalid_args"),
            ({"select_filters": "[]"}, "invalid_args"),
            ({"order_by": '[{"col":"nothing"}]'}, "invalid_args"),
            ({"order_by": '["id"]'}, "invalid_args"),
            ({"limit": "many"}, "invalid_args"),
        ],
    )
    async def test_what_is_no_query_is_invalid(self, market: Market, query: dict[str, str], error: str) -> None:
        await market.rent()
        answer = await market.http.get(LIST, params=query)
        assert (answer.status_code, answer.json()["error"]) == (400, error)

    async def test_the_old_one_is_gone(self, market: Market) -> None:
        assert await market.refused("GET", ROOT) == (410, "deprecated_endpoint")

    async def test_an_unknown_id_is_shown_as_null(self, market: Market) -> None:
        answer = await market.http.get(f"{ROOT}77/")
        assert (answer.status_code, answer.json()) == (200, {"instances": None})

    @pytest.mark.parametrize(
        ("method", "path"), [("PUT", ""), ("DELETE", ""), ("PUT", "reboot/"), ("PUT", "bid_price/")]
    )
    async def test_an_unknown_id_is_not_found_by_anything_else(self, market: Market, method: str, path: str) -> None:
        assert await market.refused(method, f"{ROOT}{path}77/", {"state": "running"}) == (404, "no_such_instance")

    async def test_labels_are_longer_in_an_update(self, market: Market) -> None:
        number = await market.rent()
        await market.update(number, label="x" * 1024)
        assert (await market.show(number))["label"] == "x" * 1024
        assert await market.refused("PUT", f"{ROOT}{number}/", {"label": "x" * 1025}) == (400, "label_too_long")


class TestLife:
    async def test_it_goes_from_null_over_loading_to_running_as_time_passes(self) -> None:
        clock = ManualClock()
        async with served(clock=clock) as market:
            market.api.hosts.boot = Boot(null_seconds=10, loading_seconds=90)
            number = await market.rent(env={"-p 8188:8188": "1"})
            seen = []
            for seconds in (9, 1, 89, 1):
                await clock.advance(seconds)
                row = await market.show(number)
                seen.append((row["actual_status"], row["ports"] is not None))
            assert seen == [(None, False), ("loading", False), ("loading", False), ("running", True)]

    async def test_its_program_gets_the_environment_and_an_own_port(self, market: Market) -> None:
        number = await market.rent(
            env={"K": "V", "-p 8188:8188": "1", "-p 9000:9000/udp": "1"}, onstart="env; sleep 60"
        )
        row = await market.until(number, "running")
        log = await market.printed(number, "VAST_UDP_PORT_9000")
        lines = dict(line.partition("=")[::2] for line in log.splitlines())
        port = row["ports"]["8188/tcp"][0]["HostPort"]
        assert (lines["K"], lines["CONTAINER_ID"], lines["PUBLIC_IPADDR"]) == ("V", str(number), "127.0.0.1")
        assert lines["VAST_TCP_PORT_8188"] == port
        assert lines["CONTAINER_API_KEY"] == row["instance_api_key"]
        assert row["public_ipaddr"] == "127.0.0.1\n"
        assert "9000/udp" in row["ports"]
        assert "EBBFLOW_TEST_SESSION" not in lines

    @pytest.mark.parametrize(
        ("body", "printed"),
        [
            ({"runtype": "args", "args": ["$HOME", "2"]}, "entry $HOME 2"),
            ({"runtype": "args", "args": ["over", "2"], "onstart": "echo"}, "over 2"),
            ({"runtype": "ssh_direc ssh_proxy", "onstart": "echo by onstart"}, "by onstart"),
        ],
    )
    async def test_the_run_type_says_what_runs(self, body: Json, printed: str) -> None:
        async with served(program=Program(images={"I": ("echo", "entry")})) as market:
            number = await market.rent(**body)
            await market.until(number, "exited")
            assert await market.printed(number, "\n") == f"{printed}\n"

    async def test_a_program_that_ends_takes_its_group_along(self, market: Market) -> None:
        number = await market.rent(onstart="sleep 60 & echo $$; exit 3")
        row = await market.until(number, "exited")
        assert (row["intended_status"], row["ports"]) == ("running", None)
        assert "exit code 3" in row["status_msg"]
        assert await is_over(int(await market.printed(number, "\n")))
        await market.update(number, state="running")
        await market.until(number, "exited")

    async def test_with_an_ssh_server_it_stays_when_onstart_ends(self) -> None:
        async with served(program=Program(is_kept_after_onstart=True)) as market:
            number = await market.rent(onstart="echo done")
            await market.printed(number, "done")
            assert (await market.until(number, "running"))["intended_status"] == "running"
            await market.destroy(number)

    async def test_what_cannot_be_started_is_told_as_the_engine_tells_it(self, market: Market) -> None:
        number = await market.rent(runtype="args", onstart="/no/such/program", args=["x"])
        row = await market.until(number, "created")
        assert "OCI runtime create failed" in row["status_msg"]

    async def test_a_stop_asks_frees_the_gpu_and_keeps_the_disk(self, market: Market) -> None:
        script = 'trap "echo ended; exit 0" TERM; echo $$ >> seen; echo up; while :; do sleep 0.05; done'
        number = await market.rent(onstart=script)
        await market.printed(number, "up")
        group = market.api.hosts.process_of(number)
        await market.update(number, state="stopped")
        row = await market.until(number, "stopped")
        assert (row["intended_status"], row["ports"], row["cur_state"]) == ("stopped", None, "stopped")
        assert row["dph_total"] == pytest.approx(20 * 0.15 / 720)
        assert "ended" in await market.printed(number, "ended")
        assert group is not None
        assert await is_over(group.pid)
        assert 1001 in await market.found()
        await market.update(number, state="running")
        await market.until(number, "running")
        disk = market.api.hosts.disk_of(market.api.instances[number])
        assert await eventually(lambda: len((disk / "seen").read_text().splitlines()) == 2)

    async def test_one_that_does_not_end_is_killed_after_the_grace(self) -> None:
        async with served(program=Program(stop_grace_seconds=0.1)) as market:
            number = await market.rent(onstart='trap "" TERM; echo up; while :; do sleep 0.05; done')
            await market.printed(number, "up")
            await market.update(number, state="stopped")
            await market.until(number, "stopped")

    async def test_a_start_waits_for_ever_while_its_gpu_is_rented_elsewhere(self, market: Market) -> None:
        number = await market.rent()
        await market.until(number, "running")
        await market.update(number, state="stopped")
        await market.until(number, "stopped")
        market.api.account.rent_elsewhere(1001)
        await market.update(number, state="running")
        await market.until(number, "scheduling")
        market.api.account.give_back(1001)
        await market.until(number, "running")

    async def test_a_destroy_kills_and_the_row_is_gone(self, market: Market, tmp_path: Path) -> None:
        number = await market.rent(onstart='trap "" TERM; echo up; while :; do sleep 0.05; done')
        await market.printed(number, "up")
        group = market.api.hosts.process_of(number)
        assert group is not None
        await market.update(number, state="stopped")
        await market.destroy(number)
        assert await is_over(group.pid)
        assert await market.ids() == []
        assert await market.refused("DELETE", f"{ROOT}{number}/") == (404, "no_such_instance")

    async def test_several_are_stopped_and_destroyed_at_once(self, market: Market) -> None:
        made = [await market.rent(1001), await market.rent(1002)]
        await market.call("PUT", ROOT, {"state": "stopped", "ids": made})
        for number in made:
            await market.until(number, "stopped")
        assert (await market.call("DELETE", ROOT, {"instance_ids": made})).json() == {"success": True}
        assert await market.ids() == []

    async def test_a_reboot_keeps_what_was_written_and_a_recycle_does_not(self, market: Market) -> None:
        number = await market.rent(onstart="echo . >> seen; wc -l < seen; exec sleep 60")
        await market.printed(number, "1\n")
        await market.call("PUT", f"{ROOT}reboot/{number}/")
        await market.printed(number, "1\n2\n")
        await market.call("PUT", f"{ROOT}recycle/{number}/")
        instance = market.api.instances[number]
        assert await eventually(lambda: market.api.hosts.log_of(instance) == "1\n")

    async def test_a_host_that_goes_offline_takes_its_instances_along(self, market: Market) -> None:
        number = await market.rent(onstart="echo up; exec sleep 60")
        await market.printed(number, "up")
        group = market.api.hosts.process_of(number)
        market.api.account.take_offline(101)
        row = await market.until(number, "offline")
        assert (row["ports"], row["intended_status"]) == (None, "running")
        assert group is not None
        assert await is_over(group.pid)
        market.api.account.bring_back(101)
        await market.until(number, "running")

    async def test_an_offline_host_has_no_offers_and_its_instances_can_be_destroyed(self, market: Market) -> None:
        number = await market.rent(1001)
        for machine_id in (101, 102):
            market.api.account.take_offline(machine_id)
        assert await market.found() == [1003, 1004, 1005]
        assert await market.refused("PUT", "/api/v0/asks/1002/", BODY) == (410, "no_such_ask")
        await market.destroy(number)
        assert await market.ids() == []

    async def test_boots_go_wrong_by_machine_or_once(self, market: Market) -> None:
        market.api.hosts.boots[102] = Boot(is_stuck=True)
        market.api.hosts.next_boots.append(Boot(failure="OCI runtime create failed: no such device"))
        failed, stuck, fine = [await market.rent(offer_id) for offer_id in (1001, 1002, 1003)]
        await market.until(fine, "running")
        assert (await market.show(stuck))["actual_status"] == "loading"
        row = await market.until(failed, "loading")
        assert "OCI runtime create failed" in row["status_msg"]

    async def test_a_row_says_whatever_it_is_told_to(self, market: Market) -> None:
        number = await market.rent()
        market.api.instances[number].fields |= {"label": None, "actual_status": "hibernating", "num_gpus": "1"}
        row = await market.show(number)
        assert (row["label"], row["actual_status"], row["num_gpus"]) == (None, "hibernating", "1")

    async def test_no_process_and_no_disk_outlives_the_server(self, disks: Path) -> None:
        async with served() as market:
            made = [await market.rent(1001 + index, onstart="sleep 61 & exec sleep 60") for index in range(3)]
            for number in made:
                await market.until(number, "running")
            found = [market.api.hosts.process_of(number) for number in made]
            await market.update(made[0], state="stopped")
        assert [await is_over(each.pid) for each in found if each is not None] == [True] * 3
        assert os.listdir(disks) == []

    @pytest.mark.parametrize("seed", range(4))
    async def test_whatever_happens_what_runs_is_what_has_a_process(self, seed: int) -> None:
        random = Random(seed)
        async with served(some_offers(4), program=Program(stop_grace_seconds=0.2)) as market:
            account, groups = market.api.account, set()
            for _ in range(80):
                await act_at_random(market, random)
                found = [market.api.hosts.process_of(number) for number in market.api.instances]
                groups |= {each.pid for each in found if each is not None}
            for machine_id in list(account.offline):
                account.bring_back(machine_id)
            for number in list(market.api.instances)[::2]:
                await market.destroy(number)
            assert await eventually(lambda: is_settled(market.api)), (await market.listing())["instances"]
            kept = {each.pid for number in market.api.instances if (each := market.api.hosts.process_of(number))}
            assert all([await is_over(group) for group in groups - kept])
        assert all([await is_over(group) for group in groups])

    async def test_its_log_is_kept_under_an_address_of_its_own(self, market: Market) -> None:
        number = await market.rent(onstart="echo a1; echo b; echo a2; exec sleep 60")
        await market.printed(number, "a2")
        answer = await market.call("PUT", f"{ROOT}request_logs/{number}/", {"tail": "1", "filter": "a"})
        async with httpx.AsyncClient(trust_env=False) as nobody:
            first, second = [await nobody.get(answer.json()["result_url"]) for _ in range(2)]
        assert (first.status_code, second.status_code, second.text) == (404, 200, "a2\n")
        assert await market.refused("PUT", f"{ROOT}request_logs/{number}/", {"filter": "("}) == (400, "invalid_args")


class TestBids:
    async def test_one_that_is_outbid_pauses_and_comes_back_when_it_bids_more(self, market: Market) -> None:
        number = await market.rent(price=0.15, onstart="echo up; exec sleep 60")
        await market.printed(number, "up")
        assert (await market.show(number))["dph_base"] == 0.15
        market.api.account.outbid(number)
        row = await market.until(number, "stopped")
        assert (row["intended_status"], row["is_bid"], row["min_bid"]) == ("running", True, 0.3)
        assert row["dph_total"] < 0.01
        assert 1001 not in await market.found(), "whoever bid more has it"
        answer = await market.call("PUT", f"{ROOT}bid_price/{number}/", {"client_id": "me", "price": 0.31})
        assert answer.json() == {"success": True}
        await market.until(number, "running")

    async def test_it_comes_back_by_itself_when_the_others_leave(self, market: Market) -> None:
        market.api.account.outbid_status = "exited"
        number = await market.rent(price=0.15)
        await market.until(number, "running")
        market.api.account.set_min_bid(1001, 0.2)
        await market.until(number, "exited")
        market.api.account.set_min_bid(1001, 0.1)
        await market.until(number, "running")

    async def test_a_bid_that_is_too_low_is_refused_or_waits_as_it_asks_for(self, market: Market) -> None:
        low = {**BODY, "price": 0.05}
        assert await market.refused("PUT", "/api/v0/asks/1001/", low) == (410, "no_such_ask")
        number = await market.rent(price=0.05, cancel_unavail=False)
        await market.until(number, "stopped")
        market.api.account.set_min_bid(1001, 0.01)
        await market.until(number, "running")

    async def test_on_demand_has_no_bid_to_change(self, market: Market) -> None:
        number = await market.rent()
        assert await market.refused("PUT", f"{ROOT}bid_price/{number}/", {"price": 1}) == (400, "invalid_args")
        paid = await market.rent(1002, price=0.2)
        assert await market.refused("PUT", f"{ROOT}bid_price/{paid}/", {"price": 0}) == (400, "invalid_price")


class TestKeys:
    @pytest.mark.parametrize("status", [401, 404])
    async def test_a_wrong_one_is_an_error_of_authentication(self, market: Market, status: int) -> None:
        market.api.bad_key_status = status
        for headers in ({"authorization": "Bearer wrong"}, {"authorization": ""}):
            answer = await market.http.get(LIST, headers=headers)
            assert (answer.status_code, answer.json()["error"]) == (status, "auth_error")

    async def test_it_may_be_in_the_query_and_is_never_in_the_log(self, market: Market) -> None:
        answer = await market.http.get(LIST, headers={"authorization": ""}, params={"api_key": KEY})
        assert answer.status_code == 200
        await market.ids()
        assert KEY not in repr(market.api.log)

    async def test_without_rights_it_is_forbidden(self, market: Market) -> None:
        market.api.keys["reader"] = Key("reader", frozenset({"list", "show", "search"}))
        headers = {"authorization": "Bearer reader"}
        assert (await market.http.get(LIST, headers=headers)).status_code == 200
        answer = await market.http.put("/api/v0/asks/1001/", headers=headers, json=BODY)
        assert (answer.status_code, answer.json()["error"]) == (403, "auth_error")

    async def test_an_instance_may_only_end_itself(self, market: Market) -> None:
        mine, other = await market.rent(1001), await market.rent(1002)
        headers = {"authorization": f"Bearer {(await market.show(mine))['instance_api_key']}"}
        assert (await market.http.get(LIST, headers=headers)).status_code == 403
        assert (await market.http.delete(f"{ROOT}{other}/", headers=headers)).status_code == 403
        assert (await market.http.delete(f"{ROOT}{mine}/", headers=headers)).status_code == 200
        assert await market.ids() == [other]

    async def test_what_belongs_to_others_is_not_your_own(self, market: Market) -> None:
        market.api.account.foreign_ids.add(9)
        assert await market.refused("DELETE", f"{ROOT}9/") == (403, "invalid_args")

    @pytest.mark.parametrize("path", ["/api/v0/nothing/", "/api/v0/bundles", "/api/v1/instances", "/"])
    async def test_an_unknown_path_is_not_found(self, market: Market, path: str) -> None:
        assert await market.refused("POST", path) == (404, "not_found")


class TestLimits:
    async def test_each_endpoint_has_its_own_pace(self) -> None:
        clock = ManualClock()
        async with served(clock=clock) as market:
            market.api.limits.are_on = True
            await market.rent(1001)
            await clock.advance(4.4)
            answer = await market.call("PUT", "/api/v0/asks/1002/", BODY)
            assert answer.status_code == 429
            assert answer.headers["content-type"].startswith("text/plain")
            assert answer.text == "API requests too frequent: endpoint threshold=4.5"
            assert await market.ids(), "another endpoint is not slowed down"
            await clock.advance(0.2)
            await market.rent(1002)
            market.api.keys["other"] = Key("other")
            headers = {"authorization": "Bearer other"}
            answer = await market.http.put("/api/v0/asks/1003/", headers=headers, json=BODY)
            assert answer.status_code == 200, "another identity is not slowed down"

    async def test_ten_searches_a_minute(self) -> None:
        clock = ManualClock()
        async with served(clock=clock) as market:
            market.api.limits.are_on = True
            statuses = [(await market.call("POST", "/api/v0/bundles/")).status_code for _ in range(11)]
            assert statuses == [200] * 10 + [429]
            await clock.advance(60)
            assert await market.search()

    async def test_the_daily_quota_ends_at_midnight(self) -> None:
        clock = ManualClock()
        async with served(clock=clock) as market:
            market.api.limits.searches_per_day = 2
            statuses = [(await market.call("POST", "/api/v0/bundles/")).status_code for _ in range(2)]
            answer = await market.call("POST", "/api/v0/bundles/")
            assert [*statuses, answer.status_code] == [200, 200, 429]
            assert answer.json()["error"] == "search_quota_exceeded"
            reset = int(answer.headers["x-ratelimit-reset"])
            assert reset % 86400 == 0
            assert 0 < reset - market.api.now() <= 86400
            await clock.advance(reset - market.api.now())
            assert await market.search()


class TestFaults:
    async def test_a_create_is_done_and_its_connection_dropped(self, market: Market) -> None:
        market.api.faults.append(Fault(FaultKind.DROP_AFTER, "PUT", "/asks/", times=1))
        with pytest.raises(httpx.RemoteProtocolError):
            await market.call("PUT", "/api/v0/asks/1001/", BODY)
        assert len(await market.ids(select_filters={"label": {"in": [BODY["label"]]}})) == 1
        assert market.api.log[0].status is None

    async def test_a_connection_is_dropped_before_anything_is_done(self, market: Market) -> None:
        market.api.faults.append(Fault(FaultKind.DROP, "PUT", "/asks/", times=1))
        with pytest.raises(httpx.RemoteProtocolError):
            await market.call("PUT", "/api/v0/asks/1001/", BODY)
        assert await market.ids() == []

    @pytest.mark.parametrize(("kind", "count"), [(FaultKind.HANG, 0), (FaultKind.LOSE_ANSWER, 1)])
    async def test_an_answer_never_comes(self, market: Market, kind: FaultKind, count: int) -> None:
        market.api.faults.append(Fault(kind, "PUT", "/asks/"))
        with pytest.raises(httpx.ReadTimeout):
            await market.http.put("/api/v0/asks/1001/", json=BODY, timeout=0.1)
        assert len(await market.ids()) == count

    async def test_a_create_is_done_and_answered_503(self, market: Market) -> None:
        market.api.faults.append(answering("unavailable", "PUT", "/asks/", after=True, times=1))
        assert (await market.call("PUT", "/api/v0/asks/1001/", BODY)).status_code == 503
        assert len(await market.ids()) == 1

    async def test_a_create_makes_two_that_are_listed_later(self, market: Market) -> None:
        market.api.faults.append(Fault(FaultKind.TWICE, "PUT", "/asks/", times=1))
        market.api.faults.append(Fault(FaultKind.LAG, "PUT", "/asks/", times=1, reads=2))
        market.api.faults.append(answering("server_error", "PUT", "/asks/", after=True, times=1))
        assert (await market.call("PUT", "/api/v0/asks/1001/", BODY)).status_code == 500
        assert [len(await market.ids()) for _ in range(3)] == [0, 0, 2]
        first, second = (await market.listing())["instances"]
        assert first["label"] == second["label"]
        await market.until(first["id"], "running")
        await market.until(second["id"], "running")
        assert market.api.faults == []

    @pytest.mark.parametrize("name", ANSWERS)
    async def test_every_answer_that_has_a_name_can_be_given(self, market: Market, name: str) -> None:
        market.api.faults.append(answering(name, "GET", "/v1/instances/", times=1))
        answer = await market.http.get(LIST)
        wanted = ANSWERS[name]
        assert answer.status_code == wanted.status
        assert (answer.text if isinstance(wanted.body, str) else answer.json()) == wanted.body
        assert await market.ids() == []

    async def test_only_the_second_page_fails(self, market: Market) -> None:
        for offer_id in (1001, 1002):
            await market.rent(offer_id)
        market.api.faults.append(answering("server_error", "GET", "after_token="))
        token = (await market.listing(limit="1"))["next_token"]
        answer = await market.http.get(LIST, params={"limit": "1", "after_token": token})
        assert answer.status_code == 500

    async def test_a_page_lacks_a_row_that_is_counted(self, market: Market) -> None:
        for offer_id in (1001, 1002):
            await market.rent(offer_id)
        market.api.faults.append(Fault(FaultKind.SHORT, "GET", LIST, times=1))
        page = await market.listing()
        assert (len(page["instances"]), page["total_instances"]) == (1, 2)

    async def test_a_destroy_that_is_only_said_leaves_the_row(self, market: Market) -> None:
        number = await market.rent()
        market.api.faults.append(answering("only_said", "DELETE", times=1))
        await market.destroy(number)
        assert await market.ids() == [number]
        await market.destroy(number)
        assert await market.ids() == []

    async def test_a_slow_answer_comes_when_its_time_is_over(self) -> None:
        clock = ManualClock()
        async with served(clock=clock) as market:
            market.api.faults.append(Fault(FaultKind.SLOW, "GET", LIST, seconds=20))
            asked = asyncio.ensure_future(market.ids())
            assert await eventually(lambda: len(market.api.log) == 1)
            assert not asked.done()
            await clock.advance(20)
            assert await asked == []

    async def test_the_log_tells_what_arrived(self, market: Market) -> None:
        await market.rent()
        await market.listing(limit="3")
        create, listing = market.api.log
        assert (create.method, create.path, create.body, create.status) == ("PUT", "/api/v0/asks/1001/", BODY, 200)
        assert create.headers["authorization"] == "Bearer ***"
        assert (listing.method, listing.query) == ("GET", {"limit": "3"})
        assert (market.api.count("PUT", "/asks/"), market.api.count("DELETE")) == (1, 0)


class TestControl:
    async def control(self, market: Market, name: str, **body: object) -> Json:
        answer = await market.http.post(f"/control/{name}", json=body, headers={"authorization": ""})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def test_everything_is_told(self, market: Market) -> None:
        number = await market.rent()
        await market.until(number, "running")
        state = await self.control(market, "state")
        process_ = market.api.hosts.process_of(number)
        assert process_ is not None
        assert state["processes"] == {str(number): process_.pid}
        assert [row["id"] for row in state["instances"]] == [number]
        assert state["offers"][0]["holder"] == number
        assert state["requests"][0]["path"] == "/api/v0/asks/1001/"

    async def test_faults_boots_offers_and_rows_are_said(self, market: Market) -> None:
        given = {"method": "PUT", "path": "/asks/", "times": 1}
        await self.control(market, "fault", kind="answer", answer="no_such_ask_404", **given)
        assert await market.refused("PUT", "/api/v0/asks/1001/", BODY) == (404, "invalid_args")
        await self.control(market, "boot", machine_id=101, is_stuck=True)
        await self.control(market, "boot", next=True)
        await self.control(market, "boot", null_seconds=60)
        await self.control(market, "offer", id=7, machine_id=7, gpu_name="H100")
        await self.control(market, "offer", id=7, dph_base=2.5)
        offer = (await market.search(gpu_name={"eq": "H100"}))[0]
        assert (offer["id"], offer["dph_base"]) == (7, 2.5)
        number = await market.rent(7)
        await market.until(number, "running")
        await self.control(market, "fields", id=number, fields={"label": None})
        assert (await market.show(number))["label"] is None
        await self.control(market, "clear")
        assert market.api.log == []

    async def test_others_act_in_the_market(self, market: Market) -> None:
        number = await market.rent(price=0.2)
        await market.until(number, "running")
        await self.control(market, "market", outbid=number)
        await market.until(number, "stopped")
        await self.control(market, "market", min_bid=[1001, 0.1], rent_elsewhere=1002, take_offline=103)
        await market.until(number, "running")
        assert await market.found() == [1004, 1005]
        await self.control(market, "market", give_back=1002, bring_back=103, credit=False)
        await market.until(number, "stopped")
        assert await market.found() == [1001, 1002, 1003, 1004, 1005]

    @pytest.mark.parametrize(
        ("name", "body", "status"),
        [("none", {}, 404), ("fault", {"kind": "none"}, 400), ("market", {"none": 1}, 400), ("offer", {}, 400)],
    )
    async def test_what_is_not_understood_is_refused(self, market: Market, name: str, body: Json, status: int) -> None:
        assert (await market.http.post(f"/control/{name}", json=body)).status_code == status


async def test_it_runs_as_a_program_and_takes_its_instances_along(tmp_path: Path) -> None:
    image = 'I=sh -c "echo $GREETING; exec sleep 60"'
    arguments = ["--offers", "2", "--image", image, "--env", "GREETING=hello", "--key", "other-key"]
    with process.vast_market(tmp_path, environment=dict(os.environ), arguments=arguments) as url:
        headers = {"authorization": "Bearer other-key"}
        async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
            for offer_id in (1001, 1002):
                answer = await client.put(f"/api/v0/asks/{offer_id}/", json={**BODY, "runtype": "args"})
                assert answer.json()["success"] is True
            found: dict[str, int] = {}
            async with asyncio.timeout(PATIENT_SECONDS):
                while len(found) < 2:
                    found = (await client.post("/control/state", json={})).json()["processes"]
            log = tmp_path / "instances" / "5001" / "container.log"
            assert await eventually(lambda: log.read_text(encoding="utf-8") == "hello\n")
    assert [await is_over(group) for group in found.values()] == [True, True]
