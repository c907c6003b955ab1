"""What a look at a fleet of pods costs, at 1, 100 and 1,000 of them, and a hundred launches against one.

The stand-in API server runs in the same process: calls are exact, times hold its own share and are good for ratios.
"""

import asyncio
import statistics
import time

import httpx

from ebbflow.adapters.providers.kubernetes.adapter import KubernetesAdapter
from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings
from ebbflow.core.instance import LaunchRequest
from ebbflow.standins.http import serve
from ebbflow.standins.kubernetes.server import ADMIN_TOKEN, ApiServer, kubeconfig
from tests.benchmarks.world import tell

ROUNDS = 5
TEMPLATE = {"spec": {"containers": [{"name": "worker", "image": "swarmui", "resources": {"limits": {"cpu": "1"}}}]}}


async def measure() -> None:
    """Print the calls and the ratios."""
    times = {}
    for count in (1, 100, 1000):
        calls, times[count] = await _look(count)
        tell(f"kubernetes: a look at {count} running pods: {calls} calls, {times[count] * 1000:.0f} ms")
    tell(f"kubernetes: a look at 1,000 pods against one at 100: {times[1000] / times[100]:.1f}x")
    one, hundred = (await _launches(1))[1], await _launches(100)
    tell(f"kubernetes: 100 launches: {hundred[0]} calls, {hundred[1] / one:.1f}x the time of one ({hundred[1]:.2f} s)")


async def _look(count: int) -> tuple[int, float]:
    server = ApiServer()
    async with serve(server, sends_date=False) as url:
        provider = await _provider(url)
        await asyncio.gather(*(provider.launch(_request(index)) for index in range(count)))
        for pod in list(server.store.all("pods", "gpu")):
            ready = [{"type": "Ready", "status": "True"}]
            status = {"phase": "Running", "podIP": "10.0.0.7", "conditions": ready}
            changed = {**pod, "spec": {**pod["spec"], "nodeName": "n"}, "status": status}
            server.store.replace("pods", "gpu", pod["metadata"]["name"], changed)
        seconds = []
        for _ in range(ROUNDS):
            server.requests.clear()
            began = time.perf_counter()
            listing = await provider.list_instances("bench")
            seconds.append(time.perf_counter() - began)
            assert listing.complete
            assert len(listing.instances) == count
        await provider.aclose()
        return len(server.requests), statistics.median(seconds)


async def _launches(count: int) -> tuple[int, float]:
    server = ApiServer()
    async with serve(server, sends_date=False) as url:
        provider = await _provider(url)
        # The client's import and login, and the template's dry run, are the first launch's.
        await provider.launch(_request(count))
        server.requests.clear()
        began = time.perf_counter()
        await asyncio.gather(*(provider.launch(_request(index)) for index in range(count)))
        taken = time.perf_counter() - began
        await provider.aclose()
        return len(server.requests), taken


async def _provider(url: str) -> KubernetesAdapter:
    headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as admin:
        await admin.post("/api/v1/namespaces", json={"metadata": {"name": "gpu"}})
    given = {"pod_template": TEMPLATE, "kubeconfig": kubeconfig(url), "namespace": "gpu", "call_timeout_seconds": 60}
    return KubernetesAdapter(KubernetesSettings.model_validate(given))


def _request(index: int) -> LaunchRequest:
    return LaunchRequest(f"bench-3f9c-1-{index}", "bench", "homea")


if __name__ == "__main__":
    asyncio.run(measure())
