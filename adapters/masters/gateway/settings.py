"""What a person sets for the gateway; its titles and descriptions are what the UI shows."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from ebbflow.adapters.http import base_url
from ebbflow.core.addresses import check_network
from ebbflow.gateway.wire import ENDPOINT, LEAST_LETTERS


class PlainServers(BaseModel):
    """Workers that are model servers as they come, and report nothing: the gateway looks at them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    kind: Annotated[
        str,
        Field(
            min_length=1,
            max_length=40,
            title="Kind",
            description="Which server: vllm, sglang, tgi, tei, llamacpp, ollama, comfyui, triton, litserve, rayserve, "
            "infinity or bentoml.",
        ),
    ]
    model: Annotated[
        str,
        Field(max_length=300, title="Model", description="As the server's answers name it; empty: whichever it has."),
    ] = ""
    api_key: SecretStr = Field(
        default=SecretStr(""),
        title="Its key",
        description="That the server wants with every request; empty: none. Clients bring their own: the gateway hands "
        "it to nobody.",
    )
    prompt: Annotated[
        str,
        Field(
            max_length=100_000,
            title="Test prompt",
            description="A worker serves once this was answered: a text, or the JSON body that the server takes. Empty:"
            " the kind's own, where it has one.",
        ),
    ] = ""
    prompt_path: Annotated[
        str,
        Field(
            max_length=300,
            title="Path of the test prompt",
            description="Where only you know it, such as /predict; empty: the kind's own.",
        ),
    ] = ""
    metrics_port: (
        Annotated[
            int,
            Field(
                ge=1,
                le=65_535,
                title="Port of its figures",
                description="Where that is not the port of its address: Triton, Ray Serve.",
            ),
        ]
        | None
    ) = None
    units_per_second: Annotated[
        float,
        Field(
            gt=0,
            le=1e12,
            title="Units of work a second",
            description="What one server does, in the units in which clients say the cost of a request.",
        ),
    ] = 1.0
    loading_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=86_400,
            title="Loading time (seconds)",
            description="Refused, silent and not ready mean that it loads, for so long; after it, it is broken and "
            "replaced.",
        ),
    ] = 1800.0
    request_seconds: Annotated[
        float,
        Field(
            ge=1,
            le=86_400,
            title="Longest request (seconds)",
            description="A request of which neither its client nor the server tells that it is done counts for so "
            "long.",
        ),
    ] = 600.0


class GatewaySettings(BaseModel):
    """A gateway: where it is asked, where its workers report, and with which secrets."""

    # A wrong value may be a secret in the wrong field, so error messages do not quote it.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    address: str = Field(
        title="Address",
        description="As the flows reach the gateway, for instance http://login1:7870.",
    )
    report_address: str | None = Field(
        default=None,
        title="Address for workers",
        description="As workers reach it, where that is another; REPORT_ADDR of their software.",
    )
    endpoint: str = Field(
        title="Endpoint",
        description="What its clients name, and this fleet serves; `ebbflow endpoint` makes it.",
    )
    operator_key: SecretStr = Field(title="Operator's key", description="EBBFLOW_GATEWAY_OPERATOR_KEY of the gateway.")
    worker_secret: SecretStr = Field(
        title="Secret of workers' tokens",
        description="EBBFLOW_GATEWAY_WORKER_SECRET of the gateway: each worker's token is made of its id with it.",
    )
    lease_seconds: Annotated[
        float,
        Field(
            ge=60,
            le=86_400,
            title="Lease (seconds)",
            description="Clients are sent to a worker for so long after a turn has last looked after it; every turn "
            "renews it. Longer than any pause of turns that must be survived.",
        ),
    ] = 1800
    restart_seconds: Annotated[
        float,
        Field(
            ge=0,
            le=3600,
            title="Time to start anew (seconds)",
            description="A worker that reports an error is sent nobody from then on, and has so long to start itself "
            "anew, once, as start.sh of deployments/vast-model-server does. After that, or at its next error, it is "
            "replaced. 0: replaced at once.",
        ),
    ] = 180
    plain_servers: PlainServers | None = Field(
        default=None,
        title="Plain model servers",
        description="Set it where workers are model servers that report nothing; without it they run Vast's worker "
        "software, which reports.",
    )
    worker_networks: list[str] = Field(
        default_factory=list,
        title="Networks of workers",
        description="Where workers may be, such as 10.1.0.0/16: clients are sent nowhere else. Empty: anywhere but at "
        "special addresses; loopback only for workers of this machine.",
    )
    call_timeout_seconds: Annotated[
        float, Field(gt=0, le=60, title="Call timeout (seconds)", description="For one call to the gateway.")
    ] = 5

    @field_validator("address", "report_address")
    @classmethod
    def _check_address(cls, address: str | None) -> str | None:
        return None if address is None else base_url(address)

    @field_validator("worker_networks")
    @classmethod
    def _check_networks(cls, networks: list[str]) -> list[str]:
        return [check_network(network) for network in networks]

    @field_validator("endpoint")
    @classmethod
    def _check_endpoint(cls, endpoint: str) -> str:
        if not ENDPOINT.fullmatch(endpoint):
            raise ValueError("endpoint is 1 to 40 of [A-Za-z0-9_.-], for instance llama-70b")
        return endpoint

    @field_validator("operator_key", "worker_secret")
    @classmethod
    def _check_secret(cls, secret: SecretStr) -> SecretStr:
        if len(secret.get_secret_value()) < LEAST_LETTERS:
            raise ValueError(f"at least {LEAST_LETTERS} letters are needed, as the gateway's own")
        return secret
