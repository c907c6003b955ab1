"""Provider `vast`: each worker is one rented instance, whose label says whose it is.

A create cannot be made safe to repeat, so it is sent once per offer, and the next offer is tried only after an answer
that says for certain that nothing was rented. Whatever else happens is settled by the account's list.
Source: vast-ai/docs, create_instance.yaml, manage-instances.mdx, billing.mdx.
"""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx

from ebbflow.adapters.http import NoAnswer
from ebbflow.adapters.providers.command_words import loss_in_script, loss_of_arguments, with_arguments
from ebbflow.adapters.providers.given_environment import whole_environment
from ebbflow.adapters.providers.vast.client import Endpoint, Json, VastAnswer, VastClient, VastVerdict
from ebbflow.adapters.providers.vast.listing import ListingUnclear, VastListing
from ebbflow.adapters.providers.vast.offers import Offer, choose, explain, search_body
from ebbflow.adapters.providers.vast.settings import VastSettings
from ebbflow.adapters.providers.vast.states import label_of, owner_of, running_usd_per_hour
from ebbflow.core import worker_environment
from ebbflow.core.errors import (
    CapacityUnavailable,
    ConfigError,
    LaunchOutcomeUnknown,
    LaunchRejected,
    ProviderUnavailable,
    TerminationRefused,
)
from ebbflow.core.ids import check_fleet_name, parse_worker_id
from ebbflow.core.instance import Instance, InstanceList, InstanceState, LaunchRequest, ProviderCaps

OFFERS_LIVE_SECONDS = 60.0
"""How long offers that were found are believed; a turn is shorter."""
LOOK_SECONDS = 5.0
"""Kept of a create's time, for a look at what came of it."""


@dataclass(slots=True)
class _Market:
    """Offers that were found in this turn, and which of them a launch has taken."""

    rows: Sequence[Mapping[str, Any]] = ()
    found_at: float | None = None
    taken: set[int] = field(default_factory=set)
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class VastAdapter:
    """Rents instances of one Vast account, keeps stopped ones, finds them again, and destroys them.

    Args:
        settings: which account, which offers, and what runs.
        transport: for tests.
        clock: epoch seconds.
        monotonic: seconds, for deadlines and rates.
        sleep: waits by `monotonic`.
    """

    def __init__(
        self,
        settings: VastSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = anyio.current_time,
        sleep: Callable[[float], Awaitable[None]] = anyio.sleep,
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._client = VastClient(settings, transport=transport, clock=monotonic, sleep=sleep)
        self._listing = VastListing(self._client, settings, clock=clock)
        self._market = _Market()

    @property
    def caps(self) -> ProviderCaps:
        """What it can do. A launch is never repeated, so its wish waits for the settle time."""
        return ProviderCaps(
            fingerprint=self._settings.fingerprint,
            idempotent_launch=False,
            settle_seconds=self._settings.settle_seconds,
            relist_seconds=None,
            call_seconds=self._settings.call_timeout_seconds,
            usd_per_hour=self._settings.max_usd_per_hour,
            takes_price_cap=True,
            keeps_stopped=True,
            warm_start_seconds=self._settings.warm_start_seconds,
            seconds_between_launches=Endpoint.CREATE.value,
            seconds_between_ends=Endpoint.DESTROY.value,
            keeps_logs=True,
            tells_urls=self._settings.url != "none",
            capabilities=tuple(self._settings.capabilities),
        )

    async def launch(self, request: LaunchRequest) -> Instance:
        """Start the warm instance that the request names, or rent the best offer.

        Raises:
            CapacityUnavailable: no offer will do (the error says which condition removed how many), all were taken by
                others, or the warm instance is gone.
            LaunchRejected: Vast refuses the request as it stands, or the account has no credit.
            LaunchOutcomeUnknown: sent, and neither an answer nor a look tells what came of it.
            ProviderUnavailable: nothing was sent; temporary.
            ConfigError: the key is refused.
        """
        tried = f"Vast could not launch {request.worker_id}"
        if parse_worker_id(request.worker_id) is None:
            raise LaunchRejected(f"Vast could not launch {request.worker_id!a}: not a worker id")
        deadline = self._client.deadline()
        if request.start_instance_id:
            return await self._start_warm(request, tried, deadline)
        body = create_body(self._settings, request)
        while True:
            offer = await self._next_offer(request, tried, deadline)
            answer = await self._create(offer, body, request, tried, deadline)
            if isinstance(answer, Instance):
                return answer
            if answer.verdict is not VastVerdict.TAKEN or not self._client.allows(
                Endpoint.CREATE.value + LOOK_SECONDS, deadline
            ):
                raise _create_error(answer, offer, tried)

    async def list_instances(self, fleet: str) -> InstanceList:
        """The fleet's instances in this account, whatever their home. Strangers' are not even looked at.

        Raises:
            ConfigError: the key is refused.
        """
        return await self._listing.list_instances(check_fleet_name(fleet), deadline=self._client.deadline())

    async def terminate(self, instance: Instance) -> None:
        """Destroy one instance with its disk. Only a listing says that it is gone.

        Raises:
            TerminationRefused: Vast says that it did not; every later turn asks again.
            ProviderUnavailable: temporary.
            ConfigError: the key is refused.
        """
        tried = f"Vast could not destroy {instance.worker_id} (instance {instance.instance_id})"
        await self._change(Endpoint.DESTROY, "DELETE", instance, {}, tried)

    async def stop(self, instance: Instance) -> None:
        """Stop one instance and keep its disk, which goes on costing.

        Raises:
            TerminationRefused: Vast says that it did not.
            ProviderUnavailable: temporary.
            ConfigError: the key is refused.
        """
        tried = f"Vast could not stop {instance.worker_id} (instance {instance.instance_id})"
        await self._change(Endpoint.UPDATE, "PUT", instance, {"state": "stopped"}, tried)

    async def logs(self, instance: Instance) -> Mapping[str, str]:
        """The end of the instance's log, by the name `log`: Vast keeps both outputs as one.

        Raises:
            ProviderUnavailable: temporary.
            ConfigError: the key is refused.
        """
        deadline = self._client.deadline()
        try:
            row = await self._listing.show(instance.instance_id, deadline=deadline)
            owner = None if row is None else owner_of(row)
            if owner is None or owner.worker_id != instance.worker_id:
                return {}
            text = await self._listing.log(instance.instance_id, deadline=deadline)
        except (NoAnswer, ListingUnclear) as error:
            raise ProviderUnavailable(f"Vast did not give the log of {instance.worker_id}: {error}") from error
        return {"log": text.decode("utf-8", "replace")} if text else {}

    async def aclose(self) -> None:
        """Close connections. The instances stay."""
        await self._client.aclose()

    async def _next_offer(self, request: LaunchRequest, tried: str, deadline: float) -> Offer:
        """The best offer that no launch of this turn has taken. Two creates for one offer may both be started."""
        cap = _lowest(self._settings.max_usd_per_hour, request.max_usd_per_hour)
        market = self._market
        async with market.lock:
            if market.found_at is None or self._monotonic() - market.found_at > OFFERS_LIVE_SECONDS:
                market.rows = await self._search(tried, deadline)
                market.found_at = self._monotonic()
            found = choose(market.rows, self._settings, cap=cap, avoid=request.avoid)
            left = [offer for offer in found if offer.id not in market.taken]
            if left:
                market.taken.add(left[0].id)
                return left[0]
        if found:
            raise CapacityUnavailable(f"{tried}: all {len(found)} offers that would do are taken")
        raise CapacityUnavailable(f"{tried}: no offer will do: {await self._explanation(request, cap, deadline)}")

    async def _search(self, tried: str, deadline: float, *, is_strict: bool = True) -> Sequence[Mapping[str, Any]]:
        body = search_body(self._settings, is_strict=is_strict)
        try:
            answer = await self._client.ask(Endpoint.SEARCH, "POST", "/api/v0/bundles/", deadline=deadline, body=body)
        except NoAnswer as error:
            raise ProviderUnavailable(f"{tried}: search of offers: {error}") from error
        rows = answer.body.get("offers")
        if answer.verdict is VastVerdict.QUOTA:
            raise CapacityUnavailable(f"{tried}: the account's searches of today are used up: {answer.message}")
        if answer.verdict is VastVerdict.REFUSED:
            raise LaunchRejected(f"{tried}: search of offers: {answer.message}")
        if answer.verdict is not VastVerdict.DONE or not isinstance(rows, list):
            raise ProviderUnavailable(f"{tried}: search of offers: {answer.message}")
        return [row for row in rows if isinstance(row, Mapping)]

    async def _explanation(self, request: LaunchRequest, cap: float | None, deadline: float) -> str:
        """Which condition removed how many; best effort, a search more."""
        try:
            rows = await self._search("explanation", deadline, is_strict=False)
        except (ProviderUnavailable, CapacityUnavailable, LaunchRejected) as error:
            return f"why is not known ({error})"
        return explain(rows, self._settings, cap=cap, avoid=request.avoid)

    async def _create(
        self, offer: Offer, body: Json, request: LaunchRequest, tried: str, deadline: float
    ) -> Instance | VastAnswer:
        """Send one create: its instance, or an answer that says for certain that there is none."""
        path = f"/api/v0/asks/{offer.id}/"
        ends = deadline - LOOK_SECONDS
        try:
            answer = await self._client.ask(
                Endpoint.CREATE, "PUT", path, deadline=ends, body={**body, "price": offer.bid}
            )
        except NoAnswer as error:
            if not error.maybe_sent:
                raise ProviderUnavailable(f"{tried}: {error}") from error
            return await self._look_for(request, f"{tried}: {error}", deadline)
        contract = answer.body.get("new_contract")
        if answer.verdict is VastVerdict.DONE and isinstance(contract, int):
            return self._launched(request, str(contract), offer.usd_per_hour, offer.machine)
        if answer.verdict in (VastVerdict.UNCLEAR, VastVerdict.TOO_OFTEN, VastVerdict.DONE):
            return await self._look_for(request, f"{tried}: {answer.message}", deadline)
        return answer

    async def _look_for(self, request: LaunchRequest, said: str, deadline: float) -> Instance:
        """What came of a create without a clear answer; nothing yet means unknown, since a listing may lag."""
        label = label_of(request.fleet, request.home, request.worker_id)
        try:
            found = await self._listing.labelled(label, deadline=deadline)
        except (NoAnswer, ListingUnclear) as error:
            raise LaunchOutcomeUnknown(f"{said}; and a look for it: {error}") from error
        if not found:
            raise LaunchOutcomeUnknown(f"{said}; it is not listed yet")
        return found[0]

    async def _start_warm(self, request: LaunchRequest, tried: str, deadline: float) -> Instance:
        """Give a stopped instance its new worker's id, then let it run. Repeating either changes nothing."""
        identity = request.start_instance_id
        try:
            row = await self._listing.show(identity, deadline=deadline)
        except (NoAnswer, ListingUnclear) as error:
            raise ProviderUnavailable(f"{tried}: {error}") from error
        owner = None if row is None else owner_of(row)
        if row is None or owner is None or (owner.fleet, owner.home) != (request.fleet, request.home):
            raise CapacityUnavailable(f"{tried}: warm instance {identity} is not there any more")
        usd = running_usd_per_hour(row)
        cap = _lowest(self._settings.max_usd_per_hour, request.max_usd_per_hour)
        if cap is not None and (usd is None or usd > cap):
            price = "an unknown price" if usd is None else f"{usd:g} USD/h"
            raise CapacityUnavailable(f"{tried}: warm instance {identity} costs {price}, the cap is {cap:g} USD/h")
        label = label_of(request.fleet, request.home, request.worker_id)
        for change in ({"label": label}, {"state": "running"}):
            await self._start_step(identity, change, tried, deadline)
        return self._launched(request, identity, usd, str(row.get("machine_id", "")))

    async def _start_step(self, identity: str, change: Json, tried: str, deadline: float) -> None:
        path = f"/api/v0/instances/{identity}/"
        try:
            answer = await self._client.ask(Endpoint.UPDATE, "PUT", path, deadline=deadline, body=change)
        except NoAnswer as error:
            raise LaunchOutcomeUnknown(f"{tried}: start of warm instance {identity}: {error}") from error
        if answer.verdict is VastVerdict.GONE:
            raise CapacityUnavailable(f"{tried}: warm instance {identity} is not there any more")
        if answer.verdict in (VastVerdict.REFUSED, VastVerdict.NO_CREDIT):
            raise LaunchRejected(f"{tried}: start of warm instance {identity}: {answer.message}")
        if answer.verdict is not VastVerdict.DONE:
            raise LaunchOutcomeUnknown(f"{tried}: start of warm instance {identity}: {answer.message}")

    def _launched(self, request: LaunchRequest, identity: str, usd: float | None, machine: str) -> Instance:
        return Instance(
            worker_id=request.worker_id,
            instance_id=identity,
            state=InstanceState.STARTING,
            fleet=request.fleet,
            home=request.home,
            usd_per_hour=usd,
            capabilities=request.capabilities or tuple(self._settings.capabilities),
            machine=machine,
            warning=self._loss(request),
        )

    def _loss(self, request: LaunchRequest) -> str:
        settings, arguments = self._settings, request.join.arguments
        if settings.start == "image":
            return loss_of_arguments(settings.arguments, arguments)
        # Without one the template's own runs, which is not known here.
        return loss_in_script(settings.onstart, arguments, "onstart") if settings.onstart else ""

    async def _change(self, endpoint: Endpoint, method: str, instance: Instance, body: Json, tried: str) -> None:
        path = f"/api/v0/instances/{instance.instance_id}/"
        try:
            answer = await self._client.ask(endpoint, method, path, deadline=self._client.deadline(), body=body)
        except NoAnswer as error:
            raise ProviderUnavailable(f"{tried}: {error}") from error
        if answer.verdict in (VastVerdict.DONE, VastVerdict.GONE):
            return
        if answer.verdict in (VastVerdict.UNCLEAR, VastVerdict.TOO_OFTEN):
            raise ProviderUnavailable(f"{tried}: {answer.message}")
        raise TerminationRefused(f"{tried}: {answer.message}")


def create_body(settings: VastSettings, request: LaunchRequest) -> Json:
    """The body of a create, without its price.

    Source: vast-ai/docs, create_instance.yaml; what the vendor's command sends with `--ssh --direct`, or with `--args`.
    """
    environment = {
        **whole_environment(settings),
        **worker_environment.given(request),
        worker_environment.CAPABILITIES: ",".join(request.capabilities or settings.capabilities),
    }
    body: Json = {
        "client_id": "me",
        "image": settings.image,
        "disk": settings.disk_gb,
        "label": label_of(request.fleet, request.home, request.worker_id),
        # A start that fails must not leave a stopped instance that costs.
        "cancel_unavail": True,
        "template_hash_id": settings.template_hash_id,
        "image_login": settings.image_login.get_secret_value() if settings.image_login else None,
    }
    if settings.start == "image":
        body |= {"runtype": "args", "args": with_arguments(settings.arguments, request)}
    else:
        body |= {"runtype": "ssh_direct", "onstart": settings.onstart or None}
    ports = {} if settings.url == "none" else {f"-p {settings.port}:{settings.port}": "1"}
    return {**body, "env": {**ports, **environment}}


def _create_error(answer: VastAnswer, offer: Offer, tried: str) -> CapacityUnavailable | LaunchRejected | ConfigError:
    if answer.verdict is VastVerdict.TAKEN:
        return CapacityUnavailable(f"{tried}: offer {offer.id} was taken by somebody else")
    if answer.verdict is VastVerdict.NO_CREDIT:
        return LaunchRejected(f"{tried}: the account has no credit, add some at Vast: {answer.message}")
    return LaunchRejected(f"{tried}: {answer.message}")


def _lowest(*caps: float | None) -> float | None:
    return min((cap for cap in caps if cap is not None), default=None)
