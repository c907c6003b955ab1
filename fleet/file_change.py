"""A change of a fleet as a diff that a person can apply: of the file that it is written in, or of the fleet alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ebbflow.core.errors import ConfigError
from ebbflow.fleet.changing import Change, as_written, changed, fleet_yaml
from ebbflow.fleet.deployed import DeployedFleet, fleets_of
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.problems import PARAMETER
from ebbflow.fleet.rewriting import NotRewritableError, diff, rewritten

SECTION = "fleet.yaml"
"""What a diff calls a fleet of which there is no file."""


@dataclass(frozen=True, slots=True)
class FleetFile:
    """The file that a fleet is written in."""

    name: str
    """As a person calls it, from the folder that the diff is applied in."""
    text: str
    deployed: DeployedFleet
    """The deployment of it that holds the fleet whole."""
    environment: Mapping[str, str]
    variables: Mapping[str, object]
    """What its placeholders stand for, as `fleets_of` takes it."""

    def diff(self, changes: Sequence[Change]) -> str | None:
        """The change of this file; None where it is written so that more would change, or something else."""
        before = self.deployed.fleet
        wanted = Fleet.model_validate(after := changed(as_written(before), changes))
        there = self._fleets(self.text)
        at = ("deployments", self.deployed.index, "parameters", PARAMETER)
        try:
            new = rewritten(self.text, at, changes, after)
            found = self._fleets(new)
        except (NotRewritableError, ConfigError):
            return None
        # A section that two fleets share is both of theirs.
        if found != [wanted if fleet == before else fleet for fleet in there]:
            return None
        return diff(self.text, new, name=self.name)

    def _fleets(self, text: str) -> list[Fleet]:
        return [each.fleet for each in fleets_of(text, environment=self.environment, variables=self.variables)]


def section_diff(fleet: Fleet, changes: Sequence[Change]) -> str:
    """The change of the section `fleet:`, as YAML."""
    before = as_written(fleet)
    return diff(fleet_yaml(before), fleet_yaml(changed(before, changes)), name=SECTION)
