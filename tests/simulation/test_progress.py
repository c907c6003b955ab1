"""Who waits for a league hears how much is left, by how long the runs take and not by how many there are."""

from ebbflow.simulation.progress import Progress, work


def told(*finished: float, works: tuple[float, ...], seconds: float) -> list[str]:
    now = 0.0
    progress = Progress(works, clock=lambda: now)
    lines = []
    for did in finished:
        now += seconds
        lines.append(progress.finished(did))
    return lines


def test_what_is_left_is_told_by_what_the_rest_is_worth() -> None:
    assert told(1.0, 1.0, works=(1.0, 1.0, 8.0), seconds=30.0) == [
        "1/3 (10%, about 4 min left)",
        "2/3 (20%, about 4 min left)",
    ]


def test_at_the_end_nothing_is_left() -> None:
    assert told(2.0, works=(2.0,), seconds=5.0) == ["1/1 (100%, about 0 s left)"]


def test_runs_without_work_are_no_error() -> None:
    assert told(0.0, works=(0.0,), seconds=5.0) == ["1/1 (0%, about 0 s left)"]


def test_a_week_takes_longer_than_an_hour_and_ours_longer_than_a_baseline() -> None:
    hour, week = work(3600, 1000, 5, is_ours=False), work(604_800, 1000, 5, is_ours=False)
    assert hour < work(3600, 1000, 5, is_ours=True) < week


def test_at_the_end_nothing_is_left_however_sums_are_rounded() -> None:
    progress = Progress([0.1] * 10, clock=lambda: 5.0)
    said = [progress.finished(0.1000000001) for _ in range(10)]
    assert said[-1] == "10/10 (100%, about 0 s left)"
