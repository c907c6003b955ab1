"""What an operator says of a server that reports nothing, read without trust."""

import re
from collections.abc import Mapping

from ebbflow.gateway.asking import MOST_COST, Problem, number, text, whole
from ebbflow.gateway.kinds import check_wanted, kind_named
from ebbflow.gateway.kinds.kind import Wanted
from ebbflow.gateway.plain import LOADING_SECONDS, REQUEST_SECONDS, PlainServer

FIELDS = frozenset(
    (
        "kind",
        "model",
        "prompt",
        "prompt_path",
        "api_key",
        "metrics_port",
        "units_per_second",
        "loading_seconds",
        "request_seconds",
    )
)
PATH = re.compile(r"(/[!-~]*)?")
KEY = re.compile(r"[ -~]*")
MOST_PROMPT, MOST_KEY, MOST_PATH = 100_000, 1000, 300
"""Letters."""


def server_of(said: object) -> PlainServer:
    """The server that is meant.

    Raises:
        Problem: names the field, what it is, and what would be right.
    """
    if not isinstance(said, Mapping):
        raise Problem(400, 'server: an object is expected, such as {"kind": "vllm"}')
    unknown = sorted(str(name) for name in said.keys() - FIELDS)
    if unknown:
        raise Problem(400, f"server.{unknown[0]:.40}: only {', '.join(sorted(FIELDS))} are known")
    try:
        kind = kind_named(text(said, "kind", 40, usual=""))
    except ValueError as error:
        raise Problem(400, f"server.{error}") from error
    try:
        wanted = Wanted(
            model=text(said, "model", usual=""),
            prompt=text(said, "prompt", MOST_PROMPT, usual=""),
            prompt_path=_path(said),
        )
        check_wanted(kind, wanted)
    except ValueError as error:
        # Its shape is right, and its kind can make nothing of it.
        raise Problem(422, f"server.{error}") from error
    port = said.get("metrics_port")
    return PlainServer(
        kind.name,
        wanted,
        key=_key(said),
        metrics_port=None if port is None else whole(said, "metrics_port", least=1, most=65_535, usual=1),
        units_per_second=float(number(said, "units_per_second", least=1e-6, most=MOST_COST, usual=1.0)),
        loading_seconds=float(number(said, "loading_seconds", least=1, most=86_400, usual=LOADING_SECONDS)),
        request_seconds=float(number(said, "request_seconds", least=1, most=86_400, usual=REQUEST_SECONDS)),
    )


def _key(said: Mapping[str, object]) -> str:
    key = text(said, "api_key", MOST_KEY, usual="")
    if not KEY.fullmatch(key):
        # What it is, is not repeated: it is a secret.
        raise Problem(400, "server.api_key: printable ASCII letters are expected, as a header carries nothing else")
    return key


def _path(said: Mapping[str, object]) -> str:
    path = text(said, "prompt_path", MOST_PATH, usual="")
    if not PATH.fullmatch(path):
        raise Problem(400, f"server.prompt_path: {path!r:.60} is no path, such as /predict")
    return path
