"""Asks a scheduler of opengris-scaler 2.9 once: what it wants of one worker manager, and what it works on.

Source: the package, worker_manager/runner.py and entry_points/top.py; measured on 2.9.0. One JSON object comes in on
stdin, one goes out on stdout. Nothing of Ebbflow is imported: the interpreter is another one.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from scaler.io.utility import deserialize, serialize
from scaler.io.ymq import Bytes, ConnectorSocket, IOContext
from scaler.protocol.capnp import (
    StateScheduler,
    TaskState,
    WorkerManagerCommand,
    WorkerManagerHeartbeat,
    WorkerManagerHeartbeatEcho,
)
from scaler.protocol.helpers import dict_to_capabilities

ECHO_SECONDS = 1.0
"""It comes within hundredths of a second, or a second manager of this id speaks, and none does."""
COMMAND_SECONDS = 0.5
"""How long after its echo a command may come: it does within hundredths of a second, or the policy gives none."""

Json = dict[str, Any]


def main() -> None:
    """Answer what stdin asks."""
    asked = json.load(sys.stdin)
    deadline = time.monotonic() + asked["seconds"]
    context = IOContext(1)
    wanted = _wanted(context, asked, deadline) if asked["speaks"] else {}
    state = _state(context, asked, deadline)
    print(json.dumps({"version": version("opengris-scaler"), **wanted, **state}), flush=True)


def _wanted(context: IOContext, asked: Json, deadline: float) -> Json:
    """What the scheduler's policy wants of this manager; None: it has no opinion, or does not hear us."""
    is_heard, wanted, until = False, None, min(deadline, time.monotonic() + ECHO_SECONDS)
    with _not_closed(), _connected(context, asked["identity"], asked["scheduler"]) as socket:
        heartbeat = WorkerManagerHeartbeat(
            maxTaskConcurrency=asked["most_workers"] * asked["workers_per_group"],
            capabilities=dict_to_capabilities(asked["capabilities"]),
            workerManagerID=asked["manager_id"].encode(),
        )
        socket.send_message_sync(Bytes(serialize(heartbeat)))
        while (message := _received(socket, until)) is not None:
            if isinstance(message, WorkerManagerHeartbeatEcho):
                is_heard, until = True, min(deadline, time.monotonic() + COMMAND_SECONDS)
            elif isinstance(message, WorkerManagerCommand):
                wanted = [_request(each) for each in message.setDesiredTaskConcurrencyRequests]
            if is_heard and wanted is not None:
                break
    return {"is_heard": is_heard, "wanted": wanted}


def _request(request: Any) -> Json:
    return {"capabilities": {each.name: each.value for each in request.capabilities}, "count": request.taskConcurrency}


def _state(context: IOContext, asked: Json, deadline: float) -> Json:
    """The next account of its work, which it gives once a second; empty where none comes in time."""
    with _connected(context, f"{asked['identity']}-{uuid4().hex}", asked["monitor"]) as socket:
        while (message := _received(socket, deadline)) is not None:
            if isinstance(message, StateScheduler):
                return {
                    "tasks": {TaskState(each.state).name: each.count for each in message.taskManager.stateToCount},
                    "workers": [_worker(each) for each in message.workerManager.workers],
                    "managers": {
                        _text(each.workerManagerID): [_text(name) for name in each.workerIDs]
                        for each in message.scalingManager.managedWorkers
                    },
                }
    return {}


def _worker(status: Any) -> Json:
    return {
        "name": _text(status.workerId),
        "sent": status.sent,
        "queued": status.queued,
        "working": sum(each.hasTask for each in status.processorStatuses),
        "last_seen_seconds": status.lastSeenSeconds,
    }


def _text(data: Any) -> str:
    return bytes(data).decode("utf-8", "replace")


@contextmanager
def _not_closed() -> Iterator[None]:
    """Whoever speaks under the same identity meanwhile makes the scheduler close the older connection."""
    try:
        yield
    except Exception as error:
        if "ClosedByRemoteEnd" not in type(error).__name__:
            raise


@contextmanager
def _connected(context: IOContext, identity: str, address: str) -> Iterator[ConnectorSocket]:
    socket = ConnectorSocket.connect(context, identity, address)
    try:
        yield socket
    finally:
        socket.shutdown()


def _received(socket: ConnectorSocket, until: float) -> Any:
    """The next message; None where none comes in time."""
    while (left := until - time.monotonic()) > 0:
        try:
            data = socket.recv_message_sync(timeout=left).payload.data
        except TimeoutError:
            return None
        if data is not None and (message := deserialize(data)) is not None:
            return message
    return None


if __name__ == "__main__":
    main()
