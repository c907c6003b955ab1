"""The laws of providers, masters, ledgers and policies, as test classes that anybody can subclass.

A package with a provider, master or policy of its own adds one test file with a subclass; CONTRIBUTING shows it.
"""

# ruff: noqa: E402  (pytest must know the modules before they are imported, or a failed assertion shows no values)

import pytest

SUITES = ("join_master", "ledger", "master", "policy", "provider", "push_master", "sessions")

pytest.register_assert_rewrite(*(f"{__name__}.{suite}" for suite in SUITES))

from ebbflow.contracts.join_master import JoinMasterContract
from ebbflow.contracts.ledger import LedgerContract
from ebbflow.contracts.master import MasterContract
from ebbflow.contracts.policy import PolicyContract
from ebbflow.contracts.provider import ProviderContract
from ebbflow.contracts.push_master import PushMasterContract
from ebbflow.contracts.sessions import SessionContract

__all__ = [
    "JoinMasterContract",
    "LedgerContract",
    "MasterContract",
    "PolicyContract",
    "ProviderContract",
    "PushMasterContract",
    "SessionContract",
]
