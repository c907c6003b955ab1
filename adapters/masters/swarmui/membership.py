"""What a SwarmUI master's list of backends says of our workers. Pure: no I/O, no clock.

An entry of ours says how the master is connected to a worker; work runs on its children, one for each backend of the
worker. Source: SwarmUI src/Backends/SwarmSwarmBackend.cs; what the real one shows is measured on 0.9.8.2.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ebbflow.adapters.masters.swarmui.answers import Entry, Listing
from ebbflow.adapters.masters.swarmui.ownership import (
    Ownership,
    address_of,
    parse_title,
    remote_title,
    title_of_parent,
)
from ebbflow.core.member import Member, MemberState, PushMemberList, Room
from ebbflow.core.text import one_line
from ebbflow.core.worker import Worker

_STATES = {
    "waiting": MemberState.JOINING,
    "loading": MemberState.JOINING,
    "running": MemberState.READY,
    "idle": MemberState.LOST,
    "errored": MemberState.LOST,
    "disabled": MemberState.LOST,
}
LONGEST_NAME = 80
"""Of what people call their entries, as far as it is shown."""

SWITCHED_OFF_BY_ITSELF = "its entry is switched on and `disabled` all the same, as after a change that failed"
CHILDLESS = "its entry is connected, and no child of it takes work"


@dataclass(frozen=True, slots=True)
class Word:
    """What a worker said of itself."""

    busy: bool | None = None
    """None: it did not say."""
    is_silent: bool = False
    """It was asked, and answered nothing at all in this turn."""


UNASKED = Word()


def members_of(
    listing: Listing,
    ownership: Ownership,
    words: Mapping[str, Word],
    *,
    own_backends: Mapping[str, Counter[str]] | None = None,
    worker_ids: Sequence[str] | None = None,
    room: Room | None = None,
) -> PushMemberList:
    """Make our members, the half-made entries, and what is not ours out of a listing.

    Args:
        listing: all of it, children too.
        ownership: tells ours.
        words: by address, what each worker says of itself.
        own_backends: by address, the names of a worker's running backends, where the children gave reason to ask.
        worker_ids: of these only; None: all of ours.
        room: how the fleet's waiting room stands, where it has one.
    """
    owned = owned_entries(listing.entries, ownership, worker_ids)
    ids = Counter(worker_id for worker_id, _ in owned)
    addresses = Counter(entry.address for _, entry in owned if entry.address)
    controls = [entry for entry in listing.entries if not entry.is_child]
    return PushMemberList(
        members=tuple(
            _member(
                worker_id,
                entry,
                children_at(entry.address, listing.entries),
                words.get(entry.address, UNASKED),
                renamed=_name(entry) if ownership.is_renamed(entry) else "",
                duplicate=ids[worker_id] > 1 or addresses[entry.address] > 1,
                disorder=disorder_of(entry, listing.entries, own_backends or {}),
            )
            for worker_id, entry in owned
        ),
        complete=all(entry.status in _STATES for _, entry in owned),
        detail=_oddities(owned, ids, addresses),
        unfinished=tuple(str(entry.ref) for entry in controls if entry.is_unfinished),
        strays=tuple(_strays(listing.entries, ownership, ids, worker_ids)),
        others=tuple(_others(listing, controls, ownership)),
        foreign=tuple(entry.title for entry in controls if ownership.is_of_another_home(entry)),
        room=room,
    )


def owned_entries(
    entries: Iterable[Entry], ownership: Ownership, worker_ids: Sequence[str] | None = None
) -> list[tuple[str, Entry]]:
    """Entries of ours, each with its worker's id."""
    owned = [(worker_id, entry) for entry in entries if (worker_id := ownership.owner(entry)) is not None]
    return [(name, entry) for name, entry in owned if worker_ids is None or name in worker_ids]


def children_at(address: str, entries: Iterable[Entry]) -> list[Entry]:
    """The children through which the master gives work to one address."""
    return [entry for entry in entries if entry.is_child and entry.address == address]


def addresses_of_the_gone(entries: Iterable[Entry], known: Iterable[Worker]) -> set[str]:
    """Addresses of workers that are gone at which the master still has something: who answers there is to be asked."""
    gone = {address_of(worker) for worker in known if worker.registered and not worker.may_exist}
    return {entry.address for entry in entries if entry.address} & gone


def doubtful_addresses(entries: Sequence[Entry], ownership: Ownership) -> set[str]:
    """Addresses at which two children have one name: two backends of that name, or one that is served twice."""
    addresses = {entry.address for _, entry in owned_entries(entries, ownership)}
    return {address for address in addresses if max(_names(children_at(address, entries)).values(), default=0) > 1}


def _names(children: Iterable[Entry]) -> Counter[str]:
    return Counter(remote_title(child) for child in children)


def _member(
    worker_id: str,
    entry: Entry,
    children: Sequence[Entry],
    word: Word,
    *,
    renamed: str,
    duplicate: bool,
    disorder: str,
) -> Member:
    state, busy = _state(entry, children), word.busy
    # The master notices a worker that does not answer after ten minutes, and gives it work until then.
    is_fed = state is MemberState.READY and word.is_silent
    if state is MemberState.DRAINING and busy is False and (children or entry.is_being_emptied):
        # Children go one after the other, and the last one still takes work while the first one drains; and the worker
        # itself counts nothing any more up to two seconds before the master's request ends. For one that is silent the
        # master waits ten minutes, whatever it does: that is no word.
        busy = True
    used = [child.seconds_since_used for child in children if child.seconds_since_used is not None]
    return Member(
        worker_id=worker_id,
        master_ref=str(entry.ref),
        state=MemberState.LOST if is_fed else state,
        url=entry.address or None,
        busy=busy,
        # The control entry's own figure is never updated. A worker that was never used gives no figure at all.
        idle_seconds=min(used) if used and busy is False else None,
        model=next((child.model for child in children if child.model), None),
        duplicate=duplicate,
        is_fed=is_fed,
        renamed=renamed,
        disorder=disorder,
    )


def _state(entry: Entry, children: Sequence[Entry]) -> MemberState:
    # `enabled`, not `status`: an entry that was errored keeps that status when it is disabled.
    if not entry.enabled:
        return MemberState.DRAINING
    state = _STATES.get(entry.status, MemberState.JOINING)
    # Work runs on children only: connected without one, after a restart of the master for instance, takes none, and one
    # that still loads, because of another backend of its worker or a gate, takes some.
    serves = any(child.status == "running" for child in children)
    if state is MemberState.READY or entry.status == "loading":
        return MemberState.READY if serves else MemberState.JOINING
    return state


def disorder_of(entry: Entry, entries: Iterable[Entry], own_backends: Mapping[str, Counter[str]]) -> str:
    """What is wrong with one entry of ours; empty: nothing.

    Args:
        entry: it.
        entries: all, its children among them.
        own_backends: by address, the names of a worker's running backends, where they are known.
    """
    children = children_at(entry.address, entries)
    if not entry.enabled:
        return ""
    if entry.status == "disabled" and entry.address:
        return SWITCHED_OFF_BY_ITSELF
    if entry.status == "running" and not any(child.status == "running" for child in children):
        return CHILDLESS
    own = own_backends.get(entry.address)
    if own is not None and any(count > own[name] for name, count in _names(children).items()):
        return f"{len(children)} children of it take work, more than it has backends: one is nobody's"
    return ""


def _oddities(owned: Sequence[tuple[str, Entry]], ids: Counter[str], addresses: Counter[str]) -> str:
    unknown = [
        f"backend {entry.ref} has unknown status {entry.status!r}" for _, entry in owned if entry.status not in _STATES
    ]
    twice = [f"{worker_id} is registered {count} times" for worker_id, count in ids.items() if count > 1]
    shared = [f"{count} entries share {address}" for address, count in addresses.items() if count > 1]
    return "; ".join(unknown + twice + shared)


def _strays(
    entries: Sequence[Entry], ownership: Ownership, ids: Counter[str], worker_ids: Sequence[str] | None
) -> list[str]:
    """Workers of which a child is left, and no entry."""
    left = {ownership.owner_of_child(entry) for entry in entries} - {None} - ids.keys()
    return sorted(name for name in left if name is not None and (worker_ids is None or name in worker_ids))


def _others(listing: Listing, controls: Iterable[Entry], ownership: Ownership) -> Iterable[str]:
    """What serves beside ours: backends of the operator's own on the master, and SwarmUIs that he added by hand."""
    yield from (one_line(name)[:LONGEST_NAME] for name in listing.local)
    for entry in controls:
        is_ebbflows = parse_title(entry.title) is not None or entry.title.startswith("ebbflow/")
        is_up = entry.enabled and entry.status == "running" and _serves(entry, listing.entries)
        if ownership.owner(entry) is None and not is_ebbflows and is_up:
            yield _name(entry)


def _serves(entry: Entry, entries: Iterable[Entry]) -> bool:
    return any(
        child.status == "running" and title_of_parent(child) == entry.title
        for child in children_at(entry.address, entries)
    )


def _name(entry: Entry) -> str:
    """How a person finds it: its title, as far as it is short, and its number."""
    title = one_line(entry.title)
    shown = title if len(title) <= LONGEST_NAME else f"{title[:LONGEST_NAME]}..."
    return f"{shown or 'without title'} (backend {entry.ref})"
