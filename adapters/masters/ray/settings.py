"""What a person sets for a Ray head; its titles and descriptions are what the UI shows."""

import re
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from ebbflow.adapters.http import base_url
from ebbflow.core.addresses import HOST_AND_PORT


class RaySettings(BaseModel):
    """A Ray head: where it is asked, where its workers join, and with which token."""

    # A wrong value may be a secret in the wrong field, so error messages do not quote it.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    address: str = Field(
        title="Address of the dashboard",
        description="As the flows reach it, for instance http://login1:8265. Whoever reaches it can run code on the "
        "cluster, unless it asks for a token.",
    )
    join_address: str = Field(
        title="Address to join",
        description="What workers are started with: host and port of the head, for instance login1:6379.",
    )
    token: SecretStr | None = Field(
        default=None,
        title="Token",
        description="Of a head that was started with RAY_AUTH_MODE=token.",
    )
    temp_folder: str = Field(
        default="/tmp",
        title="Temporary folder on workers",
        description="Each worker keeps its sockets and logs in a folder of its own below it. Absolute, 30 characters "
        "at most, since the paths of sockets may not be longer than 107.",
    )
    call_timeout_seconds: Annotated[
        float, Field(gt=0, le=60, title="Call timeout (seconds)", description="For one call to the dashboard.")
    ] = 5

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str) -> str:
        return base_url(address)

    @field_validator("join_address")
    @classmethod
    def _check_join_address(cls, address: str) -> str:
        if not HOST_AND_PORT.fullmatch(address):
            raise ValueError("join_address is host:port, for instance login1:6379, without a scheme")
        return address

    @field_validator("temp_folder")
    @classmethod
    def _check_temp_folder(cls, folder: str) -> str:
        if not re.fullmatch(r"/[A-Za-z0-9._/-]{0,29}", folder) or ".." in folder:
            raise ValueError("temp_folder is an absolute path of [A-Za-z0-9._/-], 30 characters at most, such as /tmp")
        return folder

    @field_validator("token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[!-~]+", token.get_secret_value()):
            raise ValueError("a token is one word of printable ASCII")
        return token
