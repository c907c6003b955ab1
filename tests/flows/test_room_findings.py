"""What `ebbflow check` says of a waiting room. Pure."""

import pytest

from ebbflow.core.member import Room, RoomState
from ebbflow.flows.preflight import Level, room_findings


@pytest.mark.parametrize(
    ("room", "levels", "said"),
    [
        (None, [], ""),
        (Room(RoomState.OFF), [Level.FINE], "a master that was never started before needs an empty Data/Backends.fds"),
        (Room(RoomState.ABSENT, answers=False, detail="http://r: nobody"), [Level.WRONG], "http://r: nobody"),
        (
            Room(RoomState.OFF, detail="Auto (backend 2) is switched on"),
            [Level.WRONG],
            "Auto (backend 2) is switched on",
        ),
        (
            Room(RoomState.HOLDING, is_needed=True),
            [Level.FINE, Level.FINE],
            "which models only workers have is not known while none serves",
        ),
        (
            Room(RoomState.OFF, missing_models=("sdxl.safetensors",)),
            [Level.FINE, Level.TO_MAKE],
            "only workers have sdxl.safetensors: without a file of that name in the master's own model folder",
        ),
    ],
    ids=[
        "no room",
        "a room",
        "one that does not answer",
        "one that would not hold",
        "nobody serves",
        "models of workers alone",
    ],
)
def test_a_waiting_room_is_looked_at_and_names_what_a_person_has_to_do(
    room: Room | None, levels: list[Level], said: str
) -> None:
    found = room_findings(room)
    assert [finding.level for finding in found] == levels
    assert said in "; ".join(finding.text for finding in found)
