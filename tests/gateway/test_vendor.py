"""The vendor's own worker and client software (`vastai`, from PyPI) at our gateway: nothing here is a stand-in."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gateway.processes import (
    FOLDER,
    GatewayProcess,
    VendorWorker,
    asked,
    gateway_pair,
    gateway_process,
    until,
    vendor_client,
    vendor_workers,
)

OPENING = """
import asyncio, json, os, ssl
from vastai import Serverless

class Client(Serverless):
    async def get_ssl_context(self):
        return ssl.create_default_context()

async def main():
    gateway = os.environ["GATEWAY"]
    async with Client(os.environ["ENDPOINT_KEY"], autoscaler_url=gateway, webserver_url=gateway) as client:
        endpoint = await client.get_endpoint(os.environ["ENDPOINT"])
"""
SESSION = f"""{OPENING}
        session = await endpoint.session(cost=10, lifetime=60)
        print("open", session.url, flush=True)
        await asyncio.sleep(4)
        print("healthy", await endpoint.session_healthcheck(session), flush=True)
        await endpoint.close_session(session)
        print("closed", json.dumps([vars(worker) for worker in await endpoint.get_workers()]), flush=True)

asyncio.run(main())
"""
WHOLE = f"""{OPENING}
        payload = dict(prompt="tell me of the tide", max_tokens=200, stream=False)
        asked = [endpoint.request("/generate", payload, cost=200) for _ in range(4)]
        for answer in await asyncio.gather(*asked):
            print(answer["status"], answer["url"], len(answer["response"]["tokens"]), "tokens", flush=True)

asyncio.run(main())
"""


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("one", marks=pytest.mark.endurance),
        pytest.param("two on a PostgreSQL", marks=pytest.mark.soak),
    ],
)
def gateway(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("vendor")
    if request.param == "one":
        with gateway_process(folder) as made:
            yield made
        return
    with gateway_pair(folder, request.getfixturevalue("postgres_server").empty_database()) as pair:
        yield pair


@pytest.fixture(scope="module")
def key(gateway: GatewayProcess) -> str:
    return gateway.endpoint()


@pytest.fixture(scope="module")
def workers(gateway: GatewayProcess, key: str) -> Iterator[list[VendorWorker]]:
    # The second is twice as fast.
    with vendor_workers(gateway, {1: 100.0, 2: 200.0}) as made:
        yield made


def served_by(said: str) -> Counter[str]:
    """How many answers were good, by worker; each with all of its tokens."""
    rows = re.findall(r"^200 (\S+) (\d+) tokens", said, re.MULTILINE)
    return Counter(url for url, _ in rows)


def test_workers_measure_themselves_and_clients_are_shared_out_by_speed(
    gateway: GatewayProcess, key: str, workers: list[VendorWorker]
) -> None:
    slow, fast = (gateway.rows()[worker.worker_id]["max_perf"] for worker in workers)
    assert 0.5 < slow / 100 < 1.1
    assert 0.5 < fast / 200 < 1.1
    served = served_by(asked(gateway, key, "12", "60"))
    assert served.total() == 12
    assert served[workers[1].url] > served[workers[0].url] > 0
    until(lambda: gateway.operator("GET", "endpoints/llama")["in_flight_requests"] == 0, "every request is settled")
    account = gateway.operator("GET", "endpoints/llama")
    assert [account[name] for name in ("arrived", "served", "served_units")] == [12, 12, 720]


def test_a_restart_in_the_middle_of_traffic_honours_tickets_and_loses_no_worker(
    gateway: GatewayProcess, key: str, workers: list[VendorWorker]
) -> None:
    public = gateway.http.get("/pubkey/").text
    with vendor_client(gateway, key, "4", "400") as client:
        until(lambda: gateway.operator("GET", "endpoints/llama")["in_flight_requests"] == 4, "all have tickets")
        gateway.kill()
        gateway.start()
        assert gateway.http.get("/pubkey/").text == public
        assert {row["ready"] for row in gateway.rows().values()} == {True}
        # Routed at once, while the others still run on tickets of the process before.
        assert served_by(asked(gateway, key, "2", "20")).total() == 2
        said, _ = client.communicate(timeout=90)
    assert served_by(said).total() == 4, said


def test_a_session_keeps_its_worker_busy_until_it_is_closed(
    gateway: GatewayProcess, key: str, workers: list[VendorWorker]
) -> None:
    with vendor_client(gateway, key, script=SESSION) as client:
        assert client.stdout is not None
        url = client.stdout.readline().removeprefix("open ").strip()
        (worker_id,) = [worker.worker_id for worker in workers if worker.url == url]
        until(lambda: gateway.rows()[worker_id]["cur_load"] == 10, "it reports the open session")
        assert gateway.operator("PUT", f"workers/{worker_id}/drain")["busy"] is True
        said, _ = client.communicate(timeout=60)
    assert "healthy True" in said, said
    shown = json.loads(said.rpartition("closed ")[2])
    assert {each["id"] for each in shown} == {38251, 38252}
    until(lambda: not gateway.operator("PUT", f"workers/{worker_id}/drain")["busy"], "it is closed")
    gateway.operator("DELETE", f"workers/{worker_id}/drain")


def test_a_worker_whose_log_says_an_error_is_left_at_once_and_stays_so(
    gateway: GatewayProcess, key: str, workers: list[VendorWorker]
) -> None:
    broken, other = workers
    with broken.log.open("a") as log:
        log.write("CUDA error: an illegal memory access\n")
    until(lambda: gateway.rows()[broken.worker_id]["error"] == "CUDA error", "it tells")
    assert served_by(asked(gateway, key, "6", "20")) == {other.url: 6}
    assert "it is broken: CUDA error" in gateway.words()


def test_clients_of_a_worker_that_is_killed_go_to_another(
    gateway: GatewayProcess, key: str, workers: list[VendorWorker]
) -> None:
    first, last = workers
    first.kill()
    first.log.unlink()
    first.start()
    until(lambda: bool(gateway.rows()[first.worker_id]["ready"]), first.said())
    with vendor_client(gateway, key, script=WHOLE) as client:
        until(lambda: gateway.operator("GET", "endpoints/llama")["in_flight_requests"] == 4, "all have tickets")
        last.kill()
        said, _ = client.communicate(timeout=90)
    assert served_by(said) == {first.url: 4}, said


def test_the_vendors_version_is_the_one_that_the_image_has() -> None:
    listed = (Path(__file__).parents[1] / "environments" / "vastai.txt").read_text()
    (version,) = re.findall(r"^# wanted: (vastai==\S+)$", listed, re.MULTILINE)
    assert version in (FOLDER / "Dockerfile").read_text()
