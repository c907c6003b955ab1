"""What a demo is judged by, and that prefect.yaml deploys; whole demos are in `test_whole_demo.py`."""

import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ebbflow.demo.fixed_fleet import FixedFleet, fixed_fleet
from ebbflow.demo.history import History, went_up_and_down
from ebbflow.demo.load import Tally
from ebbflow.demo.place import Place, kept_place
from ebbflow.demo.project import fleet_of_demo
from ebbflow.demo.steps import Pace, Step
from ebbflow.demo.summary import Summary, percentile
from ebbflow.demo.view import MasterState
from ebbflow.fleet.model import Fleet
from ebbflow.simulation.trace import Arrival
from ebbflow.turn.costs import Tally as Costs

ROOT = Path(__file__).parents[2]
# Any: YAML is what it is; what matters of it is compared below.
PREFECT_YAML: dict[str, Any] = yaml.safe_load((ROOT / "prefect.yaml").read_text(encoding="utf-8"))
FLEET: dict[str, Any] = PREFECT_YAML["definitions"]["fleet"]
POOL = PREFECT_YAML["definitions"]["work_pool"]["name"]
FLOWS = ("autoscale", "scale-up", "scale-down", "override", "backtest", "advise")


# what it is judged by


@pytest.mark.parametrize(
    ("sizes", "went"),
    [
        ([1, 4, 5, 1, 0], True),
        ([0, 1, 1, 3, 2, 1], True),
        ([1, 2, 1], False),
        ([4, 1], False),
        ([1, 4, 2], False),
        ([], False),
    ],
    ids=str,
)
def test_a_fleet_must_go_from_one_to_several_and_back(sizes: list[int], went: bool) -> None:
    assert went_up_and_down(sizes, least=1, several=3) is went


@pytest.mark.parametrize(
    ("values", "share", "found"),
    [([], 50, 0.0), ([3.0], 95, 3.0), ([4.0, 1.0, 3.0, 2.0], 50, 2.0), (list(range(1, 101)), 95, 95)],
)
def test_a_percentile_is_one_of_the_values(values: list[float], share: float, found: float) -> None:
    assert percentile(values, share) == found


@pytest.mark.parametrize(
    ("tally", "master", "still_alive", "said"),
    [
        (Tally(3, 2, ["no backend"]), MasterState(0, 0, 2, 1), 0, "1 request was lost: no backend"),
        (Tally(3, 2), MasterState(0, 0, 2, 0), 0, "1 request was sent and never answered"),
        (Tally(2, 2), MasterState(0, 0, 3, 1), 0, "the master counts 3 served and 1 lost"),
        (Tally(2, 2), MasterState(0, 0, 2, 0), 2, "2 GPU workers were still alive"),
        (Tally(2, 2), MasterState(0, 0, 2, 0), 0, "did not go from 1 to 3 or more and back"),
    ],
)
def test_what_went_wrong_is_said(tally: Tally, master: MasterState, still_alive: int, said: str) -> None:
    fixed, cost = fixed_fleet(5, ()), Costs().cost("demo", "")
    summary = Summary(tally, master, History(), least=1, still_alive=still_alive, seconds=1.0, fixed=fixed, cost=cost)
    assert any(said in problem for problem in summary.problems()), list(summary.problems())


def test_a_fixed_fleet_serves_in_order() -> None:
    arrivals = [Arrival(at, 4.0) for at in (0.0, 0.0, 1.0, 20.0)]
    assert fixed_fleet(2, arrivals) == FixedFleet(2, (0.0, 0.0, 3.0, 0.0))


def test_the_summary_tells_what_was_saved_and_what_it_cost_those_who_waited() -> None:
    tally = Tally(4, 4, wait_seconds=[0.0, 5.0, 5.0, 9.0])
    fixed = FixedFleet(5, (0.0, 0.0, 1.0, 1.0))
    cost = Costs(known=720.0, worker=900.0, priced=900.0, workers_usd=0.5, fixed=3600.0).cost("", "", fixed_usd=2.0)
    rows = dict(Summary(tally, MasterState(0, 0, 4, 0), History(), 1, 0, 1.0, fixed, cost).rows())
    assert rows["saved"] == (
        "75% of the GPU-hours of 5 that always run: 0.25 in the place of 1.00, 0.50 USD in the place of 2.00"
    )
    assert rows["for a wait of"] == "p50 +5.0 s, p95 +8.0 s against those 5"


@pytest.mark.parametrize(
    ("step", "in_step", "keeps", "left"),
    [
        (Step.START, 0.0, False, 12 + 8 + 20 + 85 + 40 + 35),
        (Step.LOAD, 80.0, False, 5 + 40 + 35),
        (Step.LOAD, 200.0, False, 40 + 35),
        (Step.BRING_BACK, 10.0, True, 30),
    ],
)
def test_the_time_left_is_what_the_rest_usually_takes(step: Step, in_step: float, keeps: bool, left: float) -> None:
    assert Pace(75.0, keeps=keeps).left_seconds(step, in_step) == left


def test_a_folder_without_a_demo_cannot_be_ended(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no demo that was left alive"):
        kept_place(tmp_path)


def test_what_a_process_of_the_demo_gets_holds_nothing_of_the_users_prefect(tmp_path: Path) -> None:
    theirs = {"PREFECT_API_KEY": "secret", "PREFECT_PROFILE": "work", "PATH": "/bin"}
    environment = Place(tmp_path, 4200, "word").environment(theirs)
    assert "PREFECT_API_KEY" not in environment
    assert "PREFECT_PROFILE" not in environment
    assert environment["PATH"] == "/bin"
    assert environment["PREFECT_HOME"].startswith(str(tmp_path))


# prefect.yaml


def test_a_launch_script_is_one_word_of_the_fleet_away() -> None:
    local, script = fleet_of_demo("local").model_dump(), fleet_of_demo("launch-script").model_dump()
    assert Fleet.model_validate(FLEET) == fleet_of_demo("local")
    assert script["providers"][0]["block"] == "launch-script-provider/demo"
    script["providers"][0]["block"] = local["providers"][0]["block"]
    assert script == local


class AskingAgain(httpx.HTTPTransport):
    """Repeats what Prefect answers with 503, as its own client does: SQLite lets one process write at a time."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        for _ in range(20):
            if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
            response.close()
            time.sleep(0.5)
            response = super().handle_request(request)
        return response


@pytest.fixture(scope="module")
def api(prefect_server: str, prefect_environment: dict[str, str]) -> Iterator[httpx.Client]:
    """The session's server after `prefect deploy --all --no-prompt`; the demo's deployments leave it again."""
    with httpx.Client(base_url=prefect_server, timeout=20, transport=AskingAgain()) as client:
        client.post("/work_pools/", json={"name": POOL, "type": "process"}).raise_for_status()
        subprocess.run(
            [sys.executable, "-m", "prefect", "deploy", "--all", "--no-prompt"],
            env=prefect_environment,
            cwd=ROOT,
            check=True,
            capture_output=True,
            timeout=120,
        )
        yield client
        for flow in FLOWS:
            deployment = client.get(f"/deployments/name/{flow}/demo").json()
            client.delete(f"/deployments/{deployment['id']}").raise_for_status()
        client.delete(f"/work_pools/{POOL}").raise_for_status()


def deployment_of(api: httpx.Client, flow: str) -> dict[str, Any]:
    response = api.get(f"/deployments/name/{flow}/demo")
    response.raise_for_status()
    found: dict[str, Any] = response.json()
    return found


@pytest.mark.oldest_prefect
def test_the_schedule_has_the_fleets_own_interval_and_begins_switched_off(api: httpx.Client) -> None:
    (schedule,) = deployment_of(api, "autoscale")["schedules"]
    assert not schedule["active"]
    assert schedule["schedule"]["interval"] == FLEET["interval_seconds"]
    assert not deployment_of(api, "scale-up")["schedules"]
    assert not deployment_of(api, "scale-down")["schedules"]


@pytest.mark.oldest_prefect
def test_the_schedule_creates_runs_once_it_is_on(api: httpx.Client) -> None:
    deployment = deployment_of(api, "autoscale")
    (schedule,) = deployment["schedules"]
    switch = f"/deployments/{deployment['id']}/schedules/{schedule['id']}"
    api.patch(switch, json={"active": True}).raise_for_status()
    # The server's scheduler sees at once what was deployed just now, and all others once a minute.
    runs = wait_for_runs(api, deployment, lambda run: run["auto_scheduled"], seconds=90)
    assert runs, "the scheduler has made no run of autoscale/demo: look into the server's log"


@pytest.mark.oldest_prefect
@pytest.mark.parametrize("flow", FLOWS)
def test_every_deployment_takes_the_one_fleet_and_bakes_no_folder_in(api: httpx.Client, flow: str) -> None:
    deployment = deployment_of(api, flow)
    given = deployment["parameters"]["fleet"]
    if flow == "autoscale":
        assert Fleet.model_validate(given) == Fleet.model_validate(FLEET)
    else:
        assert given == FLEET["name"], "a person's form shows no fleet that somebody may change unseen"
    assert deployment["work_pool_name"] == POOL
    (step,) = deployment["pull_steps"]
    assert step["prefect.deployments.steps.set_working_directory"]["directory"] == "/", "every host has it"
    assert str(ROOT) not in str(deployment["pull_steps"]) + str(deployment["entrypoint"]) + str(deployment["path"])


@pytest.mark.oldest_prefect
@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"count": 300}, "300 is greater than the maximum of 64"),
        ({"count": 0}, "0 is less than the minimum of 1"),
        ({"fleet": {**FLEET, "policy": {"kind": "clairvoyant"}}}, "clairvoyant"),
        ({"fleet": {**FLEET, "intervall_seconds": 17}}, "intervall_seconds"),
    ],
    ids=["too many", "none", "an unknown policy", "a misspelt key"],
)
def test_the_form_refuses_what_no_run_could_use(api: httpx.Client, parameters: dict[str, Any], said: str) -> None:
    deployment = deployment_of(api, "scale-up")
    before = runs_of(api, deployment)
    response = api.post(f"/deployments/{deployment['id']}/create_flow_run", json={"parameters": parameters})
    assert response.status_code == httpx.codes.CONFLICT, response.text
    assert said in response.text or "is not valid under any of the given schemas" in response.text
    assert runs_of(api, deployment) == before


PAYLOADS: list[dict[str, Any]] = [
    {"count": 2, "reason": 'a "sale" <begins> & \u00fcber\u2028all', "key": "sale"},
    {},
    {"count": "two"},
    {"count": -1, "reason": "x" * 5000},
    {"count": 0},
    {"count": {"nested": [1.5, None]}, "reason": None},
]


@pytest.mark.oldest_prefect
@pytest.mark.parametrize("payload", PAYLOADS, ids=["plain", "empty", "text", "negative, long", "zero", "nested"])
def test_regression_an_events_odd_payload_gave_no_run_and_no_trace(api: httpx.Client, payload: dict[str, Any]) -> None:
    deployment = deployment_of(api, "scale-up")
    known = {run["id"] for run in runs_of(api, deployment)}
    event = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "ebbflow.scale-up.requested",
        "resource": {"prefect.resource.id": "ebbflow.fleet.demo"},
        "payload": payload,
    }
    api.post("/events", json=[event]).raise_for_status()
    (run,) = wait_for_runs(api, deployment, lambda run: run["id"] not in known, seconds=30)
    assert run["parameters"]["event"] == {"id": event["id"], "event": event["event"], "payload": payload}
    assert run["parameters"]["fleet"] == FLEET["name"]
    assert run["created_by"]["type"] == "AUTOMATION"


def runs_of(api: httpx.Client, deployment: dict[str, Any]) -> list[dict[str, Any]]:
    response = api.post("/flow_runs/filter", json={"deployments": {"id": {"any_": [deployment["id"]]}}})
    response.raise_for_status()
    found: list[dict[str, Any]] = response.json()
    return found


def wait_for_runs(
    api: httpx.Client, deployment: dict[str, Any], wanted: Callable[[dict[str, Any]], bool], *, seconds: float
) -> list[dict[str, Any]]:
    deadline = time.monotonic() + seconds
    while not (found := [run for run in runs_of(api, deployment) if wanted(run)]) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found
