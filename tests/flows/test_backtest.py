"""The backtest flow on a real Prefect server: on a fleet's own past, and on a trace."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import Artifact
from pydantic import TypeAdapter

from ebbflow.core.errors import RecordError
from ebbflow.core.member import Demand
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.nameable import FleetPolicy
from ebbflow.flows.backtest import (
    AFTER_OWN_PAST_SECONDS,
    OWN_PAST,
    TraceName,
    backtest,
    past_to_play,
    stage_on_past,
    stage_on_trace,
)
from ebbflow.simulation.contest import Contest, play_candidate
from ebbflow.simulation.past import Boots, NothingCameError
from ebbflow.simulation.recorded import RECORDED, Trace
from ebbflow.simulation.trace import TraceError
from ebbflow.simulation.two_fleets import stage_of
from tests.e2e.together import together
from tests.e2e.world import PrefectWorld
from tests.flows.test_fleet_past import WIDE, Sharing, busy_past, past_of
from tests.making import changed
from tests.turn.lived import Lived

pytestmark = pytest.mark.anyio

CANDIDATES = [{"kind": "marginal", "waiting_worth": 10}, {"kind": "vanilla", "upper_task_ratio": 2}]


def fleet(name: str = "nobody", **sections: Any) -> Fleet:
    given = {"name": name, "master": "swarmui-master/x", "providers": [{"block": "local-provider/x"}], **sections}
    return Fleet.model_validate(given)


async def compare(over: Fleet, **parameters: Any) -> State[Any]:
    given = TypeAdapter(tuple[FleetPolicy, ...]).validate_python(parameters.pop("policies", CANDIDATES))
    return await backtest(fleet=over, policies=given, return_state=True, **parameters)


async def left(name: str) -> dict[str, Artifact]:
    """What a fleet's backtests have left, the newest of each key."""
    async with get_client() as client:
        wanted = ArtifactFilter(key=ArtifactFilterKey(like_=f"ebbflow-{name}-backtest%"))
        found = await client.read_artifacts(artifact_filter=wanted, limit=200)
    newest: dict[str, Artifact] = {}
    for artifact in sorted(found, key=lambda artifact: str(artifact.created)):
        newest[str(artifact.key).removeprefix(f"ebbflow-{name}-backtest")] = artifact
    return newest


@pytest.mark.oldest_prefect
@together
async def test_a_fleets_own_past_is_played_with_its_own_policy_and_the_candidates(prefect_world: PrefectWorld) -> None:
    world = prefect_world
    await world.acted()
    await world.acts_until_serving(1)
    work = world.generate(images=6)
    await world.busy_worker()
    await world.acted()
    await world.finished(work)
    await world.acted()
    before = (await world.record()).number
    state = await compare(world.fleet(), service_seconds=5)
    assert state.name == "Compared", state.message
    assert "k=0.1: " in str(state.message)
    assert (await world.record()).number == before, "it claims nothing"
    found = await left(world.name)
    assert {"", "-cost", "-workers-1", "-workers-2", "-workers-3", "-page"} <= set(found)
    table, page = found[""], found["-page"]
    assert "recorded boots" in str(table.description)
    candidates = [row["candidate"] for row in TypeAdapter(list[dict[str, Any]]).validate_json(str(table.data))]
    deployed = [name for name in candidates if name.endswith(", as deployed")]
    assert len(deployed) == 1
    assert deployed[0].startswith("vanilla")
    assert {"marginal (waiting_worth=10.0)", "vanilla (upper_task_ratio=2.0)"} <= set(candidates)
    assert str(page.data).count("data:image/svg+xml;base64,") == 4
    assert str(found["-cost"].data).startswith("data:image/svg+xml;base64,")


async def test_a_recorded_trace_is_played_for_a_fleet_that_has_never_run(prefect_server: str, tmp_path: Path) -> None:
    never = fleet("never", limits={"min_workers": 1, "max_workers": 20})
    state = await compare(never, trace="vidur_conv", first_requests=300, seeds=1)
    assert state.name == "Compared", state.message
    found = await left(never.name)
    assert "vidur_conv: 300 requests" in str(found[""].description)
    assert "a guess" in str(found[""].description)


async def test_a_trace_of_ones_own_is_read_from_a_file(prefect_server: str, tmp_path: Path) -> None:
    own = tmp_path / "own.csv"
    own.write_text("arrival_s,service_s\n" + "".join(f"{10 * place},5\n" for place in range(50)))
    name = "from-file"
    state = await compare(fleet(name), trace_file=str(own), seeds=1)
    assert state.name == "Compared", state.message
    assert "own.csv: 50 requests" in str((await left(name))[""].description)


@pytest.mark.parametrize(
    ("text", "parameters", "words"),
    [
        (None, {}, ["0 recorded looks", "choose a recorded trace"]),
        ("arrival_s,service_s\n5,1\n4,1\n", {}, ["request 2", "before the request above it", "mend the file"]),
        ("arrival_s,service_s\n-1,1\n", {}, ["request 1", "numbers from 0 on"]),
        ("arrival_s,service_s\n", {}, ["holds no request"]),
        ("when,what\n1,1\n", {}, ["no column arrival_s"]),
        ("missing", {}, ["trace_file", "cannot be read"]),
        (None, {"policies": [{"kind": "capability"}]}, ["capability", "leave it out"]),
    ],
    ids=["no past", "unsorted", "negative", "empty", "other columns", "no file", "needs requirements"],
)
async def test_what_cannot_be_played_is_refused_with_what_would_be_right(
    prefect_server: str, tmp_path: Path, text: str | None, parameters: dict[str, Any], words: list[str]
) -> None:
    if text is not None:
        file = tmp_path / "trace.csv"
        if text != "missing":
            file.write_text(text)
        parameters = {**parameters, "trace_file": str(file)}
    state = await compare(fleet("refused"), **parameters)
    assert state.is_failed(), state
    for word in words:
        assert word in str(state.message), state.message
    assert await left("refused") == {}


# what is played


async def test_a_fleets_own_past_is_played_as_advice_plays_it_but_for_when_its_books_are_closed() -> None:
    past = await past_of(await busy_past())
    stage, of_advice = stage_on_past(WIDE, past, service_seconds=20.0), stage_of(past.played, WIDE)
    contest = stage.contest
    assert contest.after_seconds == pytest.approx(AFTER_OWN_PAST_SECONDS)
    assert replace(contest, after_seconds=0.0, turns_at=()) == replace(
        of_advice.contest, after_seconds=0.0, turns_at=()
    )
    taken = of_advice.contest.turns_at[:60]
    assert contest.turns_at[:60] == taken
    assert contest.turns_at[-1] > contest.trace.last_at_seconds + AFTER_OWN_PAST_SECONDS - 2 * WIDE.interval_seconds
    assert stage.notes[0].startswith("60 recorded turns over 0.9")
    assert stage.notes[1:] == of_advice.notes


async def test_turns_are_taken_when_they_were_and_not_at_the_interval() -> None:
    contest = stage_on_past(WIDE, await past_of(await busy_past()), service_seconds=20.0).contest
    # Those before the past and after it are an interval apart.
    recorded = [after - before for before, after in pairwise(contest.turns_at)][10:50]
    assert min(recorded) > 59 > WIDE.interval_seconds, "its turns were a minute apart"


async def test_only_what_came_in_the_time_that_was_asked_for_is_played_with_launches_from_before_it() -> None:
    life = await busy_past(120)
    whole = await past_of(life)
    late = await past_of(life, seconds=1800.0)
    assert len(late.played.looks) > late.records
    contest = stage_on_past(WIDE, late, service_seconds=20.0).contest
    last = [look for look in whole.played.looks if look.at_seconds >= late.first_at]
    came = (last[-1].demand.arrived or 0) - (last[0].demand.arrived or 0)
    assert abs(len(contest.trace.at_seconds) - came) <= 1
    (provider,) = contest.environment.providers
    assert provider.leave_seconds == pytest.approx(130, abs=15), "its workers left more than half an hour ago"


async def test_what_a_provider_is_able_to_do_and_what_launches_cost_is_played() -> None:
    past = await past_of(await busy_past())
    caps = replace(past.played.provider_caps["local/a"], takes_price_cap=True, seconds_between_launches=7.0)
    boots = replace(past.played.boots["local/a"], prices=(1.0, 3.0))
    dear = replace(past.played, provider_caps={"local/a": caps}, boots={"local/a": boots})
    capped = changed(WIDE, providers=(changed(WIDE.providers[0], max_usd_per_hour=2.0),))
    stage = stage_on_past(capped, replace(past, played=dear), service_seconds=20.0)
    (provider,) = stage.contest.environment.providers
    assert (provider.prices, provider.takes_price_cap, provider.seconds_between_launches) == ((1.0, 3.0), True, 7.0)
    assert stage.notes[-1] == "Price caps are played at the recorded prices: of local/a"


async def test_workers_serve_as_many_requests_at_once_as_they_did() -> None:
    stage = stage_on_past(WIDE, await past_of(await busy_past(queue=Sharing())), service_seconds=20.0)
    assert stage.contest.sharing_note == "A worker serves up to 2 requests at once"
    assert "workers are played with 2 requests at once each, as recorded" in stage.notes


async def test_what_is_missing_of_a_past_is_told_and_the_rest_is_played() -> None:
    life = await busy_past()
    life.edit(30)
    past = await past_of(life)
    stage = stage_on_past(WIDE, past, service_seconds=20.0)
    assert stage.notes[0].startswith(f"{past.records} recorded turns over 0.9")
    assert stage.notes[1].startswith("missing: after record ")
    assert "record 30 was edited" in stage.notes[1]


async def test_a_past_of_nothing_of_one_record_or_of_a_clock_that_was_set_back_is_refused() -> None:
    one = await past_of(await busy_past(1))
    for past, known in ((None, 0), (one, 1)):
        with pytest.raises(TraceError, match=f"own past: {known} recorded looks knew the demand; two are needed"):
            stage_on_past(WIDE, past, service_seconds=20.0)
    quiet = Lived()
    for _ in range(4):
        await quiet.turn()
    with pytest.raises(NothingCameError, match="own past: nothing came in the 90 s that are recorded"):
        stage_on_past(WIDE, await past_of(quiet), service_seconds=20.0)
    past = await past_of(await busy_past(20))
    looks = past.played.looks
    turned = replace(past.played, looks=(looks[0], *looks[6:], *looks[1:6]))
    with pytest.raises(TraceError, match="the clock of the Prefect server was set back"):
        stage_on_past(WIDE, replace(past, played=turned), service_seconds=20.0)


async def test_demand_that_was_never_known_is_refused() -> None:
    past = await past_of(await busy_past(20))
    unknown = tuple(replace(look, demand=Demand(complete=False)) for look in past.played.looks)
    with pytest.raises(TraceError, match="0 recorded looks knew the demand"):
        stage_on_past(WIDE, replace(past, played=replace(past.played, looks=unknown)), service_seconds=20.0)


async def test_where_no_record_can_be_read_a_trace_is_played_and_the_fleets_own_past_is_not() -> None:
    life = await busy_past(3)
    for number in range(1, 4):
        life.keep(number, None)
    ledger, name = life.outside.ledger, WIDE.name
    past, (why,) = await past_to_play(ledger, name, seconds=3600.0, is_needed=False)
    assert past is None
    assert "no record of this time can be read: " in why
    with pytest.raises(RecordError, match="no record of this time can be read"):
        await past_to_play(ledger, name, seconds=3600.0, is_needed=True)
    assert await past_to_play(ledger, "nobody", seconds=3600.0, is_needed=True) == (None, ())


async def test_a_recorded_trace_meets_launches_as_the_fleets_own_went_or_guesses_where_none_did() -> None:
    trace = Trace("few", (0.0, 10.0, 20.0), (5.0, 5.0, 5.0))
    past = await past_of(await busy_past())
    own = replace(past, played=replace(past.played, boots={"local/a": Boots((40.0, 50.0), 2, 2.0)}))
    known, guessed = stage_on_trace(WIDE, own, trace), stage_on_trace(WIDE, None, trace, notes=("no record is read",))
    assert known.contest.environment.providers[0].boots.most_seconds == 50.0
    assert known.contest.environment.providers[0].failing_share == 0.5
    assert guessed.notes[0] == "no record is read"
    assert "a guess, since no boot is recorded" in guessed.notes[1]
    assert known.notes[-1] == guessed.notes[-1] == "No price cap is set"
    for stage in (known, guessed):
        assert stage.contest.turns_at == ()
        assert isinstance(stage.contest, Contest)
        assert play_candidate(stage.contest, "own", WIDE.policy, (1,)).score is not None


def test_the_form_offers_every_recorded_trace_and_the_fleets_own_past() -> None:
    assert TypeAdapter(TraceName).json_schema()["enum"] == [OWN_PAST, *RECORDED]
