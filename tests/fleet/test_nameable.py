"""Policies of this and of other packages: found, skipped when broken, and offered in a fleet's form."""

import json
import logging
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from ebbflow.core.errors import ConfigError
from ebbflow.core.instance import ProviderCaps
from ebbflow.core.member import MasterCaps
from ebbflow.decision.schedule import Schedule
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import GROUP, POLICIES, ours, why_not, with_others

GOOD = """
from typing import Literal
from pydantic import BaseModel, ConfigDict
from ebbflow.core.observation import Observation
from ebbflow.core.plan import Decision, Reason, Want

class TwoPolicy(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Literal["always_two"] = "always_two"

    def decide(self, observation: Observation) -> Decision:
        return Decision((Want(count=2),), "two", (Reason("policy.always_two", "always"),))

class Another(TwoPolicy):
    kind: Literal["vanilla"] = "vanilla"

class Nameless(BaseModel):
    def decide(self, observation: Observation) -> Decision: ...

class AnyName(Nameless):
    kind: str = "any"

class Undecided(BaseModel):
    kind: Literal["undecided"] = "undecided"

class Unspeakable(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    kind: Literal["unspeakable"] = "unspeakable"
    other: "type[Exception] | complex"
    what: slice

    def decide(self, observation: Observation) -> Decision: ...

def function(): ...
"""
BAD = "raise RuntimeError('on a bad day')\n"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package beside ours, as pip would have installed it, of which one policy is sound."""
    (tmp_path / "other_good.py").write_text(GOOD)
    (tmp_path / "other_bad.py").write_text(BAD)
    info = tmp_path / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    entries = [
        "two = other_good:TwoPolicy",
        "two_again = other_good:TwoPolicy",
        "taken = other_good:Another",
        "nameless = other_good:Nameless",
        "any_name = other_good:AnyName",
        "undecided = other_good:Undecided",
        "unspeakable = other_good:Unspeakable",
        "no_model = other_good:function",
        "missing = other_good:Missing",
        "broken = other_bad:Policy",
        "absent = other_absent:Policy",
    ]
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *entries, ""]))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_ours_are_found_without_a_list() -> None:
    assert {"no", "swarmui", "vanilla", "capability", "waterfall"} <= set(ours())
    assert set(ours()) <= set(POLICIES)


def test_every_policy_works_as_it_stands() -> None:
    for kind, model in ours().items():
        assert isinstance(Fleet.model_validate(fleet({"kind": kind})).policy, model)


SKIPPED = [
    ("taken", "'vanilla' is already VanillaPolicy"),
    ("two_again", "'always_two' is already TwoPolicy"),
    ("nameless", "Nameless has no `kind: Literal[...]`"),
    ("any_name", "AnyName has no `kind: Literal[...]`"),
    ("undecided", "Undecided has no `decide(observation)`"),
    ("unspeakable", "PydanticInvalidForJsonSchema"),
    ("no_model", "is no pydantic model"),
    ("missing", "AttributeError"),
    ("broken", "RuntimeError: on a bad day"),
    ("absent", "ModuleNotFoundError"),
]


def test_what_is_broken_is_logged_and_skipped(installed: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = with_others(ours(), entry_points(group=GROUP))
    assert set(found) - set(ours()) == {"always_two"}
    assert found["vanilla"] is ours()["vanilla"]
    said = {record.args[0]: record.getMessage() for record in caplog.records if isinstance(record.args, tuple)}
    assert set(said) == {name for name, _ in SKIPPED}
    assert [name for name, words in SKIPPED if words not in said[name]] == []


def test_a_model_that_is_no_policy_is_none_of_ours() -> None:
    assert "no `kind" in why_not(Schedule)


SCRIPT = """
import json
from ebbflow.fleet.model import Fleet
schema = Fleet.model_json_schema()
fleet = Fleet.model_validate({"name": "two", "master": "m/m", "providers": [{"block": "local-provider/a"}],
                              "policy": {"kind": "always_two"}})
print(json.dumps([sorted(schema["properties"]["policy"]["discriminator"]["mapping"]), type(fleet.policy).__name__]))
"""


def test_a_fleet_can_name_the_policy_of_another_package_and_its_form_shows_it(installed: Path) -> None:
    paths = [str(installed), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    kinds, model = json.loads(run.stdout.splitlines()[-1])
    assert (kinds, model) == (sorted([*POLICIES, "always_two"]), "TwoPolicy")
    assert "policy broken = other_bad:Policy is skipped: RuntimeError: on a bad day" in run.stderr


def fleet(policy: dict[str, object]) -> dict[str, object]:
    return {
        "name": "demo",
        "master": "swarmui-master/main",
        "providers": [{"block": "local-provider/a"}],
        "policy": policy,
    }


def test_a_policy_that_needs_shapes_is_refused_with_a_master_that_tells_none() -> None:
    asked = Fleet.model_validate(fleet({"kind": "capability"}))
    local = {"local-provider/a": ProviderCaps("here")}
    with pytest.raises(ConfigError) as refused:
        asked.check(MasterCaps(), local)
    said = str(refused.value)
    words = ["policy.kind is 'capability'", "swarmui-master/main does not tell (per_shape_demand)", "'vanilla'"]
    assert [word for word in words if word not in said] == [], said
    asked.check(MasterCaps(per_shape_demand=True), local)
    Fleet.model_validate(fleet({"kind": "waterfall"})).check(MasterCaps(), local)
