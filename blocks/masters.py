"""One block per master: its adapter's own settings, saved."""

from collections.abc import Callable
from typing import Self

from pydantic import PrivateAttr

from ebbflow.adapters.masters.gateway.adapter import GatewayAdapter
from ebbflow.adapters.masters.gateway.settings import GatewaySettings
from ebbflow.adapters.masters.ray.adapter import RayAdapter
from ebbflow.adapters.masters.ray.settings import RaySettings
from ebbflow.adapters.masters.scaler.adapter import ScalerAdapter
from ebbflow.adapters.masters.scaler.settings import ScalerSettings
from ebbflow.adapters.masters.swarmui.adapter import SwarmUIAdapter
from ebbflow.adapters.masters.swarmui.auto_scaled import SwarmUIAutoScaledAdapter
from ebbflow.adapters.masters.swarmui.sessions import ReadOnlySessions, SessionStore
from ebbflow.adapters.masters.swarmui.settings import SwarmUISettings
from ebbflow.blocks.base import MasterBlock
from ebbflow.blocks.sessions import BlockSessionStore
from ebbflow.core.ports import Master


class GatewayMaster(GatewaySettings, MasterBlock):
    """One endpoint of our own gateway, which tells clients what worker to use."""

    _block_type_name = "Gateway Master"
    _block_type_slug = "gateway-master"

    def get_master(self, *, fleet: str, home: str, dry_run: bool = False) -> Master:
        """Build the adapter."""
        return GatewayAdapter(self, fleet=fleet, home=home)


class RayMaster(RaySettings, MasterBlock):
    """The head of a Ray cluster, asked at its dashboard; its workers join by themselves."""

    _block_type_name = "Ray Master"
    _block_type_slug = "ray-master"

    def get_master(self, *, fleet: str, home: str, dry_run: bool = False) -> Master:
        """Build the adapter."""
        return RayAdapter(self, fleet=fleet, home=home)


class ScalerMaster(ScalerSettings, MasterBlock):
    """A scheduler of opengris-scaler, asked by an interpreter that has the package; workers join by themselves."""

    _block_type_name = "Scaler Master"
    _block_type_slug = "scaler-master"

    def get_master(self, *, fleet: str, home: str, dry_run: bool = False) -> Master:
        """Build the adapter."""
        return ScalerAdapter(self, fleet=fleet, home=home)


class SwarmUIMaster(SwarmUISettings, MasterBlock):
    """A SwarmUI that users talk to."""

    _block_type_name = "SwarmUI Master"
    _block_type_slug = "swarmui-master"

    _stores: Callable[[str], SessionStore] = PrivateAttr(default=BlockSessionStore)

    def keeping_sessions(self, stores: Callable[[str], SessionStore]) -> Self:
        """The same block, whose adapters keep API sessions elsewhere than on a Prefect server.

        Args:
            stores: makes the store of one fleet and home, given their names in one word; for each turn anew.
        """
        elsewhere = self.model_copy()
        elsewhere._stores = stores
        return elsewhere

    def get_master(self, *, fleet: str, home: str, dry_run: bool = False) -> Master:
        """Build the adapter, with a store of its own for the API sessions of this fleet."""
        store = self._stores(f"{fleet}-{home}")
        sessions: SessionStore = ReadOnlySessions(store) if dry_run else store
        kind = SwarmUIAutoScaledAdapter if self.workers_by == "auto_scaling_backend" else SwarmUIAdapter
        return kind(self, fleet=fleet, home=home, sessions=sessions)
