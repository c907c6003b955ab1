"""What a turn's client and the turn server say to each other, over a socket of this user alone. Standard library alone.

One line of JSON each way, with the client's three standard files beside the first: what is to run; the child's number,
or why it is not run here; the client's "go". Without it the child ends, so that nothing runs twice where an answer is
lost. At last how the child ended.
"""

import array
import json
import os
import socket
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SOCKET = "EBBFLOW_TURN_SOCKET"
"""The variable that names it; without it every turn is a Python of its own."""
POLLER = "ebbflow.services.runner.poller"
"""What is run in the place of a flow where the runner polls between turns."""
POOL = "EBBFLOW_POOL"
"""The variable that names the work pool for whose fleets it polls."""
RUNNER = "EBBFLOW_RUNNER"
"""The variable that names the runner's process: nobody polls without one."""
MOST_PATH_BYTES = 107
"""Of a socket's path, by the kernel."""
MOST_BYTES = 4 * 1024 * 1024
"""Of a line: an environment is in it."""
PRIVATE = 0o077
"""What others must not be allowed."""


class Broken(Exception):
    """The other side has gone, or says what nobody understands."""


class Unsafe(Exception):
    """Somebody else could be behind the socket; says why."""


def check_place(path: Path) -> None:
    """See that only we can have made a socket there.

    Raises:
        Unsafe: its folder is another's, or others may write into it; or its path is too long.
    """
    if len(os.fsencode(path)) > MOST_PATH_BYTES:
        raise Unsafe(f"{path} is longer than the {MOST_PATH_BYTES} bytes that a socket's path may have")
    found = path.parent.stat()
    if found.st_uid != os.getuid() or found.st_mode & PRIVATE or not stat.S_ISDIR(found.st_mode):
        raise Unsafe(f"{path.parent} must be a folder of this user, closed to others (mode 0700)")


def check_peer(connection: socket.socket) -> None:
    """See that this user is on the other side.

    Raises:
        Unsafe: another is, or this system does not tell.
    """
    if not hasattr(socket, "SO_PEERCRED"):
        raise Unsafe("this system does not tell who is on the other side of a socket")
    pid, uid, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if uid != os.getuid():
        raise Unsafe(f"process {pid} of another user answers")


def send(connection: socket.socket, said: Mapping[str, object], files: Sequence[int] = ()) -> None:
    """One line, with files beside it.

    Raises:
        Broken: nobody takes it.
    """
    raw = json.dumps(said).encode() + b"\n"
    beside = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
    try:
        sent = connection.sendmsg([raw], beside)
        # Nothing is left as a rule, and sending nothing fails where the other side has read all, answered and gone.
        while sent < len(raw):
            sent += connection.send(raw[sent:])
    except OSError as error:
        raise Broken(str(error)) from error


def receive(connection: socket.socket, files: int = 0) -> tuple[dict[str, Any], list[int]]:
    """One line, and the files that came beside it. Any: JSON.

    Raises:
        Broken: there is none, or it is no object.
    """
    raw, came = b"", array.array("i")
    try:
        while not raw.endswith(b"\n"):
            if files and not came:
                part, beside, _, _ = connection.recvmsg(65_536, socket.CMSG_SPACE(files * came.itemsize))
                for level, kind, data in beside:
                    if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                        came.frombytes(data[: len(data) - len(data) % came.itemsize])
            else:
                # No more than this line: how a child ended may follow it at once.
                there = connection.recv(65_536, socket.MSG_PEEK)
                part = connection.recv(there.find(b"\n") + 1 or len(there) or 1)
            raw += part
            if not part or len(raw) > MOST_BYTES:
                raise Broken("the other side has gone")
        said = json.loads(raw)
    except (OSError, ValueError, Broken) as error:
        for each in came:
            os.close(each)
        raise error if isinstance(error, Broken) else Broken(str(error)) from error
    if not isinstance(said, dict):
        raise Broken("no object came")
    return said, list(came)
