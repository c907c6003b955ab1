"""One account of a stand-in Vast market: who has which GPU, and what becomes of instances.

Source: vast-ai/docs, manage-instances.mdx, billing.mdx, show-instances.mdx.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable

from ebbflow.standins.background import Background
from ebbflow.standins.vast.hosts import Hosts
from ebbflow.standins.vast.instances import (
    MAX_LABEL_AT_UPDATE,
    RentalRequest,
    RentedInstance,
    check_label,
    read_price,
)
from ebbflow.standins.vast.offers import ELSEWHERE, OUTBID, Offer
from ebbflow.standins.vast.refusals import Refused, invalid, no_such_ask, no_such_instance


class Account:
    """Offers, instances and credit.

    Args:
        hosts: run the instances.
        now: epoch seconds.
        offers: that can be rented.
        taken_status: 404 or 410, for a create of an offer that is not there.

    Attributes:
        outbid_status: what an interruptible instance is shown as while it waits; `stopped` or `exited`.
        foreign_ids: instances of another account.
        offline: ids of machines that are.
    """

    def __init__(
        self, hosts: Hosts, now: Callable[[], float], offers: Iterable[Offer] = (), *, taken_status: int = 410
    ) -> None:
        self.hosts = hosts
        self.offers = {offer.id: offer for offer in offers}
        self.instances: dict[int, RentedInstance] = {}
        self.has_credit = True
        self.outbid_status = "stopped"
        self.foreign_ids: set[int] = set()
        self.offline: set[int] = set()
        self.taken_status = taken_status
        self.background = Background()
        self._now = now
        self._ids = itertools.count(5001)

    def instance(self, instance_id: int) -> RentedInstance:
        """One of ours.

        Raises:
            Refused: 404; 403 for one of another account.
        """
        if instance_id in self.foreign_ids:
            raise Refused(403, "invalid_args", f"Instance {instance_id} is not your own.")
        if instance_id not in self.instances:
            raise no_such_instance(instance_id)
        return self.instances[instance_id]

    def check_offer(self, offer_id: int, launch: RentalRequest) -> Offer:
        """The offer, if it can be rented like this.

        Raises:
            Refused: 404 or 410: it is taken; 400: no credit, or it has too little disk.
        """
        if not self.has_credit:
            raise invalid("Your account has no credit.", "missing_billing")
        offer = self.offers.get(offer_id)
        if offer is None or offer.holder is not None or offer.machine_id in self.offline:
            raise no_such_ask(offer_id, self.taken_status)
        if launch.disk_gb > offer.disk_space:
            raise invalid(f"disk: the machine has {offer.disk_space:g} GB")
        if launch.price is not None and launch.price < offer.min_bid and launch.cancels_if_unavailable:
            raise no_such_ask(offer_id, self.taken_status)
        return offer

    def create(self, offer: Offer, launch: RentalRequest) -> RentedInstance:
        """Rent an offer that has been checked."""
        instance_id = next(self._ids)
        instance = RentedInstance(
            id=instance_id,
            offer=offer,
            launch=launch,
            key=f"stand-in-instance-key-{instance_id}",
            started_at=self._now(),
            label=launch.label,
            price=launch.price,
            intended_status="running" if launch.is_wanted_running else "stopped",
            actual_status=None if launch.is_wanted_running else "stopped",
        )
        self.instances[instance_id] = instance
        self.arbitrate(offer)
        return instance

    def set_state(self, instance_id: int, state: object) -> None:
        """Stop an instance, or start it: without its GPU it waits in `scheduling`, perhaps for ever."""
        instance = self.instance(instance_id)
        if state not in ("running", "stopped"):
            raise invalid(f"state: {state!r} is neither running nor stopped")
        is_dead = instance.is_started and instance.actual_status == "exited"
        instance.intended_status = str(state)
        if state == "running" and is_dead:
            self.restart(instance_id, "loading")
        self.arbitrate(instance.offer)

    def set_label(self, instance_id: int, label: object) -> None:
        """Rename an instance."""
        instance = self.instance(instance_id)
        check_label(label, MAX_LABEL_AT_UPDATE)
        instance.label = None if label is None else str(label)

    def set_price(self, instance_id: int, price: object) -> None:
        """Change the bid of an interruptible instance."""
        instance = self.instance(instance_id)
        if not instance.is_bid:
            raise invalid(f"Instance {instance_id} is not interruptible.")
        instance.price = read_price(price)
        self.arbitrate(instance.offer)

    def restart(self, instance_id: int, status: str, *, wipes: bool = False) -> None:
        """Begin again on the same GPU, showing a status until the program runs.

        Args:
            instance_id: one of ours.
            status: `rebooting`, `recycling` or `loading`.
            wipes: as a new container, without what the old one wrote.
        """
        self.background.spawn(self._restart(self.instance(instance_id), status, wipes=wipes))

    async def destroy(self, instance_id: int) -> None:
        """End an instance for good: its process is killed, its row gone and its offer there again."""
        instance = self.instance(instance_id)
        del self.instances[instance_id]
        self.arbitrate(instance.offer)
        # Killed first, so that nobody waits for the grace of a stop; then again, for a restart that was under way.
        await self.hosts.halt(instance, kills=True)
        async with instance.lock:
            await self.hosts.halt(instance, kills=True)
            self.hosts.wipe(instance)

    def rent_elsewhere(self, offer_id: int) -> None:
        """Let somebody else take an offer that nobody has."""
        offer = self.offers[offer_id]
        if offer.holder in (None, OUTBID):
            offer.holder = ELSEWHERE
        self.arbitrate(offer)

    def give_back(self, offer_id: int) -> None:
        """Let everybody else leave an offer, so that whoever waits for it gets it."""
        offer = self.offers[offer_id]
        if offer.holder in (ELSEWHERE, OUTBID):
            offer.holder = None
        self.arbitrate(offer)

    def set_min_bid(self, offer_id: int, usd_per_hour: float) -> None:
        """Let others bid: who bids less is outbid, and who is outbid no longer comes back."""
        self.offers[offer_id].min_bid = usd_per_hour
        self.arbitrate(self.offers[offer_id])

    def outbid(self, instance_id: int) -> None:
        """Let others bid more than an interruptible instance does."""
        instance = self.instance(instance_id)
        self.set_min_bid(instance.offer.id, (instance.price or 0.0) * 2)

    def take_offline(self, machine_id: int) -> None:
        """Disconnect a machine: what ran on it is unreachable, and begins again once it is back."""
        self.offline.add(machine_id)
        self._arbitrate_all()

    def bring_back(self, machine_id: int) -> None:
        """Connect a machine again."""
        self.offline.discard(machine_id)
        self._arbitrate_all()

    def set_credit(self, *, is_left: bool) -> None:
        """Without credit every instance is stopped, though it is meant to run, and nothing can be rented."""
        self.has_credit = is_left
        self._arbitrate_all()

    def _arbitrate_all(self) -> None:
        # The second instance of one create has an offer of its own, which is not for rent.
        for offer in [*self.offers.values(), *(each.offer for each in self.instances.values())]:
            self.arbitrate(offer)

    def arbitrate(self, offer: Offer) -> None:
        """Say who has an offer's GPU, and let every instance on it follow."""
        ours = [each for each in self.instances.values() if each.offer is offer]
        if offer.holder is not None and offer.holder >= 0:
            holder = self.instances.get(offer.holder)
            if holder is None or not self._may_hold(holder):
                is_outbid = holder is not None and holder.intended_status == "running" and self.has_credit
                offer.holder = OUTBID if is_outbid else None
        waiting = [each for each in ours if self._may_hold(each) and (each.is_bid or offer.holder is None)]
        if offer.holder in (None, OUTBID) and waiting:
            offer.holder = min(waiting, key=lambda each: (each.is_bid, -(each.price or 0.0), each.id)).id
        for each in ours:
            self.background.spawn(self._follow(each))

    def _may_hold(self, instance: RentedInstance) -> bool:
        bids_enough = instance.price is None or instance.price >= instance.offer.min_bid
        return instance.intended_status == "running" and bids_enough and self.has_credit

    async def _follow(self, instance: RentedInstance) -> None:
        """Bring an instance to where it belongs now."""
        async with instance.lock:
            if self.instances.get(instance.id) is not instance:
                return
            is_offline = instance.offer.machine_id in self.offline
            runs = instance.offer.holder == instance.id and not is_offline
            if runs and not instance.is_started:
                instance.is_started = True
                is_new = instance.actual_status is None
                self.hosts.start(instance, None if is_new else "loading")
            elif not runs and instance.is_started:
                await self.hosts.halt(instance, kills=is_offline)
                instance.is_started = False
                instance.actual_status = self._resting_status(instance)
            elif not runs and not is_offline:
                instance.actual_status = self._resting_status(instance)

    def _resting_status(self, instance: RentedInstance) -> str:
        if instance.intended_status == "stopped" or not self.has_credit:
            return "stopped"
        return self.outbid_status if instance.is_bid else "scheduling"

    async def _restart(self, instance: RentedInstance, status: str, *, wipes: bool) -> None:
        async with instance.lock:
            if self.instances.get(instance.id) is not instance or not instance.is_started:
                return
            instance.actual_status = status
            await self.hosts.halt(instance)
            if wipes:
                self.hosts.wipe(instance)
            self.hosts.start(instance, status)

    async def stop(self) -> None:
        """End what is under way."""
        await self.background.stop()
        await asyncio.sleep(0)
