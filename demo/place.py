"""Where one demo lives: a folder, a port and a word of its own. Nothing of the user's Prefect is read or written."""

import json
import secrets
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebbflow.standins.process import free_port

MARK = "EBBFLOW_DEMO"
"""The environment variable that every process of a demo carries; its value is the demo's own word."""

KEPT_FILE = "kept.json"

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

    def keep(self, provider: str) -> None:
        """Leave word in the folder, so that somebody can come back to it and end what is there."""
        kept = {"port": self.port, "word": self.word, "provider": provider}
        (self.folder / KEPT_FILE).write_text(json.dumps(kept), encoding="utf-8")


def kept_place(folder: Path) -> tuple[Place, Any]:
    """The place of a demo that was left alive, and what starts its workers.

    Any: argparse, which gives that elsewhere, knows no better.

    Raises:
        ValueError: none was left in this folder.
    """
    try:
        kept = json.loads((folder / KEPT_FILE).read_text(encoding="utf-8"))
        return Place(folder.resolve(), int(kept["port"]), str(kept["word"])), str(kept["provider"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{folder} holds no demo that was left alive: KEEP=1 make demo names its folder") from error


def make_place() -> Place:
    """A new temporary folder, a free loopback port, a word that no other process carries."""
    return Place(Path(tempfile.mkdtemp(prefix="ebbflow-demo-")), free_port(), secrets.token_hex(8))
