"""The suite for masters that workers join: an honest one passes it, and a wrong one does not."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from ebbflow.contracts import JoinMasterContract
from ebbflow.core.member import Demand, DrainAnswer, MasterCaps, MemberList, Registration
from ebbflow.core.plan import Want
from ebbflow.core.worker import Worker
from tests.contracts.played_cluster import ClusterAdapter, ClusterWorld, NodeState, NoHead, node_name

FAILS = (AssertionError, pytest.fail.Exception)


class TestPlayedCluster(JoinMasterContract):
    @pytest.fixture
    def world(self) -> ClusterWorld:
        return ClusterWorld()


class SaysYes(ClusterAdapter):
    """Everybody has joined."""

    async def joined(self, worker: Worker) -> Registration:
        return Registration(True)


class ComparesBeginnings(ClusterAdapter):
    """Takes an id for another one that begins with it."""

    async def joined(self, worker: Worker) -> Registration:
        name = node_name(worker.worker_id)
        return Registration(any(node.name.startswith(name) for node in await self._nodes()), "not yet")


class DrainsWhenAsked(ClusterAdapter):
    """A look that is none."""

    async def joined(self, worker: Worker) -> Registration:
        await self.drain(worker, 60)
        return await super().joined(worker)


class SaysNotYet(ClusterAdapter):
    """Takes a head that does not answer for one without the worker."""

    async def joined(self, worker: Worker) -> Registration:
        members = await self.members([worker.worker_id])
        return Registration(bool(members.members), "not yet")


class TakesSilenceForNothing(ClusterAdapter):
    """No answer is no work and nobody there."""

    async def demand(self) -> Demand:
        return replace(await super().demand(), complete=True)

    async def members(self, worker_ids: Sequence[str] | None = None) -> MemberList:
        return replace(await super().members(worker_ids), complete=True)


class WantsNobodyWhenSilent(ClusterAdapter):
    """No answer is an opinion."""

    async def demand(self) -> Demand:
        found = await super().demand()
        return found if found.complete else replace(found, desired=(Want(count=0),))


class WantsFewerThanNone(ClusterAdapter):
    """Its opinion is no count."""

    async def demand(self) -> Demand:
        found = await super().demand()
        return replace(found, desired=(Want(count=-1),)) if found.complete else found


class ForcesAlways(ClusterAdapter):
    """Drains whoever is busy."""

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        return await super().drain(worker, deadline_seconds, force=True)


class DrainsEverybody(ClusterAdapter):
    """Does not look whose node it is."""

    async def drain(self, worker: Worker, deadline_seconds: float, force: bool = False) -> DrainAnswer:
        for node in self.cluster.nodes:
            node.state = NodeState.DRAINING
        return DrainAnswer.ACCEPTED


class ShowsEverybody(ClusterAdapter):
    """Does not read which workers are asked for."""

    async def members(self, worker_ids: Sequence[str] | None = None) -> MemberList:
        return await super().members()


class LetsErrorsOut(ClusterAdapter):
    """Raises what its client raises."""

    async def joined(self, worker: Worker) -> Registration:
        await self.cluster.list_nodes()
        return await super().joined(worker)


class IsBoth(ClusterAdapter):
    """Takes addresses too."""

    async def register(self, worker: Worker, *, connect_timeout_seconds: float = 30.0) -> Registration:
        return Registration(True)

    async def deregister(self, worker: Worker) -> None: ...

    async def mend(self, worker: Worker) -> Registration:
        return Registration(True)

    async def remove_unfinished(self, master_ref: str) -> None: ...


class NeedsWhatItCannotDo(ClusterAdapter):
    """Its workers end without a sign of life, and it has none to give."""

    @property
    def caps(self) -> MasterCaps:
        return replace(super().caps, needs_keepalive_seconds=600)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (SaysYes, "test_a_worker_has_joined_once_it_came_and_not_before"),
        (ComparesBeginnings, "test_a_worker_is_known_by_its_whole_id"),
        (DrainsWhenAsked, "test_looking_whether_a_worker_has_joined_changes_nothing"),
        (SaysNotYet, "test_a_broken_master_does_not_say_who_has_joined"),
        (TakesSilenceForNothing, "test_a_broken_master_has_unknown_demand_and_members_but_never_none"),
        (WantsNobodyWhenSilent, "test_what_the_master_itself_wants_is_counts_of_sets_or_no_opinion"),
        (WantsFewerThanNone, "test_what_the_master_itself_wants_is_counts_of_sets_or_no_opinion"),
        (ForcesAlways, "test_at_its_deadline_a_busy_worker_goes_back_into_service"),
        (DrainsEverybody, "test_foreign_members_are_shown_and_never_touched"),
        (ShowsEverybody, "test_a_second_look_shows_the_workers_alone_that_were_asked_for"),
        (IsBoth, "test_it_is_pushed_into_or_joined_and_not_both"),
        (NeedsWhatItCannotDo, "test_caps_say_what_the_scaler_needs"),
    ],
)
async def test_a_wrong_master_breaks_a_law(wrong: type[ClusterAdapter], law: str) -> None:
    await getattr(JoinMasterContract(), law)(ClusterWorld())
    with pytest.raises(FAILS):
        await getattr(JoinMasterContract(), law)(ClusterWorld(wrong))


@pytest.mark.anyio
async def test_an_error_that_is_not_ours_is_not_hidden() -> None:
    with pytest.raises(NoHead):
        await JoinMasterContract().test_a_broken_master_raises_nothing_but_errors_of_masters(
            ClusterWorld(LetsErrorsOut)
        )
