"""Compare policies on a trace, or on a fleet's own recorded past, before one of them is deployed. Changes nothing."""

import asyncio
from typing import Annotated, Literal

import anyio
from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State
from prefect.states import Completed
from pydantic import Field

from ebbflow.core.errors import ConfigError
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import FleetPolicy
from ebbflow.flows.comparing import check_candidates, leave_comparison, named
from ebbflow.flows.ledger import PrefectLedger
from ebbflow.flows.recorded_past import read_past
from ebbflow.flows.refusals import refuses
from ebbflow.flows.the_fleet import GivenFleet, run_name, the_fleet
from ebbflow.policies.marginal import MarginalPolicy
from ebbflow.simulation.at_once import AtOnce
from ebbflow.simulation.contest import Contest, play_candidate
from ebbflow.simulation.league import Row
from ebbflow.simulation.past import boots_of, past_trace, told_by
from ebbflow.simulation.past_environment import past_environment
from ebbflow.simulation.recorded import load, parse_services
from ebbflow.simulation.trace import TraceError
from ebbflow.simulation.turn_times import TURNS_TO_LEAVE, turns_of_looks

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
    contest, notes = await _stage(played, trace, trace_file, past_hours, service_seconds, first_requests)
    rows = []
    for label, policy in candidates.items():
        rows.append(await play(contest, label, policy, seeds))
        get_run_logger().info("%d of %d: %s", len(rows), len(candidates), label)
    return Completed(name="Compared", message=await leave_comparison(played.name, contest, rows, notes))


@task(task_run_name="play {label}", cache_policy=NO_CACHE)
async def play(contest: Contest, label: str, policy: FleetPolicy, seeds: int) -> Row:
    """Play one candidate in a thread, so that this run goes on telling the server that it is alive."""
    return await asyncio.to_thread(play_candidate, contest, label, policy, range(1, seeds + 1))


async def _stage(
    fleet: Fleet, trace: str, trace_file: str | None, hours: float, service_seconds: float, first_requests: int
) -> tuple[Contest, tuple[str, ...]]:
    """What is played, and where its numbers come from.

    Raises:
        ConfigError: the trace cannot be used, or nothing is recorded; says what to do.
    """
    async with get_client() as client:
        looks = await read_past(PrefectLedger(client), fleet.name, hours=hours)
    at_once = AtOnce()
    for look in looks:
        at_once.see(look.demand, look.workers)
    environment, notes = past_environment(
        fleet.providers,
        boots_of(looks),
        max_workers=fleet.limits.max_workers,
        master=told_by(looks),
        requests_at_once=at_once.count,
        usual_leave_seconds=TURNS_TO_LEAVE * fleet.interval_seconds if looks else 0.0,
    )
    notes = (*notes, *filter(None, (at_once.note,)))
    try:
        if trace_file is not None:
            text = await anyio.Path(trace_file).read_text(encoding="utf-8")
            played = parse_services(text.splitlines(), name=anyio.Path(trace_file).name).first(first_requests)
        elif trace != OWN_PAST:
            played = (await asyncio.to_thread(load, trace)).first(first_requests)
        else:
            played = past_trace(OWN_PAST, looks, service_seconds=service_seconds)
            began = next(look.at_seconds for look in looks if look.demand.complete and look.at_seconds > 0)
            told = f"{len(looks)} recorded turns over {(looks[-1].at_seconds - looks[0].at_seconds) / 3600:.2f} h"
            interval = fleet.interval_seconds
            turns_at = turns_of_looks(
                looks, begins_at=began, recorded_interval_seconds=interval, interval_seconds=interval
            )
            contest = Contest(played, environment, fleet, began, AFTER_OWN_PAST_SECONDS, turns_at=turns_at)
            return contest.led_in(), (told, *notes)
    except TraceError as error:
        what = "let the fleet run for a while, or choose a recorded trace" if trace_file is None else "mend the file"
        raise ConfigError(f"backtest of {fleet.name!r}: {error}: {what}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"backtest of {fleet.name!r}: trace_file {trace_file!r} cannot be read: {error}") from error
    return Contest(played, environment, fleet).led_in(), notes
