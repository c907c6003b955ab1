"""What a fleet might be set to instead: a row for each policy, and only fleets that there can be."""

from typing import Any

import pytest

from ebbflow.fleet.changing import with_changes
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import ours
from ebbflow.simulation.neighbours import AS_IT_IS, TURNED, Setting, settings_of


def fleet(**sections: Any) -> Fleet:
    given = {"name": "quick", "master": "swarmui-master/x", "providers": [{"block": "local-provider/x"}], **sections}
    return Fleet.model_validate(given)


def labels(**sections: Any) -> list[str]:
    return [each.label for each in settings_of(fleet(**sections)).playable]


@pytest.mark.parametrize(
    ("policy", "turned"),
    [
        ({"kind": "vanilla", "upper_task_ratio": 4}, ["upper_task_ratio 2 (now 4)", "upper_task_ratio 8 (now 4)"]),
        ({"kind": "vanilla", "upper_task_ratio": 4}, ["lower_task_ratio 0.5 (now 1)", "lower_task_ratio 2 (now 1)"]),
        ({"kind": "marginal", "waiting_worth": 3}, ["waiting_worth 1 (now 3)", "waiting_worth 9 (now 3)"]),
        ({"kind": "waterfall"}, ["upper_task_ratio 5 (now 10)", "upper_task_ratio 20 (now 10)"]),
        ({"kind": "fixed_elastic"}, ["upper_task_ratio 5 (now 10)", "base_workers 2 (now 1)"]),
        ({"kind": "swarmui"}, ["min_queued_before_expand 5 (now 10)", "min_queued_before_expand 20 (now 10)"]),
        ({"kind": "pending_tasks"}, ["idle_seconds 20 (now 60)", "idle_seconds 180 (now 60)"]),
        ({"kind": "busy_ratio"}, ["upper_busy_ratio 0.72 (now 0.9)", "hot_share 0.6 (now 0.3)"]),
        ({"kind": "target_queue_time"}, ["target_queue_time_seconds 5 (now 10)", "target_util 0.99 (now 0.9)"]),
    ],
)
def test_the_numbers_of_a_policy_go_up_and_down(policy: dict[str, Any], turned: list[str]) -> None:
    found = labels(policy=policy)
    assert found[0] == AS_IT_IS
    assert [label for label in turned if label not in found] == []


def test_every_policy_of_ours_that_can_be_played_has_a_row_whose_fields_it_has() -> None:
    known = ours()
    for kind, fields in TURNED.items():
        assert set(fields) <= set(known[kind].model_fields), kind
    unplayable = {
        kind for kind, model in known.items() if getattr(model, "needs_shapes", 0) or getattr(model, "needs_desired", 0)
    }
    assert set(known) - unplayable - {"no"} == set(TURNED)


@pytest.mark.parametrize(
    ("limits", "there", "gone"),
    [
        ({"min_workers": 1}, ["min_workers 0 (now 1)", "min_workers 2 (now 1)"], ["min_workers 1 (now 1)"]),
        ({"min_workers": 0, "max_workers": 1}, ["min_workers 1 (now 0)"], ["min_workers 2 (now 0)"]),
        ({"min_idle_seconds": 30}, ["min_idle_seconds 10 (now 30)", "min_idle_seconds 90 (now 30)"], []),
        ({"min_idle_seconds": 0}, ["min_idle_seconds 60 (now 0)", "min_idle_seconds 300 (now 0)"], []),
        ({"max_workers": 4}, ["max_workers 2 (now 4)", "max_workers 8 (now 4)"], []),
        ({"max_workers": 8}, ["max_workers 10 (now 8)"], ["max_workers 16 (now 8)"]),
        ({"max_workers": 10}, ["max_workers 5 (now 10)"], ["max_workers 20 (now 10)"]),
    ],
)
def test_limits_go_up_and_down_as_far_as_providers_have_room(
    limits: dict[str, Any], there: list[str], gone: list[str]
) -> None:
    found = labels(limits=limits)
    assert set(there) <= set(found)
    assert not set(gone) & set(found)


@pytest.mark.parametrize(
    ("turns", "there"),
    [
        (
            {"interval_seconds": 60},
            [
                "waiting_interval_seconds 15 (now unset)",
                "waiting_interval_seconds 15 (now unset), poll_interval_seconds 5 (now unset)",
            ],
        ),
        (
            {"interval_seconds": 60, "waiting_interval_seconds": 30},
            [
                "waiting_interval_seconds 15 (now 30)",
                "waiting_interval_seconds 15 (now 30), poll_interval_seconds 5 (now unset)",
            ],
        ),
        ({"interval_seconds": 60, "waiting_interval_seconds": 15}, ["poll_interval_seconds 5 (now unset)"]),
        (
            {"interval_seconds": 60, "waiting_interval_seconds": 10},
            ["waiting_interval_seconds 15 (now 10)", "poll_interval_seconds 5 (now unset)"],
        ),
        (
            {"interval_seconds": 60, "waiting_interval_seconds": 30, "poll_interval_seconds": 10},
            ["waiting_interval_seconds 15 (now 30)"],
        ),
        ({"interval_seconds": 60, "waiting_interval_seconds": 15, "poll_interval_seconds": 10}, []),
        ({"interval_seconds": 15}, []),
    ],
)
def test_turns_that_follow_soon_while_work_waits_are_tried_and_polls_where_there_are_none(
    turns: dict[str, Any], there: list[str]
) -> None:
    assert [label for label in labels(**turns) if "_interval_seconds" in label] == there


def test_polls_are_tried_with_turns_that_are_near_each_other() -> None:
    settings = settings_of(fleet(interval_seconds=60)).playable
    (polled,) = [each.fleet for each in settings if each.fleet.poll_interval_seconds is not None]
    assert (polled.interval_seconds, polled.waiting_interval_seconds, polled.poll_interval_seconds) == (60, 15, 5)


def test_other_policies_are_tried_with_their_defaults_and_those_that_ask_for_more_are_named() -> None:
    settings = settings_of(fleet())
    others = {each.label for each in settings.playable if each.label.startswith("policy ")}
    assert {"policy marginal, waiting_worth 1", "policy marginal, waiting_worth 10", "policy swarmui"} <= others
    assert not {"policy vanilla", "policy no", "policy capability", "policy master"} & others
    reasons = "\n".join(settings.not_playable)
    assert "policy capability: it asks what waiting work requires" in reasons
    assert "policy master: it does what the master says" in reasons
    wanted = settings_of(fleet(), waiting_worth=4.0).playable
    assert [each.label for each in wanted if "marginal" in each.label] == ["policy marginal, waiting_worth 4"]


def test_a_worth_that_the_policy_does_not_take_is_left_out() -> None:
    assert not [each for each in settings_of(fleet(), waiting_worth=0.0).playable if "marginal" in each.label]


@pytest.mark.parametrize("policy", [{"kind": kind} for kind in sorted(TURNED)], ids=lambda given: str(given["kind"]))
def test_no_fleet_is_played_twice_and_each_is_what_its_changes_make_of_the_file(policy: dict[str, Any]) -> None:
    own = fleet(policy=policy)
    settings = settings_of(own).playable
    fleets = [each.fleet for each in settings]
    assert all(fleets.count(each) == 1 for each in fleets)
    assert all(with_changes(own, each.changes) == each.fleet for each in settings)
    assert len({each.label for each in settings}) == len(settings)


def test_limits_that_a_policy_brings_are_told_beside_it() -> None:
    def of(label: str, **sections: Any) -> Setting:
        return next(each for each in settings_of(fleet(**sections)).playable if each.label == label)

    brought = of("policy marginal, waiting_worth 1").came_along
    assert "limits.min_idle_seconds: 0 (600 before)" in brought
    kept = of("policy marginal, waiting_worth 1", limits={"min_idle_seconds": 30}).came_along
    assert not [each for each in kept if "min_idle_seconds" in each], "what the file says stays"
