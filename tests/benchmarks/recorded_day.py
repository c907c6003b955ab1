"""A recorded day of clients at a fixed fleet and at ours, in virtual time: losses, p95 of the first token, dollars.

The gateway, the turns and the adapter are the real ones; machines and clients are played. A machine serves one request
at a time, takes a minute until its model is loaded, or twelve seconds where it was stopped with the model on its disk.

python -m tests.benchmarks.recorded_day [--hours 24] [--folder build/recorded-day]
"""

import argparse
import asyncio
import tempfile
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ebbflow.decision.limits import Limits
from ebbflow.decision.placement.shares import ProviderEntry
from ebbflow.fleet.model import Fleet
from ebbflow.gateway.reports import read
from ebbflow.gateway.terms import Ticket
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.policies.no import NoPolicy
from ebbflow.services.simulated_clients.cost import Look, Price
from ebbflow.services.simulated_clients.crowd import Moment, Played
from ebbflow.services.simulated_clients.life import Life, Lost
from ebbflow.services.simulated_clients.showing import as_plot, as_text
from ebbflow.services.simulated_clients.summary import Summary, summary_of
from ebbflow.simulation.recorded import load
from tests.adapters.masters.gateway.gateway_world import ENDPOINT, FLEET
from tests.benchmarks.world import tell
from tests.gateway.loop import (
    LOAD_SECONDS,
    MACHINES,
    MASTER,
    POLL_SECONDS,
    STORAGE_USD_PER_HOUR,
    UNITS_PER_SECOND,
    USD_PER_HOUR,
    Loop,
    opened,
)

TRACE = "servegen_mmimg"
EVERY = 4
"""One request in so many of the trace is played."""
TURN_SECONDS = 20.0
FIXED_WORKERS = 12
WAITING_WORTH = 3.0
BEFORE_SECONDS = 120.0
"""Until the first request, in which a fixed fleet boots."""
LOOK_SECONDS = 5.0
TOKENS_PER_SECOND = 40.0
AFTER_SECONDS = 600.0


@dataclass(slots=True)
class _Request:
    life: Life
    service_seconds: float
    number: int = 0
    asks_at: float = 0.0
    machine_url: str = ""


class Day(Loop):
    """The loop with the requests of a trace, each at its time; what machines and clients say goes by no HTTP.

    Args:
        folder: for the gateway's database.
        arrivals: seconds of the day, and how long a machine works on it.
    """

    def __init__(self, folder: Path, arrivals: Sequence[tuple[float, float]]) -> None:
        super().__init__(folder)
        self._due = deque(
            _Request(Life(self.now + at, self.now + at, round(service * TOKENS_PER_SECOND)), service)
            for at, service in arrivals
        )
        self.count = len(self._due)
        self.began_at = self.now
        self._waiting: dict[int, _Request] = {}
        self._open: dict[int, _Request] = {}
        self.lives: list[Life] = []
        self.moments: list[Moment] = []
        self.looks: list[Look] = []

    def played(self) -> Played:
        """What was seen."""
        for request in self._open.values():
            request.life.lost = Lost.CUT_OFF
        return Played(self.began_at, self.now, self.count, tuple(self.lives), tuple(self.moments), tuple(self.looks))

    async def _second(self) -> None:
        for machine in self.machines.rented.values():
            if not machine.is_stopped:
                await self._work(machine)
        while self._due and self._due[0].life.due_at <= self.now:
            request = self._due.popleft()
            self.lives.append(request.life)
            request.life.began_at = self.now
            self._asks(request)
        for request in [each for each in self._waiting.values() if each.asks_at <= self.now]:
            self._asks(request)
        self._see()

    def _asks(self, request: _Request) -> None:
        (gateway,) = self._street.gateways()
        answer = gateway.desk.route(
            ENDPOINT,
            self.key,
            number=request.number,
            cost=request.service_seconds * UNITS_PER_SECOND,
            priority=0,
            keep_seconds=60.0,
        )
        if not isinstance(answer, Ticket):
            request.number, request.asks_at = answer.request, self.now + POLL_SECONDS
            self._waiting[request.number] = self._open[request.number] = request
            request.life.is_waiting = True
            return
        number = answer.given.request
        self._waiting.pop(number, None)
        self._open[number] = request
        life = request.life
        life.is_waiting, life.worker_url, life.sent_at, life.first_token_at = False, answer.url, self.now, self.now
        life.queue_seconds = self.now - life.began_at
        machine = next(each for each in self.machines.rented.values() if each.url == answer.url)
        machine.work.append((number, self.now + request.service_seconds))

    def _finished(self, numbers: Sequence[int]) -> None:
        self.served += len(numbers)
        for number in numbers:
            request = self._open.pop(number)
            request.life.ended_at, request.life.tokens = self.now, request.life.tokens_asked

    async def _say(self, path: str, **body: Any) -> dict[str, Any]:
        (gateway,) = self._street.gateways()
        if path == "/worker_status/":
            gateway.desk.report(read(body))
        else:
            gateway.desk.settle(body["mtoken"], [(each["request_idx"], True) for each in body["requests"]])
        return {}

    def _see(self) -> None:
        if (self.now - self.began_at) % LOOK_SECONDS >= 1:
            return
        rented = self.machines.rented.values()
        running = sum(not machine.is_stopped for machine in rented)
        usd_per_hour = running * USD_PER_HOUR + (len(rented) - running) * STORAGE_USD_PER_HOUR
        self.looks.append(Look(self.now, running, Price(usd_per_hour)))
        self.moments.append(
            Moment(
                self.now - self.began_at,
                self.count,
                len(self.lives),
                len(self._open),
                len(self._waiting),
                self.served,
                0,
                running,
            )
        )


def fleets() -> dict[str, Fleet]:
    """What is compared: enough workers for the day's peaks, always there, and ours."""
    fixed = Limits(min_workers=FIXED_WORKERS, max_workers=FIXED_WORKERS)
    ours = Limits(max_workers=FIXED_WORKERS, min_idle_seconds=0, min_seconds_between_stops=0)
    return {
        "fixed": Fleet(
            name=FLEET,
            interval_seconds=TURN_SECONDS,
            master=MASTER,
            providers=(ProviderEntry(block=MACHINES, max_workers=FIXED_WORKERS),),
            policy=NoPolicy(),
            limits=fixed,
        ),
        "ours": Fleet(
            name=FLEET,
            interval_seconds=TURN_SECONDS,
            master=MASTER,
            providers=(ProviderEntry(block=MACHINES, max_workers=2 * FIXED_WORKERS, warm_workers=FIXED_WORKERS),),
            policy=MarginalPolicy(waiting_worth=WAITING_WORTH, boot_seconds=60),
            limits=ours,
        ),
    }


async def play(fleet: Fleet, *, seconds: float, arrivals: Sequence[tuple[float, float]]) -> Played:
    """One fleet on one day."""
    with tempfile.TemporaryDirectory() as folder:
        async with opened(Day(Path(folder), arrivals)) as day:
            await day.turns(fleet, seconds + AFTER_SECONDS)
            assert day.machines.lost == [], "no machine was ended while it worked"
            return day.played()


def arrivals_of(trace: str, *, seconds: float) -> list[tuple[float, float]]:
    """One request in so many, at its time after the fleet has begun."""
    recorded = load(trace)
    pairs = list(zip(recorded.at_seconds, recorded.service_seconds, strict=True))[::EVERY]
    return [(BEFORE_SECONDS + at, service) for at, service in pairs if at < seconds]


def main(arguments: Sequence[str] | None = None) -> None:
    """Play the day twice, and write what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--folder", type=Path, default=Path("build/recorded-day"))
    given = parser.parse_args(arguments)
    seconds = 3600 * given.hours
    arrivals = arrivals_of(TRACE, seconds=seconds)
    given.folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Summary] = {}
    for name, fleet in fleets().items():
        began = time.monotonic()
        played = asyncio.run(play(fleet, seconds=BEFORE_SECONDS + seconds, arrivals=arrivals))
        found[name] = summary_of(played, endpoint=ENDPOINT)
        (given.folder / f"{name}.txt").write_text(as_text(found[name]) + "\n")
        (given.folder / f"{name}.svg").write_text(as_plot(played.moments, title=f"{TRACE}, {name} fleet"))
        tell(f"{name}: {time.monotonic() - began:.0f} s\n{as_text(found[name])}")
    tell(row_of(found["fixed"], found["ours"]))


def row_of(fixed: Summary, ours: Summary) -> str:
    """The comparison in one line."""
    assert None not in (fixed.usd, ours.usd, fixed.first_token_seconds.p95, ours.first_token_seconds.p95)
    ratio = (ours.usd or 0.0) / (fixed.usd or 1.0)
    more = (ours.first_token_seconds.p95 or 0.0) - (fixed.first_token_seconds.p95 or 0.0)
    lost = sum(ours.lost.values())
    return (
        f"ours against fixed: dollars {ratio:.2f} (goal 0.5), p95 of the first token {more:.0f} s more "
        f"(goal one boot, {LOAD_SECONDS[False]:.0f} s), {lost} lost"
    )


if __name__ == "__main__":
    main()
