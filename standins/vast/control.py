"""What a test or an operator's example does to a stand-in Vast market over HTTP: `POST /control/<name>` with JSON."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict

from ebbflow.standins.vast.api import VastApi
from ebbflow.standins.vast.faults import ANSWERS, Fault, FaultKind
from ebbflow.standins.vast.hosts import Boot
from ebbflow.standins.vast.offers import Offer
from ebbflow.standins.vast.refusals import Json

Control = Callable[[Json], Awaitable[Json]]


def add_controls(api: VastApi) -> VastApi:
    """Let a stand-in be controlled over HTTP; returns the same one.

    The names are `state`, `clear`, `fault`, `offer`, `boot`, `fields`, `market`, each told by its function here.
    """
    controls = Controls(api)
    names: Mapping[str, Control] = {
        "state": controls.state,
        "clear": controls.clear,
        "fault": controls.fault,
        "offer": controls.offer,
        "boot": controls.boot,
        "fields": controls.fields,
        "market": controls.market,
    }
    api.controls = names
    return api


class Controls:
    """The control functions of one stand-in."""

    def __init__(self, api: VastApi) -> None:
        self._api = api

    async def state(self, body: Json) -> Json:
        """Tell everything: offers, instances with the process id of their program, and the request log."""
        hosts, account = self._api.hosts, self._api.account
        running = {number: hosts.process_of(number) for number in account.instances}
        return {
            "now": self._api.now(),
            "offers": [asdict(offer) for offer in account.offers.values()],
            "instances": [self._api.row(number) for number in account.instances],
            "processes": {str(number): process.pid for number, process in running.items() if process},
            "requests": [asdict(each) for each in self._api.log],
            "faults": len(self._api.faults),
        }

    async def clear(self, body: Json) -> Json:
        """Switch every fault off and forget the request log."""
        self._api.faults.clear()
        self._api.log.clear()
        return {}

    async def fault(self, body: Json) -> Json:
        """Switch a fault on: the fields of `Fault`, `kind` by its value and `answer` by its name in `ANSWERS`."""
        given = {**body, "kind": FaultKind(body["kind"])}
        if "answer" in given:
            given["answer"] = ANSWERS[given["answer"]]
        self._api.faults.append(Fault(**given))
        return {}

    async def offer(self, body: Json) -> Json:
        """Add an offer, or change one: the fields of `Offer`."""
        offers = self._api.account.offers
        if body["id"] in offers:
            for name, value in body.items():
                if name not in vars(offers[body["id"]]):
                    raise KeyError(name)
                setattr(offers[body["id"]], name, value)
        else:
            offers[body["id"]] = Offer(**body)
        return {}

    async def boot(self, body: Json) -> Json:
        """Say how instances boot: the fields of `Boot`; with `machine_id` those on it, with `next` the next one."""
        hosts, given = self._api.hosts, dict(body)
        machine_id, is_next = given.pop("machine_id", None), given.pop("next", False)
        boot = Boot(**given)
        if is_next:
            hosts.next_boots.append(boot)
        elif machine_id is not None:
            hosts.boots[machine_id] = boot
        else:
            hosts.boot = boot
        return {}

    async def fields(self, body: Json) -> Json:
        """Let the row of the instance `id` say `fields`, whatever is true."""
        self._api.account.instance(body["id"]).fields.update(body["fields"])
        return {}

    async def market(self, body: Json) -> Json:
        """Do what others do in the market.

        Each name comes with the id of an instance (`outbid`), offer or machine; `min_bid` with `[offer, price]`,
        `credit` with true or false.
        """
        account = self._api.account
        deeds: Mapping[str, Callable[[int], None]] = {
            "outbid": account.outbid,
            "rent_elsewhere": account.rent_elsewhere,
            "give_back": account.give_back,
            "take_offline": account.take_offline,
            "bring_back": account.bring_back,
        }
        for name, value in body.items():
            if name == "min_bid":
                account.set_min_bid(*value)
            elif name == "credit":
                account.set_credit(is_left=bool(value))
            else:
                deeds[name](value)
        return {}
