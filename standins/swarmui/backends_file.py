"""The file in which a SwarmUI keeps its backends, `Backends.fds`, as far as the stand-ins read it.

Source: the page of Frenetic Data Syntax, and files that SwarmUI 0.9.8 wrote: sections by indentation, `key: value`.
"""

from typing import Any

from ebbflow.standins.swarmui.backend import BACKEND_TYPE

Json = dict[str, Any]
"""Any: sections hold sections and texts."""


def swarm_backends(text: str) -> Json:
    """Those of its backends that lead to another SwarmUI, by id, each with `title`, `enabled` and `settings`.

    Raises:
        ValueError: a line is no `key: value`; SwarmUI then does not start its backends.
    """
    rows = _sections(text)
    return {
        key: {
            "title": row.get("title", ""),
            "enabled": row.get("enabled", "true") == "true",
            "settings": row.get("settings", {}),
        }
        for key, row in rows.items()
        if row.get("type") == BACKEND_TYPE
    }


def _sections(text: str) -> Json:
    top: Json = {}
    open_sections: list[tuple[int, Json]] = [(-1, top)]
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = len(line) - len(line.lstrip())
        key, colon, value = line.strip().partition(":")
        if not colon:
            raise ValueError(f"no `key: value` in a file of backends: {line!r}")
        while open_sections[-1][0] >= indent:
            open_sections.pop()
        holder = open_sections[-1][1]
        if key in holder:
            raise ValueError(f"{key!r} stands twice in one section of a file of backends")
        if value.strip():
            holder[key] = value.strip()
        else:
            section: Json = {}
            holder[key] = section
            open_sections.append((indent, section))
    return top
