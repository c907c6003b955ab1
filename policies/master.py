"""`master`: the master's own policy decides how many workers there should be.

Source: opengris-scaler 2.9.0, whose scheduler tells each worker manager how many it wants; `no` there sends nothing.
"""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason
from ebbflow.core.text import counted
from ebbflow.policies.formulas.needs import demand_unknown
from ebbflow.policies.vanilla import VanillaPolicy


class MasterPolicy(BaseModel):
    """As many workers as the master wants, where it says so; `vanilla` is asked as well, and only told."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    needs_desired: ClassVar[bool] = True
    reads_offers: ClassVar[bool] = False

    kind: Literal["master"] = "master"

    def decide(self, observation: Observation) -> Decision:
        """Want what the master wants."""
        demand = observation.demand
        if not demand.complete:
            return demand_unknown(self.kind, observation)
        if demand.desired is None:
            why = demand.detail or "it gave no number"
            text = (
                f"its master has no opinion ({why}), which is not zero: {counted(observation.supply, 'worker', 'stay')}"
            )
            return Decision(None, "its master has no opinion", (Reason(f"policy.{self.kind}", text),))
        wanted = sum(want.count for want in demand.desired)
        ours = VanillaPolicy().decide(observation).total
        text = (
            f"its master wants {counted(wanted, 'worker')} for {counted(demand.total, 'task')}, "
            f"{observation.supply} serve or start; vanilla would want {ours}"
            + (f"; {demand.detail}" if demand.detail else "")
        )
        return Decision(demand.desired, f"its master wants {wanted}", (Reason(f"policy.{self.kind}", text),))
