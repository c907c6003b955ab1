"""What an operator sets for the service: `hypha.yaml`. Secrets come from the environment, never from the file."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError

from ebbflow.adapters.http import base_url
from ebbflow.adapters.redaction import is_plain
from ebbflow.core.errors import ConfigError

HYPHA_TOKEN, RAY_TOKEN = "EBBFLOW_HYPHA_TOKEN", "RAY_AUTH_TOKEN"
PREFECT_KEY, PREFECT_LOGIN = "PREFECT_API_KEY", "PREFECT_API_AUTH_STRING"
KINDS = ("user", "email", "workspace")
_WHO = re.compile(rf"(?:{'|'.join(KINDS)}):[!-~]{{1,200}}")
_ADDRESS = re.compile(r"(?:[a-z]{1,15}:)?[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_WORD = r"^[a-z][a-z0-9-]{0,38}[a-z0-9]$"
_TOKEN = re.compile(r"[!-~]+")
RAY_KEYS = ("config", "conda", "env_vars", "image_uri", "pip", "py_modules", "uv", "working_dir")
"""Of a runtime environment, what an operator may allow."""


def _who(text: str) -> str:
    if not _WHO.fullmatch(text):
        # Only what can be no secret is quoted: what somebody put into the wrong field may be one.
        shown = f", not {text!r}" if is_plain(text) or _ADDRESS.fullmatch(text) else ""
        raise ValueError(f"expected user:ID, email:ADDRESS or workspace:NAME{shown}")
    return text


def _key(text: str) -> str:
    if text not in RAY_KEYS:
        raise ValueError(f"expected one of {', '.join(RAY_KEYS)}")
    return text


Url = Annotated[str, AfterValidator(base_url)]
Who = Annotated[str, AfterValidator(_who)]
Hours = Annotated[float, Field(gt=0, le=24 * 365)]


class Limits(BaseModel):
    """How much everybody may have."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    most_running: Annotated[int, Field(ge=1, le=1000)] = 8
    """Jobs that are at Ray at once, of all users together; the others wait here, and are taken in turn."""
    most_running_per_user: Annotated[int, Field(ge=1, le=1000)] | None = None
    """None: as many as there are for all."""
    most_waiting_per_user: Annotated[int, Field(ge=1, le=10_000)] = 100
    most_waiting: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    """Of all users together."""
    most_job_hours: Hours = 24
    """From its beginning at Ray; a job that goes on for longer is stopped."""
    most_result_bytes: Annotated[int, Field(ge=1, le=16_000_000)] = 1_000_000
    """Of what a job has printed."""
    keep_hours: Hours = 72
    """A result, from the end of its job."""
    most_calls_per_minute: Annotated[int, Field(ge=1, le=1_000_000)] = 6_000
    """Of one caller."""


class Settings(BaseModel):
    """The file."""

    # A wrong value may be a secret in the wrong field, so error messages do not quote it.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)

    hypha: Url
    """Of the server, for instance https://hypha.example."""
    workspace: Annotated[str, Field(pattern=r"^[!-.0-~]{1,100}$")] | None = None
    """Where the service is registered; None: the token's own."""
    service: Annotated[str, Field(pattern=_WORD)] = "ebbflow"
    ray: Url
    """Of the head's dashboard, for instance http://login1:8265."""
    fleet: Annotated[str, Field(pattern=_WORD)] | None = None
    """Whose workers serve the head; its history has the audit lines, and `why` tells its last decision."""
    prefect: Url | None = None
    """The API of the Prefect server, for instance http://prefect.example:4200/api; None: no history there."""
    allow: tuple[Who, ...] = ()
    """Who may submit: `user:ID`, `email:ADDRESS`, `workspace:NAME`. Nobody without an account, ever."""
    admins: tuple[Who, ...] = ()
    """Who may also see and cancel what others have submitted."""
    runtime_env: tuple[Annotated[str, AfterValidator(_key)], ...] = ("env_vars",)
    """What of Ray's runtime environment a submission may set."""
    driver_cpus: Annotated[float, Field(ge=0, le=1024)] = 1
    """What a job's entrypoint itself takes. 0 runs it on the head, as the head's user."""
    limits: Limits = Limits()
    state_folder: Path = Path(".ebbflow-hypha")
    """Queue, owners, results and the audit file; of this user alone."""
    interval_seconds: Annotated[float, Field(gt=0, le=60)] = 2
    """Between two looks at the head."""
    call_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10
    token_file: Path | None = None
    """Holds the token of the Hypha server, and is read again when that ends; else EBBFLOW_HYPHA_TOKEN holds it."""
    token_hours: Hours = 24
    """How long a token lives that the service gets for itself before its own ends."""


def read_settings(path: Path) -> Settings:
    """The file of an operator; paths in it are meant from where it lies.

    Raises:
        ConfigError: names the field and what would be right.
    """
    try:
        # Any: YAML is what it is, and the model checks it.
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        found = Settings.model_validate(content or {})
    except FileNotFoundError as error:
        raise ConfigError(f"there is no {path}: docs/hypha.md has one to begin with") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        # Only where: what stands there may be a secret that somebody put into the wrong place.
        mark = getattr(error, "problem_mark", None)
        where = f", from line {mark.line + 1} on" if mark is not None else ""
        raise ConfigError(f"{path} cannot be read as YAML{where}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise ConfigError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from error
    if not found.allow and not found.admins:
        raise ConfigError(f"{path}: allow: nobody may submit anything; name somebody, such as email:ada@example.org")
    if (found.fleet is None) != (found.prefect is None):
        missing = "fleet" if found.fleet is None else "prefect"
        raise ConfigError(f"{path}: {missing}: fleet and prefect go together: name both, or none")
    here = path.resolve().parent
    given = {"state_folder": here / found.state_folder.expanduser()}
    if found.token_file is not None:
        given["token_file"] = here / found.token_file.expanduser()
    return found.model_copy(update=given)


def prefect_authorization(environment: Mapping[str, str]) -> SecretStr | None:
    """What a Prefect server is shown, by the names that Prefect itself reads; None where neither is set."""
    if (key := secret_of(environment, PREFECT_KEY)) is not None:
        return SecretStr(f"Bearer {key.get_secret_value()}")
    if (login := secret_of(environment, PREFECT_LOGIN)) is not None:
        return SecretStr(f"Basic {base64.b64encode(login.get_secret_value().encode()).decode()}")
    return None


def secret_of(environment: Mapping[str, str], name: str) -> SecretStr | None:
    """A secret of the environment; None where it is not set.

    Raises:
        ConfigError: it is no token.
    """
    text = environment.get(name, "").strip()
    if not text:
        return None
    if not _TOKEN.fullmatch(text):
        raise ConfigError(f"{name}: a token is one word of printable ASCII")
    return SecretStr(text)
