"""The laws that every provider and every master obeys, as test classes that anybody can subclass.

A package with a provider or master of its own adds one test file with a subclass; CONTRIBUTING shows it.
"""

from ebbflow.contracts.provider import ProviderContract
from ebbflow.contracts.master import MasterContract

__all__ = ["MasterContract", "ProviderContract"]
