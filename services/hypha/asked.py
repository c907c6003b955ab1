"""What callers ask for, checked: they may send anything. Pure."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ebbflow.core.errors import FleetError
from ebbflow.services.hypha.settings import Settings

LONGEST_ENTRYPOINT = 20_000
LONGEST_ENVIRONMENT = 64_000
LONGEST_KEY = 100
LONGEST_ID = 100
DEEPEST = 8
REMOTE = ("https", "s3", "gs", "gcs")
"""Where code may come from: a folder of the head's own host is none of its users' business."""
CODE = frozenset({"working_dir", "py_modules"})


class Refused(FleetError):
    """Nothing was done. The message says what would be right."""


class Denied(Refused):
    """They may not."""


class BadInput(Refused):
    """They may, but not with this."""


class Unknown(Refused):
    """There is no such job, or it is not theirs, which is told alike."""


class Full(Refused):
    """There is no more room now."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A submission."""

    entrypoint: str
    """A shell line: of Ray's own job submission, run by Ray, as the user of Ray."""
    runtime_env: str
    """JSON."""
    key: str
    most_seconds: float


def submission(given: Mapping[str, object], settings: Settings) -> Asked:
    """Read the arguments of `submit`.

    Raises:
        BadInput: names the argument, what it is, and what would be right.
    """
    _only(given, ("entrypoint", "runtime_env", "key", "hours"), "submit")
    entrypoint = given.get("entrypoint")
    if not isinstance(entrypoint, str) or not entrypoint.strip() or "\0" in entrypoint:
        raise BadInput(f"entrypoint is {_shown(entrypoint)}: a shell line such as 'python train.py' would be right")
    if len(entrypoint) > LONGEST_ENTRYPOINT:
        raise BadInput(f"entrypoint has {len(entrypoint)} characters: at most {LONGEST_ENTRYPOINT} are taken")
    return Asked(
        entrypoint.strip(),
        _environment(given.get("runtime_env"), settings.runtime_env),
        _key(given.get("key")),
        _seconds(given.get("hours"), settings.limits.most_job_hours),
    )


def job_id(given: Mapping[str, object], function: str, *more: str, is_needed: bool = True) -> str | None:
    """Read the argument `job_id`.

    Raises:
        BadInput: it is missing, or is no id.
    """
    _only(given, ("job_id", *more), function)
    found = given.get("job_id")
    if found is None and not is_needed:
        return None
    if not isinstance(found, str) or not 0 < len(found) <= LONGEST_ID:
        raise BadInput(f"job_id is {_shown(found)}: the one that submit answered would be right")
    return found


def flag(given: Mapping[str, object], name: str) -> bool:
    """Read an argument that is true or false."""
    found = given.get(name, False)
    if not isinstance(found, bool):
        raise BadInput(f"{name} is {_shown(found)}: true or false would be right")
    return found


def nothing(given: Mapping[str, object], function: str) -> None:
    """Read no arguments."""
    _only(given, (), function)


def _only(given: Mapping[str, object], names: Sequence[str], function: str) -> None:
    if more := sorted(set(given) - set(names)):
        raise BadInput(f"{function} takes {', '.join(names) or 'nothing'}, and not {_shown(more[0])}")


def _key(found: object) -> str:
    if found is None:
        return ""
    if not isinstance(found, str) or not 0 < len(found) <= LONGEST_KEY or not found.isprintable():
        raise BadInput(f"key is {_shown(found)}: a word of yours, {LONGEST_KEY} characters at most, would be right")
    return found


def _seconds(found: object, most_hours: float) -> float:
    if found is None:
        return most_hours * 3600
    # Compared as it is: a whole number may be larger than any that counts in fractions, and NaN is in no range.
    if isinstance(found, int | float) and not isinstance(found, bool) and 0 < found <= most_hours:
        return 3600.0 * found
    raise BadInput(f"hours is {_shown(found)}: more than 0 and at most {most_hours:g} would be right")


def _environment(found: object, allowed: Sequence[str]) -> str:
    if found is None:
        return "{}"
    if not isinstance(found, Mapping):
        raise BadInput(f"runtime_env is {_shown(found)}: an object would be right")
    for name in found:
        if name not in allowed:
            may = ", ".join(allowed) or "nothing"
            raise BadInput(f"runtime_env.{_shown(name)} is not allowed here: {may} may be set")
    plain = _plain(found, DEEPEST)
    assert isinstance(plain, dict), "as was looked before"
    for name in CODE & set(plain):
        places = plain[name] if isinstance(plain[name], list) else [plain[name]]
        for place in places:
            if not isinstance(place, str) or urlsplit(place).scheme not in REMOTE:
                raise BadInput(
                    f"runtime_env.{name} is {_shown(place)}: an address ({', '.join(REMOTE)}) would be right"
                )
    variables = plain.get("env_vars", {})
    if not isinstance(variables, dict) or not all(isinstance(each, str) for each in variables.values()):
        raise BadInput("runtime_env.env_vars: an object whose values are texts would be right")
    text = json.dumps(plain, allow_nan=False)
    if len(text) > LONGEST_ENVIRONMENT:
        raise BadInput(f"runtime_env has {len(text)} characters as JSON: at most {LONGEST_ENVIRONMENT} are taken")
    return text


def _plain(value: object, deepest: int) -> object:
    """The same of Python's own types: what came over the wire may look like them, and call its sender."""
    if deepest < 0:
        raise BadInput(f"runtime_env is nested more than {DEEPEST} times")
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise BadInput("runtime_env: names are texts")
        return {str(name): _plain(each, deepest - 1) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, deepest - 1) for each in value]
    raise BadInput(f"runtime_env holds {_shown(value)}: texts, numbers, lists and objects would be right")


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, str | bool | int | float):
        return f"{value!r:.60}"
    # Callers' objects come as a type of the transport's own.
    return "an object" if isinstance(value, Mapping) else f"a {type(value).__name__}"
