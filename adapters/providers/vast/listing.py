"""What a Vast account holds: every page or none, and where the workers are to be reached.

Source: vast-ai/docs, show_instances.yaml. The vendor's own command prints the first page and exits with 0 when the
second one fails, so a listing counts only when its pages end, and its rows are as many as they say.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ebbflow.adapters.http import NoAnswer
from ebbflow.adapters.providers.announced import Announced, read_announced
from ebbflow.adapters.providers.vast.client import Endpoint, VastAnswer, VastClient, VastVerdict
from ebbflow.adapters.providers.vast.offers import number
from ebbflow.adapters.providers.vast.settings import VastSettings
from ebbflow.adapters.providers.vast.states import instance_of, mapped_url, owner_of
from ebbflow.core.instance import LOG_BYTES, Instance, InstanceList

Row = Mapping[str, Any]

PAGE = 25
LIST_PATH = "/api/v1/instances/"
LOG_LINES = 400
LOG_TRIES = 15
LOG_PAUSE_SECONDS = 0.3
"""The stored text of a log is not there at once; the vendor's client tries so often, and as long again."""
MOST_LOGS = 8
"""Of one listing: each takes about a second. The newest instances are read first, since they announce themselves."""


class ListingUnclear(Exception):
    """The account's list could not be read as a whole. Never leaves the adapter."""


class VastListing:
    """Reads instances and their logs.

    Args:
        client: for the account.
        settings: says how addresses are found.
        clock: epoch seconds.
    """

    def __init__(self, client: VastClient, settings: VastSettings, *, clock: Callable[[], float] = time.time) -> None:
        self._client, self._settings, self._clock = client, settings, clock
        self._said: dict[str, Announced] = {}

    async def list_instances(self, fleet: str, *, deadline: float) -> InstanceList:
        """The fleet's instances, whatever their home; rows that came before a page failed are shown all the same.

        Raises:
            ConfigError: the key is refused.
        """
        rows: list[Row] = []
        problem = ""
        try:
            await self._read_pages(rows, deadline, {})
        except (ListingUnclear, NoAnswer) as error:
            problem = f"Vast's list: {error}"
        ours = [row for row in rows if (owner := owner_of(row)) is not None and owner.fleet == fleet]
        await self._read_logs(ours, deadline)
        return InstanceList(tuple(self._instance(row) for row in ours), complete=not problem, detail=problem)

    async def labelled(self, label: str, *, deadline: float) -> list[Instance]:
        """The instances that carry a label.

        Raises:
            ListingUnclear: it could not be read as a whole.
            NoAnswer: not in time.
            ConfigError: the key is refused.
        """
        rows: list[Row] = []
        await self._read_pages(rows, deadline, {"label": {"in": [label]}})
        return [self._instance(row) for row in rows if owner_of(row) is not None]

    async def show(self, instance_id: str, *, deadline: float) -> Row | None:
        """One instance; None where there is none of that id.

        Raises:
            ListingUnclear: the answer says neither.
            NoAnswer: not in time.
            ConfigError: the key is refused.
        """
        path = f"/api/v0/instances/{instance_id}/"
        answer = await self._client.ask(Endpoint.SHOW, "GET", path, deadline=deadline)
        row = answer.body.get("instances")
        if answer.verdict is VastVerdict.GONE or (answer.verdict is VastVerdict.DONE and row is None):
            return None
        if answer.verdict is not VastVerdict.DONE or not isinstance(row, Mapping):
            raise ListingUnclear(f"instance {instance_id}: {answer.message}")
        return row

    async def log(self, instance_id: str, *, deadline: float) -> bytes | None:
        """The end of what an instance printed; None where there is nothing to read.

        Raises:
            NoAnswer: not in time.
            ConfigError: the key is refused.
        """
        path = f"/api/v0/instances/request_logs/{instance_id}/"
        answer = await self._client.ask(Endpoint.LOGS, "PUT", path, deadline=deadline, body={"tail": str(LOG_LINES)})
        url = answer.body.get("result_url")
        if answer.verdict is not VastVerdict.DONE or not isinstance(url, str):
            return None
        for _ in range(LOG_TRIES):
            text = await self._client.fetch(url, deadline=deadline)
            if text is not None:
                return text[-LOG_BYTES:]
            await self._client.pause(LOG_PAUSE_SECONDS)
        return None

    async def _read_pages(self, rows: list[Row], deadline: float, filters: Mapping[str, object]) -> None:
        """Append every row. What was appended before an error is true, and not all."""
        query: dict[str, object] = {
            "select_filters": filters,
            "order_by": [{"col": "id", "dir": "asc"}],
            "limit": PAGE,
        }
        total: float | None = None
        seen: set[int] = set()
        while True:
            answer = await self._client.ask(Endpoint.LIST, "GET", LIST_PATH, deadline=deadline, query=query)
            for row in _rows_of(answer):
                if row["id"] not in seen:
                    seen.add(row["id"])
                    rows.append(row)
            total = number(answer.body.get("total_instances"))
            token = answer.body.get("next_token")
            if token is None:
                break
            query["after_token"] = str(token)
        if total is not None and len(rows) != total:
            raise ListingUnclear(f"{len(rows)} rows came, {total:g} were announced")

    async def _read_logs(self, rows: Sequence[Row], deadline: float) -> None:
        if self._settings.url != "log":
            return
        running = [row for row in rows if (row.get("actual_status"), row.get("intended_status")) == ("running",) * 2]
        running.sort(key=lambda row: -(number(row.get("start_date")) or 0.0))
        undecided = [row for row in running if not self._said.get(str(row["id"]), Announced()).is_decided]
        for row in undecided[:MOST_LOGS]:
            try:
                text = await self.log(str(row["id"]), deadline=deadline)
            except NoAnswer:
                # An address that could not be read is unknown, which is no fault of the worker.
                return
            if text is not None:
                self._said[str(row["id"])] = read_announced(text)

    def _instance(self, row: Row) -> Instance:
        owner = owner_of(row)
        assert owner is not None
        said = self._said.get(str(row["id"]), Announced())
        way = self._settings.url
        url = {"log": said.url, "port": mapped_url(row, self._settings.port), "none": None}[way]
        return instance_of(row, owner, url=url, needs_url=way != "none", said=said, now=self._clock())


def _rows_of(answer: VastAnswer) -> list[Row]:
    """The rows of one page.

    Raises:
        ListingUnclear: it is no page.
    """
    rows = answer.body.get("instances")
    if answer.verdict is not VastVerdict.DONE:
        raise ListingUnclear(answer.message)
    if not isinstance(rows, list) or not all(
        isinstance(row, Mapping) and isinstance(row.get("id"), int) for row in rows
    ):
        raise ListingUnclear("a page without a list of instances")
    return rows
