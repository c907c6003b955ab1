"""What an operator says about a launch script."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from ebbflow.adapters.launch_output import MAX_LINE_BYTES, MAX_RETRIES
from ebbflow.adapters.providers.given_environment import GivenEnvironment, SecretEnvironment
from ebbflow.adapters.providers.host.records import MAX_OUTPUT_BYTES
from ebbflow.adapters.providers.host.settings import StateFolder
from ebbflow.adapters.providers.settings import Capabilities, UsdPerHour


class LaunchScriptSettings(BaseModel):
    """Which script launches a worker, how long it is waited for, and how its worker is ended.

    Source of the protocol: SwarmUI docs/Features/AutoScalingBackend.md, "Configure a launch script".
    """

    # The environment may hold secrets, and a refused value would be quoted.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    script: Annotated[
        Path,
        Field(
            title="Script",
            description="Absolute path of an executable that starts one worker and prints its NewURL. It gets no "
            "arguments and runs in its own folder, as SwarmUI runs it.",
        ),
    ]
    state_folder: Annotated[
        StateFolder,
        Field(
            title="State folder",
            description="Where records and logs of the workers are kept, on a disk of this host, for this block "
            "alone. ~ is your home.",
        ),
    ]
    environment: Annotated[
        GivenEnvironment,
        Field(
            title="Environment",
            description="What scripts get beside PATH, HOME, USER, LANG and our own EBBFLOW_ names.",
            repr=False,
        ),
    ] = {}
    secret_environment: SecretEnvironment = {}
    url_timeout_seconds: Annotated[
        float,
        Field(title="URL timeout", description="Seconds a script may take to print NewURL.", ge=1, le=86_400),
    ] = 600.0
    kill_grace_seconds: Annotated[
        float,
        Field(
            title="Kill grace",
            description="Seconds between SIGTERM and SIGKILL, and for a script that declared failure to end by itself.",
            ge=0,
            le=600,
        ),
    ] = 10.0
    max_retries: Annotated[
        int,
        Field(title="Most retries", description="A larger DoRetries is cut to this.", ge=0, le=10_000),
    ] = MAX_RETRIES
    max_line_bytes: Annotated[
        int,
        Field(title="Longest line", description="In bytes; a longer line is no message.", ge=256, le=16 * 1024**2),
    ] = MAX_LINE_BYTES
    max_log_bytes: Annotated[
        int,
        Field(
            title="Most output",
            description="How many bytes of stdout are searched for NewURL; the rest is only kept.",
            ge=1024,
            le=1024**3,
        ),
    ] = MAX_OUTPUT_BYTES
    lives_while: Annotated[
        Literal["url", "script"],
        Field(
            title="Worker lives while",
            description="url: until it is terminated, whether its script has exited or not, as SwarmUI has it (fits "
            "sbatch, docker run -d, and all others). script: only as long as its script or what that started here "
            "runs (srun or ssh in the foreground): its end is then seen at once.",
        ),
    ] = "url"
    shutdown_wait_seconds: Annotated[
        float,
        Field(
            title="Shutdown wait",
            description="Seconds a worker that was asked to shut down gets to end by itself, before anything else "
            "is done about its script.",
            ge=0,
            le=3600,
        ),
    ] = 15.0
    stop_script: Annotated[
        Path | None,
        Field(
            title="Stop script",
            description="Absolute path of an executable that makes sure that a worker is gone; arguments: worker id "
            "and URL (empty if it never had one). Exit code 0 means gone, also if it was before; anything else is "
            "shown and tried again.",
        ),
    ] = None
    stop_timeout_seconds: Annotated[
        float,
        Field(title="Stop timeout", description="Seconds the stop script may take.", gt=0, le=3600),
    ] = 60.0
    usd_per_hour: UsdPerHour = None
    capabilities: Capabilities = []

    @field_validator("script", "stop_script")
    @classmethod
    def _check_script(cls, script: Path | None) -> Path | None:
        if script is not None and (not script.is_absolute() or "\0" in str(script)):
            raise ValueError("must be an absolute path")
        return script
