"""Looking: everything a turn asks before it decides. Each source that fails is unknown, never zero and never empty."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

from ebbflow.core.errors import ConfigError, FleetError
from ebbflow.core.instance import InstanceList, InstanceState, ProviderCaps
from ebbflow.core.lifecycle import WorkerState
from ebbflow.core.member import Demand, MemberList
from ebbflow.core.memory import Memory
from ebbflow.core.observation import Inputs, ProviderLook
from ebbflow.core.ports import KeepsAlive
from ebbflow.core.worker import Worker
from ebbflow.decision.rows import instances_of_ours
from ebbflow.turn.budget import Budget
from ebbflow.turn.opened import OpenFleet
from ebbflow.turn.plausible import plausible_demand, plausible_list, plausible_members
from ebbflow.turn.surroundings import Log
from ebbflow.turn.together import together

T = TypeVar("T")


async def keep_alive(opened: OpenFleet, workers: Iterable[Worker], log: Log) -> frozenset[str]:
    """Hold the dead-man's switch of every worker that can be asked. What does not answer is seen by the next look.

    Where we push addresses into the master, a worker without one cannot be asked yet; elsewhere its id is enough. A
    master that asks them one by one has the time for it that `_many_seconds` says.

    Returns:
        The ids of those that answered.
    """
    master = opened.master
    asked = [worker for worker in workers if worker.may_exist and (worker.url is not None or not opened.takes_urls)]
    if not isinstance(master, KeepsAlive) or master.caps.needs_keepalive_seconds is None or not asked:
        return frozenset()
    try:
        with anyio.fail_after(_many_seconds(opened)):
            answers = await master.keepalive(asked)
    except (FleetError, TimeoutError) as error:
        log.warning("keepalive of %d workers failed: %s", len(asked), error or "timeout")
        return frozenset()
    except Exception as error:
        log.error("keepalive of %d workers: a mistake in the master's adapter", len(asked), exc_info=error)
        return frozenset()
    silent = sorted(worker_id for worker_id, answered in answers.items() if not answered)
    if silent:
        log.info("keepalive: %s did not answer", ", ".join(silent))
    return frozenset(worker_id for worker_id, answered in answers.items() if answered)


async def observe(
    opened: OpenFleet, memory: Memory, budget: Budget, log: Log
) -> tuple[Demand, MemberList, tuple[ProviderLook, ...]]:
    """Ask master and providers, all at once.

    Raises:
        ConfigError: the master or a provider says that a person must act; the turn ends before any action.
    """
    listings = together(*(_listing(opened, name, budget, log) for name in opened.providers))
    members_asked = _members(opened, memory, budget, log)
    demand, members, looks = await asyncio.gather(_demand(opened, budget, log), members_asked, listings)
    found = [look for look in looks if isinstance(look, ProviderLook)]
    for answer in (demand, members, *looks):
        # Only now: whoever else was still being asked has answered.
        if isinstance(answer, ConfigError):
            # A serving worker must not end by its dead-man's switch because a setting is wrong.
            await keep_alive(opened, _listed(opened, found, memory), log)
            raise answer
    missing = [
        ProviderLook(name, _caps_of(memory, name), InstanceList((), complete=False, detail=why))
        for name, why in opened.unloadable.items()
    ]
    return _known(demand), _known(members), (*found, *missing)


def _listed(opened: OpenFleet, looks: Iterable[ProviderLook], memory: Memory) -> list[Worker]:
    """Who is listed and was not asked yet: what the record knows, it knows better."""
    known = {worker.worker_id for worker in memory.workers if worker.url is not None}
    return [
        Worker(instance.worker_id, look.provider, WorkerState.STARTING, url=instance.url)
        for look in looks
        for instance in look.listing.instances
        if instance.home == opened.home and instance.state is InstanceState.RUNNING and instance.worker_id not in known
    ]


def _known(answer: T | ConfigError) -> T:
    assert not isinstance(answer, ConfigError)
    return answer


async def _demand(opened: OpenFleet, budget: Budget, log: Log) -> Demand | ConfigError:
    """The master is probed first: a configuration error must end the turn, a silent master must not."""
    master = opened.master
    health = await _asked(master.probe, master.caps.call_seconds, budget, log)
    if isinstance(health, FleetError):
        return health if isinstance(health, ConfigError) else Demand(complete=False, detail=str(health))
    if not health.reachable:
        return Demand(complete=False, detail=health.detail)
    demand = await _asked(master.demand, master.caps.call_seconds, budget, log)
    if isinstance(demand, FleetError):
        return demand if isinstance(demand, ConfigError) else Demand(complete=False, detail=str(demand))
    return plausible_demand(demand)


async def _members(opened: OpenFleet, memory: Memory, budget: Budget, log: Log) -> MemberList | ConfigError:
    members = await _asked(opened.look_at_members(memory.workers), _many_seconds(opened), budget, log)
    if isinstance(members, FleetError):
        return members if isinstance(members, ConfigError) else MemberList((), complete=False, detail=str(members))
    return plausible_members(members)


async def _listing(opened: OpenFleet, name: str, budget: Budget, log: Log) -> ProviderLook | ConfigError:
    provider = opened.providers[name]
    caps = provider.caps
    listing = await _asked(lambda: provider.list_instances(opened.fleet.name), caps.call_seconds, budget, log)
    if isinstance(listing, ConfigError):
        return listing
    if isinstance(listing, FleetError):
        listing = InstanceList((), complete=False, detail=str(listing))
    return ProviderLook(name, caps, plausible_list(listing, caps, opened.master.caps.worker_networks))


def _many_seconds(opened: OpenFleet) -> float:
    """How long a call may take in which a master asks every worker: a thousand need more than one that hangs is given.

    As long as any call, or what the budget leaves of an interval. Half of a dead-man's time holds at least one
    interval, so that a fifth of it goes to signs of life, whatever one call may take.
    """
    return max(opened.master.caps.call_seconds, opened.fleet.interval_seconds - opened.fleet.budget_seconds)


async def _asked(call: Callable[[], Awaitable[T]], seconds: float, budget: Budget, log: Log) -> T | FleetError:
    """The answer, or why there is none."""
    try:
        with anyio.fail_after(limit := min(seconds, budget.remaining_seconds)):
            return await call()
    except TimeoutError:
        return FleetError(f"no answer within {limit:g} s")
    except FleetError as error:
        return error
    except Exception as error:
        # One adapter's mistake must not keep the whole fleet from its turn.
        log.error("a mistake in an adapter: its answer is unknown", exc_info=error)
        return FleetError(f"a mistake in its adapter: {type(error).__name__}: {error}")


def _caps_of(memory: Memory, name: str) -> ProviderCaps:
    known = memory.provider(name)
    return ProviderCaps(fingerprint=known.fingerprint if known else "")


def with_new_address(inputs: Inputs) -> list[Worker]:
    """Workers of ours whose address a listing shows for the first time; they need a sign of life as well."""
    known = {worker.worker_id for worker in inputs.memory.workers if worker.url is not None}
    return [
        Worker(instance.worker_id, look.provider, WorkerState.STARTING, url=instance.url)
        for look in inputs.providers
        for instance in instances_of_ours(look, inputs).values()
        if instance.url is not None and instance.worker_id not in known and instance.state is InstanceState.RUNNING
    ]
