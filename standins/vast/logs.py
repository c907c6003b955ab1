"""Logs of instances, kept under an address of their own as the real service does.

Source: vast-ai/docs, request_logs.yaml; vastai 1.9.1 asks the address again until it answers 200.
"""

import re
import secrets
from dataclasses import dataclass

from starlette.responses import PlainTextResponse, Response

from ebbflow.standins.vast.refusals import Json, invalid

DEFAULT_LINES = 1000


@dataclass
class _Kept:
    text: str
    misses: int


class Logs:
    """Texts that were asked for.

    Attributes:
        misses: how often an address answers 404 before its text is ready.
    """

    def __init__(self) -> None:
        self.misses = 1
        self._kept: dict[str, _Kept] = {}

    def keep(self, text: str, options: Json) -> str:
        """Keep the part of a text that was asked for, and return the path where it will be.

        Raises:
            Refused: 400: a number or an expression that is none.
        """
        try:
            lines = int(options.get("tail") or DEFAULT_LINES)
            wanted = re.compile(str(options.get("filter") or ""))
        except (ValueError, re.error) as error:
            raise invalid(f"tail, filter: {error}") from error
        source = "" if str(options.get("daemon_logs", "")).lower() == "true" else text
        found = [line for line in source.splitlines(keepends=True) if wanted.search(line)]
        path = f"/results/{secrets.token_hex(8)}.log"
        self._kept[path] = _Kept("".join(found[-lines:]), self.misses)
        return path

    def read(self, path: str) -> Response:
        """What a GET of a path answers; it needs no key."""
        kept = self._kept.get(path)
        if kept is None or kept.misses > 0:
            if kept is not None:
                kept.misses -= 1
            return PlainTextResponse("not there", 404)
        return PlainTextResponse(kept.text)
