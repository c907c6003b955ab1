"""The fleet model: what a person may write, and what they are told when they write something else."""

from typing import Any

import pytest
from pydantic import ValidationError

from ebbflow.core.errors import ConfigError
from ebbflow.core.instance import ProviderCaps
from ebbflow.core.member import DrainWay, MasterCaps
from ebbflow.decision.rules import Rules
from ebbflow.fleet.model import Fleet
from ebbflow.policies.no import NoPolicy
from ebbflow.policies.vanilla import VanillaPolicy

SDXL: dict[str, Any] = {
    "name": "sdxl",
    "interval_seconds": 30,
    "master": "swarmui-master/main",
    "providers": [
        {"block": "slurm-provider/a100", "max_workers": 8},
        {"block": "kubernetes-provider/gpu", "max_workers": 8},
        {"block": "vast-provider/rtx4090", "max_workers": 20, "max_usd_per_hour": 0.45},
    ],
    "policy": {"kind": "vanilla", "upper_task_ratio": 10, "lower_task_ratio": 1},
    "limits": {
        "min_workers": 1,
        "max_workers": 24,
        "min_seconds_between_starts": 0,
        "min_seconds_after_failure": 120,
        "min_seconds_between_stops": 60,
        "min_idle_seconds": 600,
        "max_usd_per_hour": 20,
    },
    "readiness": {
        "connect_timeout_seconds": 30,
        "retries": 1,
        "retry_wait_seconds": 5,
        "launch_timeout_seconds": 1800,
    },
    "drain": {"deadline_seconds": 900, "force": False},
}


def changed(**fields: Any) -> dict[str, Any]:
    return {**SDXL, **fields}


def test_the_fleet_of_the_design_is_read_as_it_stands() -> None:
    fleet = Fleet.model_validate(SDXL)
    assert [entry.block for entry in fleet.providers] == [entry["block"] for entry in SDXL["providers"]]
    assert fleet.policy == VanillaPolicy(upper_task_ratio=10, lower_task_ratio=1)
    assert Fleet.model_validate_json(fleet.model_dump_json()) == fleet


@pytest.mark.parametrize("number", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize(
    "fields",
    [
        {"limits": {"max_workers": 24, "max_usd_per_hour": ...}},
        {"interval_seconds": ...},
        {"drain": {"deadline_seconds": ...}},
        {"readiness": {"retry_wait_seconds": ...}},
        {"providers": [{"block": "a/b", "max_workers": 1, "max_usd_per_hour": ...}]},
        {"policy": {"kind": "vanilla", "upper_task_ratio": ..., "lower_task_ratio": 1}},
    ],
    ids=str,
)
def test_regression_a_price_cap_without_end_overflowed(fields: Any, number: float) -> None:
    def filled(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: filled(each) for name, each in part.items()}
        if isinstance(part, list):
            return [filled(each) for each in part]
        return number if part is ... else part

    with pytest.raises(ValidationError, match=r"finite|valid integer|greater than|less than"):
        Fleet.model_validate(changed(**filled(fields)))


def test_a_turn_ends_its_calls_before_the_next_one_begins() -> None:
    fleet = Fleet.model_validate(SDXL)
    assert fleet.budget_seconds < fleet.interval_seconds


def test_the_order_of_providers_is_the_order_of_the_rules() -> None:
    rules: Rules = Fleet.model_validate(SDXL)
    assert [(entry.block, entry.max_workers, entry.max_usd_per_hour) for entry in rules.providers] == [
        ("slurm-provider/a100", 8, None),
        ("kubernetes-provider/gpu", 8, None),
        ("vast-provider/rtx4090", 20, 0.45),
    ]


def test_a_policy_is_chosen_by_its_kind() -> None:
    assert Fleet.model_validate(changed(policy={"kind": "no"})).policy == NoPolicy()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        pytest.param(
            {"limits": {"min_workers": 5, "max_workers": 2}}, ["min_workers 5", "max_workers 2"], id="min>max"
        ),
        pytest.param({"policy": {"kind": "vanila"}}, ["vanila", "'vanilla'"], id="unknown policy"),
        pytest.param({"polcy": {"kind": "no"}}, ["polcy", "not permitted"], id="misspelt key"),
        pytest.param({"limits": {"max_worker": 3}}, ["max_worker", "not permitted"], id="misspelt limit"),
        pytest.param({"name": "SDXL"}, ["fleet name 'SDXL'", "[a-z0-9-]"], id="capitals in the name"),
        pytest.param({"name": "x" * 21}, ["2 to 20 characters"], id="long name"),
        pytest.param({"master": "main"}, ["master", "pattern"], id="reference without a type"),
        pytest.param({"providers": []}, ["providers", "at least 1"], id="no provider"),
        pytest.param(
            {"providers": [{"block": "local-provider/a"}, {"block": "local-provider/a"}]},
            ["local-provider/a", "twice"],
            id="one provider twice",
        ),
        pytest.param(
            {"providers": [{"block": "local-provider/a", "max_workers": 1}], "limits": {"min_workers": 3}},
            ["min_workers 3", "(1)"],
            id="min above what providers allow",
        ),
        pytest.param({"interval_seconds": 2}, ["interval_seconds", "10"], id="interval too short"),
        pytest.param(
            {"waiting_interval_seconds": 5}, ["waiting_interval_seconds", "10"], id="waiting interval too short"
        ),
        pytest.param(
            {"waiting_interval_seconds": 30},
            ["waiting_interval_seconds is 30", "every 30 s (interval_seconds)", "lower"],
            id="a waiting interval that is not sooner",
        ),
        pytest.param(
            {"poll_interval_seconds": 5},
            ["poll_interval_seconds is 5 without waiting_interval_seconds", "such as 15"],
            id="polls that lead to nothing",
        ),
        pytest.param(
            {"waiting_interval_seconds": 20, "poll_interval_seconds": 30},
            ["poll_interval_seconds is 30", "every 30 s (interval_seconds)", "lower"],
            id="polls no oftener than turns",
        ),
        pytest.param({"poll_interval_seconds": 1}, ["poll_interval_seconds", "2"], id="polls without a pause"),
        pytest.param(
            {"policy": {"kind": "vanilla", "upper_task_ratio": 1.5, "lower_task_ratio": 1}},
            ["upper_task_ratio 1.5", "twice"],
            id="a band that would oscillate",
        ),
        pytest.param(
            {"records_folder": "/var/\0lib"},
            ["records_folder", "a path without NUL would be right"],
            id="a folder that cannot be one",
        ),
    ],
)
def test_bad_fleets_are_refused_with_the_field_and_what_would_be_right(
    fields: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ValidationError) as refused:
        Fleet.model_validate(changed(**fields))
    said = str(refused.value)
    assert [word for word in words if word not in said] == [], said


LOCAL = {"local-provider/a": ProviderCaps("here", call_seconds=5.0)}


@pytest.mark.parametrize(
    ("fields", "caps", "words"),
    [
        pytest.param(
            {"limits": {"min_workers": 0}},
            MasterCaps(can_start_from_zero=False),
            ["limits.min_workers is 0", "min_workers to 1", "allow_start_from_zero"],
            id="from zero",
        ),
        pytest.param(
            {"interval_seconds": 120},
            MasterCaps(needs_keepalive_seconds=180.0),
            ["interval_seconds is 120", "180 s", "at most 90 s"],
            id="dead-man's switch shorter than two turns",
        ),
        pytest.param({}, MasterCaps(drain=DrainWay.NONE), ["accept_busy_stop"], id="cannot drain"),
        pytest.param(
            {"waiting_interval_seconds": 20, "poll_interval_seconds": 5},
            MasterCaps(takes_polls=False),
            ["poll_interval_seconds is 5", "cannot be asked between turns", "waiting_interval_seconds may stay"],
            id="cannot be polled",
        ),
    ],
)
def test_a_fleet_that_its_master_cannot_serve_is_refused(
    fields: dict[str, Any], caps: MasterCaps, words: list[str]
) -> None:
    with pytest.raises(ConfigError) as refused:
        Fleet.model_validate(changed(**fields)).check(caps, LOCAL)
    said = str(refused.value)
    assert [word for word in words if word not in said] == [], said


def test_an_interval_in_which_no_teardown_fits_is_refused_with_one_that_does() -> None:
    fleet = Fleet.model_validate(changed(interval_seconds=15))
    with pytest.raises(ConfigError, match="use an interval of at least 22 s"):
        fleet.check(MasterCaps(), {"local-provider/a": ProviderCaps("here", call_seconds=10.0)})
    Fleet.model_validate(changed(interval_seconds=22)).check(
        MasterCaps(), {"local-provider/a": ProviderCaps("here", call_seconds=10.0)}
    )


@pytest.mark.parametrize(
    ("interval", "waiting", "apart"), [(60, None, 30.0), (60, 20, 15.0), (60, 50, 30.0), (30, 12, 9.0)]
)
def test_no_two_turns_are_nearer_than_most_of_the_soonest_that_may_follow(
    interval: float, waiting: float | None, apart: float
) -> None:
    fleet = Fleet.model_validate(changed(interval_seconds=interval, waiting_interval_seconds=waiting))
    assert fleet.least_apart_seconds == pytest.approx(apart)
    assert fleet.budget_seconds == 0.8 * interval, "runs may overlap, as those of a person's requests do"


def test_a_provider_that_gives_more_than_its_master_is_told_of_is_refused_and_usual_calls_need_their_time() -> None:
    fleet = Fleet.model_validate(changed(interval_seconds=20))
    block = fleet.providers[0].block
    told = MasterCaps(told_capabilities=("gpu",))
    fleet.check(told, {block: ProviderCaps("here", capabilities=("gpu",))})
    fleet.check(told, {block: ProviderCaps("here")})
    with pytest.raises(ConfigError, match=rf"capabilities of {block} are gpu=4, and those of {fleet.master} are gpu"):
        fleet.check(told, {block: ProviderCaps("here", capabilities=("gpu=4",))})
    fleet.check(MasterCaps(call_seconds=7), {})
    with pytest.raises(ConfigError, match="use an interval of at least 22 s"):
        fleet.check(MasterCaps(call_seconds=7, usual_seconds=1.5), {})


def test_regression_an_interval_that_was_called_enough_never_ended_a_worker() -> None:
    """A look at a scheduler takes a second and a half, and three come before the provider's call of 27 s."""
    masters = MasterCaps(call_seconds=7, usual_seconds=1.5)
    providers = {"slurm-provider/a": ProviderCaps("here", call_seconds=27.0)}
    with pytest.raises(ConfigError, match=r"a call of 27 s to slurm-provider/a do not fit; .* at least 49 s"):
        Fleet.model_validate(changed(interval_seconds=43)).check(masters, providers)
    Fleet.model_validate(changed(interval_seconds=49)).check(masters, providers)


def test_a_provider_that_learns_no_addresses_is_refused_where_the_master_needs_them() -> None:
    fleet = Fleet.model_validate(changed())
    silent = {fleet.providers[0].block: ProviderCaps("here", tells_urls=False)}
    with pytest.raises(ConfigError, match=f"{fleet.providers[0].block} learns no addresses"):
        fleet.check(MasterCaps(), silent)
    fleet.check(MasterCaps(workers_join=True), silent)


def test_a_warm_pool_is_refused_where_workers_join_with_the_id_of_their_first_start() -> None:
    (first, *_) = changed()["providers"]
    fleet = Fleet.model_validate(changed(providers=[{**first, "warm_workers": 1}]))
    keeps = {fleet.providers[0].block: ProviderCaps("here", keeps_stopped=True)}
    with pytest.raises(ConfigError, match="warm_workers is 1 for"):
        fleet.check(MasterCaps(workers_join=True), keeps)
    fleet.check(MasterCaps(), keeps)


def test_what_a_master_can_do_is_accepted() -> None:
    Fleet.model_validate(changed(accept_busy_stop=True)).check(MasterCaps(drain=DrainWay.NONE), LOCAL)
    Fleet.model_validate(changed(limits={"min_workers": 0})).check(MasterCaps(can_start_from_zero=True), LOCAL)
