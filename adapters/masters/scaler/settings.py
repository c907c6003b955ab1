"""What a person sets for a scheduler of opengris-scaler; its titles and descriptions are what the UI shows."""

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ebbflow.core.capabilities import amounts
from ebbflow.core.errors import ConfigError

ADDRESS = re.compile(r"tcp://(?P<host>[0-9.]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
STORAGE_OFFSET, MONITOR_OFFSET = 1, 2
"""Source: scaler, config/section/scheduler.py: what stands beside a scheduler is at its port and one, and two."""


MOST_AMOUNT = 2**31 - 1
Wire = Literal["2.9", "1.15"]
"""Releases of the package whose schedulers can be asked: declared counts of a worker manager, or groups one by one."""


class ScalerSettings(BaseModel):
    """A scheduler: where it is asked, where its workers join, and which Python can ask it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scheduler: str = Field(
        title="Address of the scheduler",
        description="As flows and workers reach it, for instance tcp://10.1.0.5:2345; the package takes no names of "
        "hosts. It asks nobody who they are: keep it inside your network.",
    )
    object_storage: str | None = Field(
        default=None,
        title="Address of the object storage",
        description="As workers reach it, for instance tcp://10.1.0.5:2346; empty: the scheduler's own port and one.",
    )
    monitor: str | None = Field(
        default=None,
        title="Address of the monitor",
        description="Where the scheduler tells its state; empty: its own port and two.",
    )
    wire: Wire = Field(
        default="2.9",
        title="Release of the scheduler",
        description="2.9 and what speaks as it does (worker managers), or 1.15 (worker adapters and their groups).",
    )
    python: str = Field(
        title="Python",
        description="Path of an interpreter that has opengris-scaler of the scheduler's version, which cannot be "
        "installed beside this package.",
        pattern=r"^/[^\x00-\x1f]*$",
    )
    most_workers: Annotated[
        int,
        Field(ge=1, le=100_000, title="Most workers", description="Told to the scheduler: its own policy stays below."),
    ] = 100
    capabilities: list[str] = Field(
        default=[],
        title="Capabilities",
        description="What this fleet's workers can do, all providers together, as the scheduler is told: names, or "
        "name=amount, such as gpu=4. Each worker tells what its own provider's capabilities are.",
    )
    workers_per_group: Annotated[
        int,
        Field(ge=1, le=1024, title="Processes of a worker", description="How many of the scheduler's workers are one."),
    ] = 1
    call_timeout_seconds: Annotated[
        float,
        Field(
            ge=3,
            le=60,
            title="Call timeout (seconds)",
            description="For asking the scheduler once, which gives an account of itself every second.",
        ),
    ] = 5

    @field_validator("scheduler", "object_storage", "monitor")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        if address is None:
            return None
        parts = ADDRESS.fullmatch(address)
        try:
            # What stands beside a scheduler is at the two ports above.
            is_right = parts is not None and 0 < int(parts["port"]) < 65536 - MONITOR_OFFSET
            is_right = is_right and parts is not None and bool(ip_address(parts["host"].strip("[]")))
        except ValueError:
            is_right = False
        if not is_right:
            raise ValueError(
                f"{address!r} is no address: tcp://IP:PORT would be right, a number of the host and not its name, "
                "which opengris-scaler does not take, and a port up to 65533"
            )
        return address

    @field_validator("capabilities")
    @classmethod
    def _check_capabilities(cls, words: list[str]) -> list[str]:
        try:
            whole_amounts(words)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return words

    @property
    def monitor_address(self) -> str:
        """Where the scheduler tells its state."""
        return self.monitor or self._beside(MONITOR_OFFSET)

    @property
    def object_storage_address(self) -> str:
        """Where workers get what tasks need."""
        return self.object_storage or self._beside(STORAGE_OFFSET)

    def _beside(self, offset: int) -> str:
        parts = ADDRESS.fullmatch(self.scheduler)
        assert parts is not None, "it was checked"
        return f"tcp://{parts['host']}:{int(parts['port']) + offset}"


def whole_amounts(words: Sequence[str]) -> dict[str, int]:
    """Take capabilities apart as the scheduler has them.

    Raises:
        ConfigError: names the word that is none, or has a part of one.
    """
    found = amounts(words)
    for name, amount in found.items():
        if not amount.is_integer() or not 1 <= amount <= MOST_AMOUNT:
            raise ConfigError(
                f"capability {name!r}: the scheduler takes whole amounts from 1 to {MOST_AMOUNT} alone, such as gpu=4"
            )
    return {name: int(amount) for name, amount in found.items()}
