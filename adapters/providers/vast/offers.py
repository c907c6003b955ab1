"""Which offers of the market will do, and what to say when none does. Pure.

Source: vast-ai/docs, search_offers.yaml; units from the help texts of the vendor's command.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ebbflow.adapters.providers.vast.settings import VastSettings

Json = dict[str, Any]
Row = Mapping[str, Any]

MOST_OFFERS = 100
MOST_TO_EXPLAIN = 500
MB_PER_GB = 1000.0
"""As the vendor's command counts."""

_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": lambda have, want: bool(have == want),
    "gte": lambda have, want: bool(have >= want),
    "in": lambda have, want: have in want,
}


@dataclass(frozen=True, slots=True)
class Filter:
    """One condition of the block, as a search says it and as a person does."""

    words: str
    field: str
    operator: str
    value: object

    def takes(self, row: Row) -> bool:
        """Whether an offer fulfils it; a field that is not there does not."""
        have = row.get(self.field)
        if isinstance(self.value, float):
            have = number(have)
        return have is not None and _OPERATORS[self.operator](have, self.value)


@dataclass(frozen=True, slots=True)
class Offer:
    """One offer that will do."""

    id: int
    machine: str
    usd_per_hour: float
    """Of the whole worker, its disk included."""
    bid: float | None = None
    """$/h to bid for the GPU; None: on demand."""


def filters_of(settings: VastSettings) -> tuple[Filter, ...]:
    """The conditions of a block; which GPU comes first."""
    minima = (
        ("reliability", "reliability", settings.min_reliability),
        ("GPU memory in MB", "gpu_ram", settings.min_gpu_memory_gb and settings.min_gpu_memory_gb * MB_PER_GB),
        ("download in Mb/s", "inet_down", settings.min_download_mbps),
        ("upload in Mb/s", "inet_up", settings.min_upload_mbps),
        ("CUDA", "cuda_max_good", settings.min_cuda),
        ("rental time in s", "duration", settings.min_rental_hours * 3600),
        ("direct ports", "direct_port_count", None if settings.url == "none" else 1.0),
        ("disk in GB", "disk_space", settings.disk_gb),
    )
    return (
        *_gpus(settings),
        *([Filter("verified machines only", "verified", "eq", True)] if settings.verified_only else []),
        *(Filter(f"{words} >= {least:g}", name, "gte", float(least)) for words, name, least in minima if least),
    )


def _gpus(settings: VastSettings) -> tuple[Filter, ...]:
    names = [name.replace("_", " ") for name in settings.gpu_names]
    return (
        Filter(f"GPU {' or '.join(names)}", "gpu_name", "in", names),
        Filter(f"{settings.num_gpus} GPUs", "num_gpus", "eq", float(settings.num_gpus)),
    )


def search_body(settings: VastSettings, *, is_strict: bool = True) -> Json:
    """The body of a search.

    Args:
        settings: the block.
        is_strict: with all conditions; False: with those on the GPU alone, to explain why nothing was found.
    """
    filters = filters_of(settings) if is_strict else _gpus(settings)
    # What is not verified is left out by default, and the vendor's own client says so in the same way.
    conditions = {each.field: {each.operator: each.value} for each in filters if each.field != "verified"}
    verified = {"verified": {"eq": True}} if settings.verified_only and is_strict else {}
    by = ["dph_total", "asc"] if settings.order == "price" else ["dlperf_per_dphtotal", "desc"]
    return {
        **verified,
        "external": {"eq": False},
        "rentable": {"eq": True},
        **conditions,
        "order": [by],
        "type": "on-demand" if settings.rental == "on-demand" else "bid",
        "limit": MOST_OFFERS if is_strict else MOST_TO_EXPLAIN,
        "allocated_storage": settings.disk_gb,
    }


def choose(rows: Sequence[Row], settings: VastSettings, *, cap: float | None, avoid: Collection[str]) -> list[Offer]:
    """The offers that will do, best first.

    Args:
        rows: as a search returned them.
        settings: the block.
        cap: the most that a worker may cost; an unknown price is above every cap.
        avoid: machines that failed lately.
    """
    offers = (_offer(row, settings) for row in rows if _is_in_region(row, settings))
    return [
        offer
        for offer in offers
        if offer is not None and offer.machine not in avoid and (cap is None or offer.usd_per_hour <= cap)
    ]


def explain(rows: Sequence[Row], settings: VastSettings, *, cap: float | None, avoid: Collection[str]) -> str:
    """Which condition removed how many of the offers with the right GPU, in the order in which they are asked for."""
    gpus = " with ".join(each.words for each in reversed(_gpus(settings)))
    left = [row for row in rows if all(each.takes(row) for each in _gpus(settings))]
    said = [f"{len(left)} offers of {gpus}"]
    tests: list[tuple[str, Callable[[Row], bool]]] = [
        *((each.words, each.takes) for each in filters_of(settings) if each not in _gpus(settings)),
        (f"regions {', '.join(settings.regions)}", lambda row: _is_in_region(row, settings)),
        ("machines that failed lately", lambda row: str(row.get("machine_id")) not in avoid),
        ("a price that is known", lambda row: _offer(row, settings) is not None),
    ]
    if cap is not None:
        tests.append((f"at most {cap:g} USD/h", lambda row: bool(choose([row], settings, cap=cap, avoid=()))))
    for words, takes in tests:
        kept = [row for row in left if takes(row)]
        if len(kept) < len(left):
            said.append(f"{words} removed {len(left) - len(kept)}")
        left = kept
    return "; ".join(said)


def number(value: object) -> float | None:
    """A number, which may come as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except ValueError:
        return None
    return found if abs(found) < float("inf") else None


def _is_in_region(row: Row, settings: VastSettings) -> bool:
    # "City, CC"
    return not settings.regions or str(row.get("geolocation", "")).rpartition(",")[2].strip() in settings.regions


def _offer(row: Row, settings: VastSettings) -> Offer | None:
    """The offer with its price; None where that, or its id, cannot be read."""
    identity, total, base = number(row.get("id")), number(row.get("dph_total")), number(row.get("dph_base"))
    if identity is None or total is None:
        return None
    machine = str(row.get("machine_id"))
    if settings.rental == "on-demand":
        return Offer(int(identity), machine, total)
    least = number(row.get("min_bid"))
    if least is None or base is None:
        return None
    bid = round(least * settings.bid_factor, 4)
    return Offer(int(identity), machine, bid + max(0.0, total - base), bid)
