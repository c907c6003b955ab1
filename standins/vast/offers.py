"""Offers of a stand-in Vast market, and the search for them.

Source: vast-ai/docs, search_offers.yaml; units from the help texts of the vendor's command.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from ebbflow.standins.vast.query import matches, ordered
from ebbflow.standins.vast.refusals import Json, invalid

HOURS_PER_MONTH = 720.0
DEFAULT_STORAGE_GB = 8.0
DEFAULT_LIMIT = 64
TYPES = ("on-demand", "ondemand", "bid", "interruptible", "reserved")
CONTROLS = ("order", "type", "limit", "allocated_storage", "disable_bundling", "resource_type")

ELSEWHERE = -1
"""Holder of an offer that somebody else has rented."""
OUTBID = -2
"""Holder of an offer whose own interruptible instance was outbid."""


@dataclass
class Offer:
    """GPUs of one machine that can be rented; the fields have the vendor's names and units.

    `storage_cost` is $/GB/month, `gpu_ram` and `cpu_ram` MB, `disk_space` GB, `duration` seconds left to rent.
    """

    id: int
    machine_id: int
    host_id: int = 1
    gpu_name: str = "RTX 4090"
    num_gpus: int = 1
    gpu_ram: int = 24576
    cpu_ram: int = 64000
    disk_space: float = 500.0
    dph_base: float = 0.35
    min_bid: float = 0.12
    storage_cost: float = 0.15
    reliability: float = 0.995
    duration: float = 2592000.0
    cuda_max_good: float = 12.8
    direct_port_count: int = 100
    verified: bool = True
    external: bool = False
    more: Json = field(default_factory=dict)
    """Fields that are sent besides, or instead: null where a client must bear it."""
    holder: int | None = None
    """The instance that has its GPUs, ELSEWHERE or OUTBID; None: free."""

    def storage_usd_per_hour(self, disk_gb: float) -> float:
        """What a disk costs, whether its instance runs or not."""
        return disk_gb * self.storage_cost / HOURS_PER_MONTH

    def row(self, now: float, *, disk_gb: float = DEFAULT_STORAGE_GB, is_bid: bool = False) -> Json:
        """The offer as a search shows it, at the price with a disk of that size."""
        base = self.min_bid if is_bid else self.dph_base
        total = base + self.storage_usd_per_hour(disk_gb)
        return {
            "id": self.id,
            "ask_contract_id": self.id,
            "machine_id": self.machine_id,
            "host_id": self.host_id,
            "gpu_name": self.gpu_name,
            "num_gpus": self.num_gpus,
            "gpu_frac": 1.0,
            "gpu_ram": self.gpu_ram,
            "gpu_total_ram": self.gpu_ram * self.num_gpus,
            "cpu_ram": self.cpu_ram,
            "cpu_cores": 16,
            "disk_space": self.disk_space,
            "dph_base": base,
            "dph_total": total,
            "min_bid": self.min_bid,
            "storage_cost": self.storage_cost,
            "inet_up_cost": 0.01,
            "inet_down_cost": 0.01,
            "inet_up": 800.0,
            "inet_down": 900.0,
            "cuda_max_good": self.cuda_max_good,
            "direct_port_count": self.direct_port_count,
            "reliability": self.reliability,
            "reliability2": self.reliability,
            "duration": self.duration,
            "start_date": now,
            "end_date": now + self.duration,
            "dlperf": 100.0 * self.num_gpus,
            "dlperf_per_dphtotal": 100.0 * self.num_gpus / total if total else None,
            "score": self.reliability * 100.0 * self.num_gpus,
            "rentable": True,
            "rented": False,
            "static_ip": True,
            "is_bid": is_bid,
            "geolocation": "Nowhere, NO",
            "driver_version": "570.1.1",
            "verification": "verified" if self.verified else "unverified",
            "verified": self.verified,
            "external": self.external,
            **self.more,
        }


def search(offers: Iterable[Offer], query: Json, now: float, offline: Collection[int] = ()) -> list[Json]:
    """The offers that a query finds; what is taken, or on a machine that is offline, is not there.

    Raises:
        Refused: 400: a field, an operator, a type or a value that is none.
    """
    kind, order = query.get("type", "on-demand"), query.get("order") or [["score", "desc"]]
    if kind not in TYPES:
        raise invalid(f"type: {kind!r} is none of {', '.join(TYPES)}")
    if not isinstance(order, list) or any(not isinstance(each, list) or len(each) != 2 for each in order):
        raise invalid("order: a list of [field, direction]")
    try:
        disk_gb, limit = float(query.get("allocated_storage", DEFAULT_STORAGE_GB)), int(query.get("limit") or 0)
    except (TypeError, ValueError) as error:
        raise invalid(f"allocated_storage, limit: {error}") from error
    is_bid = kind in ("bid", "interruptible")
    there = [each for each in offers if each.holder is None and each.machine_id not in offline]
    rows = [each.row(now, disk_gb=disk_gb, is_bid=is_bid) for each in there if each.disk_space >= disk_gb]
    filters = {name: conditions for name, conditions in query.items() if name not in CONTROLS}
    known = set(Offer(0, 0).row(now)).union(*rows)
    # The real service may be more patient; a misspelt field should not go unseen here.
    for name in [*filters, *(str(each[0]) for each in order)]:
        if name not in known:
            raise invalid(f"{name!r} is no field of an offer")
    found = ordered((row for row in rows if matches(row, filters)), [(each[0], each[1]) for each in order])
    return found[: limit or DEFAULT_LIMIT]
