"""How Ray and the fleet behind it do, for people who wait."""

from collections.abc import Sequence
from typing import Any

from ebbflow.adapters.masters.ray.answers import free_of
from ebbflow.core.text import counted
from ebbflow.services.hypha.audit import History
from ebbflow.services.hypha.head import Head, HeadAway, HeadRefuses
from ebbflow.services.hypha.rounds import Rounds


class Cluster:
    """What is looked up when it is asked for.

    Args:
        head: Ray's.
        rounds: know what went wrong last.
        history: knows the fleet's last decision; None: no fleet is named.
    """

    def __init__(self, head: Head, rounds: Rounds, history: History | None) -> None:
        self._head, self._rounds, self._history = head, rounds, history

    async def state(self) -> dict[str, Any]:
        """Nodes and demand; a head that does not answer is told as that. Any: JSON is what it is."""
        try:
            status, nodes = await self._head.cluster()
        except (HeadAway, HeadRefuses) as error:
            return {"head": "away", "why": str(error)}
        workers = [node for node in nodes if node.worker_id]
        busy = sum(bool(status.used.get(node.node_id)) for node in workers)
        shapes = [{"requires": list(each.requires), "count": each.count} for each in status.demand.shapes]
        trouble = {"why": self._rounds.trouble} if self._rounds.trouble else {}
        return {"head": "answers", "workers": len(workers), "busy": busy, "demand": shapes, **trouble}

    async def workers(self) -> list[dict[str, Any]]:
        """Those that the head has.

        Raises:
            HeadAway: it does not answer.
        """
        status, nodes = await self._head.cluster()
        return [
            {
                "worker": node.worker_id,
                "fleet": node.fleet,
                "busy": status.used.get(node.node_id),
                "free": list(free_of(node, status) or ()),
                "since": node.started_at_ms / 1000,
            }
            for node in nodes
            if node.worker_id
        ]

    async def reasons(self) -> Sequence[str]:
        """Why work may have to wait, in words."""
        lines = []
        try:
            status, nodes = await self._head.cluster()
            count = sum(bool(node.worker_id) for node in nodes)
            lines.append(f"the Ray cluster has {counted(count, 'worker')}")
            for shape in status.demand.shapes:
                lines.append(
                    f"waiting there: {counted(shape.count, 'task')} for {', '.join(shape.requires) or 'any worker'}"
                )
        except (HeadAway, HeadRefuses) as error:
            lines.append(f"the Ray head does not answer, so nothing begins and nothing is given up: {error}")
        if self._rounds.trouble:
            lines.append(f"the last look at the jobs: {self._rounds.trouble}")
        if self._history is not None:
            lines.append(f"the fleet's last decision: {await self._history.decided()}")
        return lines
