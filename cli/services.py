"""What a fleet's folder needs on this host besides its workers: `services.yaml`, and what of it answers.

`ebbflow up` starts what does not answer, and `ebbflow down` ends what it started. Each is a process of this host that
outlives the command, as a worker of a local provider is, and is kept and found again by the same code.
"""

import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ebbflow.cli.folders import KEPT, SERVICES_FILE, SETTINGS_FILE
from ebbflow.core.errors import ConfigError
from ebbflow.fleet.deployed import PREFECT_WORKER

RUN_TURN = "ebbflow run-turn"
RUN_TURN_HERE = shlex.join([sys.executable, "-m", "ebbflow.cli", "run-turn"])
SERVER, MASTER, WORKER = "prefect-server", "swarmui-master", "prefect-worker"


def _checked_loopback(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname != "127.0.0.1" or not parts.port or parts.path.strip("/"):
        raise ValueError("expected http://127.0.0.1:PORT: what is started here is for this host alone")
    return f"http://127.0.0.1:{parts.port}"


LoopbackUrl = Annotated[str, AfterValidator(_checked_loopback)]


class Services(BaseModel):
    """What a folder asks for; what is not named is somebody else's to run."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefect_server: LoopbackUrl | None = None
    """Where a Prefect server is to answer, with its database in the folder."""
    swarmui_master: LoopbackUrl | None = None
    """Where a stand-in of a SwarmUI master is to answer."""
    prefect_worker: Annotated[str | None, Field(pattern=r"^[a-z0-9-]+$")] = None
    """The work pool that a Prefect worker is to ask for runs."""


@dataclass(frozen=True, slots=True)
class Service:
    """One of them."""

    name: str
    what: str
    """As a person calls it, with its address."""
    command: tuple[str, ...]
    url: str = ""
    """Answers with 200 once it runs; empty where that is found out otherwise."""
    method: str = "GET"
    """How it is asked."""


def declared(folder: Path) -> Services | None:
    """What a folder's file asks for; None where there is none.

    Raises:
        ConfigError: names the field and what would be right.
    """
    path = folder / SERVICES_FILE
    try:
        # Any: YAML is what it is, and the model checks it.
        content: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Services.model_validate(content or {})
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as YAML") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "it"
        raise ConfigError(f"{path}: {where}: {first['msg'].removeprefix('Value error, ')}") from error


def check_home(folder: Path, asked: Services) -> None:
    """Refuse a folder that was moved or copied: its settings still name the old place, and with it another's history.

    Raises:
        ConfigError: says what to write.
    """
    from prefect.settings import get_current_settings

    settings, kept = get_current_settings(), folder / KEPT
    is_own = (settings.api.url or "").rstrip("/") == f"{asked.prefect_server}/api"
    if asked.prefect_server and is_own and (folder / SETTINGS_FILE).exists() and kept not in settings.home.parents:
        ours = kept / "prefect"
        raise ConfigError(
            f"{folder / SETTINGS_FILE}: home is {settings.home}, outside of this folder, as after a move or a copy: "
            f'write home = "{ours}" and profiles_path = "{ours / "profiles.toml"}" in it; a copy also needs ports of '
            "its own"
        )


def servers(services: Services, folder: Path, *, api_url: str | None) -> Iterator[Service]:
    """What must answer before anything can be deployed.

    Args:
        services: what the file asks for.
        folder: the file's, absolute.
        api_url: the Prefect server that settings name; where that is another than the file's, the file's is not needed.
    """
    if services.prefect_server and (api_url or "").rstrip("/") == f"{services.prefect_server}/api":
        what, server = f"Prefect server at {services.prefect_server}", "ebbflow.cli.prefect_server"
        command = _python(server, "server", "start", "--host", "127.0.0.1", "--port", _port(services.prefect_server))
        yield Service(SERVER, what, command, f"{services.prefect_server}/api/health")
    if services.swarmui_master:
        kept = ("--data_dir", str(folder / KEPT / "master"), "--is_new", "false")
        words = ("master", "--port", _port(services.swarmui_master), *kept)
        command = _python("ebbflow.standins.swarmui.server", *words)
        what = f"stand-in SwarmUI master at {services.swarmui_master}"
        yield Service(MASTER, what, command, f"{services.swarmui_master}/API/GetNewSession", method="POST")


def worker(services: Services, *, by_runner: bool = False) -> Service | None:
    """The Prefect worker, or the runner in its place, once its pool is there; None where the file asks for none."""
    if services.prefect_worker is None:
        return None
    if by_runner:
        runner = _python("ebbflow.cli", "runner", "--pool", services.prefect_worker, "--name", "ebbflow-up")
        return Service(WORKER, f"runner of pool {services.prefect_worker}", runner)
    words = (*PREFECT_WORKER, "--pool", services.prefect_worker, "--name", "ebbflow-up")
    return Service(WORKER, f"Prefect worker of pool {services.prefect_worker}", _python("prefect", *words))


def _python(module: str, *words: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *words)


def _port(url: str) -> str:
    return str(urlsplit(url).port)


def prefect_environment() -> Mapping[str, str]:
    """What Prefect is set to here, for processes that begin elsewhere."""
    from prefect.settings import get_current_settings

    return get_current_settings().to_environment_variables(exclude_unset=True)
