"""Who calls, by what the server says, and what they may."""

from typing import Any

import pytest

from ebbflow.services.hypha.callers import NOBODY, Caller, Rights, caller_of
from tests.services.hypha.desks import context

RIGHTS = Rights.of(["user:ada", "email:Bob@Example.org", "workspace:lab"], ["user:grace"])


@pytest.mark.parametrize(
    ("caller", "may_call", "is_admin"),
    [
        (Caller("ada"), True, False),
        (Caller("grace"), True, True),
        (Caller("x", "bob@example.org"), True, False),
        (Caller("x", "BOB@example.ORG"), True, False),
        (Caller("x", workspaces=frozenset({"lab"})), True, False),
        (Caller("x", workspaces=frozenset({"*"})), False, False),
        (Caller("ada", is_anonymous=True), False, False),
        (Caller("email:bob@example.org"), False, False),
        (Caller("Ada"), False, False),
        (NOBODY, False, False),
    ],
)
def test_only_who_is_named_may_call_and_nobody_without_an_account(
    caller: Caller, may_call: bool, is_admin: bool
) -> None:
    assert (RIGHTS.may_call(caller), RIGHTS.is_admin(caller)) == (may_call, is_admin)


def test_a_token_that_somebody_made_for_a_program_is_theirs() -> None:
    assert caller_of(context("busy-otter-1", parent="ada", email=None)) == Caller(
        "ada", "", frozenset({"ws-user-busy-otter-1"})
    )


def test_whoever_may_only_read_in_a_workspace_does_not_belong_to_it() -> None:
    said = context("ada", scope={"workspaces": {"lab": "r", "mine": "rw", "own": "a", 7: "a", "": "a"}})
    assert caller_of(said).workspaces == {"mine", "own"}


@pytest.mark.parametrize(
    "said",
    [
        None,
        "ada",
        {},
        {"user": {"id": "ada", "is_anonymous": False, "roles": []}},
        context("ada") | {"from": "*/manager-1"},
        context("ada") | {"user": "ada"},
        context("ada", id=""),
        context("ada", id=7),
        context("ada", id="a\x1b[31m"),
        context("ada", id="a" * 300),
    ],
    ids=["nothing", "text", "empty", "from nowhere", "the server", "a name", "no id", "7", "unprintable", "endless"],
)
def test_where_the_server_does_not_say_who_calls_nobody_does(said: Any) -> None:
    assert caller_of(said) == NOBODY


@pytest.mark.parametrize(
    "more", [{"is_anonymous": True}, {"is_anonymous": None}, {"roles": ["anonymous"]}, {"roles": 3}]
)
def test_who_is_not_said_to_have_an_account_has_none(more: dict[str, Any]) -> None:
    assert not RIGHTS.may_call(caller_of(context("ada", **more)))
