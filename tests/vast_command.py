"""The vendor's own command, in a virtual environment of its own: it pins versions that are not ours."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from ebbflow.standins.vast.server import KEY
from tests.extra_environment import environment

NOWHERE = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Ran:
    """What a command printed. Its exit code says nothing: it is 0 after most errors."""

    stdout: str
    stderr: str

    @property
    def printed(self) -> Any:
        return json.loads(self.stdout)

    @property
    def error(self) -> dict[str, Any]:
        """The line that tells an API error."""
        return dict(next(json.loads(line) for line in self.stderr.splitlines() if line.startswith("{")))


@dataclass(frozen=True)
class VastCommand:
    program: Path
    home: Path

    async def run(self, url: str, *words: str, key: str = KEY) -> Ran:
        """Run one subcommand against a server, with no way to any other one."""
        variables = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "VASTAI_NO_UPDATE_CHECK": "1",
            # `--url` is too late for the names of GPUs, which are asked for while the command is being imported.
            "VAST_URL": url,
            "http_proxy": NOWHERE,
            "https_proxy": NOWHERE,
            "no_proxy": "127.0.0.1",
        }
        command = [str(self.program), "--url", url, "--api-key", key, "--raw", *words]
        done = await anyio.run_process(command, check=False, env=variables, stdin=subprocess.DEVNULL)
        return Ran(done.stdout.decode(), done.stderr.decode())


def installed() -> Path:
    """The command; a test that cannot have it is skipped."""
    return environment("vastai") / "vastai"
