"""How SwarmUI reads what it is sent: JSON, and the parameters of its routes.

Source: SwarmUI src/WebAPI/APICallReflectBuilder.cs. The edges are measured on SwarmUI 0.9.8.2.
"""

import json
import re
from dataclasses import dataclass
from enum import Enum

INT32_LIMIT = 2**31
INTEGER = re.compile(r"[+-]?[0-9]+")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
SINGLE_QUOTED = re.compile(r"'([^'\"]*)'")
TRAILING_COMMA = re.compile(r",\s*([}\]])")


class ParameterType(Enum):
    """The types that SwarmUI's routes take, by their .NET names: they appear in its error texts."""

    INT32 = "Int32"
    BOOLEAN = "Boolean"
    STRING = "String"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a route; required unless it has a default."""

    name: str
    type: ParameterType
    default: int | bool | str | None = None


class Refusal(Exception):
    """An answer that is not the handler's object.

    A failure inside a handler has status 200: SwarmUI answers those like a success.
    """

    def __init__(self, error: str, *, status: int = 200, error_id: str | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.body: dict[str, object] = {"error": error} if error_id is None else {"error_id": error_id, "error": error}


def coerce(parameter: Parameter, value: object) -> int | bool | str:
    """Read a JSON value as SwarmUI does: through its text, so that `3` and `"3"` are equal.

    Raises:
        Refusal: the text is no value of the parameter's type.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = value if isinstance(value, str) else "" if value is None else json.dumps(value, indent=2)
    match parameter.type:
        case ParameterType.STRING:
            return text
        case ParameterType.BOOLEAN if text.strip().lower() in ("true", "false"):
            return text.strip().lower() == "true"
        case ParameterType.INT32 if INTEGER.fullmatch(text.strip()) and -INT32_LIMIT <= int(text) < INT32_LIMIT:
            return int(text)
    raise Refusal(f"Invalid value '{text}' for parameter '{parameter.name}', must be type '{parameter.type.value}'")


def read_json(raw: bytes) -> object:
    """Read a body as SwarmUI's library does: it takes comments, single quotes and trailing commas, and no BOM.

    Raises:
        ValueError: it is none.
    """
    if raw.startswith(BYTE_ORDER_MARK):
        raise ValueError("a byte order mark")
    try:
        return json.loads(raw)
    except ValueError:
        text = COMMENT.sub("", raw.decode())
        return json.loads(TRAILING_COMMA.sub(r"\1", SINGLE_QUOTED.sub(r'"\1"', text)))
