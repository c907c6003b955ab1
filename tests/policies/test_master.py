"""`master`: what the master itself wants is wanted, and no word of it is no opinion."""

import pytest

from ebbflow.core.errors import ConfigError
from ebbflow.core.instance import ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MasterCaps
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Want
from ebbflow.core.worker import Worker
from ebbflow.fleet.model import Fleet
from ebbflow.policies.master import MasterPolicy

TWO = tuple(Worker(f"demo-3f9c-1-{index}", "local/a", WorkerState.READY) for index in range(2))


@pytest.mark.parametrize("desired", [(), (Want((), 0),), (Want((), 5),), (Want(("gpu",), 2), Want((), 3))])
def test_what_the_master_wants_is_wanted(desired: tuple[Want, ...]) -> None:
    decision = MasterPolicy().decide(Observation(Demand(queued=30, desired=desired), TWO))
    assert decision.wanted == desired
    count = sum(want.count for want in desired)
    assert decision.headline == f"its master wants {count}"
    text = f"its master wants {count} workers for 30 tasks, 2 serve or start; vanilla would want 3"
    assert [reason.text for reason in decision.reasons] == [text]


def test_what_the_master_wants_and_its_block_lacks_is_told() -> None:
    demand = Demand(queued=30, desired=(Want((), 0),), detail="its own policy wants workers that can tpu")
    (reason,) = MasterPolicy().decide(Observation(demand, TWO)).reasons
    assert reason.text.endswith("; its own policy wants workers that can tpu")


def test_no_word_of_the_master_is_no_opinion_and_never_zero() -> None:
    decision = MasterPolicy().decide(Observation(Demand(queued=30, detail="nobody hears us"), TWO))
    assert decision.wanted is None
    assert "no opinion (nobody hears us), which is not zero: 2 workers stay" in decision.reasons[0].text


def test_it_is_refused_with_a_master_that_wants_nothing_of_its_own() -> None:
    fleet = Fleet.model_validate(
        {
            "name": "demo",
            "master": "swarmui-master/main",
            "providers": [{"block": "local-provider/a"}],
            "policy": {"kind": "master"},
        }
    )
    local = {"local-provider/a": ProviderCaps("here")}
    with pytest.raises(ConfigError, match=r"policy\.kind is 'master', and swarmui-master/main says"):
        fleet.check(MasterCaps(), local)
    fleet.check(MasterCaps(decides_counts=True), local)
