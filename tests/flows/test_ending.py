"""The end of a fleet: what is left of it, as the newest record and what its turn saw have it, and an end twice."""

from dataclasses import replace

import pytest
from prefect.client.orchestration import get_client

from ebbflow.core.instance import InstanceList, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import PushMemberList, Room, RoomState
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, ProviderLook
from ebbflow.core.plan import Plan
from ebbflow.core.record import Record, make_record
from ebbflow.core.worker import Worker
from ebbflow.flows.ending import left_of, wind_down
from tests.e2e.world import PrefectWorld
from tests.making import inputs_of

WORKER = Worker("demo-3f9c-1-0", "local/a", WorkerState.TERMINATING)


def record_of(inputs: Inputs, *workers: Worker) -> Record:
    plan = Plan("wind-down", 0, 0, sum(worker.may_exist for worker in workers))
    return make_record(
        inputs,
        fleet={},
        plan=plan,
        memory=Memory(workers=workers),
        flow="override",
        flow_run_id="r",
        before=None,
        link=None,
    )


MASTER = "ray-master/dead"
LOOK = ProviderLook("slurm-provider/a", ProviderCaps("here"), InstanceList())


@pytest.mark.parametrize(
    ("workers", "room", "left"),
    [
        ((), None, ()),
        ((), Room(RoomState.ABSENT), ()),
        ((WORKER,), None, ("demo-3f9c-1-0 (terminating)",)),
        # Its removal is in the plan of that very turn, and may have failed: the next one sees.
        ((), Room(RoomState.HOLDING), ("the entry of its waiting room",)),
        ((), Room(RoomState.OFF), ("the entry of its waiting room",)),
    ],
)
def test_nothing_is_left_only_where_a_turn_saw_nothing(
    workers: tuple[Worker, ...], room: Room | None, left: tuple[str, ...]
) -> None:
    inputs = inputs_of(members=PushMemberList(room=room))
    found = left_of(record_of(inputs, *workers), inputs, master=MASTER)
    assert (found.workers, found.is_nothing) == (left, not left)


def test_what_was_not_wholly_seen_is_not_nothing() -> None:
    inputs = inputs_of(members=PushMemberList(complete=False))
    for seen, said in (
        (inputs, f"nothing that is known; no whole answer from {MASTER}"),
        (None, "nothing that is known; no whole answer from its newest record"),
    ):
        found = left_of(record_of(inputs), seen, master=MASTER)
        assert (found.is_nothing, str(found)) == (False, said)
        assert not found.is_over(MASTER, force=False)
        assert found.is_over(MASTER, force=True) is (seen is inputs)


def test_regression_by_force_the_end_waited_for_a_dead_head_although_no_worker_was_left() -> None:
    gone = replace(WORKER, state=WorkerState.GONE)
    silent = inputs_of(members=PushMemberList(complete=False), providers=[LOOK])
    assert left_of(record_of(silent, gone), silent, master=MASTER).is_over(MASTER, force=True)
    blind = replace(silent, providers=(replace(LOOK, listing=InstanceList((), complete=False)),))
    assert not left_of(record_of(blind, gone), blind, master=MASTER).is_over(MASTER, force=True), "nobody knows"


@pytest.mark.anyio
async def test_regression_a_second_down_did_not_say_that_the_fleet_was_held_down_already(
    prefect_world: PrefectWorld,
) -> None:
    fleet = prefect_world.fleet()
    told: list[str] = []
    async with get_client() as client:
        for force in (False, False, True):
            assert (await wind_down(client, fleet, force=force, tell=told.append)).is_nothing
            await prefect_world.pass_time(60.0)
    assert told[0] == "nothing is left"
    assert "is in force already, and no second one is recorded" in told[1]
    assert "is in force already, without --force; from now on this one counts" in told[3]
    assert (told[2], told[4]) == ("nothing is left", "nothing is left")
