"""What tests of decisions are made of: inputs with few words, fleets without a form, and the same with a change."""

import dataclasses
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from pydantic import BaseModel

from ebbflow.core.member import Demand, IdleSource, MasterCaps, MemberList
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, MasterLook, ProviderLook, TurnFacts
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.fleet.model import Fleet

T = TypeVar("T")

FACTS = frozenset(field.name for field in dataclasses.fields(TurnFacts))


def inputs_of(
    fleet: str = "demo",
    home: str = "h0me0",
    chain: str = "3f9c",
    number: int = 5,
    elapsed_seconds: float = 30.0,
    budget_seconds: float = 24.0,
    demand: Demand | None = None,
    members: MemberList | None = None,
    master_caps: MasterCaps | None = None,
    providers: Sequence[ProviderLook] = (),
    memory: Memory | None = None,
    *,
    takes_urls: bool = True,
    **facts: Any,
) -> Inputs:
    """The inputs of one turn; `facts` are those that a turn knows of itself. Any: each is typed where it is kept."""
    return Inputs(
        fleet,
        home,
        chain,
        number,
        TurnFacts(elapsed_seconds, budget_seconds, **facts),
        demand or Demand(),
        members or MemberList(),
        MasterLook(master_caps or MasterCaps(idle_source=IdleSource.MASTER), takes_urls),
        tuple(providers),
        memory or Memory(),
    )


def fleet_of(*providers: tuple[str, int], **given: Any) -> Fleet:
    """A fleet with these providers and what they may hold; what is given besides is taken as it is, unchecked."""
    entries = tuple(ProviderEntry(block=block, max_workers=most) for block, most in providers)
    made = Fleet(name="demo", interval_seconds=30, master="swarmui-master/a", providers=(ProviderEntry(block="a/b"),))
    return made.model_copy(update={"providers": entries, **given})


def changed(thing: T, **fields: Any) -> T:
    """The same with these fields; those of a turn's facts are found inside its inputs."""
    if isinstance(thing, BaseModel):
        return cast(T, thing.model_copy(update=fields))
    if isinstance(thing, Inputs):
        facts = {name: fields.pop(name) for name in FACTS & fields.keys()}
        fields |= {"turn": dataclasses.replace(thing.turn, **facts)} if facts else {}
    return cast(T, dataclasses.replace(cast(Any, thing), **fields))
