"""What Vast's rows and answers mean, as tables."""

from typing import Any

import httpx
import pytest

from ebbflow.adapters.providers.vast.client import VastVerdict, read_answer
from ebbflow.adapters.providers.vast.states import Owner, instance_of, mapped_url, owner_of
from ebbflow.core.instance import Failure, InstanceState
from ebbflow.standins.vast.server import ANSWERS

NOW = 1_790_000_000.0
OWNER = Owner("sdxl", "homea", "sdxl-3f9c-1a-0")
URL = "http://1.2.3.4:40188"
S = InstanceState


def row(actual: object = "running", intended: object = "running", **more: Any) -> dict[str, Any]:
    plain = {"id": 5001, "machine_id": 101, "dph_total": 0.36, "dph_base": 0.35, "end_date": NOW + 3600}
    return {**plain, "actual_status": actual, "intended_status": intended, "is_bid": False, **more}


@pytest.mark.parametrize(
    ("shown", "state", "failure", "is_warm"),
    [
        (row(None), S.STARTING, None, False),
        (row("loading"), S.STARTING, None, False),
        (row("created"), S.STARTING, None, False),
        (row("rebooting"), S.STARTING, None, False),
        (row("restarting"), S.STARTING, None, False),
        (row("recycling"), S.STARTING, None, False),
        (row("scheduling"), S.PENDING, None, False),
        (row("loading", status_msg="OCI runtime create failed: x"), S.FAILED, Failure.OUTPUT, False),
        (row("running", status_msg="Error response from daemon: y"), S.RUNNING, None, False),
        (row("offline", status_msg="Error response from daemon: y"), S.FAILED, Failure.OUTPUT, False),
        (row("running"), S.RUNNING, None, False),
        (row("running", "stopped"), S.STOPPED, None, False),
        (row("stopped", is_bid=True), S.STOPPED, None, False),
        (row("exited", is_bid=True), S.STOPPED, None, False),
        (row("exited"), S.FAILED, Failure.OUTPUT, False),
        (row("stopped"), S.STOPPED, Failure.CAPACITY, False),
        (row("stopped", "stopped"), S.STOPPED, None, True),
        (row("exited", "stopped"), S.STOPPED, None, True),
        (row("created", "stopped"), S.STOPPED, None, True),
        (row("stopping", "stopped"), S.STOPPED, None, False),
        (row("stopped", "stopped", end_date=NOW - 1), S.FAILED, Failure.CAPACITY, False),
        (row("running", end_date=NOW - 1), S.RUNNING, None, False),
        (row("frozen", "frozen"), S.STOPPED, None, False),
        (row("unknown"), S.UNKNOWN, None, False),
        (row("offline"), S.UNKNOWN, None, False),
        (row("offline", "stopped"), S.UNKNOWN, None, False),
        (row("levitating"), S.UNKNOWN, None, False),
        (row("running", "levitating"), S.UNKNOWN, None, False),
        (row("running", None), S.UNKNOWN, None, False),
        (row("running", status_msg=None, end_date=None, dph_total=None, machine_id=None), S.RUNNING, None, False),
        (row("running", dph_total="0.36", end_date="text"), S.RUNNING, None, False),
    ],
)
def test_a_row_is_what_its_statuses_say(
    shown: dict[str, Any], state: InstanceState, failure: Failure | None, is_warm: bool
) -> None:
    instance = instance_of(shown, OWNER, url=URL, now=NOW)
    assert (instance.state, instance.failure, instance.is_warm) == (state, failure, is_warm), instance
    assert (instance.url == URL) is (state is S.RUNNING)


def test_a_running_row_without_an_address_is_starting() -> None:
    assert instance_of(row(), OWNER, url=None, now=NOW).state is S.STARTING


def test_a_running_row_whose_worker_needs_no_address_runs() -> None:
    assert instance_of(row(), OWNER, url=None, needs_url=False, now=NOW).state is S.RUNNING


@pytest.mark.parametrize(
    ("shown", "usd"),
    [
        (row(), 0.36),
        (row("stopped", "stopped"), 0.01),
        (row("stopped", "stopped", dph_total=0.004), 0.004),
        (row("stopped", "stopped", dph_base=None), None),
        (row("frozen", "frozen"), 0.36),
        (row(dph_total=None), None),
        (row(dph_total="0.5"), 0.5),
    ],
)
def test_what_an_instance_costs_as_it_is(shown: dict[str, Any], usd: float | None) -> None:
    assert instance_of(shown, OWNER, url=URL, now=NOW).usd_per_hour == pytest.approx(usd)


@pytest.mark.parametrize(
    ("host", "ports", "url"),
    [
        ("1.2.3.4\n", {"8188/tcp": [{"HostIp": "0.0.0.0", "HostPort": "40188"}]}, URL),
        ("1.2.3.4", {"8188/tcp": [{"HostPort": 40188}]}, URL),
        ("1.2.3.4", None, None),
        ("1.2.3.4", {}, None),
        ("1.2.3.4", {"8188/tcp": []}, None),
        ("1.2.3.4", {"8188/tcp": None}, None),
        ("1.2.3.4", {"80/tcp": [{"HostPort": "1"}]}, None),
        (None, {"8188/tcp": [{"HostPort": "40188"}]}, None),
        ("\n", {"8188/tcp": [{"HostPort": "40188"}]}, None),
    ],
)
def test_an_address_is_the_public_one_with_the_mapped_port(host: object, ports: object, url: str | None) -> None:
    assert mapped_url({"public_ipaddr": host, "ports": ports}, 8188) == url


@pytest.mark.parametrize(
    ("label", "owner"),
    [
        ("ebbflow/sdxl/homea/sdxl-3f9c-1a-0", OWNER),
        ("ebbflow/sdxl/homea/llm-3f9c-1a-0", Owner("sdxl", "", "llm-3f9c-1a-0")),
        ("ebbflow/sdxl/homea/x", Owner("sdxl", "", "x")),
        ("ebbflow/sdxl/homea", None),
        ("Ebbflow/sdxl/homea/sdxl-3f9c-1a-0", None),
        ("", None),
        (None, None),
        (7, None),
    ],
)
def test_a_label_is_read_whole_or_not_at_all(label: object, owner: Owner | None) -> None:
    assert owner_of({"label": label}) == owner


V = VastVerdict


MEANINGS = [
    ("no_such_ask_404", V.TAKEN),
    ("no_such_ask_410", V.TAKEN),
    ("invalid_args", V.REFUSED),
    ("missing_billing", V.NO_CREDIT),
    ("bad_key_401", V.LOGIN),
    ("bad_key_404", V.LOGIN),
    ("session_expired", V.LOGIN),
    ("no_rights", V.LOGIN),
    ("not_your_own", V.REFUSED),
    ("no_such_instance", V.GONE),
    ("not_found", V.UNCLEAR),
    ("deprecated", V.REFUSED),
    ("too_frequent_text", V.TOO_OFTEN),
    ("too_frequent_json", V.TOO_OFTEN),
    ("too_frequent_retry_after", V.TOO_OFTEN),
    ("server_error", V.UNCLEAR),
    ("bad_gateway", V.UNCLEAR),
    ("unavailable", V.UNCLEAR),
    ("unreadable", V.UNCLEAR),
    ("not_done", V.REFUSED),
    ("only_said", V.DONE),
    ("no_instances", V.DONE),
    ("instances_not_a_list", V.DONE),
]


@pytest.mark.parametrize(("name", "verdict"), MEANINGS)
def test_an_answer_means_what_its_status_and_words_say(name: str, verdict: VastVerdict) -> None:
    answer = ANSWERS[name]
    body = {"text": answer.body} if isinstance(answer.body, str) else {"json": answer.body}
    assert read_answer(httpx.Response(answer.status, **body)).verdict is verdict


def test_every_answer_that_the_stand_in_knows_has_a_meaning() -> None:
    assert {name for name, _ in MEANINGS} == set(ANSWERS)
