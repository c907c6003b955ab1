"""Beginnings of a search: the moments of a fleet's life in which a missing rule does harm."""

from collections.abc import Awaitable, Callable

from ebbflow.decision.rows import CONFIRM_SECONDS
from tests.turn.model_world import CALL
from tests.turn.search import Schedule

Scene = Callable[[Schedule], Awaitable[None]]


async def until_claimed(schedule: Schedule, *, asked: bool = True) -> int:
    """Start a turn and let it come to the point where its actions may begin; none of them has."""
    world = schedule.world
    run = await schedule.start(asked=asked)
    while run in schedule.runs and not any(f"run{run} claimed" in line for line in world.log):
        await schedule.step(next(step for step in world.steps if step.run == run))
    return run


async def until_about_to_end(schedule: Schedule, *, held: int) -> None:
    """Let everybody but one run go on, until somebody is about to end a worker or nobody has anything left to do."""
    world = schedule.world
    while others := [step for step in world.steps if step.run != held]:
        if any("terminate" in step.label and step.is_call for step in others):
            return
        ready = [step for step in schedule.ready() if step.run != held]
        if ready:
            await schedule.step(ready[0])
        else:
            await schedule.advance(min(step.wakes_at for step in others) - world.now)


async def until_nobody_acts(schedule: Schedule) -> None:
    """Let everybody that has claimed do what they decided."""
    while schedule.runs:
        ready = schedule.ready()
        if ready:
            await schedule.step(ready[0])
        else:
            await schedule.until_somebody_wakes()


async def late_registration(schedule: Schedule) -> None:
    """A worker is given up in the very moment in which an earlier turn is about to register it."""
    world = schedule.world
    world.boots = 85.0
    for _ in range(3):
        await schedule.one_turn()
    world.boots, world.queue = None, 0
    slow = await until_claimed(schedule)
    await schedule.advance(14.0)
    await until_claimed(schedule)
    await until_claimed(schedule)
    await until_about_to_end(schedule, held=slow)


async def work_on_its_way(schedule: Schedule) -> None:
    """A turn that marked an idle worker died before it could drain it; the next one is about to end it."""
    world = schedule.world
    await schedule.one_turn()
    await schedule.one_turn()
    world.queue = 0
    await schedule.kill(await until_claimed(schedule))
    await schedule.advance(world.interval)
    await until_claimed(schedule)


async def surplus_while_pending(schedule: Schedule) -> None:
    """A pending worker is surplus, and starts and joins by itself while a turn is about to end it."""
    world = schedule.world
    world.queue = 0
    for _ in range(2):
        await schedule.one_turn()
    world.queue = 15
    await until_claimed(schedule)
    await until_nobody_acts(schedule)
    for box in world.ours():
        box.starts_at = box.boots_at = world.now + 75.0
    await schedule.advance(world.interval)
    world.queue = 0
    await schedule.one_turn()
    await until_claimed(schedule)
    for box in world.ours():
        box.starts_at = box.boots_at = world.now + world.rng.uniform(3, 9)


async def record_lost_before_listing(schedule: Schedule) -> None:
    """The record of a turn that launched is lost before a listing shows what it launched, which still boots."""
    world = schedule.world
    world.queue, world.boots = 40, 60.0
    await schedule.one_turn()
    world.boots = None
    for box in world.ours():
        box.shown_at = world.now + 10.0
    world.lose_record()


async def record_lost_before_launch(schedule: Schedule) -> None:
    """The record of a turn is lost while that turn is about to launch."""
    # A budget longer than the wait of every new chain for its second look.
    schedule.world.interval = 120.0
    schedule.world.queue = 40
    await until_claimed(schedule)
    schedule.world.lose_record()
    await until_claimed(schedule)
    await schedule.advance(CONFIRM_SECONDS + 1.0)


async def launched_late_in_its_turn(schedule: Schedule) -> None:
    """A turn launches at the end of its budget, and the listing takes its time."""
    world = schedule.world
    world.queue = 0
    for _ in range(3):
        await schedule.one_turn()
    world.queue = 40
    await until_claimed(schedule)
    await schedule.advance(0.8 * world.interval - CALL)
    await until_nobody_acts(schedule)
    for box in world.ours():
        box.shown_at = world.now + world.setting.listing_lag - 1
    await schedule.advance(20.0)
    await until_claimed(schedule)
    await until_claimed(schedule)
