"""Running the commands of an outside system: word lists, never a shell of ours; a clean environment; a time limit.

A prefix says where they run: nothing (here), `["sudo", "-u", "svc"]`, `["ssh", "login1"]`. What runs elsewhere gets the
same clean environment as what runs here, because the caller's own may hold keys and may change what a command does.
"""

import logging
import os
import shlex
import tempfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import IO

import anyio

log = logging.getLogger(__name__)

INHERITED = ("PATH", "HOME", "USER", "LOGNAME")
"""What a command gets of the environment of the host where it runs."""


@dataclass(frozen=True, slots=True)
class CommandAnswer:
    """What came back from one command."""

    words: tuple[str, ...]
    """The command without its prefix, as a person knows it."""
    code: int | None
    """None: it gave no exit code, because it could not be started or took too long."""
    stdout: bytes = b""
    stderr: bytes = b""
    problem: str = ""
    """Why there is no exit code."""
    was_started: bool = True

    @property
    def complaint(self) -> str:
        """All that it complained about, on one line."""
        return " ".join(self.stderr.decode("utf-8", "replace").split())

    @property
    def said(self) -> str:
        """The same for an error message: its end, as sites print banners first."""
        return self.complaint if len(self.complaint) <= 400 else f"...{self.complaint[-397:]}"

    def __str__(self) -> str:
        """Command, exit code and complaint."""
        what = f"rc={self.code}: {self.said!r}" if self.code is not None else self.problem
        return f"{self.words[0]}: {what}"


Run = Callable[[Sequence[str], bytes | None, Mapping[str, str], float], Awaitable[tuple[int, bytes, bytes]]]
"""Runs words with a stdin and an environment for so many seconds; gives exit code, stdout and stderr.

Raises `TimeoutError` after ending the process, `OSError` when it cannot be started.
"""


async def run_process(
    words: Sequence[str], stdin: bytes | None, environment: Mapping[str, str], seconds: float
) -> tuple[int, bytes, bytes]:
    """Run a process in a session of its own, so that Ctrl-C at our terminal does not cut it off half-way.

    Raises:
        TimeoutError: it took longer; it was killed.
        OSError: it could not be started.
    """
    with _as_file(stdin or b"") as given, anyio.fail_after(seconds):
        # In the root folder: our own may not exist where the command's work is done later.
        done = await anyio.run_process(
            list(words), stdin=given, check=False, env=environment, cwd="/", start_new_session=True
        )
    return done.returncode, done.stdout, done.stderr


def _as_file(data: bytes) -> IO[bytes]:
    """What a command shall read. No pipe: one that ends without reading breaks it, and it would break with us."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    file.write(data)
    file.seek(0)
    return file


class Commands:
    """Runs the commands of one system at one place.

    Args:
        prefix: words in front of every command; empty: it runs here.
        variables: what every command gets in its environment.
        run: runs a process.
    """

    def __init__(self, prefix: Sequence[str], variables: Mapping[str, str], *, run: Run = run_process) -> None:
        self._prefix = tuple(prefix)
        self._variables = dict(variables)
        self._run = run

    async def __call__(self, words: Sequence[str], *, stdin: bytes | None = None, seconds: float) -> CommandAnswer:
        """Run one command; whatever goes wrong is an answer."""
        shown = tuple(words)
        try:
            code, stdout, stderr = await self._run(
                command_line(self._prefix, self._variables, words), stdin, self._environment(), seconds
            )
        except TimeoutError:
            return CommandAnswer(shown, None, problem=f"no answer within {seconds:g} s")
        except OSError as error:
            first = self._prefix[0] if self._prefix else shown[0]
            problem = f"{first!r} could not be started: {error.strerror or error}"
            return CommandAnswer(shown, None, problem=problem, was_started=False)
        log.debug("ran %s rc=%s", shlex.join(shown), code)
        return CommandAnswer(shown, code, stdout, stderr)

    def _environment(self) -> dict[str, str]:
        # An agent of ssh is reached through a variable; what runs behind ssh does not get it.
        names = (*INHERITED, "SSH_AUTH_SOCK") if self._prefix else INHERITED
        return {name: os.environ[name] for name in names if name in os.environ} | self._variables


def command_line(prefix: Sequence[str], variables: Mapping[str, str], words: Sequence[str]) -> list[str]:
    """All words of a command at its place.

    `ssh` joins its words with blanks and gives them to a shell over there, so each is quoted for a POSIX shell, and
    `env -i` keeps what that shell's profile sets from the command. `sudo` passes words as they are and clears the
    environment by itself, so that what we set has to stand among the words.
    """
    if not prefix:
        return list(words)
    assignments = [f"{name}={value}" for name, value in variables.items()]
    if not is_ssh(prefix):
        return [*prefix, "env", *assignments, *words]
    kept = " ".join(f'{name}="${name}"' for name in INHERITED)
    return [*prefix, f"env -i {kept} {shlex.join([*assignments, *words])}"]


def is_ssh(prefix: Sequence[str]) -> bool:
    """Whether a prefix hands its words to the shell of another host."""
    return any(PurePosixPath(word).name == "ssh" for word in prefix)
