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

FLOWS = frozenset({"autoscale", "scale_up", "scale_down", "override", "backtest"})
PARAMETER = "fleet"
"""What every flow of ours needs."""

_ENTRYPOINT = re.compile(r"(?:^|[./])flows(?:[./][a-z_]+(?:\.py)?)?[.:](?P<flow>[a-z_]+)$")
_PLACEHOLDER = re.compile(r"\{\{\s*(?P<name>[^}]*?)\s*\}\}")
_VARIABLE = "prefect.variables."

# What YAML holds is what it is; the fleet's model checks it.
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class DeployedFleet:
    """One deployment of a flow of ours."""

    deployment: str
    """`<flow>/<name>`, as Prefect's commands take it."""
    fleet: Fleet


def fleets_of(
    text: str, *, environment: Mapping[str, str], variables: Mapping[str, object] | None = None
) -> tuple[DeployedFleet, ...]:
    """Every deployment of ours in a Prefect file, with its fleet.

    Args:
        text: the file's.
        environment: what `{{ $NAME }}` is taken from; always a text, as Prefect has it.
        variables: what `{{ prefect.variables.name }}` stands for, of whatever type.

    Raises:
        ConfigError: the first thing that is wrong, with its deployment, its field, its value and what would be right.
    """
    found = []
    for index, row in enumerate(_deployments(text)):
        name = f"number {index + 1}" if row.get("name") is None else str(row["name"])
        filled = _Filled(f"deployment {name!r}", environment, variables or {})(
            row.get("entrypoint") or "", "entrypoint"
        )
        flow = _flow_of(str(filled))
        if flow is None:
            continue
        name = f"{flow.replace('_', '-')}/{name}"
        found.append(DeployedFleet(name, _fleet(name, row.get("parameters"), environment, variables or {})))
    return tuple(found)


def _flow_of(entrypoint: str) -> str | None:
    """Which flow of ours an entrypoint names, as a module or as a file of a checkout; None for another's."""
    found = _ENTRYPOINT.search(entrypoint.strip())
    return found["flow"] if found is not None and found["flow"] in FLOWS else None


def _deployments(text: str) -> Sequence[Json]:
    try:
        content = yaml.safe_load(text)
    except yaml.composer.ComposerError as error:
        if "single document" not in str(error):
            raise ConfigError(f"it is no YAML: {error.problem}") from error
        raise ConfigError("it holds several YAML documents (---), of which Prefect reads one: give it alone") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"it is no YAML{where}: {getattr(error, 'problem', None) or error}") from error
    rows = content.get("deployments") if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError("deployments: expected a list of them, each with name, entrypoint and parameters")
    return rows


def _fleet(name: str, parameters: object, environment: Mapping[str, str], variables: Mapping[str, object]) -> Fleet:
    given = parameters if isinstance(parameters, dict) else {}
    if PARAMETER not in given:
        raise ConfigError(
            f"{name}: parameters has no {PARAMETER!r}, which the flow needs: write `parameters: {{fleet: *fleet}}`, "
            "with the fleet under `definitions:`; as it stands it deploys, and every run of it fails"
        )
    try:
        plain = _Filled(name, environment, variables)(given[PARAMETER], PARAMETER)
        fleet = Fleet.model_validate(plain)
    except RecursionError as error:
        raise ConfigError(f"{name}: {PARAMETER} holds itself, by an anchor of YAML") from error
    except ValidationError as error:
        raise ConfigError(f"{name}: {_first_problem(error)}") from error
    for path, value, field in _of_another_type(plain, fleet.model_dump(), PARAMETER):
        origin = next((f", since {word} always is one" for word in _at(given[PARAMETER], path) if "$" in word), "")
        kind = "text" if isinstance(value, str) else "truth value" if isinstance(value, bool) else "number"
        raise ConfigError(
            f"{name}: {path} is the {kind} {value!r}{origin}, where Prefect "
            f"takes a {field} only: write it without quotes, or as {{{{ prefect.variables.NAME }}}} with a Prefect "
            f"variable that holds a {field} (`prefect variable set NAME {value}`)"
        )
    return fleet


class _Filled:
    """Puts in what placeholders stand for, as `prefect deploy` does."""

    def __init__(self, name: str, environment: Mapping[str, str], variables: Mapping[str, object]) -> None:
        self._name, self._environment, self._variables = name, environment, variables

    def __call__(self, value: object, path: str) -> object:
        """The value with its placeholders replaced.

        Raises:
            ConfigError: one stands for nothing.
        """
        if isinstance(value, dict):
            return {key: self(each, f"{path}.{key}") for key, each in value.items()}
        if isinstance(value, list):
            return [self(each, f"{path}[{index}]") for index, each in enumerate(value)]
        if not isinstance(value, str):
            return value
        whole = _PLACEHOLDER.fullmatch(value)
        if whole is not None:
            return self._value_of(whole["name"], path)
        return _PLACEHOLDER.sub(lambda found: str(self._value_of(found["name"], path)), value)

    def _value_of(self, name: str, path: str) -> object:
        if name.startswith("$"):
            if name[1:] not in self._environment:
                raise ConfigError(f"{self._name}: {path} is {{{{ {name} }}}}, and {name[1:]} is not set here")
            return self._environment[name[1:]]
        if name.startswith(_VARIABLE):
            if (variable := name.removeprefix(_VARIABLE)) not in self._variables:
                raise ConfigError(
                    f"{self._name}: {path} is {{{{ {name} }}}}, and there is no Prefect variable {variable!r}: "
                    f"`prefect variable set {variable} VALUE`"
                )
            return self._variables[variable]
        raise ConfigError(
            f"{self._name}: {path} holds {{{{ {name} }}}}: a fleet may hold {{{{ $NAME }}}} of the environment, for "
            "texts, and {{ prefect.variables.NAME }}"
        )


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    said = first["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(first["input"], dict | list) else f" is {first['input']!r}"
    return f"{PARAMETER}{path}{shown}: {said}"


def _of_another_type(given: object, read: object, path: str) -> Iterator[tuple[str, object, str]]:
    """Where a number or a truth value was read from something else: its path, that value, and what was read."""
    if isinstance(given, dict) and isinstance(read, dict):
        for key, each in given.items():
            yield from _of_another_type(each, read.get(key), f"{path}.{key}")
    elif isinstance(given, list) and isinstance(read, list | tuple):
        for index, (each, found) in enumerate(zip(given, read, strict=False)):
            yield from _of_another_type(each, found, f"{path}[{index}]")
    elif isinstance(read, bool):
        if not isinstance(given, bool):
            yield path, given, "truth value"
    elif isinstance(read, int | float) and isinstance(given, str | bool):
        yield path, given, "number"


def _at(value: object, path: str) -> Iterator[str]:
    """What stood at a path before it was filled, if that was a text."""
    for part in re.findall(r"[^.\[\]]+", path)[1:]:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list):
            value = value[int(part)]
    if isinstance(value, str):
        yield value
