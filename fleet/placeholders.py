"""What `{{ ... }}` in a Prefect file stands for, put in as `prefect deploy` does."""

import re
from collections.abc import Mapping

from ebbflow.fleet.positions import Step
from ebbflow.fleet.problems import PARAMETER, WrongFileError, spelled

PLACEHOLDER = re.compile(r"\{\{\s*(?P<name>[^}]*?)\s*\}\}")
_VARIABLE = "prefect.variables."


class Filled:
    """Puts in what placeholders stand for, as `prefect deploy` does."""

    def __init__(self, name: str, environment: Mapping[str, str], variables: Mapping[str, object] | None) -> None:
        self._name, self._environment, self._variables = name, environment, variables
        self.unknown: set[tuple[Step, ...]] = set()
        """Where a Prefect variable stands whose value cannot be asked for."""

    def __call__(self, value: object, path: tuple[Step, ...]) -> object:
        """The value with its placeholders replaced.

        Raises:
            WrongFileError: one stands for nothing.
        """
        if isinstance(value, dict):
            return {key: self(each, (*path, str(key))) for key, each in value.items()}
        if isinstance(value, list):
            return [self(each, (*path, index)) for index, each in enumerate(value)]
        if not isinstance(value, str):
            return value
        whole = PLACEHOLDER.fullmatch(value)
        if whole is not None:
            return self._value_of(whole["name"], path)
        return PLACEHOLDER.sub(lambda found: str(self._value_of(found["name"], path)), value)

    def _value_of(self, name: str, path: tuple[Step, ...]) -> object:
        if name.startswith("$"):
            if name[1:] not in self._environment:
                raise self._wrong(path, f"is {{{{ {name} }}}}, and {name[1:]} is not set here")
            return self._environment[name[1:]]
        if name.startswith(_VARIABLE):
            variable = name.removeprefix(_VARIABLE)
            if self._variables is None:
                self.unknown.add(path)
                return f"{{{{ {name} }}}}"
            if variable not in self._variables:
                raise self._wrong(
                    path,
                    f"is {{{{ {name} }}}}, and there is no Prefect variable {variable!r}: "
                    f"`prefect variable set {variable} VALUE`",
                )
            return self._variables[variable]
        raise self._wrong(
            path,
            f"holds {{{{ {name} }}}}: a fleet may hold {{{{ $NAME }}}} of the environment, for texts, and "
            "{{ prefect.variables.NAME }}",
        )

    def _wrong(self, path: tuple[Step, ...], said: str) -> WrongFileError:
        below = ("parameters", *path) if path[:1] == (PARAMETER,) else path
        return WrongFileError((below, f"{self._name}: {spelled(path)} {said}"))
