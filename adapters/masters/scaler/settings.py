"""What a person sets for a scheduler of opengris-scaler; its titles and descriptions are what the UI shows."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ebbflow.core.capabilities import amounts
from ebbflow.core.errors import ConfigError

ADDRESS = re.compile(r"tcp://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})")
MONITOR_OFFSET = 2
"""Source: scaler, where the monitor's address is made: the scheduler's port and two."""


class ScalerSettings(BaseModel):
    """A scheduler: where it is asked, where its workers join, and which Python can ask it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scheduler: str = Field(
        title="Address of the scheduler",
        description="As flows and workers reach it, for instance tcp://login1:2345. It asks nobody who they are: keep "
        "it inside your network.",
    )
    object_storage: str = Field(
        title="Address of the object storage",
        description="As workers reach it, for instance tcp://login1:2346.",
    )
    monitor: str | None = Field(
        default=None,
        title="Address of the monitor",
        description="Where the scheduler tells its state; empty: its own port and two.",
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
        description="What this fleet's workers can do, as the scheduler is told: names, or name=amount, such as gpu=4.",
    )
    call_timeout_seconds: Annotated[
        float, Field(ge=1, le=60, title="Call timeout (seconds)", description="For asking the scheduler once.")
    ] = 5

    @field_validator("scheduler", "object_storage", "monitor")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        if address is None:
            return None
        parts = ADDRESS.fullmatch(address)
        if parts is None or not 0 < int(parts["port"]) < 65536:
            raise ValueError(f"{address!r} is no address: tcp://HOST:PORT would be right")
        return address

    @field_validator("capabilities")
    @classmethod
    def _check_capabilities(cls, words: list[str]) -> list[str]:
        try:
            parts = [name for name, amount in amounts(words).items() if not amount.is_integer()]
        except ConfigError as error:
            raise ValueError(str(error)) from error
        if parts:
            raise ValueError(f"capability {parts[0]!r}: the scheduler takes whole amounts alone, such as gpu=4")
        return words

    @property
    def monitor_address(self) -> str:
        """Where the scheduler tells its state."""
        if self.monitor is not None:
            return self.monitor
        parts = ADDRESS.fullmatch(self.scheduler)
        assert parts is not None, "it was checked"
        return f"tcp://{parts['host']}:{int(parts['port']) + MONITOR_OFFSET}"
