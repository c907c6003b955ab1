"""Instances of a stand-in Vast market: what a create asks for, and the row that a listing shows.

Source: vast-ai/docs, create_instance.yaml, show_instances.yaml, docker-environment.mdx.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ebbflow.standins.vast.offers import Offer
from ebbflow.standins.vast.refusals import Json, invalid

PUBLIC_ADDRESS = "127.0.0.1"
MIN_DISK_GB = 8.0
MAX_LABEL_AT_CREATE = 256
MAX_LABEL_AT_UPDATE = 1024
MAX_IMAGE = 1024
MAX_VARIABLE = 256
MAX_ENVIRONMENT = 32768
MAX_START = 4096
MAX_PORTS = 64
PRICES_USD_PER_HOUR = (0.001, 128.0)
PORT = re.compile(r"-p\s+(\d+):(\d+)(?:/(tcp|udp))?")


@dataclass(frozen=True, slots=True)
class RentalRequest:
    """A create as it was asked for, with every limit checked."""

    image: str
    disk_gb: float
    label: str | None
    environment: dict[str, str]
    """As sent: variables and `-p` options."""
    onstart: str
    arguments: tuple[str, ...]
    runtype: str
    price: float | None
    """$/h that is bid; None: on demand."""
    is_wanted_running: bool
    cancels_if_unavailable: bool
    template_hash_id: str | None

    @property
    def keeps_entry_point(self) -> bool:
        """Whether the image's own program runs, not ssh or jupyter."""
        return self.runtype == "args"

    @property
    def variables(self) -> dict[str, str]:
        """What the container gets, without the options."""
        return {name: value for name, value in self.environment.items() if not name.startswith("-")}

    @property
    def ports(self) -> tuple[tuple[int, str], ...]:
        """Each internal port with its protocol."""
        found = (PORT.fullmatch(name.strip()) for name in self.environment)
        return tuple((int(each[2]), each[3] or "tcp") for each in found if each)


def read_launch(body: Json, templates: Mapping[str, Json]) -> RentalRequest:
    """Read the body of a create.

    Raises:
        Refused: 400, with what is wrong.
    """
    template = templates.get(str(body.get("template_hash_id")), {})
    whole = {**template, **{name: value for name, value in body.items() if value is not None}}
    environment = _environment(template.get("env")) | _environment(body.get("env"))
    label, price = whole.get("label"), whole.get("price")
    disk_gb = _number(whole, "disk", MIN_DISK_GB)
    if not whole.get("image") or len(str(whole["image"])) > MAX_IMAGE:
        raise invalid(f"image: a name of at most {MAX_IMAGE} characters")
    if disk_gb < MIN_DISK_GB:
        raise invalid(f"disk: {disk_gb:g} is below {MIN_DISK_GB:g} GB")
    check_label(label, MAX_LABEL_AT_CREATE)
    arguments = whole.get("args") or []
    if not isinstance(arguments, list):
        raise invalid("args: a list of text")
    start = f"{whole.get('onstart', '')}{''.join(map(str, arguments))}{whole.get('args_str', '')}"
    if len(start) > MAX_START:
        raise invalid(f"onstart and args: {len(start)} characters are more than {MAX_START}")
    if whole.get("target_state", "running") not in ("running", "stopped"):
        raise invalid("target_state: neither running nor stopped")
    launch = RentalRequest(
        image=str(whole["image"]),
        disk_gb=disk_gb,
        label=label,
        environment=environment,
        onstart=str(whole.get("onstart", "")),
        arguments=tuple(map(str, arguments)),
        runtype=str(whole.get("runtype", "ssh_proxy")),
        price=None if price is None else read_price(price),
        is_wanted_running=whole.get("target_state", "running") == "running",
        cancels_if_unavailable=bool(whole.get("cancel_unavail", price is None)),
        template_hash_id=whole.get("template_hash_id"),
    )
    if len(launch.ports) > MAX_PORTS:
        raise invalid(f"env: more than {MAX_PORTS} ports")
    return launch


def check_label(label: object, most: int) -> None:
    """Refuse what is no label, or too long for one."""
    if label is not None and not isinstance(label, str):
        raise invalid("label: a text or null")
    if label is not None and len(label) > most:
        raise invalid(f"label: more than {most} characters", "label_too_long")


def read_price(price: object) -> float:
    """A bid, $/h.

    Raises:
        Refused: 400 `invalid_price`.
    """
    lowest, highest = PRICES_USD_PER_HOUR
    try:
        found = float(str(price))
    except ValueError as error:
        raise invalid(f"price: {price!r} is no number", "invalid_price") from error
    if not lowest <= found <= highest:
        raise invalid(f"price: {found:g} is not within {lowest:g}..{highest:g}", "invalid_price")
    return found


def _environment(given: object) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise invalid("env: an object of names and values")
    environment = {str(name): str(value) for name, value in given.items()}
    if any(len(text) > MAX_VARIABLE for pair in environment.items() for text in pair):
        raise invalid(f"env: a name or value of more than {MAX_VARIABLE} characters")
    if sum(len(name) + len(value) for name, value in environment.items()) > MAX_ENVIRONMENT:
        raise invalid(f"env: more than {MAX_ENVIRONMENT} characters in total")
    return environment


def _number(body: Json, name: str, default: float) -> float:
    try:
        return float(body.get(name, default))
    except (TypeError, ValueError) as error:
        raise invalid(f"{name}: {body.get(name)!r} is no number") from error


@dataclass(eq=False)
class RentedInstance:
    """One rented machine, from its create to its destroy."""

    id: int
    offer: Offer
    launch: RentalRequest
    key: str
    started_at: float
    """Epoch seconds of its create."""
    label: str | None
    price: float | None
    """The bid; None: on demand."""
    intended_status: str = "running"
    actual_status: str | None = None
    status_msg: str | None = None
    ports: dict[tuple[int, str], int] = field(default_factory=dict)
    """The external port of each internal one, while its program runs."""
    hidden_reads: int = 0
    """Listings that do not show it yet."""
    is_started: bool = False
    """Has the GPU, and boots or runs."""
    fields: Json = field(default_factory=dict)
    """What the row says instead, whatever is true: for null labels, unknown statuses and the like."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_bid(self) -> bool:
        """Whether it is interruptible."""
        return self.price is not None

    def row(self, now: float, *, is_offline: bool) -> Json:
        """The instance as a listing shows it; a stopped one costs its storage only."""
        offer, launch = self.offer, self.launch
        storage = offer.storage_usd_per_hour(launch.disk_gb)
        base = offer.dph_base if self.price is None else self.price
        # "offline" is computed, not stored.
        status = "offline" if is_offline else self.actual_status
        state = "running" if self.is_started else "stopped"
        published = {
            f"{port}/{protocol}": [{"HostIp": "0.0.0.0", "HostPort": str(external)}]
            for (port, protocol), external in self.ports.items()
        }
        return {
            "id": self.id,
            "machine_id": offer.machine_id,
            "host_id": offer.host_id,
            "num_gpus": offer.num_gpus,
            "actual_status": status,
            "intended_status": self.intended_status,
            "cur_state": state,
            "next_state": self.intended_status,
            "status_msg": self.status_msg,
            "label": self.label,
            "public_ipaddr": f"{PUBLIC_ADDRESS}\n",
            "ports": published if status == "running" else None,
            "ssh_host": "ssh.invalid",
            "ssh_port": 10000 + self.id % 50000,
            "start_date": self.started_at,
            "end_date": self.started_at + offer.duration,
            "duration": offer.duration - (now - self.started_at),
            "extra_env": [[name, value] for name, value in launch.environment.items()],
            "image_uuid": launch.image,
            "image_runtype": launch.runtype,
            "image_args": list(launch.arguments),
            "onstart": launch.onstart or None,
            "template_id": None,
            "template_hash_id": launch.template_hash_id,
            "jupyter_token": f"stand-in-jupyter-{self.id}",
            "instance_api_key": self.key,
            "dph_base": base,
            "dph_total": (base if self.is_started else 0.0) + storage,
            "is_bid": self.is_bid,
            "min_bid": offer.min_bid,
            "gpu_name": offer.gpu_name,
            "gpu_ram": offer.gpu_ram,
            "gpu_util": 0.0 if status == "running" else None,
            "gpu_temp": 40.0 if status == "running" else None,
            "disk_space": launch.disk_gb,
            "disk_usage": 1.0,
            "storage_cost": offer.storage_cost,
            "verification": "verified" if offer.verified else "unverified",
            **self.fields,
        }
