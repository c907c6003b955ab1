"""`no`: no opinion. What exists stays, limits and overrides still speak.

Source: opengris-scaler 1.15.0, policy `no`: no command at all.
"""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason


class NoPolicy(BaseModel):
    """Never ask for a change: the fleet is moved by hand, or by `min_workers` alone."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    reads_offers: ClassVar[bool] = False

    kind: Literal["no"] = "no"

    def decide(self, observation: Observation) -> Decision:
        """Keep what exists."""
        text = f"policy no has no opinion; {observation.supply} serve or start"
        return Decision(None, "no policy", (Reason("policy.no", text),))
