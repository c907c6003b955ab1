"""What a Ray head's answers mean, each trap by a row: measured on Ray 2.60.0."""

from typing import Any

import pytest

from ebbflow.adapters.masters.ray.answers import drained_nodes, free_of, parse_nodes, parse_status
from ebbflow.core.errors import MasterUnavailable
from ebbflow.core.member import Shape

NOW = 1_790_000_100.0
NODE = "a" * 56
A100 = "accelerator_type:A100"
USAGE = {"CPU": [1.0, 4.0], "GPU": [0.0, 1.0]}


def status(**report: Any) -> dict[str, Any]:
    whole = {"usage": USAGE, "resourceDemand": [], "pgDemand": [], "requestDemand": [], "usageByNode": {}, **report}
    return {"data": {"autoscalingStatus": "", "clusterStatus": {"loadMetricsReport": whole, "time": NOW - 3}}}


def group(strategy: str, *bundles: list[Any]) -> dict[str, Any]:
    return {"bundles": [*bundles], "strategy": strategy}


@pytest.mark.parametrize(
    ("report", "shapes"),
    [
        ({}, ()),
        ({"resourceDemand": [[{"GPU": 1.0}, 150]]}, (Shape(("gpu",), 150, kind="task"),)),
        (
            {"resourceDemand": [[{"CPU": 1.0, "GPU": 2.0}, 1], [{"a100": 1.0, "GPU": 1.0}, 1]]},
            (Shape(("cpu", "gpu=2"), 1, kind="task"), Shape(("a100", "gpu"), 1, kind="task")),
        ),
        ({"resourceDemand": [[{"GPU": 0.25}, 4]]}, (Shape(("gpu=0.25",), 4, kind="task"),)),
        # A type of GPU is what a node can do, not how much of it is used up.
        (
            {"resourceDemand": [[{"accelerator_type:A100": 0.001, "GPU": 1.0}, 1]]},
            (Shape(("accelerator_type:A100", "gpu"), 1, kind="task"),),
        ),
        # Shapes keep their own spelling; only figures of usage are camel-cased.
        ({"resourceDemand": [[{"my_res_a": 1.0}, 2]]}, (Shape(("my_res_a",), 2, kind="task"),)),
        ({"resourceDemand": [[{"GPU": 1_000_000.0}, 1]]}, (Shape(("gpu=1000000",), 1, kind="task"),)),
        ({"resourceDemand": [[{}, 3]]}, (Shape((), 3, kind="task"),)),
        ({"resourceDemand": [[{"GPU": 1.0}, 0]]}, ()),
        # A resource may be called anything, and so small that Python writes its amount with an exponent.
        ({"resourceDemand": [[{"_my res!": 2.0}, 1]]}, (Shape(("x_my_res_=2",), 1, kind="task"),)),
        ({"resourceDemand": [[{"GPU": 0.00001}, 1]]}, (Shape(("gpu=0.00001",), 1, kind="task"),)),
        (
            {"pgDemand": [[group("STRICT_SPREAD", [{"GPU": 1.0}, 3]), 1]]},
            (Shape(("gpu",), 3, gang=3, apart=True, kind="group"),),
        ),
        (
            {"pgDemand": [[group("SPREAD", [{"GPU": 1.0}, 2], [{"CPU": 1.0}, 1]), 2]]},
            (
                Shape(("gpu",), 4, gang=3, gang_key="group 0", kind="group"),
                Shape(("cpu",), 2, gang=3, gang_key="group 0", kind="group"),
            ),
        ),
        # All of it on one node, whatever its bundles are.
        (
            {"pgDemand": [[group("STRICT_PACK", [{"GPU": 1.0}, 2], [{"GPU": 1.0, "CPU": 2.0}, 1]), 2]]},
            (Shape(("cpu=2", "gpu=3"), 2, kind="group"),),
        ),
    ],
)
def test_waiting_work_becomes_shapes_in_our_spelling(report: dict[str, Any], shapes: tuple[Shape, ...]) -> None:
    demand = parse_status(status(**report), now_seconds=NOW).demand
    assert (demand.complete, demand.shapes) == (True, shapes)
    assert demand.queued == sum(shape.count for shape in shapes)
    assert demand.source_age_seconds == 3.0


def test_what_is_asked_for_to_fit_in_is_no_waiting_work() -> None:
    demand = parse_status(status(requestDemand=[[{"GPU": 2}], [{"CPU": 1}]]), now_seconds=NOW).demand
    assert (demand.queued, demand.shapes) == (0, ())
    assert demand.reserved == (Shape(("gpu=2",), 1, kind="request"), Shape(("cpu",), 1, kind="request"))


@pytest.mark.parametrize(
    ("total", "used", "free"),
    [
        ({"CPU": 4.0, "GPU": 2.0}, {"CPU": [1.0, 4.0], "GPU": [0.5, 2.0]}, ("cpu=3", "gpu=1.5")),
        ({"CPU": 4.0, "GPU": 1.0}, {"CPU": [4.0, 4.0], "GPU": [1.0, 1.0]}, ()),
        # Usage is camel-cased, totals and shapes are not.
        ({"my_res_a": 3.0}, {"myResA": [1.0, 3.0]}, ("my_res_a=2",)),
        ({"GPU": 1.0, A100: 1.0}, {A100: [0.001, 1.0]}, (A100, "gpu")),
        ({"GPU": 1.0, "object_store_memory": 9e7, "node:10.0.0.1": 1.0, "memory": 100.0}, {}, ("gpu", "memory=100")),
        ({}, {}, None),
    ],
)  # fmt: skip
def test_what_a_node_has_left_is_spelt_as_what_waits(
    total: dict[str, float], used: dict[str, Any], free: tuple[str, ...] | None
) -> None:
    row = {"node_id": NODE, "state": "ALIVE", "labels": {}, "resources_total": total}
    answer = {"data": {"result": {"result": [row], "total": 1, "num_after_truncation": 1}}}
    (node,) = parse_nodes(answer)
    assert free_of(node, parse_status(status(usageByNode={NODE: used}), now_seconds=NOW)) == free
    assert free_of(node, parse_status(status(), now_seconds=NOW)) is None, "it takes no work yet"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"data": {"autoscalingStatus": None, "clusterStatus": None}}, "has not counted yet"),
        ({"data": {"clusterStatus": {"loadMetricsReport": None}}}, "has not counted yet"),
        # As in the first seconds: no demand at all is shown, which looks like none.
        (status(usage={}), "has not counted yet"),
        ({}, "has not counted yet"),
        ({"data": []}, "has not counted yet"),
    ],
    ids=["null status", "null report", "no usage", "nothing", "a list"],
)
def test_a_head_that_has_not_counted_is_unknown_and_not_nothing(answer: dict[str, Any], said: str) -> None:
    with pytest.raises(MasterUnavailable, match=said):
        parse_status(answer, now_seconds=NOW)


@pytest.mark.parametrize(("age", "is_old"), [(0, False), (30, False), (31, True), (-5, False), (-30, False)])
def test_figures_that_are_no_longer_counted_are_unknown(age: float, *, is_old: bool) -> None:
    answer = status()
    answer["data"]["clusterStatus"]["time"] = NOW - age
    if is_old:
        with pytest.raises(MasterUnavailable, match="has not counted for 31 s"):
            parse_status(answer, now_seconds=NOW)
    else:
        assert parse_status(answer, now_seconds=NOW).demand.source_age_seconds == max(0, age)


def test_regression_a_head_whose_clock_runs_ahead_never_looked_stale() -> None:
    answer = status()
    answer["data"]["clusterStatus"]["time"] = NOW + 31
    with pytest.raises(MasterUnavailable, match="clock is 31 s ahead of ours"):
        parse_status(answer, now_seconds=NOW)


@pytest.mark.parametrize("name", ["resourceDemand", "pgDemand"])
@pytest.mark.parametrize("rows", [None, {}, "none"], ids=str)
def test_regression_a_report_without_its_demand_looked_like_none(name: str, rows: object) -> None:
    with pytest.raises(MasterUnavailable, match=f"no list as {name}"):
        parse_status(status(**{name: rows}), now_seconds=NOW)


def test_regression_a_group_without_its_bundles_looked_like_none() -> None:
    with pytest.raises(MasterUnavailable, match="which is no list"):
        parse_status(status(pgDemand=[[{"bundles": "all", "strategy": "PACK"}, 1]]), now_seconds=NOW)


def test_regression_workers_of_a_head_that_tells_nothing_of_nodes_were_taken_for_joining() -> None:
    with pytest.raises(MasterUnavailable, match="AUTOSCALER_REPORT_PER_NODE_STATUS"):
        parse_status(status(usageByNode=None), now_seconds=NOW)


def test_what_tasks_take_away_is_told_but_for_a_type_of_gpu() -> None:
    asked = [[{"CPU": 1.0, "a100_80gb": 1.0, "accelerator_type:A100": 0.001}, 1]]
    demand = parse_status(status(resourceDemand=asked), now_seconds=NOW).demand
    assert demand.used_up == ("a100_80gb", "cpu")


@pytest.mark.parametrize("time", [None, "now", True, float("nan"), 10**400])
def test_figures_without_an_age_are_unknown(time: object) -> None:
    answer = status()
    answer["data"]["clusterStatus"]["time"] = time
    with pytest.raises(MasterUnavailable, match="has not counted for inf s"):
        parse_status(answer, now_seconds=NOW)


@pytest.mark.parametrize(
    "row",
    ["x", [], [1, 2], [{"GPU": 1.0}, -1], [{"GPU": 1.0}, 1.5], [{"GPU": 1.0}, True], [{"GPU": "one"}, 1],
     [{"GPU": float("nan")}, 1], [{"GPU": -1.0}, 1], [{"GPU": True}, 1], [{"GPU": 10**400}, 1], [{"GPU": 1}, 10**400]],
    ids=lambda row: str(row)[:40],
)  # fmt: skip
def test_demand_with_a_row_that_is_none_is_unknown_as_a_whole(row: object) -> None:
    with pytest.raises(MasterUnavailable, match="the Ray head counted"):
        parse_status(status(resourceDemand=[[{"GPU": 1.0}, 1], row]), now_seconds=NOW)


@pytest.mark.parametrize(
    ("usage", "busy"),
    [
        ({"CPU": [0.0, 4.0], "GPU": [0.0, 1.0]}, False),
        ({"CPU": [0.0, 4.0], "GPU": [0.5, 1.0]}, True),
        ({"CPU": [1.0, 4.0], "GPU": [0.0, 1.0]}, True),
        ({"myResA": [1.0, 1.0]}, True),
        # Objects that lie there are no work, and a node's own name is none.
        ({"objectStoreMemory": [4096.0, 1e8], "memory": [0.0, 1e9], "node:10.0.0.7": [0.0, 1.0]}, False),
        ({"object_store_memory": [4096.0, 1e8]}, False),
        # Somebody's own resource, which begins like one of Ray's.
        ({"memory_x": [1.0, 1.0]}, True),
        # What cannot be read may be work.
        ({"CPU": {"used": 8}}, True),
        ({"CPU": ["8", 8]}, True),
        ({"CPU": [float("nan"), 8]}, True),
        ({}, False),
    ],
)
def test_a_node_is_busy_while_anything_that_work_uses_is_used(usage: dict[str, Any], *, busy: bool) -> None:
    found = parse_status(status(usageByNode={NODE: usage}), now_seconds=NOW)
    assert (found.used, found.demand.running) == ({NODE: busy}, int(busy))


def nodes(*rows: dict[str, Any], total: int | None = None) -> dict[str, Any]:
    count = len(rows) if total is None else total
    return {"data": {"result": {"total": count, "num_after_truncation": len(rows), "result": [*rows]}}}


def row(worker_id: str = "demo-0abc-1-0", state: str = "ALIVE", **more: Any) -> dict[str, Any]:
    labels = {
        "autoscaler.worker/id": worker_id,
        "autoscaler.worker/fleet": "demo",
        "autoscaler.worker/home": "h0me1",
        "ray.io/node-id": NODE,
    }
    return {"node_id": NODE, "node_name": worker_id, "state": state, "labels": labels, "start_time_ms": 7, **more}


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        ((), []),
        ((row(),), ["demo-0abc-1-0"]),
        ((row(state="DEAD"), row("demo-0abc-1-1")), ["demo-0abc-1-1"]),  # the dead stay listed for long
        ((row(), row()), ["demo-0abc-1-0", "demo-0abc-1-0"]),  # labels are not unique
        ((row(labels=None),), [""]),  # the head itself
        ((row(labels={}),), [""]),
        ((row("Not One Of Ours"),), [""]),
        ((row("demo-0abc-1-0/../x"),), [""]),
    ],
)
def test_nodes_that_are_alive_are_known_by_their_label(rows: tuple[dict[str, Any], ...], ids: list[str]) -> None:
    assert [node.worker_id for node in parse_nodes(nodes(*rows))] == ids


@pytest.mark.parametrize("answer", [{}, {"data": {"result": {"result": None}}}, nodes(row(), total=2), {"data": "x"}])
def test_a_part_of_the_nodes_is_not_all_of_them(answer: dict[str, Any]) -> None:
    with pytest.raises(MasterUnavailable):
        parse_nodes(answer)


def test_a_node_that_a_job_of_ours_has_drained_is_known_by_that_job() -> None:
    jobs = [
        {"submission_id": f"ebbflow-drain-{'a' * 16}-0f0f", "status": "SUCCEEDED"},
        {"submission_id": f"ebbflow-drain-{'b' * 16}-0f0f", "status": "FAILED"},  # it works
        {"submission_id": f"ebbflow-drain-{'c' * 16}-0f0f", "status": "RUNNING"},
        {"submission_id": "a-persons-job", "status": "SUCCEEDED"},
        {"submission_id": None, "status": "SUCCEEDED"},  # a driver
        "nonsense",
    ]
    assert drained_nodes(jobs) == {"a" * 16}
