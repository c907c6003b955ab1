"""`marginal`: placeholder while the league is built."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want


class MarginalPolicy(BaseModel):
    """To come."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["marginal"] = "marginal"
    waiting_worth: Annotated[float, Field(gt=0, le=1000, description="GPU-seconds per user-second of waiting.")] = 1.0

    def decide(self, observation: Observation) -> Decision:
        """One worker per request."""
        return Decision((Want(count=observation.demand.total),), "", (Reason("policy.marginal", ""),))
