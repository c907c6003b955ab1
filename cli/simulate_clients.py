"""`ebbflow simulate-clients`: simulated clients ask a live gateway, and what became of them."""

import asyncio
import math
import os
import random
import shutil
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ebbflow.cli.speaking import FINE, NOT_RIGHT, REFUSED, USAGE, end, run, say, warn

if TYPE_CHECKING:
    from ebbflow.services.simulated_clients.cost import Pricing
    from ebbflow.services.simulated_clients.crowd import Moment, Played
    from ebbflow.services.simulated_clients.run import Wanted

ENDPOINT_KEY, MODEL_KEY = "EBBFLOW_ENDPOINT_KEY", "EBBFLOW_MODEL_KEY"
LINE_SECONDS = 10.0
"""Between two lines of progress where a line cannot be rewritten."""
STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Paying:
    """What the run costs, and whether its fleet lives on meanwhile."""

    usd_per_worker_hour: float | None
    fleet: str | None
    manages: bool


def simulate_clients(
    endpoint: Annotated[str, typer.Argument(help="What clients name, for instance llama-70b.")],
    gateway: Annotated[str, typer.Option(metavar="URL", help="Its address.")] = "http://127.0.0.1:7870",
    users: Annotated[int | None, typer.Option(metavar="N", help="Each of so many users may ask at each tick.")] = None,
    probability: Annotated[
        float | None, typer.Option(help="With --users: that one asks at a tick; 0.25 if left out.")
    ] = None,
    tick: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="With --users: between two ticks; 2 if left out."),
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="With --users: so many ticks; 50 if left out.")] = None,
    rate: Annotated[
        float | None, typer.Option(metavar="PER_SECOND", help="Requests that come at random (Poisson), for --seconds.")
    ] = None,
    trace: Annotated[
        str | None, typer.Option(metavar="FILE|NAME", help="A recorded trace: a CSV file, or one that is installed.")
    ] = None,
    speed: Annotated[
        float | None,
        typer.Option(metavar="FACTOR", help="With --trace: so many times faster; 1 if left out."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="With --rate and --trace: how long requests come; a trace ends by itself too.")
    ] = None,
    tokens: Annotated[
        float | None,
        typer.Option(help="With --users and --rate: of a request, on average; 100 if left out."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of all that is random: the same one, the same requests.")] = 1,
    patience: Annotated[
        float, typer.Option(metavar="SECONDS", help="Whom nobody serves for so long gives up.")
    ] = 600.0,
    path: Annotated[
        str | None,
        typer.Option(help="At the worker; /generate, or /v1/completions of a plain model server, if left out."),
    ] = None,
    stream: Annotated[bool, typer.Option("--stream/--no-stream", help="Whether tokens come one by one.")] = True,
    most_open: Annotated[int, typer.Option(help="Requests that are open at once, at most.", min=1, max=50_000)] = 500,
    usd_per_worker_hour: Annotated[
        float | None, typer.Option(help="What each worker costs that the gateway shows.")
    ] = None,
    fleet: Annotated[
        str | None, typer.Option(help="The fleet that serves: what it costs is read from its records.")
    ] = None,
    manage: Annotated[
        bool, typer.Option("--manage/--no-manage", help="Whether that fleet takes turns meanwhile, or stays as it is.")
    ] = True,
    as_json: Annotated[Path | None, typer.Option("--json", help="A file for all figures.")] = None,
    plot: Annotated[Path | None, typer.Option(help="A file for a picture (SVG) of requests and workers.")] = None,
) -> None:
    """Ask a gateway and its workers for real, as so many clients would, and tell how they were served.

    Who comes is one of three: --users, --rate or --trace. Reads EBBFLOW_ENDPOINT_KEY (of clients, from `ebbflow
    endpoint`) from its environment, and EBBFLOW_MODEL_KEY for plain model servers that want a key. Ctrl-C ends it, and
    what was open counts as lost. Ends with 0 if every request was served.
    """
    from ebbflow.services.simulated_clients.arrivals import ArrivalsError
    from ebbflow.services.simulated_clients.client import Asking
    from ebbflow.services.simulated_clients.coming import Coming
    from ebbflow.services.simulated_clients.run import Wanted
    from ebbflow.simulation.trace import TraceError

    paying = Paying(usd_per_worker_hour, fleet, manage)
    _check_numbers(patience, path, paying)
    _check_files({"--json": as_json, "--plot": plot})
    _check_gateway(gateway)
    try:
        coming = Coming(users, rate, trace, probability, tick, rounds, tokens, seconds, speed)
        arrivals = coming.arrivals(random.Random(seed))
    except ArrivalsError as error:
        end(USAGE, str(error))
    except TraceError as error:
        end(REFUSED, f"--trace: {error}")
    key = os.environ.get(ENDPOINT_KEY, "")
    if not key:
        end(REFUSED, f"{ENDPOINT_KEY} is not set: export the key that `ebbflow endpoint {endpoint}` has printed")
    asking = Asking(path or "", stream, patience, model_key=os.environ.get(MODEL_KEY, ""))
    wanted = Wanted(endpoint, gateway, key, arrivals, asking, most_open, seed)
    played = run(lambda: _play(wanted, paying))
    end(_report(played, endpoint, as_json, plot))


def _check_numbers(patience: float, path: str | None, paying: Paying) -> None:
    usd = paying.usd_per_worker_hour
    if not 0 < patience < math.inf:
        end(USAGE, f"--patience is {patience:g}: seconds above 0 would be right")
    if usd is not None and not 0 <= usd < math.inf:
        end(USAGE, f"--usd-per-worker-hour is {usd:g}: dollars from 0 on would be right")
    if path is not None and not path.startswith("/"):
        end(USAGE, f"--path is {path!r}: a path such as /generate would be right")
    if paying.fleet is not None and usd is not None:
        end(USAGE, "--fleet and --usd-per-worker-hour exclude each other: the price is its records', or yours")
    if not paying.manages and paying.fleet is None:
        end(USAGE, "--no-manage keeps a fleet as it is: say which, with --fleet")


def _check_files(files: Mapping[str, Path | None]) -> None:
    """That they can be written, before an hour is measured for nothing."""
    for option, file in files.items():
        if file is not None and (file.is_dir() or not os.access(file if file.exists() else file.parent, os.W_OK)):
            end(REFUSED, f"{option} {file} cannot be written: a file in a folder of yours would be right")


def _check_gateway(gateway: str) -> None:
    from ebbflow.services.simulated_clients.balancer import is_address

    if not is_address(gateway):
        end(USAGE, f"--gateway is {gateway!r}: an address such as http://login1:7870 would be right, without a user")


async def _play(wanted: "Wanted", paying: Paying) -> "Played":
    """The run; whatever is held for it is let go in every case."""
    from ebbflow.services.simulated_clients.life import GivenUp, Lost
    from ebbflow.services.simulated_clients.run import opened

    stop = asyncio.Event()
    for number in STOPS:
        # No cancellation, and no second one: what was paused has to be resumed, and the figures are still told.
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        made = await stack.enter_async_context(opened(wanted))
        try:
            await made.check()
        except GivenUp as problem:
            if problem.lost is Lost.GATEWAY_REFUSED:
                end(REFUSED, f"the gateway at {wanted.gateway} refused, and nobody was simulated: {problem}")
            end(NOT_RIGHT, f"the gateway at {wanted.gateway} does not answer, and nobody was simulated: {problem}")
        pricing = await _pricing(paying, stack, stop)
        with _Progress() as progress:
            return await made.play(pricing, progress.tell, stop)


async def _pricing(paying: Paying, stack: AsyncExitStack, stop: asyncio.Event) -> "Pricing":
    """How dollars are known; a fleet that shall stay as it is does so until the stack is left."""
    from ebbflow.services.simulated_clients import cost

    if paying.usd_per_worker_hour is not None:
        return cost.per_worker(paying.usd_per_worker_hour)
    if paying.fleet is None:
        return cost.unknown
    from ebbflow.cli.held_fleet import FleetPrice, turns_of, without_turns
    from ebbflow.cli.serving import connected

    client = await stack.enter_async_context(connected())
    turns = await turns_of(client, paying.fleet)
    if not paying.manages:
        await stack.enter_async_context(without_turns(client, turns, stop))
    return FleetPrice(client, paying.fleet)


class _Progress:
    """One line that is rewritten on a terminal, a line now and then elsewhere; on standard error."""

    def __init__(self) -> None:
        self._is_terminal = sys.stderr.isatty()
        self._said_at = -math.inf
        self._width = 0

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        if self._width:
            sys.stderr.write("\n")

    def tell(self, moment: "Moment") -> None:
        """Say how it stands."""
        from ebbflow.services.simulated_clients.showing import progress

        text = progress(moment)
        if self._is_terminal:
            # What is wider than the terminal could not be rewritten.
            text = text[: shutil.get_terminal_size().columns - 1]
            # Over the whole of the line before it: not every terminal knows how to clear one.
            sys.stderr.write(f"\r{text.ljust(self._width)}")
            sys.stderr.flush()
            self._width = len(text)
        elif moment.seconds >= self._said_at + LINE_SECONDS:
            self._said_at = moment.seconds
            warn(text)


def _report(played: "Played", endpoint: str, as_json: Path | None, plot: Path | None) -> int:
    """Tell what it came to; the code with which the command ends."""
    from ebbflow.services.simulated_clients import showing
    from ebbflow.services.simulated_clients.summary import summary_of

    summary = summary_of(played, endpoint=endpoint)
    say(showing.as_text(summary))
    texts = {as_json: showing.as_json(summary), plot: showing.as_plot(played.moments, title=f"clients of {endpoint}")}
    code = NOT_RIGHT if summary.was_interrupted or any(summary.lost.values()) else FINE
    for file, text in texts.items():
        try:
            if file is not None:
                file.write_text(text, encoding="utf-8")
        except OSError as error:
            code = NOT_RIGHT
            warn(f"{file} was not written: {error.strerror or error}")
    return code
