"""The fleets of a prefect.yaml: read as Prefect reads them, and refused with the field where it would say nothing."""

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from ebbflow.core.errors import ConfigError
from ebbflow.fleet.deployed import check_file, fleets_of

ROOT = Path(__file__).parents[2]
FILES = [ROOT / "prefect.yaml", *sorted((ROOT / "deployments").glob("*/*.yaml"))]
DEPLOYED = [path for path in FILES if "\ndeployments:" in path.read_text(encoding="utf-8")]

FILE = """
definitions:
  fleet: &fleet
    name: sdxl
    interval_seconds: 60
    master: swarmui-master/main
    providers:
      - {block: "local-provider/{{ $BLOCK }}", max_workers: MOST}
    limits: {min_workers: 1, max_workers: MOST}
deployments:
  - name: sdxl
    entrypoint: ebbflow.flows.autoscale.autoscale
    parameters: {fleet: *fleet}
  - name: other
    entrypoint: flows/mine.py:mine
    parameters: {}
"""


def read(text: str, *, variables: Mapping[str, object] | None = None, **environment: str) -> str:
    """What is wrong with a file, or its only fleet's bounds."""
    try:
        (found,) = fleets_of(text, environment={"BLOCK": "here", **environment}, variables=variables)
    except ConfigError as error:
        return str(error)
    assert found.deployment == "autoscale/sdxl"
    assert found.fleet.providers[0].block == "local-provider/here"
    return f"{found.fleet.providers[0].max_workers} {found.fleet.limits.max_workers}"


@pytest.mark.parametrize("path", DEPLOYED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_of_ours_is_read_whole(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = fleets_of(text, environment={"EBBFLOW_PROJECT": "/opt/ebbflow"})
    assert len(found) == len(yaml.safe_load(text)["deployments"])
    assert {each.fleet.name for each in found} == {found[0].fleet.name}


def test_a_number_is_one_and_a_prefect_variable_may_hold_it() -> None:
    assert read(FILE.replace("MOST", "3")) == "3 3"
    assert read(FILE.replace("MOST", '"{{ prefect.variables.most }}"'), variables={"most": 4}) == "4 4"


def test_regression_a_number_of_the_environment_was_refused_inside_94_kilobytes() -> None:
    said = read(FILE.replace("MOST", '"{{ $MOST }}"'), MOST="3")
    assert said == (
        "autoscale/sdxl: fleet.providers[0].max_workers is the text '3', since {{ $MOST }} always is one, where "
        "Prefect takes a number only: write it without quotes, or as {{ prefect.variables.NAME }} with a Prefect "
        "variable that holds a number (`prefect variable set NAME 3`)"
    )


def test_regression_a_deployment_without_parameters_deployed_and_crashed() -> None:
    for parameters in ("{}", "", "[1]", "{dry_run: true}"):
        said = read(FILE.replace("parameters: {fleet: *fleet}", f"parameters: {parameters}"))
        assert said.startswith("autoscale/sdxl: parameters has no 'fleet', which the flow needs: write `parameters:")


@pytest.mark.parametrize(
    "entrypoint",
    [
        "ebbflow.flows.autoscale:autoscale",
        "ebbflow.flows:autoscale",
        "flows/autoscale.py:autoscale",
        "/opt/ebbflow/flows/autoscale.py:autoscale",
        '"{{ $BASE }}/flows/autoscale.py:autoscale"',
        '" ebbflow.flows.autoscale.autoscale"',
    ],
)
def test_a_flow_of_ours_is_known_by_every_spelling_of_its_entrypoint(entrypoint: str) -> None:
    text = FILE.replace("MOST", "3").replace("ebbflow.flows.autoscale.autoscale", entrypoint)
    assert read(text, BASE="/opt/ebbflow") == "3 3"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((": MOST", ': "3"'), "fleet.providers[0].max_workers is the text '3', where Prefect takes a number only"),
        ((": MOST", ': "{{ $NONE }}"'), "fleet.providers[0].max_workers is {{ $NONE }}, and NONE is not set here"),
        ((": MOST", ': "{{ prefect.variables.none }}"'), "there is no Prefect variable 'none': `prefect variable set"),
        ((": MOST", ': "{{ prefect.blocks.secret.x }}"'), "a fleet may hold {{ $NAME }} of the environment, for texts"),
        ((": MOST", ": few"), "fleet.providers[0].max_workers is 'few': Input should be a valid integer"),
        (
            (": MOST", ": yes"),
            "fleet.providers[0].max_workers is the truth value True, where Prefect takes a number only",
        ),
        (("    limits:", "    accept_busy_stop: 1\n    limits:"), "is the number 1, where Prefect takes a truth value"),
        (("    limits:", "    placement: &p {a: *p}\n    limits:"), "holds itself"),
        (("deployments:", "---\ndeployments:"), "several YAML documents"),
        ((": MOST", ": -1"), "fleet.providers[0].max_workers is -1: Input should be greater than or equal to"),
        (("    name: sdxl\n    interval", "    nam: sdxl\n    interval"), "fleet.name: Field required"),
        (("interval_seconds: 60", 'interval_seconds: 60\n    accept_busy_stop: "yes"'), "takes a truth value only"),
        (("deployments:", "deployment:"), "deployments: expected a list"),
        (("  fleet: &fleet", "  fleet: &fleet ]"), "it is no YAML in line 3"),
    ],
)
def test_what_is_wrong_is_named_with_its_field(change: tuple[str, str], words: str) -> None:
    assert words in read(FILE.replace(*change).replace("MOST", "3"))


BY_NAME = FILE.replace("MOST", "3").replace(
    "  - name: other",
    "  - name: sdxl\n    entrypoint: ebbflow.flows.scale_up.scale_up\n    parameters: {fleet: NAME}\n  - name: other",
)


@pytest.mark.parametrize("name", ["sdxl", '"{{ $WHICH }}"'])
def test_what_a_person_starts_names_its_fleet(name: str) -> None:
    found = fleets_of(BY_NAME.replace("NAME", name), environment={"BLOCK": "here", "WHICH": "sdxl"})
    assert [(each.deployment, each.index) for each in found] == [("autoscale/sdxl", 0), ("scale-up/sdxl", 1)]
    assert found[0].fleet == found[1].fleet


def test_a_name_may_stand_above_its_fleet() -> None:
    head, _, rest = BY_NAME.replace("NAME", "sdxl").partition("  - name: sdxl\n")
    turns, _, others = rest.partition("  - name: sdxl\n")
    scale_up, _, other = others.partition("  - name: other\n")
    text = f"{head}  - name: sdxl\n{scale_up}  - name: sdxl\n{turns}  - name: other\n{other}"
    found = fleets_of(text, environment={"BLOCK": "here"})
    assert [each.deployment for each in found] == ["scale-up/sdxl", "autoscale/sdxl"]


def test_a_name_that_no_turns_of_the_file_have_is_refused_in_its_line() -> None:
    checked = check_file(BY_NAME.replace("NAME", "sdxxl"), environment={"BLOCK": "here"}, variables={})
    (problem,) = checked.problems
    assert problem.text == (
        "scale-up/sdxl: fleet is 'sdxxl', and no deployment of autoscale in this file has a fleet of that name: "
        "sdxl would be right"
    )
    assert problem.line == 16


def test_turns_need_the_fleet_itself() -> None:
    with pytest.raises(ConfigError, match="autoscale/sdxl: fleet is 'sdxl': Input should be a valid dictionary"):
        fleets_of(FILE.replace("MOST", "3").replace("*fleet", "sdxl"), environment={"BLOCK": "here"})


def test_what_is_wrong_with_a_fleet_is_said_once_and_not_of_those_that_name_it() -> None:
    text = BY_NAME.replace("NAME", "sdxl").replace("max_workers: 3}\n    limits", "max_workers: -1}\n    limits")
    checked = check_file(text, environment={"BLOCK": "here"}, variables={})
    assert len(checked.problems) == 1, checked.problems


def test_a_fleet_that_cannot_be_read_without_a_server_is_unread_by_its_name_too() -> None:
    text = BY_NAME.replace("NAME", "sdxl").replace("min_workers: 1", 'min_workers: "{{ prefect.variables.least }}"')
    checked = check_file(text, environment={"BLOCK": "here"}, variables=None)
    assert (checked.fleets, checked.problems) == ((), ())
    assert checked.unread == ("autoscale/sdxl", "scale-up/sdxl")
