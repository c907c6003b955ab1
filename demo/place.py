"""Where one demo lives: a folder, a port and a word of its own. Nothing of the user's Prefect is read or written."""

import secrets
import socket
import tempfile
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

MARK = "EBBFLOW_DEMO"
"""The environment variable that every process of a demo carries; its value is the demo's own word."""

ROOT_VARIABLE = "EBBFLOW_ROOT"
"""What prefect.yaml's pull step asks the worker for."""

PROJECT = Path(__file__).resolve().parents[1]
"""The checkout, which holds prefect.yaml."""

QUERY_SECONDS = 2
"""How often the Prefect worker asks for runs; Prefect's 10 s are long in a demo of three minutes."""


@dataclass(frozen=True, slots=True)
class Place:
    """One demo's folder, port and word."""

    folder: Path
    port: int
    word: str

    @property
    def ui_url(self) -> str:
        """Where a person looks."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        """Where programs look."""
        return f"{self.ui_url}/api"

    @property
    def workers_folder(self) -> Path:
        """The provider's state folder."""
        return self.folder / "workers"

    def log(self, name: str) -> Path:
        """What one of the demo's processes prints."""
        return self.folder / f"{name}.log"

    def environment(self, theirs: Mapping[str, str]) -> dict[str, str]:
        """What our processes get: the user's environment without its Prefect, and ours."""
        kept = {name: value for name, value in theirs.items() if not name.startswith("PREFECT_")}
        # If it is set where prefect.yaml is deployed, its value is baked into the deployments.
        kept.pop(ROOT_VARIABLE, None)
        return {
            **kept,
            MARK: self.word,
            "PREFECT_HOME": str(self.folder / "prefect"),
            "PREFECT_PROFILES_PATH": str(self.folder / "prefect" / "profiles.toml"),
            "PREFECT_API_URL": self.api_url,
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_WORKER_QUERY_SECONDS": str(QUERY_SECONDS),
            "DO_NOT_TRACK": "1",
        }


def make_place() -> Place:
    """A new temporary folder, a free loopback port, a word that no other process carries."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    return Place(Path(tempfile.mkdtemp(prefix="ebbflow-demo-")), port, secrets.token_hex(8))
