"""What a master obeys besides, whose API gives out sessions that it would keep for long: they are used again."""

# ruff: noqa: D102  (a test's name is its sentence)

from typing import Protocol

from ebbflow.contracts.master import calls_of
from ebbflow.contracts.push_master import PushMasterContract, PushMasterWorld

LOOKS = ("keepalive", "probe", "demand", "members", "register")
"""What a turn asks of a master whose workers all serve."""


class SessionWorld(PushMasterWorld, Protocol):
    """One whose sessions can be counted."""

    def sessions_given(self) -> int:
        """How many API sessions master and workers have given out so far."""
        ...


class SessionContract(PushMasterContract):
    """Subclass it in the place of `PushMasterContract`."""

    async def test_a_hundred_turns_need_no_new_session(self, world: SessionWorld) -> None:
        worker = await world.start_worker()
        await self.ready(world, worker)
        given = world.sessions_given()
        for _ in range(100):
            adapter = world.adapter()
            calls = calls_of(adapter, worker)
            for name in LOOKS:
                if name in calls:
                    await calls[name]()
            await adapter.aclose()
        assert world.sessions_given() == given
