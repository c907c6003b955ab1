"""What every provider and master block is: saved configuration that builds a live adapter which is not a block."""

from abc import ABC, abstractmethod

from prefect.blocks.core import Block
from pydantic import ConfigDict

from ebbflow.core.ports import Master, Provider

PROVIDER_CAPABILITY = "ebbflow-provider"
MASTER_CAPABILITY = "ebbflow-master"


class ProviderBlock(Block, ABC):
    """Where workers are launched. Subclass it together with the adapter's own settings model."""

    # Prefect's own default takes a misspelt key without a word.
    model_config = ConfigDict(extra="forbid")

    _block_schema_capabilities = [PROVIDER_CAPABILITY]  # noqa: RUF012 - Prefect reads a plain class attribute

    @abstractmethod
    def get_provider(self) -> Provider:
        """Build the adapter. No I/O."""


class MasterBlock(Block, ABC):
    """The system that holds the queue. Subclass it together with the adapter's own settings model."""

    model_config = ConfigDict(extra="forbid")

    _block_schema_capabilities = [MASTER_CAPABILITY]  # noqa: RUF012 - as above

    @abstractmethod
    def get_master(self, *, fleet: str, home: str, dry_run: bool = False) -> Master:
        """Build the adapter for one fleet of one installation. No I/O.

        Args:
            fleet: whose workers it manages.
            home: of which installation.
            dry_run: it keeps nothing beyond this run. That it also changes nothing is seen to by whoever asks for it.
        """
