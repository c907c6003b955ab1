"""Many clients at once, in virtual time: each at its time, a bound to those that are open, and an end at any moment."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from ebbflow.services.simulated_clients.arrivals import Arrival
from ebbflow.services.simulated_clients.cost import Price, per_worker, unknown
from ebbflow.services.simulated_clients.crowd import Crowd, Moment, Played, Surroundings
from ebbflow.services.simulated_clients.life import Lost
from ebbflow.services.simulated_clients.summary import summary_of
from tests.services.simulated_clients.world import ENDPOINT, World

pytestmark = pytest.mark.anyio


class Run:
    """A crowd in a world, and what it told."""

    def __init__(self, world: World, *, most_open: int = 100, patience_seconds: float = 600.0) -> None:
        self.told: list[Moment] = []
        self.stop = asyncio.Event()
        self._world, self._most_open, self._patience = world, most_open, patience_seconds
        self.around = Surroundings(world.time.clock, world.time.sleep, self._count, unknown, self.told.append)

    async def play(self, *at_seconds: float, tokens: int = 5) -> Played:
        client = self._world.client(patience_seconds=self._patience)
        crowd = Crowd(client, self.around, most_open=self._most_open, seed=1)
        arrivals = [Arrival(at, tokens) for at in at_seconds]
        return await self._world.time.run(crowd.play(arrivals, self.stop))

    async def _count(self) -> int | None:
        return len(self._world.workers)


async def test_each_client_comes_at_its_time_and_is_served(world: World) -> None:
    worker = await world.worker()
    run = Run(world)
    played = await run.play(0.0, 0.0, 2.5, 30.0)
    assert [life.due_at - played.began_at for life in played.lives] == [0.0, 0.0, 2.5, 30.0]
    found = summary_of(played, endpoint=ENDPOINT)
    assert (found.started, found.finished, found.successful, found.tokens) == (4, 4, 4, 20)
    assert found.seconds == pytest.approx(30.5)
    assert [each.url for each in found.workers] == [worker.url]
    assert not played.was_interrupted
    assert (await world.account())["served"] == 4


async def test_it_tells_each_second_how_it_stands(world: World) -> None:
    await world.worker()
    run = Run(world)
    played = await run.play(0.0, 4.9)
    assert [moment.seconds for moment in run.told] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert (run.told[-1].started, run.told[-1].open, run.told[-1].served, run.told[-1].workers) == (2, 1, 1, 1)
    last = played.moments[-1]
    assert last.seconds == pytest.approx(5.4)
    assert (last.open, last.served, last.lost) == (0, 2, 0)


async def test_no_more_are_open_at_once_than_may_be_and_the_wait_for_that_counts(world: World) -> None:
    await world.worker()
    run = Run(world, most_open=2)
    played = await run.play(0.0, 0.0, 0.0, 0.0, tokens=10)
    assert max(moment.open for moment in played.moments) == 2
    found = summary_of(played, endpoint=ENDPOINT)
    assert found.successful == 4
    assert found.latency_seconds.max == pytest.approx(2.0)
    assert found.late_start_seconds_max == pytest.approx(1.0)


async def test_who_waits_is_told_apart_from_who_is_served(world: World) -> None:
    run = Run(world, patience_seconds=3)
    played = await run.play(0.0, 0.0)
    assert [(moment.open, moment.waiting) for moment in run.told[1:3]] == [(2, 2), (2, 2)]
    assert summary_of(played, endpoint=ENDPOINT).lost["out_of_patience"] == 2


async def test_an_order_to_stop_cuts_off_what_is_open_and_keeps_what_is_done(world: World) -> None:
    await world.worker()
    run = Run(world)

    async def stop() -> None:
        await world.time.sleep(3.0)
        run.stop.set()

    stopping = asyncio.create_task(stop())
    played = await run.play(0.0, 2.5, 2.9, 500.0, tokens=10)
    await stopping
    found = summary_of(played, endpoint=ENDPOINT)
    assert (found.was_interrupted, found.due, found.started, found.finished, found.successful) == (True, 4, 3, 1, 1)
    assert found.lost["cut_off"] == 2
    assert found.wasted_tokens > 0
    assert played.ended_at - played.began_at == 3.0
    assert all(life.ended_at is not None for life in played.lives)
    assert played.moments[-1].open == 0


async def test_an_order_to_stop_that_came_before_lets_nobody_ask(world: World) -> None:
    run = Run(world)
    run.stop.set()
    played = await run.play(0.0, 1.0)
    assert (played.lives, played.due, played.was_interrupted) == ((), 2, True)
    assert "/route/" not in {url.path for url in world.street.asked}


def every_second(worker: str) -> Callable[[int | None], Awaitable[Price]]:
    async def price(workers: int | None) -> Price:
        return Price(3600.0 * (workers or 0), {worker: 3600.0})

    return price


async def test_dollars_are_those_of_all_workers_also_of_one_that_does_nothing(world: World) -> None:
    busy = await world.worker()
    await world.worker()
    run = Run(world)
    run.around = replace(run.around, pricing=per_worker(3600.0))
    found = summary_of(await run.play(0.0, 20.0, tokens=5), endpoint=ENDPOINT)
    assert found.usd == pytest.approx(2 * 20.5)
    assert found.usd_per_1000_tokens == pytest.approx(4100.0)
    run.around = replace(run.around, pricing=every_second(busy.url))
    found = summary_of(await run.play(0.0, 0.0), endpoint=ENDPOINT)
    priced = {each.url: each.usd for each in found.workers}
    assert priced[busy.url] == pytest.approx(found.seconds)
    assert [usd for url, usd in priced.items() if url != busy.url] == [None]


async def test_a_run_is_the_same_for_the_same_seed(world: World) -> None:
    runs = [await Run(world, patience_seconds=30).play(0.0, 0.5, 1.0) for _ in range(2)]
    ends = [[life.ended_at - played.began_at for life in played.lives if life.ended_at] for played in runs]
    assert ends[0] == pytest.approx(ends[1])
    assert {life.lost for played in runs for life in played.lives} == {Lost.OUT_OF_PATIENCE}


async def test_a_hundred_clients_of_three_workers_are_all_served(world: World) -> None:
    for _ in range(3):
        await world.worker("429", "break off", "503")
    played = await Run(world).play(*(0.2 * number for number in range(100)), tokens=3)
    found = summary_of(played, endpoint=ENDPOINT)
    assert (found.successful, found.tokens, sum(found.lost.values())) == (100, 300, 0)
    assert found.reroutes == sum(each.failed for each in found.workers) == 9
    account = await world.account()
    assert (account["arrived"], account["queued_requests"]) == (100, 0)
