"""One block per master: its adapter's own settings, saved."""

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIMaster as SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings
from ebbflow.blocks.base import MasterBlock
from ebbflow.core.ports import Master, SessionStore


class SwarmUIMaster(SwarmUISettings, MasterBlock):
    """A SwarmUI that users talk to."""

    _block_type_name = "SwarmUI Master"
    _block_type_slug = "swarmui-master"

    def get_master(self, *, fleet: str, home: str, sessions: SessionStore) -> Master:
        """Build the adapter."""
        return SwarmUIAdapter(self, fleet=fleet, home=home, sessions=sessions)
