"""The stand-in Vast API, held to what the vendor's own command sends and understands."""

import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ebbflow.standins.http import serve
from ebbflow.standins.vast.instances import read_launch
from ebbflow.standins.vast.server import ANSWERS, Answer, Fault, FaultKind, Recorded, VastApi, answering, some_offers
from tests.vast_command import Ran, VastCommand, installed

pytestmark = pytest.mark.anyio

Json = dict[str, Any]
ASIDE = ("/api/v0/users/current", "/api/v0/gpu_names/unique/")
"""What the command asks for besides, whatever it is told to do."""


@dataclass
class Market:
    """A served stand-in and the command that talks to it."""

    api: VastApi
    url: str
    command: VastCommand

    async def run(self, *words: str) -> Ran:
        return await self.command.run(self.url, *words)

    @property
    def requests(self) -> list[Recorded]:
        return [each for each in self.api.log if each.path not in ASIDE]

    @property
    def sent(self) -> list[tuple[str, str, Json, Json]]:
        return [(each.method, each.path, _parsed(each.query), each.body) for each in self.requests]

    def rent(self, offer_id: int, **body: object) -> None:
        launch = read_launch({"image": "I", "disk": 10, "label": "a/b/1", **body}, {})
        self.api.account.create(self.api.account.check_offer(offer_id, launch), launch)


def _parsed(query: dict[str, str]) -> Json:
    return {name: json.loads(value) if value[:1] in ("{", "[") else value for name, value in query.items()}


@pytest.fixture(scope="module")
def vastai() -> Path:
    return installed()


@pytest.fixture
async def market(vastai: Path, tmp_path: Path) -> AsyncIterator[Market]:
    """Offers 1001 to 1040; instance 5001 on demand, 5002 interruptible, 5003 on demand."""
    api = VastApi(some_offers(40), folder=tmp_path / "instances")
    async with serve(api) as url:
        market = Market(api, url, VastCommand(vastai, tmp_path / "home"))
        market.rent(1010, onstart="echo X1; echo Y; echo X2; exec sleep 60")
        market.rent(1011, price=0.25)
        market.rent(1012)
        yield market


DEFAULTS: Json = {"verified": {"eq": True}, "external": {"eq": False}, "rentable": {"eq": True}}
CONTROLS: Json = {"order": [["score", "desc"]], "type": "on-demand", "allocated_storage": 5.0}
CREATE: Json = {
    "client_id": "me",
    "image": "I",
    "env": {},
    "price": None,
    "disk": 10.0,
    "label": None,
    "extra": None,
    "onstart": None,
    "image_login": None,
    "python_utf8": False,
    "lang_utf8": False,
    "use_jupyter_lab": False,
    "jupyter_dir": None,
    "force": False,
    "cancel_unavail": False,
    "template_hash_id": None,
    "user": None,
    "runtype": "ssh",
}
LIST: Json = {"select_filters": {}, "order_by": [{"col": "id", "dir": "asc"}], "limit": "25"}
BUNDLES, ASKS, ROOT = "/api/v0/bundles/", "/api/v0/search/asks/", "/api/v0/instances/"
Row = tuple[list[str], str, str, Json, Json]

SEARCHES: dict[str, Row] = {
    "a search": (
        [
            *("search", "offers", "gpu_name=RTX_4090 num_gpus=1 reliability>0.98 dph_total<=0.5 direct_port_count>1"),
            *("-o", "dph_total", "--limit", "5", "--storage", "20"),
        ],
        "POST",
        BUNDLES,
        {},
        {
            **DEFAULTS,
            "gpu_name": {"eq": "RTX 4090"},
            "num_gpus": {"eq": "1"},
            "reliability": {"gt": "0.98"},
            "dph_total": {"lte": "0.5"},
            "direct_port_count": {"gt": "1"},
            **CONTROLS,
            "order": [["dph_total", "asc"]],
            "limit": 5,
            "allocated_storage": 20.0,
        },
    ),
    "interruptible": (
        ["search", "offers", "-i", "gpu_name=RTX_4090", "--limit", "1"],
        "POST",
        BUNDLES,
        {},
        {**DEFAULTS, "gpu_name": {"eq": "RTX 4090"}, **CONTROLS, "type": "bid", "limit": 1},
    ),
    "numbers": (
        ["search", "offers", "gpu_ram>=24 duration>=1 dph<0.5"],
        "POST",
        BUNDLES,
        {},
        {
            **DEFAULTS,
            "gpu_ram": {"gte": 24000.0},
            "duration": {"gte": 86400.0},
            "dph_total": {"lt": "0.5"},
            **CONTROLS,
        },
    ),
    "no defaults": (
        ["search", "offers", "-n", "gpu_name in [RTX_4090,RTX_3090]"],
        "POST",
        BUNDLES,
        {},
        {"gpu_name": {"in": ["RTX 4090", "RTX 3090"]}, **CONTROLS},
    ),
    "the new form": (
        ["search", "offers", "--new", "gpu_name=RTX_4090"],
        "PUT",
        ASKS,
        {},
        {"select_cols": ["*"], "q": {**DEFAULTS, "gpu_name": {"eq": "RTX 4090"}, **CONTROLS}},
    ),
}
CREATES: dict[str, Row] = {
    "create": (
        [
            *("create", "instance", "1001", "--image", "I", "--disk", "40", "--label", "L"),
            *("--env", "-p 8188:8188 -e MASTER=M -e K=V", "--onstart-cmd", "sleep 60", "--ssh", "--direct"),
            "--cancel-unavail",
        ],
        "PUT",
        "/api/v0/asks/1001/",
        {},
        {
            **CREATE,
            "env": {"-p 8188:8188": "1", "MASTER": "M", "K": "V"},
            "disk": 40.0,
            "label": "L",
            "onstart": "sleep 60",
            "cancel_unavail": True,
            "runtype": "ssh_direc ssh_proxy",
        },
    ),
    "create with arguments and a bid": (
        [
            *("create", "instance", "1002", "--image", "I", "--disk", "10", "--bid_price", "0.25"),
            *("--args", "--port", "80"),
        ],
        "PUT",
        "/api/v0/asks/1002/",
        {},
        {**CREATE, "price": 0.25, "runtype": "args", "args": ["--port", "80"]},
    ),
    "create with nothing said": (
        ["create", "instance", "1003", "--image", "I"],
        "PUT",
        "/api/v0/asks/1003/",
        {},
        CREATE,
    ),
}
CHANGES: dict[str, Row] = {
    "list": (["show", "instances"], "GET", "/api/v1/instances/", LIST, {}),
    "list by its other name": (["show", "instances-v1"], "GET", "/api/v1/instances/", LIST, {}),
    "list chosen ones": (
        ["show", "instances", "--label", "a/b/1", "--status", "running"],
        "GET",
        "/api/v1/instances/",
        {**LIST, "select_filters": {"actual_status": {"in": ["running"]}, "label": {"in": ["a/b/1"]}}},
        {},
    ),
    "list five": (["show", "instances", "--limit", "5"], "GET", "/api/v1/instances/", {**LIST, "limit": "5"}, {}),
    "show": (["show", "instance", "5001"], "GET", f"{ROOT}5001/", {"owner": "me"}, {}),
    "label": (["label", "instance", "5001", "L2"], "PUT", f"{ROOT}5001/", {}, {"label": "L2"}),
    "stop": (["stop", "instance", "5001"], "PUT", f"{ROOT}5001/", {}, {"state": "stopped"}),
    "start": (["start", "instance", "5001"], "PUT", f"{ROOT}5001/", {}, {"state": "running"}),
    "reboot": (["reboot", "instance", "5001"], "PUT", f"{ROOT}reboot/5001/", {}, {}),
    "recycle": (["recycle", "instance", "5001"], "PUT", f"{ROOT}recycle/5001/", {}, {}),
    "bid": (
        ["change", "bid", "5002", "--price", "0.15"],
        "PUT",
        f"{ROOT}bid_price/5002/",
        {},
        {"client_id": "me", "price": 0.15},
    ),
    "logs": (
        ["logs", "5001", "--tail", "20", "--filter", "X"],
        "PUT",
        f"{ROOT}request_logs/5001/",
        {},
        {"filter": "X", "tail": "20"},
    ),
    "destroy": (["destroy", "instance", "5001", "-y"], "DELETE", f"{ROOT}5001/", {}, {}),
    "destroy several": (
        ["destroy", "instances", "5002", "5003", "-y"],
        "DELETE",
        ROOT,
        {},
        {"instance_ids": [5002, 5003]},
    ),
}
TABLE = {**SEARCHES, **CREATES, **CHANGES}
OUTSIDE_SOAK = ("a search", "create", "list", "stop", "start", "bid", "logs", "destroy")
"""What our own provider calls; the command itself takes a second to start."""
ROWS = [
    pytest.param(row, id=name, marks=() if name in OUTSIDE_SOAK else pytest.mark.soak) for name, row in TABLE.items()
]


@pytest.mark.parametrize("row", ROWS)
async def test_the_command_sends_what_we_believe_and_is_served(market: Market, row: Row) -> None:
    words, method, path, query, body = row
    ran = await market.run(*words)
    assert market.sent == [(method, path, query, body)]
    request = market.requests[0]
    assert request.status == 200, ran.stderr
    assert request.headers["authorization"] == "Bearer ***"
    assert not request.body or request.headers["content-type"] == "application/json"
    assert not ran.stderr, "it understands the answer"


@pytest.mark.soak
async def test_it_asks_for_gpu_names_and_its_user_besides_once_each(market: Market) -> None:
    for _ in range(2):
        await market.run("show", "instance", "5001")
    assert [each.path for each in market.api.log if each.path in ASIDE] == [ASIDE[1], ASIDE[0]]
    names, user = (each for each in market.api.log if each.path in ASIDE)
    assert "authorization" not in names.headers
    assert "authorization" in user.headers


@pytest.mark.soak
async def test_it_works_where_neither_is_served(market: Market) -> None:
    market.api.faults.append(answering("not_found", "GET", "users/current|gpu_names"))
    ran = await market.run("show", "instance", "5001")
    assert ran.printed["id"] == 5001


async def test_it_reads_every_page(market: Market) -> None:
    for offer_id in range(1013, 1041):
        market.rent(offer_id)
    ran = await market.run("show", "instances")
    assert [row["id"] for row in ran.printed] == list(range(5001, 5032))
    tokens = [each.query.get("after_token") for each in market.requests]
    assert len(tokens) == 2
    assert tokens[0] is None
    assert tokens[1]


async def test_it_shows_the_first_page_as_everything_when_the_second_fails(market: Market) -> None:
    for offer_id in range(1013, 1041):
        market.rent(offer_id)
    market.api.faults.append(answering("server_error", "GET", "after_token="))
    ran = await market.run("show", "instances", "-q")
    assert ran.stdout.split() == [str(number) for number in range(5001, 5026)]
    assert ran.error["status_code"] == 500


async def test_it_reads_the_address_the_port_and_the_log(market: Market) -> None:
    await market.run(*CREATES["create"][0])
    row = (await market.run("show", "instance", "5004")).printed
    assert row["extra_env"]["MASTER"] == "M"
    assert row["ports"]["8188/tcp"][0]["HostPort"].isdigit()
    log = await market.run("logs", "5001", "--tail", "1", "--filter", "X")
    assert "X2" in log.stdout
    assert "X1" not in log.stdout
    assert "Y" not in log.stdout


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("no_such_ask_404", 404),
        pytest.param("no_such_ask_410", 410, marks=pytest.mark.soak),
        pytest.param("bad_key_401", 401, marks=pytest.mark.soak),
        pytest.param("bad_key_404", 404, marks=pytest.mark.soak),
        pytest.param("invalid_args", 400, marks=pytest.mark.soak),
    ],
)
async def test_it_tells_an_error_on_stderr_and_asks_once(market: Market, name: str, status: int) -> None:
    market.api.faults.append(answering(name, "PUT", "/asks/"))
    ran = await market.run("create", "instance", "1001", "--image", "I")
    assert ran.error["status_code"] == status
    body = ANSWERS[name].body
    assert isinstance(body, dict)
    assert body["msg"] in ran.error["msg"]
    assert len(market.requests) == 1


async def test_a_create_of_a_taken_offer_is_an_error_of_ours_as_well(market: Market) -> None:
    ran = await market.run("create", "instance", "1010", "--image", "I")
    assert ran.error["status_code"] == 410


@pytest.mark.soak
async def test_it_waits_and_asks_again_when_it_asked_too_often(market: Market) -> None:
    market.api.faults.append(answering("too_frequent_text", "GET", "/v1/instances/", times=2))
    assert len((await market.run("show", "instances")).printed) == 3
    assert [each.status for each in market.requests] == [429, 429, 200]


@pytest.mark.soak
async def test_it_gives_up_after_three_times(market: Market) -> None:
    market.api.faults.append(answering("too_frequent_json", "GET", "/v1/instances/", times=5))
    assert (await market.run("show", "instances")).error["status_code"] == 429
    assert [each.status for each in market.requests] == [429] * 3


@pytest.mark.soak
async def test_a_retry_after_is_waited_for(market: Market) -> None:
    answer = Answer(429, "API requests too frequent", {"retry-after": "0.5"})
    market.api.faults.append(Fault(FaultKind.ANSWER, "PUT", "/asks/", answer=answer))
    await market.run("create", "instance", "1001", "--image", "I")
    times = [each.at for each in market.requests]
    assert len(times) == 3
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(times))


async def test_a_used_up_search_quota_is_not_asked_again(market: Market) -> None:
    market.api.limits.searches_per_day = 0
    assert (await market.run("search", "offers")).error["status_code"] == 429
    assert len(market.requests) == 1


async def test_its_own_repetition_hides_a_create_whose_answer_was_lost(market: Market) -> None:
    market.api.faults.append(Fault(FaultKind.DROP_AFTER, "PUT", "/asks/", times=1))
    ran = await market.run("create", "instance", "1001", "--image", "I", "--label", "mine")
    assert [each.status for each in market.requests] == [None, 410]
    assert ran.error["status_code"] == 410
    assert [each.label for each in market.api.instances.values()].count("mine") == 1


@pytest.mark.soak
async def test_it_creates_up_to_three_times_while_that_is_unavailable(market: Market) -> None:
    market.api.faults.append(answering("unavailable", "PUT", "/asks/"))
    await market.run("create", "instance", "1001", "--image", "I")
    assert [each.status for each in market.requests] == [503] * 3


async def test_a_destroy_that_was_not_done_looks_done(market: Market) -> None:
    market.api.faults.append(answering("not_done", "DELETE"))
    ran = await market.run("destroy", "instance", "5001", "-y")
    assert "5001" not in ran.stderr
    assert 5001 in market.api.instances
