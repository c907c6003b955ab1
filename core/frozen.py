"""Frozen records that are made in a fifth of the time, since each decision makes thousands of them.

A frozen dataclass sets each field through `object.__setattr__`, a call per field. Here the fields are set while the
object is of a twin class, which has the same fields and is not frozen; nobody sees it before it is frozen again.
"""

from dataclasses import MISSING, fields
from typing import TypeVar

T = TypeVar("T")


def made_at_once(kind: type[T]) -> type[T]:
    """Give a frozen dataclass with slots an `__init__` of the same signature that is faster; all else stays.

    Use it above `@dataclass(frozen=True, slots=True)`, where a kind has four fields or more.
    """
    known = fields(kind)  # type: ignore[arg-type]
    if not all(field.init and not field.kw_only and not field.name.startswith("_") for field in known):
        raise TypeError(
            f"{kind.__name__}: each field must be given to `__init__`, by place too, and begin with a letter"
        )
    twin = type(kind.__name__, (), {"__slots__": tuple(field.name for field in known)})
    names: dict[str, object] = {"_set": object.__setattr__, "_twin": twin, "_kind": kind, "_missing": MISSING}
    arguments, lines = ["self"], ["_set(self, '__class__', _twin)"]
    for place, field in enumerate(known):
        given = field.name
        if field.default is not MISSING:
            names[f"_default_{place}"] = field.default
            arguments.append(f"{field.name}=_default_{place}")
        elif field.default_factory is not MISSING:
            names[f"_make_{place}"] = field.default_factory
            arguments.append(f"{field.name}=_missing")
            given = f"_make_{place}() if {field.name} is _missing else {field.name}"
        else:
            arguments.append(field.name)
        lines.append(f"self.{field.name} = {given}")
    lines.append("self.__class__ = _kind")
    if hasattr(kind, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n".join(f"  {line}" for line in lines)
    # As `dataclasses` makes its own.
    exec(f"def __init__({', '.join(arguments)}):\n{body}", names)
    made = names["__init__"]
    for name in ("__qualname__", "__annotations__"):
        setattr(made, name, getattr(kind.__init__, name))
    setattr(kind, "__init__", made)  # noqa: B010  (an assignment to a method is nothing that types allow)
    return kind
