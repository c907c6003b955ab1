"""Records that are made at once are the same records: frozen, equal, told apart by what they hold."""

import pickle
from dataclasses import FrozenInstanceError, dataclass, field, fields, replace

import pytest

from ebbflow.core import member, memory, observation
from ebbflow.core.frozen import made_at_once
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.worker import Worker


@dataclass(frozen=True, slots=True)
class Plain:
    kind: str
    many: tuple[int, ...] = ()
    named: dict[str, int] = field(default_factory=dict)
    seconds: float = 1.5


@made_at_once
@dataclass(frozen=True, slots=True)
class Quick:
    kind: str
    many: tuple[int, ...] = ()
    named: dict[str, int] = field(default_factory=dict)
    seconds: float = 1.5

    def __post_init__(self) -> None:
        if self.seconds < 0:
            raise ValueError(self.seconds)


def test_it_holds_what_it_was_given_and_its_defaults() -> None:
    one, other = Quick("a"), Quick("a", (1,), {"b": 2}, seconds=3.0)
    assert (one.kind, one.many, one.named, one.seconds) == ("a", (), {}, 1.5)
    assert (other.kind, other.many, other.named, other.seconds) == ("a", (1,), {"b": 2}, 3.0)
    assert one.named is not Quick("a").named
    assert repr(other).replace("Quick", "Plain") == repr(Plain("a", (1,), {"b": 2}, 3.0))


def test_it_is_as_frozen_equal_and_replaceable_as_any_other() -> None:
    one = Quick("a")
    with pytest.raises(FrozenInstanceError):
        one.kind = "b"  # type: ignore[misc]
    assert type(one) is Quick
    assert one == Quick("a") != replace(one, seconds=2.0) == Quick("a", seconds=2.0)
    assert pickle.loads(pickle.dumps(one)) == one


def test_what_it_checks_when_it_is_made_is_checked() -> None:
    with pytest.raises(ValueError, match="-1"):
        Quick("a", seconds=-1)


def test_a_field_that_is_missing_or_unknown_is_named() -> None:
    with pytest.raises(TypeError, match=r"Quick.__init__\(\) missing 1 required positional argument: 'kind'"):
        Quick()  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        Quick("a", colour=1)  # type: ignore[call-arg]


def test_a_field_that_is_given_by_name_alone_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Named:
        what: str = field(default="", kw_only=True)

    with pytest.raises(TypeError, match="Named: each field must be given"):
        made_at_once(Named)


def test_an_observation_with_offers_is_the_same_in_all_else() -> None:
    given = {
        "demand": member.Demand(3), "workers": (Worker("a", "b", WorkerState.READY),),
        "spares": (observation.Spare("b", "c", "d"),), "seconds_since_start": 1.0, "seconds_since_stop": 2.0,
        "at_seconds": 3.0, "elapsed_seconds": 4.0, "remembered": {"x": (1.0,)}, "explains": False,
    }  # fmt: skip
    assert {each.name for each in fields(observation.Observation)} == {*given, "can_launch"}
    offers = observation.CanLaunch((), 5)
    seen = observation.Observation(**given)  # type: ignore[arg-type]
    assert seen.offered(offers) == replace(seen, can_launch=offers)


def test_a_provider_that_grows_older_keeps_all_that_is_remembered_of_it() -> None:
    known = memory.ProviderMemory("p", "f", 1.0, 2, "why")
    assert memory.aged_providers((known,), 5.0) == (replace(known, seconds_since_failure=6.0),)
    avoiding = replace(known, avoided=(memory.AvoidedMachine("m"),))
    assert memory.aged_providers((avoiding,), 5.0)[0].avoided == (memory.AvoidedMachine("m", 5.0),)
    assert len(fields(memory.ProviderMemory)) == 6, "a new field has to be carried there"
