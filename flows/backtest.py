"""Compare policies on a trace, or on a fleet's own recorded past, before one of them is deployed. Changes nothing."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Literal

import anyio
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from ebbflow.core.errors import ConfigError, RecordError
from ebbflow.core.ports import Ledger
from ebbflow.core.text import counted
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import FleetPolicy
from ebbflow.flows.comparing import check_candidates, leave_comparison, named
from ebbflow.flows.fleet_past import FleetPast, read_fleet_past
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.refusals import refuses
from ebbflow.flows.the_fleet import GivenFleet, run_name, the_fleet
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.simulation.contest import Contest, play_candidate
from ebbflow.simulation.league import Row
from ebbflow.simulation.parts import stage_for
from ebbflow.simulation.past import past_trace
from ebbflow.simulation.recorded import Trace, load, parse_services
from ebbflow.simulation.trace import TraceError
from ebbflow.simulation.two_fleets import OwnPast, Stage, environment_of

OWN_PAST = "own past"
AFTER_OWN_PAST_SECONDS = 1800.0
"""The books of a fleet's own past are closed so long after its last request."""

CANDIDATES: tuple[FleetPolicy, ...] = (MarginalPolicy(),)

TraceName = Literal[
    "own past", "servegen_large_w1", "servegen_r1", "servegen_mmimg", "vidur_conv", "vidur_code", "mooncake"
]


@flow(name="backtest", flow_run_name=run_name("backtest on {trace}"))
@refuses
async def backtest(
    *,
    policies: Annotated[tuple[FleetPolicy, ...], Field(min_length=1, max_length=12)] = CANDIDATES,
    trace: TraceName = "own past",
    trace_file: str | None = None,
    past_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 24.0,
    service_seconds: Annotated[float, Field(gt=0, le=86_400)] = 20.0,
    first_requests: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000,
    seeds: Annotated[int, Field(ge=1, le=20)] = 3,
    fleet: GivenFleet,
) -> State:
    """Play the fleet's policy and the candidates under the fleet's limits and providers; leave a table and plots.

    Args:
        policies: Candidates, beside the fleet's own policy, which is played too.
        trace: The fleet's own recorded past, or a recorded trace.
        trace_file: A CSV file of `arrival_s,service_s` where this runs, in the place of `trace`.
        past_hours: How far back the fleet's past is read.
        service_seconds: Work of one request, where the past does not count what was served.
        first_requests: Only so many of a trace, so that a run takes seconds.
        seeds: How often each is played, with other luck at launches.
        fleet: Whose policy, limits and providers are played, by its name. Nothing of it is changed.
    """
    played = await the_fleet(fleet)
    candidates = named([played.policy, *policies])
    check_candidates(candidates)
    stage = await _stage(played, trace, trace_file, past_hours, service_seconds, first_requests)
    rows = []
    for label, policy in candidates.items():
        rows.append(await play(stage.contest, label, policy, seeds))
        get_run_logger().info("%d of %d: %s", len(rows), len(candidates), label)
    return Completed(name="Compared", message=await leave_comparison(played.name, stage.contest, rows, stage.notes))


@task(task_run_name="play {label}", cache_policy=NO_CACHE)
async def play(contest: Contest, label: str, policy: FleetPolicy, seeds: int) -> Row:
    """Play one candidate in a thread, so that this run goes on telling the server that it is alive."""
    return await asyncio.to_thread(play_candidate, contest, label, policy, range(1, seeds + 1))


async def _stage(
    fleet: Fleet, trace: str, trace_file: str | None, hours: float, service_seconds: float, first_requests: int
) -> Stage:
    """What is played, and where its numbers come from.

    Raises:
        ConfigError: the trace cannot be used, or nothing is recorded; says what to do.
        RecordError: no record of the fleet's own past can be read.
    """
    is_own = trace_file is None and trace == OWN_PAST
    async with get_client() as client:
        past, unread = await past_to_play(PrefectLedger(client), fleet.name, seconds=3600 * hours, is_needed=is_own)
    try:
        if is_own:
            return await asyncio.to_thread(stage_on_past, fleet, past, service_seconds=service_seconds)
        if trace_file is not None:
            text = await anyio.Path(trace_file).read_text(encoding="utf-8")
            played = parse_services(text.splitlines(), name=anyio.Path(trace_file).name)
        else:
            played = await asyncio.to_thread(load, trace)
        return stage_on_trace(fleet, past, played.first(first_requests), notes=unread)
    except TraceError as error:
        what = "let the fleet run for a while, or choose a recorded trace" if trace_file is None else "mend the file"
        raise ConfigError(f"backtest of {fleet.name!r}: {error}: {what}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"backtest of {fleet.name!r}: trace_file {trace_file!r} cannot be read: {error}") from error


async def past_to_play(
    ledger: Ledger, fleet: str, *, seconds: float, is_needed: bool
) -> tuple[FleetPast | None, tuple[str, ...]]:
    """What is recorded of a fleet, and why that is nothing where no record can be read.

    Args:
        ledger: that keeps the records.
        fleet: its name.
        seconds: so far back.
        is_needed: it is what is played, and not only what launches do.

    Raises:
        RecordError: it is needed, and no record can be read.
    """
    try:
        return await read_fleet_past(ledger, fleet, seconds=seconds), ()
    except RecordError as error:
        if is_needed:
            raise
        return None, (str(error),)


def stage_on_past(fleet: Fleet, past: FleetPast | None, *, service_seconds: float) -> Stage:
    """Let a fleet meet what came to it, in the time that was asked for alone: all that is played counts.

    Args:
        fleet: whose limits and providers are played.
        past: what is recorded of it; None: nothing.
        service_seconds: work of one request, where its master does not count what it serves.

    Raises:
        TraceError: nothing can be played.
    """
    played = _played(past)
    looks = tuple(look for look in played.looks if look.at_seconds >= played.counts_from)
    came = past_trace(OWN_PAST, looks, service_seconds=service_seconds)
    own = replace(played, looks=looks, came=came)
    closes_at = own.known[0].at_seconds + came.last_at_seconds + AFTER_OWN_PAST_SECONDS
    stage = stage_for(replace(own, until=closes_at), fleet)
    return replace(stage, notes=(*_told_of(past), *stage.notes))


def stage_on_trace(fleet: Fleet, past: FleetPast | None, trace: Trace, *, notes: Sequence[str] = ()) -> Stage:
    """Let a fleet meet a recorded trace, with launches that go as its own did.

    Args:
        fleet: whose limits and providers are played.
        past: what is recorded of it; None: nothing.
        trace: what comes.
        notes: what else a person has to know.
    """
    environment, of_providers = environment_of(_played(past), fleet)
    contest = Contest(trace, environment, fleet).led_in()
    return Stage(contest, (*notes, *of_providers, contest.price_note))


def _played(past: FleetPast | None) -> OwnPast:
    return past.played if past is not None else OwnPast((), {}, 0.0, 0.0)


def _told_of(past: FleetPast | None) -> Iterator[str]:
    """What a person has to know of a past that is played."""
    if past is not None:
        yield f"{counted(past.records, 'recorded turn')} over {(past.played.until - past.first_at) / 3600:.2f} h"
        yield from (f"missing: {each}" for each in past.missing)
        yield from past.notes
