"""Fleets whose workers a launch script starts."""

import os
import shlex
import signal
import sys

import pytest

from ebbflow.flows.override import override
from tests.e2e.processes import until
from tests.e2e.together import together
from tests.e2e.world import PrefectWorld, PrefectWorlds, World, Worlds

pytestmark = pytest.mark.anyio

START, END = "[SwarmAutoScaleBackend]", "[/SwarmAutoScaleBackend]"

# Source: SwarmUI docs/Features/AutoScalingBackend.md: "you will probably do something like ...".
SLURM_SAMPLE = "srun --nodes=1 --gpus=8 --exclusive --partition=wherever mywork.sh"
# Its example of a message; the address is the node's own.
MESSAGE = f'export URL="http://127.0.0.1:$PORT/"; echo "{START}NewURL: $URL{END}"'

SRUN = """
while [[ $1 == -* ]]; do shift; done
echo "$EBBFLOW_WORKER_ID $$" >> {starts}
exec "./$1"
"""

MYWORK = """
PORT=$({python} -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
{message}
exec {python} -m ebbflow.standins.swarmui.server worker --never_announce --port $PORT \\
    --no_persist --require_control_within 10
"""


@pytest.mark.soak
@together
async def test_the_slurm_sample_of_the_documentation_drives_a_fleet(worlds: Worlds) -> None:
    world = await worlds(provider="launch-script", readiness={"retries": 10, "retry_wait_seconds": 1})
    sample = world.write_script("sample.sh", SLURM_SAMPLE)
    world.write_script("srun", SRUN.format(starts=shlex.quote(str(world.folder / "starts"))))
    world.write_script("mywork.sh", MYWORK.format(python=shlex.quote(sys.executable), message=MESSAGE))
    path = f"{world.folder}:{os.environ['PATH']}"
    await world.save(script=sample, environment={"PATH": path})
    await world.acted()
    await world.acts_until_serving(1)
    work = world.generate(images=6)
    await world.busy_worker()
    raised = await world.acted()
    assert raised.run.name == f"{world.name}: +1 (queue 6 > 4)"
    assert await world.finished(work) == 6
    await world.acted()
    await world.acted()
    await world.is_right(1)
    state = await world.master.control("State")
    assert (state["served"], state["lost"]) == (6, 0)


@together
async def test_a_script_is_killed_with_its_worker_when_the_worker_was_killed(worlds: Worlds) -> None:
    world = await worlds(provider="launch-script")
    await world.acted()
    await world.acts_until_serving(1)
    ((lost, pid),) = world.processes().items()
    os.kill(pid, signal.SIGKILL)
    await until(lambda: lost not in world.processes(), "it is dead")
    await world.acted()
    await world.is_right(1)
    assert lost not in world.processes()


@pytest.mark.soak
@pytest.mark.parametrize(("asked", "attempts"), [(2, 3), (None, 2)], ids=["DoRetries 2", "the fleet's own number"])
@together
async def test_a_worker_that_never_answers_is_given_up_after_its_attempts_over_turns(
    worlds: Worlds, asked: int | None, attempts: int
) -> None:
    # A turn's 16 s hold one wait of 9 s, so a third attempt is the next turn's.
    world = await worlds(
        provider="launch-script",
        interval_seconds=20,
        readiness={"retries": 1, "retry_wait_seconds": 9, "connect_timeout_seconds": 1},
        limits={"min_seconds_after_failure": 3000},
    )
    retries = "" if asked is None else f"echo '{START}DoRetries: {asked}{END}'; "
    script = world.write_script("silent.sh", f"{retries}echo '{START}NewURL: http://127.0.0.1:9{END}'; exec sleep 600")
    await world.save(script=script)
    fleet = world.fleet()
    turns = 0
    while turns < 6:
        given_up = await world.acted(after=20, fleet=fleet)
        turns += 1
        (worker,) = (await world.record()).memory.workers
        if worker.mark is not None:
            break
    # Each turn sees what the one before noted; a slow machine may need more of them.
    assert turns >= attempts
    assert f"nobody answered as a worker in {attempts} attempts" in worker.detail, given_up.said
    await world.acted(after=20, fleet=fleet)
    assert world.processes() == {}


@together
async def test_a_launch_that_was_declared_failed_is_no_error_and_its_provider_rests(worlds: Worlds) -> None:
    world = await worlds(provider="launch-script", limits={"min_seconds_after_failure": 3000})
    script = world.write_script("full.sh", f"echo '{START}DeclareFailed: no GPU left{END}'")
    await world.save(script=script)
    fleet = world.fleet()
    for _ in range(3):
        turn = await world.acted(fleet=fleet)
    assert turn.state.name == "Held", turn.said
    (known,) = (await world.record()).memory.providers
    assert known.failures == 1
    assert "declared failed: no GPU left" in known.detail


@pytest.mark.soak
@together
async def test_a_pinned_worker_stays_and_a_paused_fleet_holds_until_they_end(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    three = world.fleet(limits={"min_workers": 3})
    await world.acted(fleet=three)
    await world.acts_until_serving(3, fleet=three)
    pinned = sorted(world.processes())[-1]
    paused = await world.turn(override, after=None, kind="pause", hold_seconds=100, reason="a fair")
    assert paused.state.name in ("Held", "Acted"), paused.said
    await world.acted()
    await world.is_right(3)
    held = (await world.record()).memory.overrides
    assert [(each.kind.value, each.reason) for each in held] == [("pause", "a fair")]
    await world.turn(override, after=None, kind="pin", worker_ids=(pinned,), hold_seconds=600)
    await world.acts_until(lambda: set(world.processes()) == {pinned}, "only the pinned worker is left", turns=5)
    kinds = [each.kind.value for each in (await world.record()).memory.overrides]
    assert kinds == ["pin"], "the pause is over and gone from the record"
    ended = await world.turn(override, after=None, kind="end")
    assert ended.state.name in ("Held", "Acted"), ended.said
    assert (await world.record()).memory.overrides == ()


@pytest.mark.soak
@together
async def test_an_override_lasts_over_a_restart_of_the_master_and_a_lost_run(world: World) -> None:
    await world.acted()
    await world.acts_until_serving(1)
    await world.turn(override, after=None, kind="floor", count=2, hold_seconds=150)
    await world.master.stop()
    await world.acted()
    await world.master.start(int(world.master.url.rsplit(":", 1)[1]))
    (floor,) = (await world.record()).memory.overrides
    assert (floor.kind.value, floor.count) == ("floor", 2)
    await world.acted()
    await world.is_right(2)
    for _ in range(3):
        await world.acted()
    assert (await world.record()).memory.overrides == ()
    # The master that was started anew has first to say that a worker is idle, and turns are faster than its polls.
    await world.acts_until(lambda: len(world.processes()) == 1, "the floor's worker is gone", turns=10)
    await world.is_right(1)


@pytest.mark.soak
@together
async def test_what_a_failed_script_printed_is_kept_with_the_run_that_ended_it_without_secrets(
    prefect_worlds: PrefectWorlds,
) -> None:
    world = await prefect_worlds(provider="launch-script", limits={"min_seconds_after_failure": 3000})
    script = world.write_script("broken.sh", "echo '```'; echo the key is $SITE_KEY; echo CUDA not found >&2; exit 3")
    await world.save(script=script, environment={"SITE_KEY": "hunter2-hunter2"})
    fleet = world.fleet()
    kept: list[str] = []
    for _ in range(3):
        turn = await world.acted(fleet=fleet)
        kept += [str(each.data) for each in await turn.artifacts() if each.key == f"ebbflow-{fleet.name}-logs"]
    (text,) = kept
    assert "the key is ***" in text
    assert "CUDA not found" in text
    assert "hunter2" not in text
    assert "````" in text, "what a worker prints cannot end the block"
