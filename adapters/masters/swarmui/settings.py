"""What a person sets for a SwarmUI master; its titles and descriptions are what the UI shows."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from ebbflow.adapters.http import base_url
from ebbflow.core.addresses import check_network

_SET_ELSEWHERE = frozenset(
    {
        "authorization",
        "cookie",
        "content-type",
        "content-length",
        "transfer-encoding",
        "connection",
        "host",
        "accept-encoding",
    }
)
"""By other fields, or by the client itself."""
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class SwarmUISettings(BaseModel):
    """A SwarmUI master: where it is, how to log in, and how its workers are reached."""

    # A wrong value may be a secret in the wrong field, so error messages do not quote it.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    address: str = Field(
        title="Address",
        description="Of the SwarmUI that users talk to, for instance http://swarm.example:7801.",
    )
    token: SecretStr | None = Field(
        default=None,
        title="Master token",
        description="Value of the cookie swarm_token of an account of the master that may view, add, edit and toggle "
        "backends. Not needed where the master requires no authorization.",
    )
    worker_token: SecretStr | None = Field(
        default=None,
        title="Worker token",
        description="The same for the workers. Not needed where they require no authorization, as is usual.",
    )
    authorization_header: SecretStr | None = Field(
        default=None,
        title="Authorization header of workers",
        description="For a proxy in front of the workers, such as 'Bearer abc'. The master and Ebbflow send it.",
    )
    other_headers: dict[str, SecretStr] = Field(
        default_factory=dict,
        title="Other headers of workers",
        description="More headers for a proxy in front of the workers. SwarmUI allows no colon in their values.",
    )
    worker_networks: list[str] = Field(
        default_factory=list,
        title="Networks of workers",
        description="Where workers may be, such as 10.1.0.0/16; an address outside of them is never asked. A worker "
        "behind a proxy that wants authorization can join only from within them. Empty: anywhere but at special "
        "addresses; loopback only for workers of this machine.",
    )
    require_control_within_minutes: Annotated[
        int,
        Field(
            ge=3,
            le=1440,
            title="Dead-man's switch (minutes)",
            description="A worker ends itself when Ebbflow has not called it for this long. Longer than its start, and "
            "than any pause of the schedule that workers are to survive.",
        ),
    ] = 10
    call_timeout_seconds: Annotated[
        float,
        Field(gt=0, le=60, title="Call timeout (seconds)", description="For one call to the master or to a worker."),
    ] = 5
    connect_timeout_seconds: Annotated[
        int,
        Field(
            ge=1,
            le=600,
            title="Connect timeout (seconds)",
            description="How long the master tries to reach a worker at each attempt. How long Ebbflow does is the "
            "fleet's readiness.connect_timeout_seconds.",
        ),
    ] = 30
    other_workers: Literal["ignore", "count"] = Field(
        default="ignore",
        title="Other workers",
        description="What serves in this master beside Ebbflow's workers, such as a GPU of the master itself: count: "
        "policies count it among the workers that there are; ignore: they do not. It is shown in both cases.",
    )
    workers_by: Literal["fleet", "auto_scaling_backend"] = Field(
        default="fleet",
        title="Workers are started and ended by",
        description="fleet: by Ebbflow. auto_scaling_backend: by SwarmUI's own, whose start script is `ebbflow "
        "start-worker`; Ebbflow launches what it asks for, and ends only whom it has let go.",
    )
    allow_start_from_zero: bool = Field(
        default=False,
        title="Allow zero workers",
        description="SwarmUI fails a request that finds no backend running instead of queueing it. Switch this on only "
        "if the first requests of a wave may fail.",
    )

    def secret_texts(self) -> Iterable[str]:
        """The words of secrets, too: a server may quote the token of `Bearer TOKEN` alone."""
        return secret_texts(self)

    waiting_room: str | None = Field(
        default=None,
        title="Waiting room",
        description="Address of `ebbflow waiting-room`, which master and flows reach, for instance "
        "http://swarm.example:7860. With it requests wait while no worker serves, and the fleet's minimum may be 0.",
    )

    @field_validator("address", "waiting_room")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        return None if address is None else base_url(address)

    @model_validator(mode="after")
    def _nothing_waits_beside_a_scaler(self) -> Self:
        if self.waiting_room is not None and self.workers_by == "auto_scaling_backend":
            raise ValueError(
                "waiting_room: nothing waits in one while an auto-scaling backend is switched on; leave it out, or set "
                "workers_by to fleet and switch that backend off"
            )
        return self

    @field_validator("worker_networks")
    @classmethod
    def _check_networks(cls, networks: list[str]) -> list[str]:
        return [check_network(network) for network in networks]

    @field_validator("token", "worker_token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not re.fullmatch(r"[!-~]+", token.get_secret_value()):
            raise ValueError("a token is one word of printable ASCII")
        if token is not None and any(character in token.get_secret_value() for character in ',;:"\\'):
            raise ValueError(
                "a token cannot hold a comma, semicolon, colon, quote or backslash: it is sent as a cookie"
            )
        return token

    @field_validator("authorization_header")
    @classmethod
    def _check_authorization(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not re.fullmatch(r"[!-~]+( [!-~]+)*", value.get_secret_value()):
            raise ValueError("the header's value is printable ASCII on one line, such as 'Bearer abc'")
        return value

    @field_validator("other_headers")
    @classmethod
    def _check_other_headers(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or name.lower() in _SET_ELSEWHERE:
                raise ValueError("other_headers: a name is no header's name, or is set by another field")
            if not re.fullmatch(r"[!-9;-~]+( [!-9;-~]+)*", value.get_secret_value()):
                raise ValueError(
                    "other_headers: a value is printable ASCII on one line; SwarmUI drops one with a colon"
                )
        return headers


def master_headers(settings: SwarmUISettings) -> dict[str, str]:
    """What every call to the master carries, in plain text."""
    return _cookie(settings.token)


def worker_headers(settings: SwarmUISettings) -> dict[str, str]:
    """What every call to a worker carries, in plain text."""
    headers = {**_other_headers(settings), **_cookie(settings.worker_token)}
    if settings.authorization_header is not None:
        headers["Authorization"] = settings.authorization_header.get_secret_value()
    return headers


def backend_settings(settings: SwarmUISettings, address: str) -> dict[str, object]:
    """Every setting of the backend that the master gets for one worker, secrets in plain text.

    Source: SwarmUI src/Backends/SwarmSwarmBackend.cs, SwarmSwarmBackendSettings.
    """
    authorization = settings.authorization_header
    # One `name: value` per line. A worker that requires authorization reads its cookie only.
    others = {**_other_headers(settings), **_cookie(settings.worker_token)}
    return {
        "Address": address,
        # Without it the master never looks again: a dead worker stays `running` and keeps getting work.
        "AllowIdle": True,
        # A gate is a backend of the worker's that leads elsewhere, and would be shown as one that takes work.
        "AllowForwarding": settings.waiting_room is None,
        "AllowWebsocket": True,
        "AuthorizationHeader": "" if authorization is None else authorization.get_secret_value(),
        "OtherHeaders": "\n".join(f"{name}: {value}" for name, value in others.items()),
        "ConnectionAttemptTimeoutSeconds": settings.connect_timeout_seconds,
    }


def secret_texts(settings: SwarmUISettings) -> tuple[str, ...]:
    """Every text that must never be shown, for taking it out of what servers say."""
    given = [settings.token, settings.worker_token, settings.authorization_header, *settings.other_headers.values()]
    texts = [secret.get_secret_value() for secret in given if secret is not None]
    return (*texts, *(text.split(" ")[-1] for text in texts))


def _cookie(token: SecretStr | None) -> dict[str, str]:
    return {} if token is None else {"Cookie": f"swarm_token={token.get_secret_value()}"}


def _other_headers(settings: SwarmUISettings) -> dict[str, str]:
    return {name: value.get_secret_value() for name, value in settings.other_headers.items()}
