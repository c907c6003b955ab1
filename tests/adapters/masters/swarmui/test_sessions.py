"""API sessions between runs: kept by the store that an adapter was given, and by a dry run not at all."""

import httpx
import pytest

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.sessions import InMemorySessionStore, ReadOnlySessions
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings

pytestmark = pytest.mark.anyio

ADDRESS = "http://master:7801"


class Closing(InMemorySessionStore):
    """Says whether it was closed."""

    is_closed = False

    async def aclose(self) -> None:
        self.is_closed = True


async def test_what_a_dry_run_has_to_renew_is_kept_for_that_run_alone() -> None:
    stored = Closing()
    await stored.put(ADDRESS, "old")
    reading = ReadOnlySessions(stored)
    assert await reading.get(ADDRESS) == "old"
    await reading.put(ADDRESS, "new")
    await reading.put("http://worker:7801", None)
    assert (await reading.get(ADDRESS), await reading.get("http://worker:7801")) == ("new", None)
    await reading.aclose()
    assert (await stored.get(ADDRESS), stored.is_closed) == ("old", False)


async def test_an_adapter_closes_its_store_also_when_the_network_does_not_close() -> None:
    class Broken(httpx.MockTransport):
        async def aclose(self) -> None:
            raise OSError("the network is gone")

    store = Closing()
    transport = Broken(lambda _: httpx.Response(200))
    settings = SwarmUISettings(address=ADDRESS)
    adapter = SwarmUIAdapter(settings, fleet="sdxl", home="h0me1", sessions=store, transport=transport)
    await adapter.demand()  # opens it
    with pytest.raises(OSError, match="gone"):
        await adapter.aclose()
    assert store.is_closed
