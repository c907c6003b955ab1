"""What an operator says about a command that is a worker of this host."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ebbflow.adapters.providers.given_environment import GivenEnvironment, SecretEnvironment
from ebbflow.adapters.providers.host.settings import StateFolder
from ebbflow.adapters.providers.settings import Capabilities, UsdPerHour


class LocalSettings(BaseModel):
    """Which program a worker is, and where its records live."""

    # The environment may hold secrets, and a refused value would be quoted.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    command: Annotated[
        list[str],
        Field(
            title="Command",
            description="The worker's program and its arguments, one word each; no shell reads them. "
            "{worker_id} and {fleet} are replaced. What the master needs is appended, or stands where {arguments} is; "
            "$EBBFLOW_ARGUMENTS has it too.",
            min_length=1,
        ),
    ]
    state_folder: Annotated[
        StateFolder,
        Field(
            title="State folder",
            description="Where records and logs of the workers are kept, on a disk of this host. ~ is your home.",
        ),
    ]
    environment: Annotated[
        GivenEnvironment,
        Field(
            title="Environment",
            description="What workers get beside PATH, HOME, USER, LANG and what the master needs.",
            repr=False,
        ),
    ] = {}
    secret_environment: SecretEnvironment = {}
    capabilities: Capabilities = []
    stop_grace_seconds: Annotated[
        float,
        Field(title="Stop grace", description="Seconds between SIGTERM and SIGKILL.", ge=0, le=120),
    ] = 5.0
    usd_per_hour: UsdPerHour = None

    @field_validator("command")
    @classmethod
    def _check_command(cls, command: list[str]) -> list[str]:
        if any("\0" in word for word in command):
            raise ValueError("a word of the command holds a NUL character")
        if not command[0] or ("/" in command[0] and not command[0].startswith("/")):
            raise ValueError("the first word must be an absolute path, or a name that is found on PATH")
        return command
