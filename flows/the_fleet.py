"""Which fleet a person's flow is about: by the name under which its turns are deployed, or given whole.

By its name, so that a form shows one word in the place of a whole fleet that somebody may change unseen, and so that
what a person asks for is measured by the fleet that lives. Deployments that hold a whole fleet go on as they are.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from prefect.client.orchestration import PrefectClient
from prefect.runtime import flow_run
from pydantic import Field

from ebbflow.blocks.client import open_client
from ebbflow.core.errors import ConfigError
from ebbflow.core.ids import FLEET_NAME
from ebbflow.fleet.model import Fleet
from ebbflow.flows.standings import Deployed, deployed_fleets, is_on

FleetName = Annotated[str, Field(pattern=f"^{FLEET_NAME.pattern}$")]
GivenFleet = FleetName | Fleet


def run_name(words: str) -> Callable[[], str]:
    """Names a run by its fleet and these words, `{count}` and others being what it was given."""

    def named() -> str:
        given: Mapping[str, Any] = flow_run.get_parameters()
        fleet = given["fleet"]
        return f"{fleet.name if isinstance(fleet, Fleet) else fleet}: {words.format(**given)}"

    return named


async def the_fleet(given: GivenFleet) -> Fleet:
    """The fleet as its turns take it now, or as it was given.

    Raises:
        ConfigError: nobody takes turns for a fleet of that name.
    """
    if isinstance(given, Fleet):
        return given
    async with open_client() as client:
        return await _deployed(client, given)


async def _deployed(client: PrefectClient, name: str) -> Fleet:
    deployed = await deployed_fleets(client, flow="autoscale")
    # Of two whose turns come at times, the one whose schedule is on is the fleet that lives.
    ways = sorted(deployed.get(name, ()), key=lambda each: (not is_on(each.response), each.response.name))
    if not ways:
        there = f": deployed are {', '.join(sorted(deployed))}" if deployed else ""
        raise ConfigError(f"no turns of a fleet {name!r} are deployed here, so nothing was done{there}")
    return _readable(name, ways[0])


def _readable(name: str, deployed: Deployed) -> Fleet:
    if deployed.fleet is None:
        raise ConfigError(
            f"fleet {name!r}: this release cannot read what deployment autoscale/{deployed.response.name} holds, so "
            "nothing was done; `ebbflow check` says what is wrong, `ebbflow up` deploys it again"
        )
    return deployed.fleet
