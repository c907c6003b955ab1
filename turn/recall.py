"""Which records of a fleet a person asks about: the newest, that of a time or of a run, or the last so many."""

import math
from collections.abc import Callable
from dataclasses import replace

from ebbflow.core.errors import NotRecorded, RecordError
from ebbflow.core.memory import Memory
from ebbflow.core.ports import Ledger
from ebbflow.core.record import Record
from ebbflow.fleet.model import BUDGET_SHARE
from ebbflow.turn.chain_reader import ChainEntry, ChainReader, Past
from ebbflow.turn.moments import moment
from ebbflow.turn.standing import meant_by

FIRST_LOOK_SECONDS = 600.0
DAY_SECONDS = 86_400.0
WIDER = 4
"""A look that did not reach far enough is followed by one so many times as long."""


def interval_seconds_of(record: Record) -> float:
    """Between the turns of its fleet, as its budget tells."""
    return record.turn.budget_seconds / BUDGET_SHARE


class Recall:
    """Finds the records of one fleet.

    Args:
        ledger: that keeps them.
        fleet: its name.
    """

    def __init__(self, ledger: Ledger, fleet: str) -> None:
        self._ledger, self._fleet = ledger, fleet
        self.reader = ChainReader(ledger)

    async def newest(self) -> ChainEntry:
        """The newest record.

        Raises:
            NotRecorded: there is none.
            RecordError: it is gone, was edited or cannot be read.
        """
        return (await self.last(1)).entries[-1]

    async def last(self, count: int) -> Past:
        """The newest records, so many; fewer where the past ends before.

        Raises:
            NotRecorded: there is none.
            RecordError: the newest is gone, was edited or cannot be read.
        """
        head = await self.reader.head(self._fleet)
        if head is None:
            raise self._nothing(Past(), "yet")
        if head.record is None:
            raise RecordError(head.broken)
        made_at = await self._ledger.now() - max(0.0, head.claim.age_seconds)
        reach_seconds = FIRST_LOOK_SECONDS + (count - 1) * interval_seconds_of(head.record)
        past = Past(is_cut=True)
        while past.is_cut and len(past.entries) < count:
            past = await self.reader.past(self._fleet, since=max(0.0, made_at - reach_seconds))
            reach_seconds *= WIDER
        if not past.entries:
            raise self._nothing(past, "that can be read")
        is_cut = past.is_cut or len(past.entries) > count
        return replace(past, entries=past.entries[-count:], is_cut=is_cut, broken="" if is_cut else past.broken)

    async def at(self, at_seconds: float) -> ChainEntry:
        """The newest record of then or before.

        Raises:
            NotRecorded: the past begins later.
            RecordError: the chain cannot be followed so far back.
        """

        def is_before(entry: ChainEntry) -> bool:
            return entry.stored_at <= at_seconds

        past = await self._back(at_seconds, FIRST_LOOK_SECONDS, is_before)
        found = [entry for entry in past.entries if is_before(entry)]
        if not found:
            raise self._nothing(past, f"of {moment(at_seconds)} or before")
        return found[-1]

    async def of_run(self, run_id: str, *, most_seconds: float) -> ChainEntry:
        """The record that a flow run wrote.

        Args:
            run_id: its id, or the beginning of it.
            most_seconds: no further back than so long ago.

        Raises:
            NotRecorded: none of the records since then is that run's.
            RecordError: the chain cannot be followed so far back.
            ValueError: several ids begin so.
        """

        def is_meant(entry: ChainEntry) -> bool:
            return entry.record.flow_run_id.startswith(run_id.lower())

        past = await self._back(await self._ledger.now(), DAY_SECONDS, is_meant, most_seconds)
        found = {entry.record.flow_run_id: entry for entry in past.entries if is_meant(entry)}
        meant = meant_by(run_id.lower(), list(found))
        if meant is None:
            raise self._nothing(past, f"of run {run_id!r} (one that was skipped leaves none)")
        return found[meant]

    async def life_of(self, worker_id: str, *, most_seconds: float) -> tuple[Past, str]:
        """The records of a worker's whole life, as far as they can be had, and its id.

        Args:
            worker_id: its id, or the beginning of it.
            most_seconds: no further back than so long ago.

        Raises:
            NotRecorded: no record since then knows it.
            RecordError: none that can be read does.
            ValueError: several ids begin so.
        """

        def only_them(entry: ChainEntry) -> ChainEntry:
            return _of_workers(entry, worker_id)

        now, reach_seconds = await self._ledger.now(), min(DAY_SECONDS, most_seconds)
        past = await self.reader.past(self._fleet, since=now - reach_seconds, slim=only_them)
        while past.is_cut and reach_seconds < most_seconds and not _is_whole(past):
            reach_seconds = min(WIDER * reach_seconds, most_seconds)
            past = await self.reader.past(self._fleet, since=now - reach_seconds, slim=only_them)
        meant = meant_by(
            worker_id, list(dict.fromkeys(each for entry in past.entries for each in workers_of(entry.record)))
        )
        if meant is None:
            known = ", ".join(workers_of((await self.newest()).record)) or "no worker"
            error = self._nothing(past, f"of a worker {worker_id!r}")
            raise type(error)(f"{error}; its newest record knows {known}")
        return past, meant

    async def _back(
        self,
        from_seconds: float,
        reach_seconds: float,
        is_meant: Callable[[ChainEntry], bool],
        most_seconds: float = math.inf,
    ) -> Past:
        """As much of the past as has one that is meant, and whole only those that are.

        What is asked for is mostly near, and a look reads all that is nearer.
        """

        def slim(entry: ChainEntry) -> ChainEntry:
            return (
                entry if is_meant(entry) else replace(entry, record=replace(entry.record, memory=Memory(), sections={}))
            )

        while True:
            reach_seconds = min(reach_seconds, most_seconds)
            past = await self.reader.past(self._fleet, since=max(0.0, from_seconds - reach_seconds), slim=slim)
            if not past.is_cut or reach_seconds >= most_seconds or any(map(is_meant, past.entries)):
                return past
            reach_seconds *= WIDER

    def _nothing(self, past: Past, which: str) -> NotRecorded | RecordError:
        if past.broken:
            return RecordError(
                f"fleet {self._fleet!r}: no record {which}, and no further back can be read: {past.broken}"
            )
        if not past.entries and not past.is_cut:
            return NotRecorded(f"fleet {self._fleet!r} has no record yet: its first turn writes one")
        told = f"fleet {self._fleet!r} has no record {which}"
        if past.entries:
            first, last = (
                f"record {each.record.number} of {moment(each.stored_at)}"
                for each in (past.entries[0], past.entries[-1])
            )
            told += f"; {'read was' if past.is_cut else 'there is'} what lies between {first} and {last}"
        return NotRecorded(told + ("; --since looks further back" if past.is_cut else ""))


def workers_of(record: Record) -> tuple[str, ...]:
    """The ids of the workers that a record knows, or acts upon."""
    acted = (action.worker_id for action in record.plan.actions if action.worker_id)
    return tuple(dict.fromkeys([*(worker.worker_id for worker in record.memory.workers), *acted]))


def _of_workers(entry: ChainEntry, beginning: str) -> ChainEntry:
    """What a record says of the workers whose ids begin so, and of its fleet and its turn."""
    record = entry.record
    workers = tuple(each for each in record.memory.workers if each.worker_id.startswith(beginning))
    actions = tuple(each for each in record.plan.actions if each.worker_id.startswith(beginning))
    sections = {name: section for name, section in record.sections.items() if name == "fleet"}
    slim = replace(
        record,
        plan=replace(record.plan, actions=actions),
        memory=Memory(workers=workers),
        memory_by=None,
        sections=sections,
    )
    outcomes = tuple(each for each in entry.outcomes if each.worker_id.startswith(beginning))
    return replace(entry, record=slim, outcomes=outcomes)


def _is_whole(past: Past) -> bool:
    """Whether it begins before the workers of which it tells."""
    return (
        bool(past.entries)
        and not workers_of(past.entries[0].record)
        and any(workers_of(entry.record) for entry in past.entries)
    )
