"""Asks a scheduler of opengris-scaler 1.15 once: what its policy would start or shut down, and what it works on.

Source: the package, worker_adapter/ecs.py, scheduler/controllers/worker_adapter_controller.py and entry_points/top.py;
measured on 1.15.0. One JSON object comes in on stdin, one goes out on stdout. Nothing of Ebbflow is imported: the
interpreter is another one.

A command is an offer here: it is never answered, and comes again with the next heartbeat. What the scheduler keeps as
groups is put right before the heartbeat instead, from the workers that are connected, so that it plans with what is.
"""

import json
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import zmq
from scaler.io.utility import deserialize, serialize
from scaler.protocol.python.message import (
    StateScheduler,
    WorkerAdapterCommand,
    WorkerAdapterCommandResponse,
    WorkerAdapterCommandType,
    WorkerAdapterHeartbeat,
    WorkerAdapterHeartbeatEcho,
)

COMMAND_SECONDS = 0.3
"""How long after its echo, or another command, one may come: they do within hundredths of a second."""
SUCCESS = WorkerAdapterCommandResponse.Status.Success

Json = dict[str, Any]


def main() -> None:
    """Answer what stdin asks."""
    asked = json.load(sys.stdin)
    deadline = time.monotonic() + asked["seconds"]
    context = zmq.Context()
    found: Json = {"version": version("opengris-scaler"), "is_heard": False, "commands": None}
    state = _state(context, asked["monitor"], deadline)
    if state is not None:
        found |= _account(state)
        if asked["speaks"]:
            found |= _commands(context, asked, found, deadline)
    print(json.dumps(found), flush=True)


def _state(context: Any, address: str, deadline: float) -> Any:
    """The next account of its work, which it gives once a second; None where none comes in time."""
    socket = _connected(context, zmq.SUB, address)
    socket.subscribe(b"")
    return next((message for message in _received(socket, deadline) if isinstance(message, StateScheduler)), None)


def _account(state: Any) -> Json:
    groups = state.scaling_manager.worker_groups
    return {
        "tasks": {_state_name(key): count for key, count in state.task_manager.state_to_count.items()},
        "workers": [_worker(each) for each in state.worker_manager.workers],
        "groups": {_text(group): [_text(name) for name in names] for group, names in groups.items()},
    }


def _state_name(state: Any) -> str:
    return str(state.name[:1].lower() + state.name[1:])


def _worker(status: Any) -> Json:
    return {
        "name": _text(status.worker_id),
        "sent": status.sent,
        "queued": status.queued,
        "working": sum(bool(each.has_task) for each in status.processor_statuses),
        "last_seen_seconds": status.last_s,
    }


def _commands(context: Any, asked: Json, found: Json, deadline: float) -> Json:
    """Put its groups right, and take what its policy would do; nothing where it was not heard."""
    connected = _groups_of([each["name"] for each in found["workers"]], asked["fleet"], asked["home"])
    socket = _connected(context, zmq.DEALER, asked["scheduler"], asked["identity"].encode())
    for message in _corrections(found["groups"], connected, asked):
        socket.send(serialize(message))
    heartbeat = WorkerAdapterHeartbeat.new_msg(asked["most_workers"], asked["workers_per_group"], asked["capabilities"])
    socket.send(serialize(heartbeat))
    if not any(isinstance(message, WorkerAdapterHeartbeatEcho) for message in _received(socket, deadline)):
        return {}
    commands: list[Json] = []
    while True:
        until = min(deadline, time.monotonic() + COMMAND_SECONDS)
        message = next((each for each in _received(socket, until) if isinstance(each, WorkerAdapterCommand)), None)
        if message is None:
            return {"is_heard": True, "commands": commands}
        if message.command is WorkerAdapterCommandType.StartWorkerGroup:
            commands.append({"start": dict(message.capabilities)})
        else:
            commands.append({"stop": _text(message.worker_group_id)})


def _groups_of(names: list[str], fleet: str, home: str) -> dict[str, list[str]]:
    """Workers of this fleet and home by group: `Worker|<worker id>+<home>+<capability>...|<random>`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        parts = name.split("|")
        words = parts[1].split("+") if len(parts) > 2 else []
        if len(words) > 1 and words[0].startswith(f"{fleet}-") and words[1] == home:
            groups.setdefault(f"{words[0]}+{home}", []).append(name)
    return groups


def _corrections(
    known: dict[str, list[str]], connected: dict[str, list[str]], asked: Json
) -> Iterator[WorkerAdapterCommandResponse]:
    """What tells the scheduler which groups of this fleet live: it takes answers to what it never asked, too."""
    start, stop = WorkerAdapterCommandType.StartWorkerGroup, WorkerAdapterCommandType.ShutdownWorkerGroup
    for group in known:
        is_ours = group.startswith(f"{asked['fleet']}-") and group.endswith(f"+{asked['home']}")
        if is_ours and group not in connected:
            yield WorkerAdapterCommandResponse.new_msg(group.encode(), stop, SUCCESS)
    for group, names in connected.items():
        if known.get(group) != names:
            able = dict(word.partition("=")[::2] for word in names[0].split("|")[1].split("+")[2:])
            # Whoever started it by hand may have written anything.
            capabilities = {name: int(amount) if amount.isdecimal() else 1 for name, amount in able.items()}
            yield WorkerAdapterCommandResponse.new_msg(
                group.encode(), start, SUCCESS, [name.encode() for name in names], capabilities
            )


def _text(data: Any) -> str:
    return bytes(data).decode("utf-8", "replace")


def _connected(context: Any, kind: int, address: str, identity: bytes = b"") -> Any:
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    if identity:
        socket.setsockopt(zmq.IDENTITY, identity)
    socket.connect(address)
    return socket


def _received(socket: Any, until: float) -> Iterator[Any]:
    """Messages as they come, until then."""
    while (left := until - time.monotonic()) > 0 and socket.poll(left * 1000):
        message = deserialize(socket.recv())
        if message is not None:
            yield message


if __name__ == "__main__":
    main()
