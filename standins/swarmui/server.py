"""Run a stand-in SwarmUI master or worker as a process of its own.

`python -m ebbflow.standins.swarmui.server master --data_dir D`, or `... worker`.
Source of the line that a worker prints: SwarmUI docs/Features/AutoScalingBackend.md, "Configure a launch script".
"""

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ebbflow.standins.clock import Clock, RealClock
from ebbflow.standins.faults import Fault, FaultKind
from ebbflow.standins.http import serve
from ebbflow.standins.swarmui.http import KILLED, SwarmApi
from ebbflow.standins.swarmui.load import BackendState
from ebbflow.standins.swarmui.sessions import Access

if TYPE_CHECKING:
    from ebbflow.standins.swarmui.auto_scaling import ScalingSettings

MODELS = ("sdxl.safetensors", "flux.safetensors")


class PlayedServer(Protocol):
    """A master or a worker."""

    app: SwarmApi
    clock: Clock

    def live(self) -> AbstractAsyncContextManager[None]:
        """Run the instance's own tasks."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, or until the instance ends by itself."""
    options = _parser().parse_args(arguments)
    instance = _master(options) if options.mode == "master" else _worker(options)
    return asyncio.run(_run(instance, options))


async def _run(instance: PlayedServer, options: argparse.Namespace) -> int:
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    async with instance.live():
        # The process exists, and its dead man's switch runs, before it listens.
        started = instance.clock.sleep(options.start_seconds)
        if await _first(started, told_to_end.wait(), instance.app.ended.wait()) == 0:
            async with serve(instance.app, port=options.port, host=options.host) as url:
                _announce(options, url)
                await _first(told_to_end.wait(), instance.app.ended.wait())
                if instance.app.exit_code == KILLED:
                    os._exit(KILLED)  # a killed process runs no clean-up
    return instance.app.exit_code


async def _first(*work: Coroutine[object, object, object]) -> int:
    """Return the index of what ends first, and cancel the rest."""
    tasks = [asyncio.ensure_future(one) for one in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        return next(index for index, task in enumerate(tasks) if task.done())
    finally:
        for task in tasks:
            task.cancel()


def _announce(options: argparse.Namespace, url: str) -> None:
    if options.mode == "master":
        print(f"listening on {url}", flush=True)
    elif not options.never_announce:
        print(f"[SwarmAutoScaleBackend]NewURL: {options.announce_url or url}[/SwarmAutoScaleBackend]", flush=True)


def _master(options: argparse.Namespace) -> PlayedServer:
    # Imported here because only a master needs an HTTP client, which a worker's start would pay for.
    from ebbflow.standins.swarmui.master import MasterSettings, PlayedMaster

    settings = MasterSettings(
        data_dir=options.data_dir,
        save_delay_seconds=options.save_delay_seconds,
        is_new=options.is_new,
        websocket_seconds=options.websocket_seconds,
        keeps_sessions=not options.no_persist,
        models=options.models,
        max_timeout_minutes=options.max_timeout_minutes,
        scaling=_scaling(options.auto_scaling) if options.auto_scaling else None,
        access=_access(options),
    )
    master = PlayedMaster(settings, clock=RealClock())
    master.app.are_settings_locked = options.lock_settings
    return master


def _worker(options: argparse.Namespace) -> PlayedServer:
    from ebbflow.standins.swarmui.worker import PlayedWorker, WorkerSettings

    settings = WorkerSettings(
        backends=options.backends,
        max_usages=options.max_usages,
        models=options.models,
        load_seconds=options.start_seconds + options.load_seconds,
        backend_state=options.backend_state,
        seconds_per_step=options.seconds_per_step,
        model_load_seconds=options.model_load_seconds,
        require_control_within_minutes=options.require_control_within,
        control_check_seconds=options.control_check_seconds,
        data_dir=None if options.no_persist else options.data_dir,
        access=_access(options),
        backends_file=options.backends_file,
    )
    worker = PlayedWorker(settings, clock=RealClock())
    if options.slow_seconds:
        worker.app.faults.add(Fault(FaultKind.SLOW, seconds=options.slow_seconds))
    worker.app.are_settings_locked = options.lock_settings
    return worker


def _scaling(given: dict[str, Any]) -> "ScalingSettings":
    from ebbflow.standins.swarmui.auto_scaling import ScalingSettings

    return ScalingSettings(**{**given, "script": Path(given["script"])})


def _access(options: argparse.Namespace) -> Access:
    return Access(options.token, options.permissions)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swarmui", description=__doc__, allow_abbrev=False)
    modes = parser.add_subparsers(dest="mode", required=True)
    master = modes.add_parser("master", help="the instance that users talk to", allow_abbrev=False)
    _add_common(master)
    master.add_argument("--data_dir", type=_folder, required=True, help="backends and sessions are kept here")
    master.add_argument("--save_delay_seconds", type=float, default=10.0, help="longest time an edit is not saved")
    master.add_argument(
        "--is_new",
        type=_boolean,
        default=True,
        help="false: as one that was started before, and so starts entries soon",
    )
    master.add_argument(
        "--websocket_seconds", type=float, default=2.0, help="how much longer than its work an image holds its child"
    )
    master.add_argument("--max_timeout_minutes", type=float, default=120.0, help="after that all that waits fails")
    master.add_argument("--models", type=_names, default=MODELS, help="what it has itself, comma-separated")
    master.add_argument(
        "--auto_scaling", type=json.loads, help="settings of its own auto-scaling backend, as JSON; at least `script`"
    )
    worker = modes.add_parser("worker", help="an instance with GPUs", allow_abbrev=False)
    _add_common(worker)
    worker.add_argument("--data_dir", type=_folder, help="sessions are kept here; nowhere without it")
    worker.add_argument("--require_control_within", type=float, metavar="MINUTES", help="end when nobody is in control")
    worker.add_argument("--control_check_seconds", type=float, default=60.0, help="how often that is checked")
    worker.add_argument("--backends", type=int, default=1)
    worker.add_argument("--max_usages", type=int, default=1, help="generations that a backend runs at a time")
    worker.add_argument("--models", type=_names, default=MODELS, help="comma-separated")
    worker.add_argument("--seconds_per_step", type=float, default=0.05)
    worker.add_argument(
        "--load_seconds", type=float, default=0.0, help="backends are loading that long after listening"
    )
    worker.add_argument(
        "--backend_state",
        type=_state,
        default=BackendState.RUNNING,
        help="of its backends once loaded; none: no backend",
    )
    worker.add_argument("--model_load_seconds", type=float, default=0.0, help="cost of a model that is not loaded")
    worker.add_argument("--slow_seconds", type=float, default=0.0, help="each answer comes so much later")
    worker.add_argument("--backends_file", type=Path, help="SwarmUI's Backends.fds: those of other SwarmUIs in it")
    worker.add_argument("--never_announce", action="store_true", help="print no NewURL line")
    worker.add_argument("--announce_url", help="print this address in the NewURL line, for instance a wrong one")
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="an address of the loopback network")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--start_seconds", type=float, default=0.0, help="time before it listens")
    parser.add_argument("--token", help="value of the cookie swarm_token; without it everybody is let in")
    parser.add_argument("--permissions", type=_permissions, default=frozenset({"*"}), help="comma-separated; * is all")
    parser.add_argument("--no_persist", type=_boolean, nargs="?", const=True, default=False, help="forget sessions")
    parser.add_argument("--lock_settings", type=_boolean, nargs="?", const=True, default=False)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _permissions(text: str) -> frozenset[str]:
    return frozenset(_names(text))


def _state(text: str) -> BackendState | None:
    return None if text == "none" else BackendState(text)


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() == "true"


def _folder(text: str) -> Path:
    folder = Path(text)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
