"""What a Vast block holds: whose account, which offers, and what runs in an instance.

Source: vast-ai/docs, create_instance.yaml and search_offers.yaml, for limits and units.
"""

import hashlib
from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from ebbflow.adapters.http import base_url
from ebbflow.adapters.providers.given_environment import GivenEnvironment, SecretEnvironment
from ebbflow.adapters.providers.settings import Capabilities

MAX_START = 4096
"""Characters of `onstart` and arguments together."""
Text = TypeVar("Text", str, SecretStr)
MAX_VARIABLE = 256
LONGEST_ID = 40


class VastSettings(BaseModel):
    """One account of Vast, and the instances to rent there."""

    # The environment may hold secrets, and a refused value would be quoted.
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    api_key: Annotated[
        SecretStr,
        Field(title="API key", description="Needs the rights to read and write instances, and to search offers."),
    ]
    account: Annotated[
        str,
        Field(
            title="Account",
            description="Any name for the account. With it the key can be renewed while workers live; without it the "
            "key itself stands for the account.",
            max_length=100,
        ),
    ] = ""
    address: Annotated[str, Field(title="Address", description="Of the REST API.")] = "https://console.vast.ai"
    image: Annotated[str, Field(title="Image", description="Docker image.", min_length=1, max_length=1024)]
    disk_gb: Annotated[
        float, Field(title="Disk", description="GB; can never be changed, and costs in every state.", ge=8, le=100_000)
    ] = 40.0
    start: Annotated[
        Literal["script", "image"],
        Field(
            title="Start",
            description="script: `onstart` is run by a shell in a container with ssh; our arguments come in "
            "EBBFLOW_ARGUMENTS. image: the image's own entry point runs, with `arguments` and ours.",
        ),
    ] = "script"
    onstart: Annotated[str, Field(title="Start script", description="Shell text; the machine's owner can read it.")] = (
        ""
    )
    arguments: Annotated[
        list[str],
        Field(
            title="Arguments",
            description="For the image's entry point; what the master needs is appended, or stands at {arguments}.",
        ),
    ] = []
    environment: Annotated[
        GivenEnvironment,
        Field(
            title="Environment",
            description="Beside our own EBBFLOW_ names. The machine's owner can read it: one-purpose secrets only.",
        ),
    ] = {}
    secret_environment: SecretEnvironment = {}
    template_hash_id: Annotated[
        str | None, Field(title="Template", description="Hash of a Vast template; what is set here goes before it.")
    ] = None
    image_login: Annotated[
        SecretStr | None, Field(title="Image login", description="As `docker login` takes it: -u USER -p TOKEN HOST.")
    ] = None

    gpu_names: Annotated[list[str], Field(title="GPUs", description="Any of these, such as RTX 4090.", min_length=1)]
    num_gpus: Annotated[
        int, Field(title="GPUs per worker", description="Only offers with exactly so many are taken.", ge=1, le=64)
    ] = 1
    rental: Annotated[
        Literal["on-demand", "interruptible"],
        Field(title="Rental", description="interruptible: a bid, which may be outbid at any time."),
    ] = "on-demand"
    bid_factor: Annotated[
        float,
        Field(title="Bid factor", description="A bid is so many times the lowest that would win now.", ge=1, le=10),
    ] = 1.2
    max_usd_per_hour: Annotated[
        float | None,
        Field(title="Price cap", description="The most that one worker may cost, its disk included.", gt=0, le=1000),
    ] = None
    order: Annotated[
        Literal["price", "performance"],
        Field(title="Order", description="price: the cheapest first. performance: the most DLPerf per dollar first."),
    ] = "price"
    min_reliability: Annotated[
        float, Field(title="Reliability", description="The least, as Vast measures it: 1 is always up.", ge=0, le=1)
    ] = 0.98
    min_gpu_memory_gb: Annotated[float | None, Field(title="GPU memory", description="GB per GPU.", gt=0)] = None
    min_download_mbps: Annotated[float | None, Field(title="Download", description="Mb/s.", gt=0)] = None
    min_upload_mbps: Annotated[float | None, Field(title="Upload", description="Mb/s.", gt=0)] = None
    min_cuda: Annotated[float | None, Field(title="CUDA", description="The least version of CUDA.", gt=0)] = None
    min_rental_hours: Annotated[
        float, Field(title="Rental time", description="Hours that an offer must still be there.", ge=0, le=10_000)
    ] = 24.0
    regions: Annotated[list[str], Field(title="Regions", description="Two-letter country codes; empty: anywhere.")] = []
    verified_only: Annotated[bool, Field(title="Verified machines only", description="Off: any machine.")] = True

    url: Annotated[
        Literal["port", "log", "none"],
        Field(
            title="URL",
            description="port: http://<public address>:<what `port` is mapped to>. log: the NewURL line that the "
            "worker prints. none: workers join their master by themselves, and no port is asked for.",
        ),
    ] = "port"
    port: Annotated[int, Field(title="Port", description="That the worker listens on inside.", ge=1, le=65535)] = 7801
    settle_seconds: Annotated[
        float,
        Field(
            title="Settle time",
            description="Seconds after a create without an answer until a listing without it means that it failed.",
            ge=10,
            le=3600,
        ),
    ] = 60.0
    warm_start_seconds: Annotated[
        float,
        Field(
            title="Warm start",
            description="Seconds that a stopped instance may take to get its GPU back; then it is rented out to "
            "somebody else, and another is launched.",
            ge=10,
            le=3600,
        ),
    ] = 90.0
    call_timeout_seconds: Annotated[
        float, Field(title="Call timeout", description="Seconds for one call, its pages included.", ge=5, le=120)
    ] = 30.0
    capabilities: Capabilities = []

    @field_validator("address")
    @classmethod
    def _check_address(cls, address: str) -> str:
        return base_url(address)

    @field_validator("api_key")
    @classmethod
    def _check_key(cls, key: SecretStr) -> SecretStr:
        text = key.get_secret_value()
        if not text or not text.isascii() or any(character.isspace() for character in text):
            raise ValueError("expected the key alone, without white space")
        return key

    @field_validator("regions")
    @classmethod
    def _check_regions(cls, regions: list[str]) -> list[str]:
        if wrong := [each for each in regions if len(each) != 2 or not each.isalpha() or not each.isupper()]:
            raise ValueError(f"{wrong[0]!r}: expected two-letter country codes such as NO or US")
        return regions

    @field_validator("environment", "secret_environment")
    @classmethod
    def _check_lengths(cls, environment: dict[str, Text]) -> dict[str, Text]:
        if long := sorted(name for name, value in environment.items() if len(value) > MAX_VARIABLE):
            raise ValueError(f"{long[0]} has more than {MAX_VARIABLE} characters, which Vast refuses")
        return environment

    @model_validator(mode="after")
    def _check_start(self) -> Self:
        if self.start == "script" and self.arguments:
            raise ValueError("arguments: are for start: image; write them into onstart")
        if self.start == "image" and self.onstart:
            raise ValueError("onstart: would replace the image's entry point with start: image; leave it out")
        length = len(self.onstart) + sum(len(word) for word in self.arguments)
        if length > MAX_START - LONGEST_ID:
            raise ValueError(f"onstart and arguments have {length} characters, Vast takes {MAX_START - LONGEST_ID}")
        return self

    def secret_texts(self) -> Iterable[str]:
        """The token in the image's login: `-u USER -p TOKEN HOST`, of which neither the options nor the host are."""
        words = self.image_login.get_secret_value().split() if self.image_login else []
        yield from (word for option, word in pairwise(words) if option in ("-p", "--password"))
        yield from (word.partition("=")[2] for word in words if word.startswith("--password="))

    @property
    def fingerprint(self) -> str:
        """Names the account without telling its key."""
        whose = self.account or self.api_key.get_secret_value()
        digest = hashlib.sha256(f"{self.address} {whose}".encode()).hexdigest()
        return f"vast-{digest[:12]}"
