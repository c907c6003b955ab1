"""What a Ray head's dashboard says about demand and nodes. Pure: no I/O, no clock.

Source: Ray python/ray/dashboard/modules/reporter and .../state; measured on Ray 2.60.0.
"""

import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ebbflow.core.capabilities import amounts, capability_set
from ebbflow.core.errors import MasterUnavailable
from ebbflow.core.ids import parse_worker_id
from ebbflow.core.member import Demand, Shape

FRESH_SECONDS = 30.0
"""The head counts anew each five seconds; older than this it has stopped to."""
WORKER, FLEET, HOME = "autoscaler.worker/id", "autoscaler.worker/fleet", "autoscaler.worker/home"
"""Labels that our workers are started with."""
DRAIN_JOB = "ebbflow-drain-"
"""How the id of a job begins that drains a node; the beginning of the node's id follows."""
NODE_ID_SHOWN = 16
TYPE_OF_GPU = "accelerator_type:"
"""A task that asks for a type of GPU asks for 0.001 of this: what it can do, not how much."""
NOT_A_PLACE = ("object_store_memory", "node:", "bundle_group")
"""Resources that no work asks for by itself."""
NOT_WORK = frozenset({"object_store_memory", "objectStoreMemory", "memory"})
"""Resources that are used without work, in both spellings."""
NOT_WORK_BEGINS = ("node:", "bundle_group", "bundleGroup")
"""How resources begin that stand for a node or a group."""
MOST_OF_A_SHAPE = 1_000_000_000
TOGETHER, APART = "STRICT_PACK", "STRICT_SPREAD"
"""The bundles of such a group go to one node, or each to a node of its own; of others, wherever there is room."""
NAME_CHARACTERS = 63
"""Of a capability."""


@dataclass(frozen=True, slots=True)
class Status:
    """The head's own account of its cluster."""

    demand: Demand
    used: Mapping[str, bool] = field(default_factory=dict)
    """By node: whether any of its resources is used. Only nodes that take work are in it."""
    amounts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By node: how much of each resource is used, by its camel-cased name."""


@dataclass(frozen=True, slots=True)
class Node:
    """One row of the head's list of nodes that is alive."""

    node_id: str
    name: str
    worker_id: str
    """Empty: it is none of ours."""
    fleet: str
    home: str
    started_at_ms: int
    resources: Mapping[str, float] = field(default_factory=dict)
    """All that it has."""


def parse_status(answer: Mapping[str, object], *, now_seconds: float) -> Status:
    """Read `GET /api/cluster_status`.

    Args:
        answer: the head's.
        now_seconds: epoch seconds by our clock.

    Raises:
        MasterUnavailable: there is no account yet, as in a head's first seconds, or it is no account, or an old one.
    """
    cluster = _at(answer, "data", "clusterStatus")
    report = _at(cluster, "loadMetricsReport")
    usage = report.get("usage")
    if not report or not isinstance(usage, dict) or not usage:
        raise MasterUnavailable("the Ray head has not counted yet: it does so some seconds after its start")
    age = _age_seconds(cluster.get("time"), now_seconds)
    if age > FRESH_SECONDS:
        raise MasterUnavailable(f"the Ray head has not counted for {age:.0f} s")
    if age < -FRESH_SECONDS:
        raise MasterUnavailable(
            f"the Ray head's clock is {-age:.0f} s ahead of ours: how old its figures are is unknown"
        )
    for name in ("resourceDemand", "pgDemand"):
        if not isinstance(report.get(name), list):
            raise MasterUnavailable(f"the Ray head gave no list as {name}")
    if not isinstance(report.get("usageByNode"), dict):
        raise MasterUnavailable(
            "the Ray head tells nothing of single nodes (usageByNode): start it without "
            "AUTOSCALER_REPORT_PER_NODE_STATUS=0"
        )
    shapes = (
        *_tasks(report.get("resourceDemand")),
        *_groups(report.get("pgDemand")),
    )
    reserved = tuple(_asked(report.get("requestDemand")))
    names = {name for shape in (*shapes, *reserved) for name in amounts(shape.requires)}
    by_node = dict(_mappings(report.get("usageByNode")))
    used = {node: _is_used(amounts) for node, amounts in by_node.items()}
    demand = Demand(
        queued=sum(shape.count for shape in shapes),
        running=sum(used.values()),
        shapes=shapes,
        # `request_resources` asks for a cluster into which so much fits, also what runs already.
        reserved=reserved,
        # Ray takes whatever a task asks for, but for a type of GPU.
        used_up=tuple(sorted(name for name in names if not name.startswith(TYPE_OF_GPU))),
        source_age_seconds=max(0.0, age),
    )
    return Status(demand, used, {node: _amounts(amounts) for node, amounts in by_node.items()})


def parse_nodes(answer: Mapping[str, object]) -> tuple[Node, ...]:
    """Read `GET /api/v0/nodes?detail=1`: the nodes that are alive; the dead stay listed for long.

    Raises:
        MasterUnavailable: it is no list, or not the whole one.
    """
    result = _at(answer, "data", "result")
    rows = result.get("result")
    if not isinstance(rows, list):
        raise MasterUnavailable(f"the Ray head gave no list of nodes but {rows!r:.80}")
    if result.get("num_after_truncation") != result.get("total"):
        raise MasterUnavailable("the Ray head gave a part of its nodes alone")
    return tuple(_node(row) for row in rows if isinstance(row, dict) and row.get("state") == "ALIVE")


def drained_nodes(jobs: Iterable[object]) -> frozenset[str]:
    """The beginnings of the ids of nodes that a job of ours has drained: a node that works shows it nowhere else."""
    found = set()
    for job in jobs:
        name = job.get("submission_id") if isinstance(job, dict) and job.get("status") == "SUCCEEDED" else None
        if isinstance(name, str) and name.startswith(DRAIN_JOB):
            found.add(name.removeprefix(DRAIN_JOB).partition("-")[0])
    return frozenset(found)


def _node(row: Mapping[str, object]) -> Node:
    labels = row.get("labels")
    said = labels if isinstance(labels, dict) else {}
    worker_id = str(said.get(WORKER) or "")
    started = row.get("start_time_ms")
    return Node(
        node_id=str(row.get("node_id") or ""),
        name=str(row.get("node_name") or ""),
        worker_id=worker_id if parse_worker_id(worker_id) is not None else "",
        fleet=str(said.get(FLEET) or ""),
        home=str(said.get(HOME) or ""),
        started_at_ms=started if isinstance(started, int) else 0,
        resources=_totals(row.get("resources_total")),
    )


def _totals(said: object) -> dict[str, float]:
    """Amounts by name, as far as they are any."""
    given = said if isinstance(said, dict) else {}
    amounts = ((str(name), _amount(amount)) for name, amount in given.items())
    return {name: amount for name, amount in amounts if amount is not None}


def _tasks(rows: object) -> Iterator[Shape]:
    for needs, count in _counted(rows):
        yield Shape(requires=_words(needs), count=count, kind="task")


def _asked(rows: object) -> Iterator[Shape]:
    for needs, count in _counted(rows):
        yield Shape(requires=_words(needs), count=count, kind="request")


def _groups(rows: object) -> Iterator[Shape]:
    for place, (group, count) in enumerate(_counted(rows)):
        bundles = list(_counted(group.get("bundles")))
        if group.get("strategy") == TOGETHER:
            yield Shape(requires=_words(_sum(bundles)), count=count, kind="group")
            continue
        size = sum(many for _, many in bundles)
        for needs, many in bundles:
            yield Shape(
                requires=_words(needs),
                count=many * count,
                gang=size,
                gang_key=f"group {place}" if len(bundles) > 1 else "",
                apart=group.get("strategy") == APART and size > 1,
                kind="group",
            )


def _sum(bundles: Sequence[tuple[Mapping[str, object], int]]) -> Mapping[str, object]:
    total: dict[str, float] = {}
    for needs, many in bundles:
        for name, amount in needs.items():
            total[name] = total.get(name, 0.0) + many * _number(name, amount)
    return dict(total)


def _counted(rows: object) -> Iterator[tuple[Mapping[str, object], int]]:
    """Rows of a mapping and how often it stands there.

    Raises:
        MasterUnavailable: a row is none; demand with holes would be taken for less.
    """
    if not isinstance(rows, list | None):
        raise MasterUnavailable(f"the Ray head counted {rows!r:.80}, which is no list")
    for row in rows or ():
        given, count = (row[0], row[1] if len(row) > 1 else 1) if isinstance(row, list) and row else (None, None)
        if not isinstance(given, dict) or type(count) is not int or not 0 <= count <= MOST_OF_A_SHAPE:
            raise MasterUnavailable(f"the Ray head counted {row!r:.80}, which is no shape with its count")
        if count:
            yield given, count


def _words(amounts: Mapping[str, object]) -> tuple[str, ...]:
    """What a shape requires, in our spelling: `gpu=2`, `cpu`, a type of GPU as a name alone, others as they are."""
    wanted: dict[str, float] = {}
    for name, amount in amounts.items():
        value = _number(name, amount)
        if value > 0:
            word = _word(name)
            wanted[word] = 1.0 if name.startswith(TYPE_OF_GPU) else wanted.get(word, 0.0) + value
    return capability_set(wanted)


def _word(name: str) -> str:
    """A resource's name as that of a capability: a resource may be called anything."""
    if name in ("CPU", "GPU"):
        return name.lower()
    word = re.sub(r"[^A-Za-z0-9_.:/-]", "_", name)
    return (word if word[:1].isalnum() else f"x{word}")[:NAME_CHARACTERS]


def free_of(node: Node, status: Status) -> tuple[str, ...] | None:
    """What of a node nothing uses, as a capability set; None: it takes no work yet, or does not say what it has.

    The list of nodes spells resources as shapes do; the account of what is used spells them in camel case.
    """
    used = status.amounts.get(node.node_id)
    if used is None or not node.resources:
        return None
    left: dict[str, float] = {}
    for name, total in node.resources.items():
        if name.startswith(TYPE_OF_GPU):
            left[_word(name)] = 1.0
        elif not name.startswith(NOT_A_PLACE):
            # Both spellings: whether a release camel-cases them is its own affair.
            taken = max(used.get(name, 0.0), used.get(_camel(name), 0.0))
            left[_word(name)] = max(0.0, round(total - taken, 4))
    return capability_set(left)


def _number(name: str, amount: object) -> float:
    number = _amount(amount)
    if number is None:
        raise MasterUnavailable(f"the Ray head counted {amount!r:.40} of {name!r:.40}")
    return number


def _amount(value: object) -> float | None:
    """A finite amount, nothing or more; None: it is none."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= sys.float_info.max:
        return None
    return float(value)


def _is_used(pairs: Mapping[str, object]) -> bool:
    """Whether work is on a node, or it cannot be told. Keys are camel-cased here, and are not compared with shapes'."""
    for name, pair in pairs.items():
        if name not in NOT_WORK and not name.startswith(NOT_WORK_BEGINS):
            used = _amount(pair[0]) if isinstance(pair, list) and pair else None
            if used is None or used > 0:
                return True
    return False


def _amounts(pairs: Mapping[str, object]) -> dict[str, float]:
    """Of [used, total] by resource, what is used; all of it where that cannot be told."""
    read = ((name, _amount(pair[0]) if isinstance(pair, list) and pair else None) for name, pair in pairs.items())
    return {name: math.inf if amount is None else amount for name, amount in read}


def _camel(word: str) -> str:
    """As Ray's dashboard spells it: `a100_80gb` becomes `a10080Gb`."""
    first, *rest = word.split("_")
    return first + "".join(part.title() for part in rest)


def _age_seconds(time: object, now_seconds: float) -> float:
    if isinstance(time, bool) or not isinstance(time, int | float) or not abs(time) <= sys.float_info.max:
        return math.inf
    return now_seconds - time


def _mappings(value: object) -> Iterator[tuple[str, Mapping[str, object]]]:
    for key, inner in value.items() if isinstance(value, dict) else ():
        if isinstance(inner, dict):
            yield str(key), inner


def _at(value: Mapping[str, object], *names: str) -> Mapping[str, object]:
    """A mapping within mappings; empty where there is none."""
    for name in names:
        inner = value.get(name)
        value = inner if isinstance(inner, dict) else {}
    return value
