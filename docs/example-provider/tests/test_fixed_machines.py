"""Fixed machines obey the contract of providers, and what is special about them."""

import fcntl
import shutil
from pathlib import Path

import anyio
import pytest
from pydantic import ValidationError

from ebbflow.contracts.provider import BreakBackend, MakeProvider, ProviderContract
from ebbflow.core.errors import CapacityUnavailable, LaunchRejected, ProviderUnavailable
from ebbflow.core.instance import JoinSpec, LaunchRequest
from ebbflow_example.blocks import FixedMachinesProvider
from ebbflow_example.leases import LeaseFolder
from ebbflow_example.provider import FixedMachines
from ebbflow_example.settings import FixedMachinesSettings

MACHINES = tuple(f"http://gpu{number}:7801" for number in range(1, 6))


def provider_of(folder: Path, machines: tuple[str, ...] = MACHINES) -> FixedMachines:
    return FixedMachines(FixedMachinesSettings(machines=machines, lease_folder=str(folder)))


def request(index: int = 0, *, avoid: tuple[str, ...] = (), join: JoinSpec | None = None) -> LaunchRequest:
    return LaunchRequest(f"sdxl-3f9c-1-{index}", "sdxl", "homea", join or JoinSpec(), avoid=avoid)


class TestContract(ProviderContract):
    @pytest.fixture
    def make_provider(self, tmp_path: Path) -> MakeProvider:
        return lambda: provider_of(tmp_path)

    @pytest.fixture
    def break_backend(self, tmp_path: Path) -> BreakBackend:
        return lambda: shutil.rmtree(tmp_path)


@pytest.mark.anyio
async def test_machines_are_lent_in_order_and_one_that_was_given_back_is_lent_again(tmp_path: Path) -> None:
    provider = provider_of(tmp_path)
    first, second = await provider.launch(request(0)), await provider.launch(request(1))
    assert [first.url, second.url] == list(MACHINES[:2])
    await provider.terminate(first)
    assert (await provider.launch(request(2))).url == MACHINES[0]


@pytest.mark.anyio
async def test_more_launches_than_machines_at_once_lend_each_machine_once(tmp_path: Path) -> None:
    refused = []

    async def launch(index: int) -> None:
        try:
            await provider_of(tmp_path).launch(request(index))
        except CapacityUnavailable as error:
            refused.append(str(error))

    async with anyio.create_task_group() as group:
        for index in range(12):
            group.start_soon(launch, index)
    listing = await provider_of(tmp_path).list_instances("sdxl")
    assert sorted(each.url or "" for each in listing.instances) == list(MACHINES)
    assert len(refused) == 12 - len(MACHINES)
    assert "all of 5 are lent" in refused[0]


@pytest.mark.anyio
async def test_a_machine_on_which_a_worker_failed_lately_is_passed_over(tmp_path: Path) -> None:
    assert (await provider_of(tmp_path).launch(request(avoid=MACHINES[:1]))).url == MACHINES[1]


@pytest.mark.anyio
async def test_a_machine_that_left_the_settings_stays_lent_until_it_is_given_back(tmp_path: Path) -> None:
    lent = await provider_of(tmp_path).launch(request())
    fewer = provider_of(tmp_path, MACHINES[1:])
    assert (await fewer.list_instances("sdxl")).instances == (lent,)
    assert fewer.caps.fingerprint == provider_of(tmp_path).caps.fingerprint


@pytest.mark.anyio
async def test_a_late_end_does_not_take_the_machine_from_its_next_worker(tmp_path: Path) -> None:
    provider = provider_of(tmp_path, MACHINES[:1])
    before = await provider.launch(request(0))
    await provider.terminate(before)
    following = await provider.launch(request(1))
    await provider.terminate(before)
    assert (await provider.list_instances("sdxl")).instances == (following,)


@pytest.mark.anyio
async def test_a_launcher_that_was_killed_while_it_wrote_has_lent_nothing(tmp_path: Path) -> None:
    (tmp_path / ".unfinished").write_text('{"machine": "http')
    provider = provider_of(tmp_path)
    assert (await provider.list_instances("sdxl")).complete
    assert (await provider.launch(request())).url == MACHINES[0]


@pytest.mark.anyio
async def test_a_damaged_lease_makes_the_listing_incomplete_and_lends_nothing(tmp_path: Path) -> None:
    (tmp_path / "gpu1.json").write_text("{}")
    provider = provider_of(tmp_path)
    listing = await provider.list_instances("sdxl")
    assert not listing.complete
    assert "gpu1.json" in listing.detail
    with pytest.raises(ProviderUnavailable, match=r"gpu1\.json"):
        await provider.launch(request())


def test_a_lock_that_somebody_holds_is_waited_for_and_then_temporary(tmp_path: Path) -> None:
    with (tmp_path / ".lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        leases = LeaseFolder(tmp_path, lock_seconds=0.1)
        with pytest.raises(ProviderUnavailable, match=r"lock for 0\.1 s"):
            leases.give_back("sdxl-3f9c-1-0@http://gpu1:7801")


@pytest.mark.anyio
async def test_a_master_that_tells_each_worker_something_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LaunchRejected, match="RAY_ADDRESS"):
        await provider_of(tmp_path).launch(request(join=JoinSpec(environment={"RAY_ADDRESS": "10.0.0.1:6379"})))


@pytest.mark.parametrize(
    ("machines", "folder", "said"),
    [
        pytest.param([], "/leases", "at least 1", id="no machine"),
        pytest.param(["gpu1:7801"], "/leases", "machines", id="no address"),
        pytest.param(["http://me:secret@gpu1"], "/leases", "machines", id="an address with a password"),
        pytest.param(["http://gpu1", "http://gpu1"], "/leases", "listed twice", id="one machine twice"),
        pytest.param(["http://gpu1"], "leases", "absolute path", id="a folder that depends on where it is read"),
    ],
)
def test_settings_that_cannot_work_are_refused(machines: list[str], folder: str, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        FixedMachinesSettings.model_validate({"machines": machines, "lease_folder": folder})


def test_the_block_builds_the_provider_without_touching_anything() -> None:
    block = FixedMachinesProvider(machines=MACHINES, lease_folder="/nowhere")
    assert block.get_provider().caps.idempotent_launch
