"""The fleets of a `prefect.yaml`, read as `prefect deploy` and the server read them, with errors that name the field.

Prefect itself answers text in a number's place with the whole schema of the fleet, and takes a deployment without
parameters, whose runs then fail.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import ValidationError

from ebbflow.core.errors import ConfigError
from ebbflow.fleet.model import Fleet
from ebbflow.fleet.placeholders import PLACEHOLDER, Filled
from ebbflow.fleet.positions import Positions, Step, Twice
from ebbflow.fleet.problems import PARAMETER, Problem, WrongFileError, spelled

PREFECT_WORKER = ("worker", "start", "--type", "process", "--limit", "3")
"""Words of `prefect` for a worker beside its server. Each run is a Python that takes seconds of a core before it does
anything, so on a small host all runs that are due at once would wait for each other, and more become due meanwhile."""


def started_by(pool: str, kind: str | None) -> str:
    """The command of a worker that asks a pool of this type for runs, for a person; of process workers ours is one."""
    return (
        f"prefect worker start --pool {pool} --type {kind}"
        if kind not in (None, "process")
        else f"ebbflow runner --pool {pool}"
    )


FLOWS = frozenset({"autoscale", "scale_up", "scale_down", "override", "backtest", "advise"})
_ENTRYPOINT = re.compile(r"(?:^|[./])flows(?:[./][a-z_]+(?:\.py)?)?[.:](?P<flow>[a-z_]+)$")

# What YAML holds is what it is; the fleet's model checks it.
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeployedFleet:
    """One deployment of a flow of ours."""

    deployment: str
    """`<flow>/<name>`, as Prefect's commands take it."""
    fleet: Fleet
    work_pool: str = ""
    """Where its runs go; empty: none is named."""
    schedules: tuple[str, ...] = ()
    """Its schedules that the file does not switch off, by `schedule_key`."""
    index: int = 0
    """Its place among the deployments of the file."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a file holds, and everything that is wrong with it."""

    fleets: tuple[DeployedFleet, ...]
    problems: tuple[Problem, ...]
    unread: tuple[str, ...] = ()
    """Deployments whose fleet holds Prefect variables that could not be asked for, and is right as far as it goes."""


def fleets_of(
    text: str, *, environment: Mapping[str, str], variables: Mapping[str, object] | None = None
) -> tuple[DeployedFleet, ...]:
    """Every deployment of ours in a Prefect file, with its fleet.

    Args:
        text: the file's.
        environment: what `{{ $NAME }}` is taken from; always a text, as Prefect has it.
        variables: what `{{ prefect.variables.name }}` stands for, of whatever type; None: all are unknown.

    Raises:
        ConfigError: the first thing that is wrong, with its deployment, its field, its value and what would be right.
    """
    checked = check_file(text, environment=environment, variables=variables or {})
    if checked.problems:
        raise ConfigError(checked.problems[0].text)
    return checked.fleets


def check_file(text: str, *, environment: Mapping[str, str], variables: Mapping[str, object] | None) -> Checked:
    """Every deployment of ours in a Prefect file that can be read, and everything that is wrong.

    Args:
        text: the file's.
        environment: as for `fleets_of`.
        variables: likewise; None: they cannot be asked for here, and each stands for whatever would be right.
    """
    try:
        rows = _deployments(text)
    except WrongFileError as error:
        return Checked((), error.problems)
    positions = Positions(text)
    problems = [_doubled(twice) for twice in positions.twice()]
    found: list[DeployedFleet] = []
    unread: list[str] = []
    # Those that name their fleet come after those that hold one.
    for index, row in sorted(enumerate(rows), key=lambda each: isinstance(_given(each[1]), str)):
        try:
            there = {each.fleet.name: each.fleet for each in found if each.deployment.startswith("autoscale/")}
            fleet = _deployed(index, row, environment, variables, there, is_whole=not problems and not unread)
        except _UnreadError as error:
            unread.append(error.deployment)
        except WrongFileError as error:
            # One fleet is shared by its deployments, and what is wrong with it is said once.
            known = {(problem.line, _said_of(problem.text)) for problem in problems}
            for problem in error.at(positions, ("deployments", index)):
                if (problem.line, _said_of(problem.text)) not in known:
                    problems.append(problem)
        else:
            found += [fleet] if fleet is not None else []
    return Checked(tuple(sorted(found, key=lambda each: each.index)), tuple(problems), tuple(unread))


def _given(row: Json) -> object:
    """What stands there for its fleet."""
    parameters = row.get("parameters")
    return parameters.get(PARAMETER) if isinstance(parameters, dict) else None


class _UnreadError(Exception):
    """A fleet holds Prefect variables, and there is no server to ask for them."""

    def __init__(self, deployment: str) -> None:
        super().__init__()
        self.deployment = deployment


def _doubled(twice: Twice) -> Problem:
    said = f"{twice.key!r} stands twice (first in line {twice.first_line}), and only the last one counts"
    return Problem(said, twice.line)


def _said_of(text: str) -> str:
    """A problem without the deployment that it was found in."""
    return text.partition(": ")[2]


def _deployed(
    index: int,
    row: Json,
    environment: Mapping[str, str],
    variables: Mapping[str, object] | None,
    there: Mapping[str, Fleet],
    *,
    is_whole: bool,
) -> DeployedFleet | None:
    """One deployment, if it is of a flow of ours.

    Args:
        index: its place in the file.
        row: as it stands there.
        environment: as for `fleets_of`.
        variables: likewise.
        there: fleets whose turns the file deploys, by name.
        is_whole: nothing is wrong with any of them, and all could be read.
    """
    said = f"deployment {row['name']!r}" if row.get("name") is not None else f"deployment number {index + 1}"
    filled = Filled(said, environment, variables)
    flow = flow_of(str(filled(row.get("entrypoint") or "", ("entrypoint",))))
    if flow is None:
        return None
    if not isinstance(row.get("name"), str) or not row["name"]:
        raise WrongFileError((("name",), f"{said} of {flow}: it has no name, and Prefect passes over it"))
    name = f"{flow.replace('_', '-')}/{filled(row['name'], ('name',))}"
    given = _given(row)
    if isinstance(given, str) and flow != "autoscale":
        fleet = _of_name(name, str(filled(given, ("parameters", PARAMETER))), there, is_whole=is_whole)
    else:
        fleet = _fleet(name, row.get("parameters"), environment, variables)
    pool = row.get("work_pool")
    pool_name = filled(pool.get("name") or "", ("work_pool", "name")) if isinstance(pool, dict) else ""
    schedules = _schedules(name, filled(row.get("schedules") or [], ("schedules",)), fleet, is_turn=flow == "autoscale")
    return DeployedFleet(name, fleet, str(pool_name), schedules, index)


def _schedules(name: str, schedules: object, fleet: Fleet, *, is_turn: bool) -> tuple[str, ...]:
    """What is to start its runs: all of its schedules, or those that are not switched off where the file tells apart.

    Memory ages by the fleet's interval, and the dead-man's switch is checked against it: turns come at that one.

    Raises:
        WrongFileError: what stands there is no list of schedules, or starts turns at another interval.
    """
    if not isinstance(schedules, list) or not all(isinstance(schedule, dict) for schedule in schedules):
        said = f"{name}: schedules is no list of them: write `schedules: [{{interval: *interval}}]`"
        raise WrongFileError((("schedules",), said))
    for index, schedule in enumerate(schedules):
        interval = schedule.get("interval")
        if is_turn and isinstance(interval, int | float) and interval != fleet.interval_seconds:
            said = (
                f"{name}: schedules[{index}].interval is {interval:g}, and the fleet's interval_seconds is "
                f"{fleet.interval_seconds:g}: write the number once, as `&interval` and `*interval`"
            )
            raise WrongFileError((("schedules", index, "interval"), said))
    on = [schedule for schedule in schedules if schedule.get("active") is not False]
    return tuple(schedule_key(schedule) for schedule in on or schedules)


def schedule_key(schedule: Mapping[str, object]) -> str:
    """What tells one schedule of a deployment from another: how often, or when."""
    interval = schedule.get("interval")
    if isinstance(interval, int | float):
        return f"interval {float(interval):g}"
    return " ".join(f"{kind} {schedule[kind]}" for kind in ("interval", "cron", "rrule") if schedule.get(kind))


def flow_of(entrypoint: str) -> str | None:
    """Which flow of ours an entrypoint names, as a module or as a file of a checkout; None for another's."""
    found = _ENTRYPOINT.search(entrypoint.strip())
    return found["flow"] if found is not None and found["flow"] in FLOWS else None


def _deployments(text: str) -> Sequence[Json]:
    try:
        content = yaml.safe_load(text)
    except yaml.composer.ComposerError as error:
        if "single document" in str(error):
            said = "it holds several YAML documents (---), of which Prefect reads one: give it alone"
            raise WrongFileError(((), said)) from error
        line = error.problem_mark.line + 1 if error.problem_mark is not None else None
        hint = ": an anchor stands above its aliases, as `&name`" if "undefined alias" in str(error) else ""
        raise WrongFileError(((), f"it is no YAML in line {line}: {error.problem}{hint}"), line=line) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark is not None else None
        problem = str(getattr(error, "problem", None) or error)
        hint = ": a tab; YAML is indented with spaces" if "\\t" in problem else ""
        hint = ': a placeholder stands in quotes, "{{ $NAME }}"' if "unhashable" in problem else hint
        where = f" in line {line}" if line is not None else ""
        raise WrongFileError(((), f"it is no YAML{where}: {problem}{hint}"), line=line) from error
    except RecursionError as error:
        raise WrongFileError(((), "it is nested deeper than can be read")) from error
    except ValueError as error:
        # PyYAML makes dates and numbers of what looks like them.
        raise WrongFileError(((), f"it is no YAML: {error}: a text stands in quotes")) from error
    rows = content.get("deployments") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        said = "deployments: expected a list of them, each with name, entrypoint and parameters"
        raise WrongFileError(((), said))
    return rows


def _of_name(name: str, given: str, there: Mapping[str, Fleet], *, is_whole: bool) -> Fleet:
    if given in there:
        return there[given]
    if not is_whole:
        # It may be the one that could not be read.
        raise _UnreadError(name)
    said = f"{name}: {PARAMETER} is {given!r}, and no deployment of autoscale in this file has a fleet of that name"
    said += f": {', '.join(sorted(there))} would be right" if there else ""
    raise WrongFileError((("parameters", PARAMETER), said))


def _fleet(
    name: str, parameters: object, environment: Mapping[str, str], variables: Mapping[str, object] | None
) -> Fleet:
    given = parameters if isinstance(parameters, dict) else {}
    if PARAMETER not in given:
        said = (
            f"{name}: parameters has no {PARAMETER!r}, which the flow needs: write `parameters: {{fleet: *fleet}}`, "
            "with the fleet under `definitions:`; as it stands it deploys, and every run of it fails"
        )
        raise WrongFileError((("parameters",), said))
    at_fleet: tuple[Step, ...] = ("parameters", PARAMETER)
    try:
        filled = Filled(name, environment, variables)
        plain = filled(given[PARAMETER], (PARAMETER,))
        fleet = Fleet.model_validate(plain)
    except RecursionError as error:
        raise WrongFileError((at_fleet, f"{name}: {PARAMETER} holds itself, by an anchor of YAML")) from error
    except ValidationError as error:
        said_of = [((*at_fleet, *path), f"{name}: {said}") for path, said in _problems(error, given[PARAMETER])]
        # What an unknown Prefect variable stands for is right or wrong where its value is known.
        known = [(path, said) for path, said in said_of if path[1:] not in filled.unknown]
        if known:
            raise WrongFileError(*known) from error
        raise _UnreadError(name) from error
    problems = []
    for path, value, field in _of_another_type(plain, fleet.model_dump(), (PARAMETER,)):
        origin = next((f", since {word} always is one" for word in _at(given[PARAMETER], path[1:]) if "$" in word), "")
        kind = "text" if isinstance(value, str) else "truth value" if isinstance(value, bool) else "number"
        said = (
            f"{name}: {spelled(path)} is the {kind} {value!r}{origin}, where Prefect "
            f"takes a {field} only: write it without quotes, or as {{{{ prefect.variables.NAME }}}} with a Prefect "
            f"variable that holds a {field} (`prefect variable set NAME {value}`)"
        )
        problems.append((("parameters", *path), said))
    if problems:
        raise WrongFileError(*problems)
    return fleet


def _problems(error: ValidationError, given: object) -> Iterator[tuple[tuple[Step, ...], str]]:
    """What is wrong with a fleet, its values as they are written: what a placeholder stands for may be a secret."""
    every = error.errors(include_url=False, include_context=False)
    for found in every:
        path = found["loc"]
        if any(other["loc"][: len(path)] == path and len(other["loc"]) > len(path) for other in every):
            # What is wrong with a list follows from what is wrong in it.
            continue
        said = found["msg"].removeprefix("Value error, ")
        written = next((text for text in _at(given, path) if PLACEHOLDER.search(text)), None)
        value = found["input"] if written is None else written
        is_shown = not isinstance(value, dict | list) and found["type"] != "extra_forbidden"
        shown = f" is {value!r}" if is_shown else ""
        yield found["loc"], f"{spelled((PARAMETER, *found['loc']))}{shown}: {said}"


def _of_another_type(
    given: object, read: object, path: tuple[Step, ...]
) -> Iterator[tuple[tuple[Step, ...], object, str]]:
    """Where a number or a truth value was read from something else: its path, that value, and what was read."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, each in given.items():
            yield from _of_another_type(each, read.get(key), (*path, str(key)))
    elif isinstance(given, list) and isinstance(read, list | tuple):
        for index, (each, found) in enumerate(zip(given, read, strict=False)):
            yield from _of_another_type(each, found, (*path, index))
    elif isinstance(read, bool):
        if not isinstance(given, bool):
            yield path, given, "truth value"
    elif isinstance(read, int | float) and isinstance(given, str | bool):
        yield path, given, "number"


def _at(value: object, path: Sequence[Step]) -> Iterator[str]:
    """What stood at a path before it was filled, if that was a text."""
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and isinstance(step, int):
            value = value[step]
    if isinstance(value, str):
        yield value
