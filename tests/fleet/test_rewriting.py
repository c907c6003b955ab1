"""A fleet set otherwise in its own file: what a person gets is the fleet that was played, comments and all."""

from typing import Any

import pytest
import yaml

from ebbflow.core.canonical import Plain
from ebbflow.decision.limits import Limits
from ebbflow.fleet.changing import Change, as_written, came_along, changed, fleet_yaml, in_a_line, with_changes
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.rewriting import NotRewritableError, diff, rewritten
from ebbflow.policies.vanilla import VanillaPolicy

FILE = """\
# Ours.
definitions:
  fleet: &fleet
    name: &name demo  # as everywhere
    interval_seconds: &interval 15
    master: swarmui-master/demo
    providers:
      - {block: local-provider/demo, max_workers: 5}
    policy: {kind: vanilla, upper_task_ratio: 4}  # since spring
    limits:
      min_workers: 1  # somebody is always there
      max_workers: 5
      # The end of the limits.

deployments:
  - name: *name
    entrypoint: ebbflow.flows.autoscale.autoscale
    parameters: {fleet: *fleet}
    schedules: [{interval: *interval}]
"""
AT = ("deployments", 0, "parameters", "fleet")
MIN, MAX, IDLE = ("limits", "min_workers"), ("limits", "max_workers"), ("limits", "min_idle_seconds")
RATIO, LOWER, POLICY = ("policy", "upper_task_ratio"), ("policy", "lower_task_ratio"), ("policy",)
MARGINAL: Plain = {"kind": "marginal", "waiting_worth": 10.0}


def fleet_of(text: str) -> Any:
    return yaml.safe_load(text)["deployments"][0]["parameters"]["fleet"]


def rewrite(text: str, *changes: Change) -> str:
    return rewritten(text, AT, changes, changed(fleet_of(text), changes))


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ([Change(MIN, 0)], ["-      min_workers: 1  # somebody", "+      min_workers: 0  # somebody"]),
        ([Change(RATIO, 2.0)], ["upper_task_ratio: 4}  # since", "+    policy: {kind: vanilla, upper_task_ratio: 2}"]),
        ([Change(LOWER, 0.5)], ["-    policy", "upper_task_ratio: 4, lower_task_ratio: 0.5}  # since spring"]),
        ([Change(IDLE, 30.0)], ["+      min_idle_seconds: 30"]),
        (
            [Change(POLICY, MARGINAL)],
            ["-    policy", "+    policy: {kind: marginal, waiting_worth: 10}  # since spring"],
        ),
        (
            [Change(MIN, 0), Change(IDLE, 30.0), Change(MAX, 9)],
            ["min_workers: 0  # s", "max_workers: 9", "idle_seconds: 30"],
        ),
    ],
    ids=str,
)
def test_a_field_is_set_where_it_stands_and_nothing_else_is_touched(changes: list[Change], lines: list[str]) -> None:
    new = rewrite(FILE, *changes)
    assert fleet_of(new) == changed(fleet_of(FILE), changes)
    assert [line for line in FILE.splitlines() if "#" in line and "_workers" not in line and "policy" not in line] == [
        line for line in new.splitlines() if "#" in line and "_workers" not in line and "policy" not in line
    ]
    shown = diff(FILE, new, name="prefect.yaml")
    for line in lines:
        assert line in shown, shown
    assert shown.startswith("--- a/prefect.yaml\n+++ b/prefect.yaml\n@@ ")


THE_POLICY = "    policy: {kind: vanilla, upper_task_ratio: 4}  # since spring\n"
IN_LINES = "\n      kind: vanilla  # a\n      upper_task_ratio: 4"
WRITTEN = {
    "no policy, a number": ((THE_POLICY, ""), Change(RATIO, 2.0)),
    "no policy, another": ((THE_POLICY, ""), Change(POLICY, MARGINAL)),
    "a policy in lines": (("{kind: vanilla, upper_task_ratio: 4}", IN_LINES), Change(POLICY, MARGINAL)),
    "an anchor": (("max_workers: 5\n      #", "max_workers: &most 5\n      #"), Change(MAX, 7)),
    "an alias above": (("min_workers: 1  #", "min_idle_seconds: *interval  #"), Change(MIN, 0)),
    "an alias last": (("max_workers: 5\n      # The", "min_idle_seconds: *interval\n      # The"), Change(MAX, 7)),
    "in the place of an alias": (("min_workers: 1  #", "min_idle_seconds: *interval  #"), Change(IDLE, 45.0)),
    "no limits": ((FILE[FILE.index("    limits") : FILE.index("      # The")], ""), Change(MIN, 2)),
    "more sections": (("    limits:\n", "    readiness: {retries: 3}\n    limits:\n"), Change(MIN, 2)),
    "no last line end": (("[{interval: *interval}]\n", "[{interval: *interval}]"), Change(MIN, 2)),
}  # fmt: skip


@pytest.mark.parametrize(("written", "change"), WRITTEN.values(), ids=WRITTEN)
def test_however_a_fleet_is_written_the_change_is_what_is_read_of_it(written: tuple[str, str], change: Change) -> None:
    assert written[0] in FILE
    text = FILE.replace(*written)
    before = fleet_of(text)
    before.setdefault("policy", {"kind": "vanilla"})
    new = rewritten(text, AT, [change], changed(before, [change]))
    assert fleet_of(new).get("policy", before["policy"]) == changed(before, [change])["policy"]
    assert {**fleet_of(new), "policy": 0} == {**changed(before, [change]), "policy": 0}


def test_a_section_that_is_no_mapping_is_not_rewritten() -> None:
    with pytest.raises(NotRewritableError, match="no mapping"):
        rewritten(FILE, ("deployments", 7), [Change(MIN, 0)], {})
    empty = FILE.replace("{kind: vanilla, upper_task_ratio: 4}", "{}")
    with pytest.raises(NotRewritableError, match="empty section"):
        rewritten(empty, AT, [Change(RATIO, 2.0)], {})


def fleet(**sections: Any) -> Fleet:
    given = {"name": "quick", "master": "swarmui-master/x", "providers": [{"block": "local-provider/x"}], **sections}
    return Fleet.model_validate(given)


@pytest.mark.parametrize(
    "given",
    [
        fleet(),
        fleet(policy={"kind": "swarmui"}),
        fleet(policy={"kind": "marginal"}, limits={"min_idle_seconds": 600, "max_workers": 10}),
        fleet(policy=VanillaPolicy(lower_task_ratio=0.5), limits=Limits(max_workers=3)),
    ],
    ids=["plain", "brings its limits", "against what it brings", "made in Python"],
)
def test_a_fleet_as_it_is_written_is_that_fleet_again(given: Fleet) -> None:
    assert Fleet.model_validate(as_written(given)) == given
    assert Fleet.model_validate(yaml.safe_load(fleet_yaml(as_written(given)))["fleet"]) == given


def test_what_a_policy_brings_is_no_line_of_the_file_and_goes_with_it() -> None:
    before = fleet(policy={"kind": "marginal"}, limits={"max_workers": 10})
    assert as_written(before)["limits"] == {"max_workers": 10}
    change = Change(POLICY, {"kind": "vanilla"})
    after = with_changes(before, [change])
    assert (after.limits.min_idle_seconds, after.limits.max_workers) == (600.0, 10)
    assert came_along(before, after, [change]) == (
        "limits.min_seconds_between_stops: 60 (0 before)",
        "limits.min_idle_seconds: 600 (0 before)",
    )
    assert came_along(before, with_changes(before, [Change(IDLE, 5.0)]), [Change(IDLE, 5.0)]) == ()


@pytest.mark.parametrize(
    ("value", "line"), [(2.0, "2"), (0.25, "0.25"), (None, "null"), ({"kind": "x", "n": 3.0}, "{kind: x, n: 3}")]
)
def test_a_value_is_written_as_a_person_would(value: Any, line: str) -> None:
    assert in_a_line(value) == line


def test_where_nothing_changes_there_is_no_diff() -> None:
    assert diff(FILE, FILE, name="prefect.yaml") == ""
