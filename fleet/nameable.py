"""The policies that a fleet can name: ours, found in `ebbflow.policies`, and those of other packages.

Another package offers one as an entry point of the group `ebbflow.policies`: a frozen pydantic model with a literal
`kind` and with `decide`. A broken one is logged and skipped, so that it harms no fleet that does not name it. This is
the one place that looks for things at import: what a fleet's form offers must be known when the flows are.
"""

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Iterable, Mapping
from functools import reduce
from importlib.metadata import EntryPoint, entry_points
from operator import or_
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal, get_args, get_origin

from pydantic import BaseModel, Field, TypeAdapter

from ebbflow import policies as our_policies
from ebbflow.core.ports import Policy

GROUP = "ebbflow.policies"

log = logging.getLogger(__name__)


def ours() -> dict[str, type[BaseModel]]:
    """Kind to model, of every module in `ebbflow.policies` that defines a policy; a module there is all it takes."""
    found: dict[str, type[BaseModel]] = {}
    for module in sorted(info.name for info in pkgutil.iter_modules(our_policies.__path__)):
        inside = importlib.import_module(f"{our_policies.__name__}.{module}")
        for thing in vars(inside).values():
            if getattr(thing, "__module__", "") == inside.__name__ and not why_not(thing):
                found.update(dict.fromkeys(kinds(thing), thing))
    return found


def with_others(known: Mapping[str, type[BaseModel]], found: Iterable[EntryPoint]) -> dict[str, type[BaseModel]]:
    """What is known and what other packages offer besides; the first to claim a kind has it.

    Args:
        known: ours.
        found: entry points of the group, asked in the order of their names.
    """
    models = dict(known)
    for entry in sorted(found, key=lambda entry: (entry.name, entry.value)):
        try:
            model = entry.load()
            reason = why_not(model) or _clash(model, models)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
        if reason:
            log.warning("policy %s = %s is skipped: %s", entry.name, entry.value, reason)
            continue
        models.update(dict.fromkeys(kinds(model), model))
    return models


def why_not(model: object) -> str:
    """Why something is no policy; empty where it is one."""
    if not (inspect.isclass(model) and issubclass(model, BaseModel)):
        return f"{model!r} is no pydantic model"
    if not kinds(model):
        return f"{model.__name__} has no `kind: Literal[...]` by which a fleet could name it"
    if not callable(getattr(model, "decide", None)):
        return f"{model.__name__} has no `decide(observation)`"
    # What has no JSON schema would take the whole fleet's form with it.
    TypeAdapter(model).json_schema()
    return ""


def kinds(model: type[BaseModel]) -> tuple[str, ...]:
    """The names by which a fleet chooses a model."""
    field = model.model_fields.get("kind")
    if field is None or get_origin(field.annotation) is not Literal:
        return ()
    return tuple(kind for kind in get_args(field.annotation) if isinstance(kind, str))


def _clash(model: type[BaseModel], models: Mapping[str, type[BaseModel]]) -> str:
    taken = [f"{kind!r} is already {models[kind].__name__}" for kind in kinds(model) if kind in models]
    return "; ".join(taken)


POLICIES: Mapping[str, type[BaseModel]] = MappingProxyType(with_others(ours(), entry_points(group=GROUP)))
"""Kind to model, of all that a fleet can name in this installation."""

if TYPE_CHECKING:
    FleetPolicy = Policy
else:
    FleetPolicy = Annotated[reduce(or_, dict.fromkeys(POLICIES.values())), Field(discriminator="kind")]
