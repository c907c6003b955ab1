"""The gate: a worker's backend that loads until its child runs at the master, in the start files and at a slow join."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ebbflow.standins.swarmui.backends_file import swarm_backends
from tests.e2e.world import World, Worlds
from tests.services.waiting_room.places import RunningRoom
from tests.services.waiting_room.test_from_zero import BURST, answers, asked, at_zero, up_and_down

pytestmark = pytest.mark.anyio

DEPLOYMENTS = Path(__file__).parents[3] / "deployments"
OWN = "0:\n\ttype: comfyui_selfstart\n\ttitle: GPU 0\n\tenabled: true\n\tsettings:\n\t\tStartScript: main.py"
"""What a person's own file of backends holds, without a line end."""
SLOW = ("--slow_seconds", "0.3")


def swarmui(folder: Path, *options: str) -> Path:
    """An installation of SwarmUI, whose program is the stand-in's worker; where nothing is said, its data is in it."""
    folder.mkdir()
    program = folder / "launch-linux.sh"
    program.write_text(f"""#!/bin/bash
words=({shlex.join(options)})
[[ " $* " == *" --backends_file "* ]] || words+=(--backends_file Data/Backends.fds)
while (($#)); do
    case $1 in --launch_mode | --host) ;; *) words+=("$1" "$2") ;; esac
    shift 2
done
exec {shlex.quote(sys.executable)} -m ebbflow.standins.swarmui.server worker "${{words[@]}}"
""")
    program.chmod(0o755)
    return folder


@contextmanager
def started(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """One start file in a process group of its own, which is ended whole."""
    with (folder / "out.log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True, cwd=folder,
        )  # fmt: skip
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def start_file(name: str, folder: Path) -> tuple[list[str], dict[str, str], Path]:
    """How one of the start files is run, and where it keeps the backends."""
    install = swarmui(folder / "SwarmUI")
    data = folder / "data"
    data.mkdir()
    if name == "launch-scripts/worker.sh":
        words = [str(data), str(folder / "address"), str(install), "10", "24000-28999", "127.0.0.1"]
        return ["bash", str(DEPLOYMENTS / name), *words], {}, data
    environment = {"SWARMUI_FOLDER": str(install), "PORTS": "24000-28999", "EBBFLOW_WORKER_ID": "w-1"}
    if name == "slurm-swarmui/worker.sh":
        environment |= {"DATA_FOLDER": str(folder / "node"), "DATA_TEMPLATE": str(data), "ADVERTISE_HOST": "127.0.0.1"}
        return ["bash", str(DEPLOYMENTS / name), "--require_control_within", "10"], environment, data
    (install / "Data").mkdir()
    environment |= {"WORKER_PORT": "0", "CONTAINER_ID": "1", "CONTAINER_API_KEY": "k", "VAST_API": "http://127.0.0.1:9"}
    return ["sh", str(DEPLOYMENTS / name)], environment, install / "Data"


def until_gates_are(room: RunningRoom, *expected: str, fleet: str = "h0me1/sdxl") -> None:
    deadline = time.monotonic() + 30
    with httpx.Client(trust_env=False) as http:
        while (gates := http.get(f"{room.url}/fleets/{fleet}").json()["gates"]) != [*expected]:
            assert time.monotonic() < deadline, gates
            time.sleep(0.1)


OLD = f"{OWN}\n7860:\n\ttype: swarmswarmbackend\n\tsettings:\n\t\tAddress: http://old\n"


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("launch-scripts/worker.sh", ""),
        ("launch-scripts/worker.sh", OWN),
        ("slurm-swarmui/worker.sh", ""),
        ("slurm-swarmui/worker.sh", OWN),
        ("vast-swarmui/onstart.sh", ""),
        ("vast-swarmui/onstart.sh", OWN),
        ("vast-swarmui/onstart.sh", OLD),  # a rented disk outlives its worker
    ],
    ids=lambda value: value if value.endswith(".sh") else f"{len(value)} characters of its own",
)
def test_a_start_file_gives_its_worker_the_gate_and_keeps_what_a_person_has(
    tmp_path: Path, room: RunningRoom, name: str, own: str
) -> None:
    command, environment, data = start_file(name, tmp_path)
    if own:
        (data / "Backends.fds").write_text(own)
    with started(command, tmp_path, {**environment, "EBBFLOW_GATE": f"{room.url}/gates/h0me1/sdxl/w-1"}):
        try:
            until_gates_are(room, "w-1")
        except AssertionError as error:
            pytest.fail(f"{error}: {(tmp_path / 'out.log').read_text()}")
        copied = tmp_path / "node/w-1" if name.startswith("slurm") else data
        written = (copied / "Backends.fds").read_text().strip()
    rows = swarm_backends(written)
    assert [row["settings"]["Address"] for row in rows.values()] == [f"{room.url}/gates/h0me1/sdxl/w-1"]
    assert written.startswith(OWN if own else "7860:")


async def with_slow_workers(worlds: Worlds[Any], room: RunningRoom, *, gate: bool) -> World[Any]:
    """A fleet at zero whose workers take 300 ms to answer and are started by a start file that we ship."""
    master = {"waiting_room": room.url, "call_timeout_seconds": 10}
    world = await at_zero(worlds, master)
    install = swarmui(world.folder / "SwarmUI", *SLOW)
    start = DEPLOYMENTS / "launch-scripts/worker.sh"
    words = [install, "10", "24000-28999", "127.0.0.1"]
    without = "" if gate else "unset EBBFLOW_GATE;"
    line = (
        f"{without} d={shlex.quote(str(world.folder))}/$EBBFLOW_WORKER_ID; "
        f'exec bash {shlex.quote(str(start))} "$d" "$d.address" {shlex.join(map(str, words))}'
    )
    await world.save(master=master, command=["bash", "-c", line], environment={"ADVERTISE_HOST": "127.0.0.1"})
    return world


async def join_under_load(world: World[Any]) -> tuple[int, int]:
    """A burst at zero, and ten requests a second from then on until somebody serves."""
    requests = asked(world, 20)
    up = asyncio.ensure_future(world.acts_until_serving_any())
    while not up.done():
        requests += asked(world, 1)
        await asyncio.sleep(0.1)
    await up
    for _ in range(40):
        if all(request.done() for request in requests):
            break
        await world.acted()
        await asyncio.sleep(0.2)
    return await answers(requests)


async def warnings_of(world: World[Any]) -> str:
    """What the notes of all turns say."""
    return "".join([str((await world.stored(number)).note) for number in await world.claims()])


@pytest.mark.soak
async def test_with_the_gate_a_join_of_300_ms_loses_nothing(worlds: Worlds[Any], room: RunningRoom) -> None:
    world = await with_slow_workers(worlds, room, gate=True)
    served, lost = await join_under_load(world)
    assert (served > 20, lost) == (True, 0), await world.last_words()
    until_gates_are(room, fleet=f"{(await world.record()).home}/{world.name}")


@pytest.mark.parametrize(
    "times", [pytest.param(3, marks=pytest.mark.soak), pytest.param(10, marks=pytest.mark.endurance)]
)
async def test_with_the_gate_several_times_to_zero_and_back_at_300_ms_lose_nothing(
    worlds: Worlds[Any], room: RunningRoom, times: int
) -> None:
    world = await with_slow_workers(worlds, room, gate=True)
    for cycle in range(times):
        served, lost = await up_and_down(world)
        assert (served > BURST, lost) == (True, 0), f"cycle {cycle}: {await world.last_words()}"


@pytest.mark.soak
async def test_without_it_the_same_join_loses_what_waits_and_the_record_says_so(
    worlds: Worlds[Any], room: RunningRoom
) -> None:
    world = await with_slow_workers(worlds, room, gate=False)
    _, lost = await join_under_load(world)
    assert lost >= 20
    assert "it joins without a gate, and takes 0." in await warnings_of(world)
