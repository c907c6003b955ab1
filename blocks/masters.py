"""One block per master: its adapter's own settings, saved."""

from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.sessions import ReadOnlySessions, SessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings
from ebbflow.blocks.base import MasterBlock
from ebbflow.blocks.sessions import BlockSessionStore
from ebbflow.core.ports import Master


class SwarmUIMaster(SwarmUISettings, MasterBlock):
    """A SwarmUI that users talk to."""

    _block_type_name = "SwarmUI Master"
    _block_type_slug = "swarmui-master"

    def get_master(self, *, fleet: str, home: str, dry_run: bool = False) -> Master:
        """Build the adapter, with a store of its own for the API sessions of this fleet."""
        store = BlockSessionStore(f"{fleet}-{home}")
        sessions: SessionStore = ReadOnlySessions(store) if dry_run else store
        return SwarmUIAdapter(self, fleet=fleet, home=home, sessions=sessions)
