"""The block, which Prefect finds by the entry point in `pyproject.toml`."""

from ebbflow.blocks.base import ProviderBlock
from ebbflow.core.ports import Provider
from ebbflow_example.provider import FixedMachines
from ebbflow_example.settings import FixedMachinesSettings


class FixedMachinesProvider(FixedMachinesSettings, ProviderBlock):
    """Workers on machines that run already, lent to fleets one at a time."""

    _block_type_name = "Fixed Machines Provider"
    _block_type_slug = "fixed-machines-provider"

    def get_provider(self) -> Provider:
        """Build the adapter."""
        return FixedMachines(self)
