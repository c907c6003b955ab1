"""What workers of this host print: files that they append to themselves, kept from growing without an end."""

import os
import re
from contextlib import suppress
from pathlib import Path

from ebbflow.adapters.providers.host.private_files import open_to_append, open_to_read

STDOUT, STDERR, STOP = "stdout.log", "stderr.log", "stop.log"
MAX_LOG_BYTES = 64 * 1024**2
"""One that has grown larger is cut to its end, which takes a worker that prints a megabyte a minute an hour."""
KEPT_BYTES = 4 * 1024**2
_LAST_LINE_CHARACTERS = 200


def size_of(path: Path) -> int:
    """How long a file is; nothing where there is none."""
    try:
        return os.lstat(path).st_size
    except FileNotFoundError:
        return 0


def cut(folder: Path) -> None:
    """Cut what has grown large to its end. Its writer goes on in the same file; a line of that instant may be lost."""
    for name in (STDOUT, STDERR, STOP):
        if size_of(folder / name) <= MAX_LOG_BYTES:
            continue
        with suppress(OSError), open_to_append(folder / name) as file:
            length = os.fstat(file.fileno()).st_size
            if length > MAX_LOG_BYTES:
                file.seek(length - KEPT_BYTES)
                kept = file.read(KEPT_BYTES) or b""
                file.truncate(0)
                file.write(b"[cut by Ebbflow: only the end is kept]\n" + _whole_lines(kept))


def _whole_lines(data: bytes) -> bytes:
    """Without the beginning of a line that is not there any more."""
    (_, *rest) = re.split(rb"[\r\n]", data, maxsplit=1)
    return b"".join(rest)


def tail(path: Path, max_bytes: int) -> str:
    """The end of a log; empty where there is none.

    Raises:
        OSError: it cannot be read.
    """
    try:
        with open_to_read(path) as file:
            file.seek(-min(size_of(path), max_bytes), os.SEEK_END)
            return file.read(max_bytes).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""


def last_words(path: Path) -> str:
    """The last line of a log, for the reason of a failure."""
    with suppress(OSError):
        lines = [line.strip() for line in tail(path, 4096).splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        return "".join(each if each.isprintable() else "\ufffd" for each in last[:_LAST_LINE_CHARACTERS])
    return ""
