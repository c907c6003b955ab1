"""A stand-in Vast market: `python -m ebbflow.standins.vast.server --port 8080 --offers 4`.

Its instances are local processes, faults are switched on by a test, and it is held to what the vendor's own command
sends. As a program it is controlled over HTTP (`vast_control`); in a test it is an ASGI application to be served.
Source: vast-ai/docs; the vendor's client, vastai 1.9.1.
"""

import argparse
import asyncio
import json
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from ebbflow.standins.http import serve
from ebbflow.standins.vast.api import Recorded, VastApi
from ebbflow.standins.vast.control import add_controls
from ebbflow.standins.vast.faults import ANSWERS, Answer, Fault, FaultKind, answering
from ebbflow.standins.vast.hosts import Boot, Program
from ebbflow.standins.vast.instances import RentedInstance
from ebbflow.standins.vast.keys import KEY, Key
from ebbflow.standins.vast.offers import Offer

__all__ = [
    "ANSWERS",
    "KEY",
    "Answer",
    "Boot",
    "Fault",
    "FaultKind",
    "Key",
    "Offer",
    "Program",
    "Recorded",
    "RentedInstance",
    "VastApi",
    "add_controls",
    "answering",
    "some_offers",
]

FIRST_OFFER = 1001
FIRST_MACHINE = 101


def some_offers(count: int) -> list[Offer]:
    """Offers of one GPU each, on machines of their own, the first one being the cheapest."""
    return [
        Offer(FIRST_OFFER + index, FIRST_MACHINE + index, dph_base=0.30 + 0.01 * index, min_bid=0.10 + 0.01 * index)
        for index in range(count)
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; no instance outlives it."""
    return asyncio.run(_run(_parser().parse_args(arguments)))


async def _run(options: argparse.Namespace) -> int:
    told_to_end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told_to_end.set)
    async with serve(add_controls(_api(options)), port=options.port, host=options.host) as url:
        print(f"listening on {url}", flush=True)
        await told_to_end.wait()
    return 0


def _api(options: argparse.Namespace) -> VastApi:
    program = Program(
        images=dict(options.image),
        environment=dict(options.env),
        stop_grace_seconds=options.stop_grace_seconds,
        is_kept_after_onstart=options.keep_after_onstart,
    )
    offers = some_offers(options.offers)
    if options.offers_file:
        offers = [Offer(**each) for each in json.loads(options.offers_file.read_text(encoding="utf-8"))]
    api = VastApi(offers, program=program, folder=options.folder)
    api.keys = {options.key: Key("main")}
    api.hosts.boot = Boot(options.null_seconds, options.loading_seconds)
    api.limits.are_on = options.limits
    api.limits.searches_per_day = options.searches_per_day
    return api


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="vast", description=__doc__, allow_abbrev=False)
    parser.add_argument("--host", default="127.0.0.1", help="an address of the loopback network")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--key", default=KEY, help="the account's API key")
    parser.add_argument("--folder", type=_folder, help="disks and logs of instances; without it a temporary one")
    parser.add_argument("--offers", type=int, default=4, help="how many machines with one GPU each")
    parser.add_argument("--offers_file", type=Path, help="a JSON list of offers instead, each with id and machine_id")
    parser.add_argument(
        "--image", type=_image, action="append", default=[], metavar="NAME=COMMAND", help="what an image runs"
    )
    parser.add_argument(
        "--env", type=_variable, action="append", default=[], metavar="NAME=VALUE", help="what every image sets"
    )
    parser.add_argument("--null_seconds", type=float, default=0.0, help="time without any status after a create")
    parser.add_argument("--loading_seconds", type=float, default=0.0)
    parser.add_argument("--stop_grace_seconds", type=float, default=5.0)
    parser.add_argument("--keep_after_onstart", action="store_true", help="stay running when onstart ends")
    parser.add_argument("--limits", action="store_true", help="answer 429 as the real service does")
    parser.add_argument("--searches_per_day", type=int, help="the daily quota; without it there is none")
    return parser


def _variable(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _image(text: str) -> tuple[str, tuple[str, ...]]:
    name, command = _variable(text)
    if not command.strip():
        raise argparse.ArgumentTypeError(f"{text!r} names no command")
    return name, tuple(shlex.split(command))


def _folder(text: str) -> Path:
    folder = Path(text).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


if __name__ == "__main__":
    sys.exit(main())
