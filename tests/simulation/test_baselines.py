"""Each baseline follows the rule of the system that it is a model of, on small worlds that show one rule at a time."""

import itertools

import pytest

from ebbflow.simulation.baselines import BASELINES
from ebbflow.simulation.baselines_ratio import Capability, Opengris, Vanilla
from ebbflow.simulation.environment import K8S, BootTimes, Environment, VirtualProvider
from ebbflow.simulation.recorded import Trace, load
from ebbflow.simulation.score import score
from ebbflow.simulation.world import Driver, World

SURE = Environment("sure", (VirtualProvider("sure", BootTimes(100.0, 0.0, 100.0, 100.0)),))
FAILING = Environment("failing", (VirtualProvider("f", BootTimes(100.0, 0.0, 100.0, 100.0), failing_share=1.0),))


def burst(count: int, service: float = 1000.0, at: float = 1.0) -> Trace:
    return Trace("burst", (at,) * count, (service,) * count)


def launched_at(driver: Driver, trace: Trace, environment: Environment = SURE, until: float = 400.0) -> list[float]:
    world = World(trace, environment, 1)
    world.run(driver)
    return [worker.launched_at for worker in world.workers if worker.launched_at <= until]


def ended_at(driver: Driver, trace: Trace) -> list[float | None]:
    world = World(trace, SURE, 1)
    world.run(driver)
    return [worker.ended_at for worker in world.workers]


def test_swarmui_waits_for_ten_requests_and_a_minute_after_a_start_and_after_a_ready_worker() -> None:
    assert launched_at(BASELINES["swarmui"](), burst(9)) == []
    # The first is ready at 105 s, so the next start is due 60 s later, and not at 125 s.
    assert launched_at(BASELINES["swarmui"](), burst(30), until=230) == [5.0, 65.0, 225.0]


def test_swarmui_rests_two_minutes_after_a_failure() -> None:
    # The first failure is noticed after 150 s, while the second worker, 60 s younger, is on its way.
    assert launched_at(BASELINES["swarmui"](), burst(30), FAILING, until=300) == [5.0, 65.0, 125.0]


def test_swarmui_stops_one_worker_a_minute_once_idle_for_more_than_ten() -> None:
    world = World(burst(30, 10.0), SURE, 1)
    world.run(BASELINES["swarmui"]())
    ended = sorted(worker.ended_at or 0.0 for worker in world.workers)
    assert len(ended) > 1
    assert all(later - earlier >= 60 for earlier, later in itertools.pairwise(ended))
    assert all((worker.ended_at or 0.0) - worker.idle_since > 600 for worker in world.workers)


def test_swarmui_tuned_needs_one_request() -> None:
    assert launched_at(BASELINES["swarmui-tuned"](), burst(1), until=10) == [5.0]


def test_aicell_launches_one_at_a_time_and_only_while_nothing_is_free() -> None:
    assert launched_at(BASELINES["aicell"](), burst(5), until=300) == [5.0, 105.0, 205.0]


def test_aicell_kills_work_at_the_walltime_of_its_job() -> None:
    world = World(burst(1, 601.0), SURE, 1)
    world.run(BASELINES["aicell"]())
    assert (world.served, world.workers[0].ended_at) == (0, 705.0)
    assert world.lost_to_stops > 1
    assert world.lost_to_preemption == 0


def test_aicell_ends_every_worker_after_a_minute_without_any_work() -> None:
    assert ended_at(BASELINES["aicell"](), burst(1, 10.0)) == [170.0]


def test_ray_launches_for_each_waiting_request_but_five_at_a_time() -> None:
    assert launched_at(BASELINES["ray-idle300"](), burst(3), until=90) == [5.0] * 3
    # Five of five pending; then as many as there are workers.
    assert launched_at(BASELINES["ray-idle300"](), burst(12), until=90) == [5.0] * 5
    assert launched_at(BASELINES["ray-idle300"](), burst(12), until=108) == [5.0] * 5 + [105.0] * 5


@pytest.mark.parametrize(("name", "seconds"), [("ray-idle60", 60), ("ray-idle300", 300)])
def test_ray_stops_a_worker_that_was_idle_for_its_time(name: str, seconds: int) -> None:
    assert ended_at(BASELINES[name](), burst(1, 10.0)) == [115.0 + seconds + 5.0]


@pytest.mark.parametrize(
    ("tasks", "ready", "before", "desired"),
    [
        (0, 0, 0, 0),
        (1, 0, 0, 1),
        (10, 1, 1, 1),
        (11, 1, 1, 2),
        (21, 1, 2, 2),
        (5, 6, 6, 1),
        (0, 3, 3, 0),
        (15, 20, 9, 2),
    ],
)
def test_vanilla_keeps_the_ratio_between_one_and_ten(tasks: int, ready: int, before: int, desired: int) -> None:
    assert Vanilla().desired(tasks, ready, before) == desired


@pytest.mark.parametrize(("tasks", "desired"), [(0, 0), (1, 1), (5, 1), (6, 2), (23, 5)])
def test_capability_wants_one_worker_for_five_tasks(tasks: int, desired: int) -> None:
    assert Capability().desired(tasks, 3, 7) == desired


def test_opengris_never_makes_up_for_a_failed_launch() -> None:
    assert launched_at(Opengris(Vanilla()), burst(30), FAILING, until=7000) == [2.0]


def test_opengris_stops_the_oldest_worker_though_it_works() -> None:
    # Six long requests want two workers; when one of them is done, five want one, and the older worker is killed.
    trace = Trace("mixed", (1.0,) * 6, (1000.0, 50.0, 1000.0, 1000.0, 1000.0, 1000.0))
    world = World(trace, SURE, 1)
    world.run(Opengris(Capability()))
    assert world.lost_to_stops > 0
    assert world.workers[0].ended_at is not None
    assert world.workers[0].ended_at < 200


def test_knative_panics_in_a_burst_and_goes_to_zero_half_a_minute_after_the_last_work() -> None:
    world = World(burst(7, 300.0), SURE, 1)
    world.run(BASELINES["knative"]())
    # Seven over 0.7 are ten, from the short window's mean on.
    first = [worker for worker in world.workers if worker.launched_at <= 10]
    assert len(first) == 10
    assert all(worker.ended_at is not None for worker in world.workers)


def test_knative_delay_holds_the_highest_number_for_ten_minutes() -> None:
    slow, fast = (ended_at(BASELINES[name](), burst(7, 10.0)) for name in ("knative-delay600", "knative"))
    assert max(end or 0.0 for end in slow) - max(end or 0.0 for end in fast) > 400


def test_keda_at_most_doubles_or_adds_four_in_one_period() -> None:
    assert launched_at(BASELINES["keda-q1"](), burst(40), until=50) == [15.0] * 4 + [30.0] * 4 + [45.0] * 8
    assert launched_at(BASELINES["keda-q5"](), burst(40), until=50) == [15.0] * 4 + [30.0] * 4


def test_keda_holds_the_highest_number_of_the_last_five_minutes() -> None:
    (end,) = set(ended_at(BASELINES["keda-q1"](), burst(2, 10.0)))
    # The last period that saw work was at 120 s; the first that sees none for 300 s comes at 435 s.
    assert end == 435


def test_skyserve_acts_only_after_the_rate_was_above_for_its_delay() -> None:
    steady = Trace("steady", tuple(float(second) for second in range(600)), (2.0,) * 600)
    slow = launched_at(BASELINES["skyserve"](), steady, until=900)
    assert 280 <= slow[0] <= 320
    assert launched_at(BASELINES["skyserve-fast"](), steady, until=900)[0] <= 20.0


def test_staffing_rules_hold_the_load_and_its_square_root() -> None:
    # One request a second of nine seconds is a load of nine; after many averages 9 + 3.
    steady = Trace("steady", tuple(float(second) for second in range(3600)), (9.0,) * 3600)
    sizes: list[int] = []

    class Watching:
        interval_seconds = 10.0

        def __init__(self) -> None:
            self._inner = BASELINES["erlangC"]()

        def tick(self, world: World) -> None:
            self._inner.tick(world)
            if world.now == 3500:
                sizes.append(world.size)

    world = World(steady, SURE, 1)
    world.run(Watching())
    assert sizes == [12]


def test_seasonal_remembers_yesterday() -> None:
    day = tuple(float(43_200 + second) for second in range(0, 1800, 2))
    trace = Trace("days", (*day, *(at + 86_400 for at in day)), (20.0,) * (2 * len(day)))
    first = {}
    for name in ("erlangC-b2", "seasonal"):
        world = World(trace, SURE, 1)
        world.run(BASELINES[name]())
        tomorrow = [wait for at, wait in zip(trace.at_seconds, world.waits, strict=True) if at > 86_400]
        first[name] = sum(tomorrow[:60])
    assert first["seasonal"] < first["erlangC-b2"]


@pytest.mark.parametrize(
    ("name", "hours", "p95"),
    [
        ("seasonal", 399, 56.7),
        ("erlangC", 346, 84.9),
        ("keda-q1", 699, 22.4),
        ("vast-like", 656, 18.0),
        ("knative", 804, 62.2),
    ],
)
def test_the_table_of_the_contract_comes_out(name: str, hours: float, p95: float) -> None:
    trace = load("servegen_mmimg")
    world = World(trace, K8S, 1)
    world.run(BASELINES[name]())
    scored = score(world)
    assert scored.paid_hours == pytest.approx(hours, rel=0.05)
    assert scored.wait_p95 == pytest.approx(p95, rel=0.15)
    assert (scored.lost, scored.unserved) == (0, 0)
