"""The laws that every provider and every master obeys, as test classes that anybody can subclass.

A package with a provider or master of its own adds one test file with a subclass; CONTRIBUTING shows it.
"""

from ebbflow.adapters.master_contract import MasterContract
from ebbflow.adapters.provider_contract import ProviderContract

__all__ = ["MasterContract", "ProviderContract"]
