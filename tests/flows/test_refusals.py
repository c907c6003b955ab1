"""A refused run says so in its state, and only a mistake of ours raises."""

import pytest
from prefect.client.schemas.objects import State
from prefect.states import Completed

from ebbflow.core.errors import ConfigError, FleetError, MasterUnavailable, OverrideRefused
from ebbflow.flows.refusals import refuses

pytestmark = pytest.mark.anyio


@refuses
async def body(error: Exception | None) -> State:
    """A flow's."""
    if error is not None:
        raise error
    return Completed(name="Held", message="all is well")


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (None, "Held"),
        (ConfigError("all is well"), "Refused"),
        (OverrideRefused("all is well"), "Refused"),
        (FleetError("all is well"), "Failed"),
        (MasterUnavailable("all is well"), "Failed"),
    ],
)
async def test_an_error_of_ours_is_a_state_with_its_sentence(error: Exception | None, name: str) -> None:
    state = await body(error)
    assert (state.name, state.message) == (name, "all is well")
    assert state.is_completed() is (error is None)


async def test_a_mistake_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        await body(ZeroDivisionError())


def test_a_flow_keeps_its_parameters_and_its_words() -> None:
    assert (body.__name__, body.__doc__) == ("body", "A flow's.")
