"""What a person reads in the custom-run form of each flow: Prefect takes it from the parameters' schema."""

import importlib
from typing import Any

import pytest
from prefect import Flow
from prefect.utilities.callables import parameter_schema

from ebbflow.fleet.deployed import FLOWS

BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "maxLength", "minItems", "maxItems")


def flow_named(name: str) -> Flow[..., Any]:
    found = getattr(importlib.import_module(f"ebbflow.flows.{name}"), name)
    assert isinstance(found, Flow)
    return found


def bounds_of(schema: dict[str, Any]) -> dict[str, object]:
    # What may be empty has its bounds in the first of two forms.
    kinds = [schema, *schema.get("anyOf", ())]
    return {bound: kind[bound] for kind in kinds for bound in BOUNDS if bound in kind}


@pytest.mark.parametrize("name", sorted(FLOWS))
def test_every_parameter_of_a_flow_says_in_its_form_what_it_is_for(name: str) -> None:
    schema = parameter_schema(flow_named(name))
    silent = [name for name, about in schema.properties.items() if not about.get("description", "").endswith(".")]
    assert not silent, f"without a sentence under `Args:` in the docstring of {name}"


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        (
            "scale_up",
            {
                "count": {"minimum": 1, "maximum": 64},
                "reason": {"maxLength": 200},
                "hold_seconds": {"exclusiveMinimum": 0, "maximum": 604_800},
            },
        ),
        (
            "scale_down",
            {
                "count": {"minimum": 1, "maximum": 10_000},
                "reason": {"maxLength": 200},
                "hold_seconds": {"exclusiveMinimum": 0, "maximum": 604_800},
            },
        ),
        (
            "override",
            {
                "count": {"minimum": 0, "maximum": 10_000},
                "reason": {"maxLength": 200},
                "hold_seconds": {"exclusiveMinimum": 0, "maximum": 604_800},
            },
        ),
        (
            "backtest",
            {
                "policies": {"minItems": 1, "maxItems": 12},
                "past_hours": {"exclusiveMinimum": 0, "maximum": 8784},
                "service_seconds": {"exclusiveMinimum": 0, "maximum": 86_400},
                "first_requests": {"minimum": 1, "maximum": 1_000_000},
                "seeds": {"minimum": 1, "maximum": 20},
            },
        ),
        (
            "advise",
            {
                "past_hours": {"exclusiveMinimum": 0, "maximum": 8784},
                "waiting_worth": {"minimum": 0, "maximum": 1000},
                "wait_p95_seconds": {"exclusiveMinimum": 0, "maximum": 86_400},
                "service_seconds": {"exclusiveMinimum": 0, "maximum": 86_400},
                "plays": {"minimum": 1, "maximum": 20},
                "settings": {"minimum": 1, "maximum": 100},
                "limit_seconds": {"exclusiveMinimum": 0, "maximum": 21_600},
            },
        ),
    ],
)
def test_a_form_refuses_what_is_out_of_bounds(name: str, bounds: dict[str, dict[str, object]]) -> None:
    found = {each: bounds_of(about) for each, about in parameter_schema(flow_named(name)).properties.items()}
    assert {each: about for each, about in found.items() if about} == bounds
