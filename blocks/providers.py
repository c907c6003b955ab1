"""One block per provider: its adapter's own settings, saved."""

from ebbflow.adapters.providers.host.adapter import HostAdapter
from ebbflow.adapters.providers.host.launch_script import LaunchScriptProgram
from ebbflow.adapters.providers.host.launch_script_settings import LaunchScriptSettings
from ebbflow.adapters.providers.host.local import LocalProgram
from ebbflow.adapters.providers.host.local_settings import LocalSettings
from ebbflow.adapters.providers.kubernetes.adapter import KubernetesAdapter
from ebbflow.adapters.providers.kubernetes.settings import KubernetesSettings
from ebbflow.adapters.providers.slurm.adapter import SlurmAdapter
from ebbflow.adapters.providers.slurm.settings import SlurmSettings
from ebbflow.adapters.providers.vast.adapter import VastAdapter
from ebbflow.adapters.providers.vast.settings import VastSettings
from ebbflow.blocks.base import ProviderBlock
from ebbflow.core.ports import Provider


class LocalProvider(LocalSettings, ProviderBlock):
    """Worker processes on the host where the flows run."""

    _block_type_name = "Local Provider"
    _block_type_slug = "local-provider"

    def get_provider(self) -> Provider:
        """Build the adapter."""
        return HostAdapter(LocalProgram(self))


class LaunchScriptProvider(LaunchScriptSettings, ProviderBlock):
    """Workers that a launch script starts: any script that speaks the protocol of SwarmUI's auto-scaling backend."""

    _block_type_name = "Launch Script Provider"
    _block_type_slug = "launch-script-provider"

    def get_provider(self) -> Provider:
        """Build the adapter."""
        return HostAdapter(LaunchScriptProgram(self))


class KubernetesProvider(KubernetesSettings, ProviderBlock):
    """Workers that are pods of a Kubernetes namespace, one bare pod each."""

    _block_type_name = "Kubernetes Provider"
    _block_type_slug = "kubernetes-provider"

    def get_provider(self) -> Provider:
        """Build the adapter."""
        return KubernetesAdapter(self)


class SlurmProvider(SlurmSettings, ProviderBlock):
    """Workers that are Slurm jobs, on any cluster where sbatch, squeue and scancel can be run."""

    _block_type_name = "Slurm Provider"
    _block_type_slug = "slurm-provider"

    def get_provider(self) -> Provider:
        """Build the adapter."""
        return SlurmAdapter(self)


class VastProvider(VastSettings, ProviderBlock):
    """Workers that are instances rented at Vast, with a pool of stopped ones if the fleet wants it."""

    _block_type_name = "Vast Provider"
    _block_type_slug = "vast-provider"

    def get_provider(self) -> Provider:
        """Build the adapter."""
        return VastAdapter(self)
