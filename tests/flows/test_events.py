"""What an event asks for, whatever stands in its payload."""

from typing import Any

import pytest

from ebbflow.core.errors import ConfigError
from ebbflow.flows.events import Asked, asked_by


def event(payload: object = None) -> dict[str, Any]:
    return {"id": "e-1", "event": "ebbflow.scale-up.requested", "payload": payload}


@pytest.mark.parametrize(
    ("payload", "asked"),
    [
        ({}, Asked(1, "ebbflow.scale-up.requested", None, "event e-1")),
        (None, Asked(1, "ebbflow.scale-up.requested", None, "event e-1")),
        (["no", "mapping"], Asked(1, "ebbflow.scale-up.requested", None, "event e-1")),
        ({"count": 64, "reason": "a sale", "key": "sale"}, Asked(64, "a sale", None, "event sale")),
        ({"count": ""}, Asked(1, "ebbflow.scale-up.requested", None, "event e-1")),
        ({"count": "3"}, Asked(3, "ebbflow.scale-up.requested", None, "event e-1")),
        ({"count": 2.0, "hold_seconds": "90"}, Asked(2, "ebbflow.scale-up.requested", 90.0, "event e-1")),
        ({"reason": "two\nlines\x1b[0m"}, Asked(1, "two lines\ufffd[0m", None, "event e-1")),
        ({"key": 7}, Asked(1, "ebbflow.scale-up.requested", None, "event 7")),
    ],
)
def test_a_payload_says_how_many_why_for_how_long_and_which_alert_it_is(payload: object, asked: Asked) -> None:
    assert asked_by(event(payload)) == asked


@pytest.mark.parametrize("count", ["two", -1, 0, "0", 1.5, 65, 10**400, float("nan"), "inf", True, [1], {}])
def test_regression_a_count_that_cannot_be_meant_started_a_worker_or_nothing(count: object) -> None:
    with pytest.raises(ConfigError, match=r"count is .* a whole number of workers from 1 to 64 would be right"):
        asked_by(event({"count": count}))


@pytest.mark.parametrize("seconds", [0, -1, "soon", 604_801, float("inf")])
def test_a_time_that_cannot_be_meant_is_refused(seconds: object) -> None:
    with pytest.raises(ConfigError, match="hold_seconds is"):
        asked_by(event({"hold_seconds": seconds}))


def test_a_long_reason_is_cut_and_a_long_key_stays_the_same_one() -> None:
    long = asked_by(event({"reason": "x" * 5000, "key": "k" * 5000}))
    assert (len(long.reason), long.reason[-1]) == (200, "\u2026")
    assert long.key == asked_by(event({"key": "k" * 5000})).key != asked_by(event({"key": "k" * 5001})).key
