"""Calls to a fresh SwarmUI master and its one worker, in an order that leads through the whole life of an entry.

They are the same for the real program and for the stand-in. What stands for something else in their data: the addresses
`http://MASTER` and `http://WORKER`, the session ids `<master>` and `<worker>`, and the id `CHILD`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any  # JSON

Json = dict[str, Any]


class Server(Enum):
    """Whom a call is for."""

    MASTER = "master"
    WORKER = "worker"


class Framing(Enum):
    """How the body is put on the wire."""

    WITH_LENGTH = "length"
    CHUNKED = "chunks"
    RAW = "raw"
    """The content is the whole request, head and all: what no client library sends."""


CHILD = "<child>"
"""The lowest id of the latest answer that was a list of backends."""
JSON_TYPE = {"Content-Type": "application/json"}
WS_ROUTE = "GenerateText2ImageWS"


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and how much time passes before it."""

    name: str
    route: str = "GetGlobalStatus"
    body: Json | None = None
    """With a session id of the server, unless it says otherwise."""
    content: bytes | None = None
    """Sent instead of `body`, as it is."""
    after_seconds: float = 0.0
    to: Server = Server.MASTER
    has_session: bool = True
    method: str = "POST"
    path: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    framing: Framing = Framing.WITH_LENGTH


def _anonymous(name: str, route: str = "GetGlobalStatus", body: Json | None = None, **more: Any) -> Call:
    """A call without the session id that others have."""
    return Call(name, route, body or {}, has_session=False, **more)


def _content(name: str, content: bytes, headers: Mapping[str, str] = JSON_TYPE, **more: Any) -> Call:
    return Call(name, content=content, headers=headers, **more)


def _edit(name: str, settings: object, title: str | int | None = "t two", backend_id: int = 0, **more: Any) -> Call:
    return Call(name, "EditBackend", {"backend_id": backend_id, "title": title, "settings": settings, **more})


def _toggle(name: str, backend_id: object, enabled: object) -> Call:
    return Call(name, "ToggleBackend", {"backend_id": backend_id, "enabled": enabled})


def _delete(name: str, backend_id: object) -> Call:
    return Call(name, "DeleteBackend", {"backend_id": backend_id})


def _add(name: str, type_id: str = "swarmswarmbackend") -> Call:
    return Call(name, "AddNewBackend", {"type_id": type_id})


def _list(name: str, after_seconds: float = 0.0, **flags: object) -> Call:
    return Call(name, "ListBackends", flags, after_seconds=after_seconds)


def _generate(name: str, *without: str, **changed: object) -> Call:
    image = {key: value for key, value in _IMAGE.items() if key not in without}
    return Call(name, "GenerateText2Image", image | changed)


_WITH_SESSION = json.dumps({"session_id": "<master>"}).encode()
_EVERYTHING: Json = {"nonreal": True, "full_data": True}
_WHOLE: Json = {
    "Address": "http://WORKER",
    "AllowIdle": True,
    "AllowForwarding": True,
    "AllowWebsocket": True,
    "AuthorizationHeader": "",
    "OtherHeaders": "",
    "ConnectionAttemptTimeoutSeconds": 30,
}
_IMAGE: Json = {
    "images": 1,
    "prompt": "x",
    "model": "a.safetensors",
    "steps": 20,
    "width": 64,
    "height": 64,
    "cfgscale": 1,
    "seed": -1,
    "donotsave": True,
}
_NO_ID = 2**31 - 1
FIRST, MOVED, SECOND, OWN = 0, 40, 1, 2
"""Ids of entries: the first, where that is moved to, a short-lived one, and one with the master's own address."""

SESSIONS = (
    _anonymous("GetNewSession master", "GetNewSession"),
    _anonymous("GetNewSession worker", "GetNewSession", to=Server.WORKER),
    Call("route lower case", "getglobalstatus", {}),
    Call("prefix lower case /api/", body={}, path="/api/GetGlobalStatus"),
    _anonymous("no session id"),
    _anonymous("empty string session id", body={"session_id": ""}),
    _anonymous("unknown session id", body={"session_id": "0" * 40}),
    _anonymous("null session id", body={"session_id": None}),
    _anonymous("session id in header", headers={"X-Session-ID": "<master>"}),
    _anonymous("bad body id, good header", body={"session_id": "x"}, headers={"X-Session-ID": "<master>"}),
    _anonymous("worker's id at master", body={"session_id": "<worker>"}),
    Call("unknown route", "NoSuchRoute", {}),
    _anonymous("unknown route without session", "NoSuchRoute"),
    _anonymous("unknown route, bad session", "NoSuchRoute", {"session_id": "x"}),
    _anonymous("GetNewSession with unknown id in body", "GetNewSession", {"session_id": "x"}),
)

_POST = b"POST /API/GetNewSession HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
CONTENT = (
    _content("content type text", _WITH_SESSION, {"Content-Type": "text/plain"}),
    _content("content type missing", _WITH_SESSION, {}),
    _content("content type with charset", _WITH_SESSION, {"Content-Type": "application/json; charset=utf-8"}),
    _content("content type application/vnd.x+json", _WITH_SESSION, {"Content-Type": "application/vnd.x+json"}),
    _content("chunked body", _WITH_SESSION, framing=Framing.CHUNKED),
    _content("empty body", b""),
    _content("no content-length header", _POST + b"\r\n", framing=Framing.RAW),
    _content(
        "content-length shorter than body",
        _POST + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}xxxx",
        framing=Framing.RAW,
    ),
    _content("broken JSON", b"{nope"),
    _content("JSON null", b"null"),
    _content("JSON array", b"[]"),
    _content("JSON text", b'"x"'),
    *(
        _content(name, content, route="GetNewSession")
        for name, content in (
            ("JSON with comment", b"{/*c*/}"),
            ("JSON single quotes", b"{'a':1,}"),
            ("NaN in JSON", b'{"a":NaN}'),
            ("BOM", b"\xef\xbb\xbf{}"),
        )
    ),
    Call("GET", method="GET"),
    Call("PUT", body={}, method="PUT"),
    Call("websocket route by HTTP", WS_ROUTE, {}),
    Call("trailing slash", "GetGlobalStatus/", {}),
    _anonymous("query string session", path="/API/GetGlobalStatus?session_id=<master>"),
)

PARAMETERS = (
    _list("ListBackends empty"),
    _list("ListBackends bad bool", nonreal="yes"),
    _list("ListBackends bool as 1", nonreal=1),
    _list("ListBackends null bool", nonreal=None),
    _list("ListBackends 'True'", nonreal="True", full_data=True),
    Call("Toggle missing id", "ToggleBackend", {"enabled": True}),
    Call("Toggle missing enabled", "ToggleBackend", {"backend_id": 99}),
    _toggle("Toggle both wrong", "x", "y"),
    _toggle("Toggle unknown id", 99, True),
    _toggle("Toggle float id", 99.0, True),
    _toggle("Toggle id too big", 2**31, True),
    _toggle("Toggle null id", None, True),
    _toggle("Toggle list id", [1], True),
    _toggle("Toggle '  99 '", " 99 ", True),
    _delete("Delete unknown id", 99),
    Call("Delete missing", "DeleteBackend", {}),
    Call("Edit nothing", "EditBackend", {}),
    Call("Edit no title", "EditBackend", {"backend_id": _NO_ID, "settings": {}}),
    Call("Edit no settings", "EditBackend", {"backend_id": _NO_ID, "title": ""}),
    _edit("Edit settings not object", "x", "", _NO_ID),
    _edit("Edit unknown id", {}, "", _NO_ID),
    _add("Add bad type", "ebbflow-checks-whether-settings-are-locked"),
    Call("Add no type", "AddNewBackend", {}),
    _add("Add type upper case", "SwarmSwarmBackend"),
)

ENTRY = (
    _add("Add"),
    _list("List after Add", 1.5, **_EVERYTHING),
    Call("Status after Add", body={}),
    _edit("Edit full", _WHOLE, "t one"),
    _list("List 0.3 s after Edit", 0.3, **_EVERYTHING),
    _list("List 4 s after Edit", 4, **_EVERYTHING),
    _list("List real only"),
    Call("Status running", body={}),
    Call("CurrentStatus running", "GetCurrentStatus", {}),
    Call("ListConnectedUsers", "ListConnectedUsers", {}),
    replace(_list("Worker ListBackends", **_EVERYTHING), to=Server.WORKER),
    Call("Worker AdminTakeControl", "AdminTakeControl", {}, to=Server.WORKER),
    Call("Worker status", body={}, to=Server.WORKER),
)

EDITS = (
    *(
        _edit(f"Edit {name}", settings)
        for name, settings in (
            ("missing keys (title only)", {}),
            ("unknown key", {"Nonsense": 1}),
            ("key in lower case", {"allowidle": False}),
            ("int as text", {"ConnectionAttemptTimeoutSeconds": "31"}),
            ("int as nonsense", {"ConnectionAttemptTimeoutSeconds": "many"}),
            ("int as bool", {"ConnectionAttemptTimeoutSeconds": True}),
            ("int as float", {"ConnectionAttemptTimeoutSeconds": 5.7}),
            ("bool as text", {"AllowForwarding": "false"}),
            ("bool as nonsense", {"AllowForwarding": "maybe"}),
            ("bool as 1", {"AllowForwarding": 1}),
            ("text as number", {"OtherHeaders": 5}),
            ("text as null", {"OtherHeaders": None}),
            ("address as list", {"OtherHeaders": ["a: b"]}),
            ("two headers", {"OtherHeaders": "A: b\nC: d"}),
            ("auth header", {"AuthorizationHeader": "Bearer abc", "OtherHeaders": ""}),
            ("auth hidden sent back", {"AuthorizationHeader": "\t<secret>"}),
            ("auth cleared", {"AuthorizationHeader": ""}),
        )
    ),
    _edit("Edit title null", {}, None),
    _edit("Edit title number", {}, 5),
    _edit("Edit address with slash", {**_WHOLE, "Address": "http://WORKER/"}, "t three"),
    _edit("Edit new_id", _WHOLE, "t three", new_id=MOVED),
    _list("List after new_id"),
    _add("Add second"),
    _edit("Edit new_id in use", {}, "", SECOND, new_id=MOVED),
    _delete("Delete second", SECOND),
    _delete("Delete second again", SECOND),
)

GENERATIONS = (
    _list("List before generation", 4, **_EVERYTHING),
    _generate("Generate"),
    _generate("Generate unknown model", model="nope.safetensors"),
    _generate("Generate no model", "model"),
    _generate("Generate images=0", images=0),
    _generate("Generate images missing", "images"),
    _generate("Generate images=3", images=3),
    _list("List after generation", 2, **_EVERYTHING),
)

OFF_AND_ON = (
    _toggle("Toggle off", MOVED, False),
    _toggle("Toggle off again", MOVED, False),
    _list("List off", **_EVERYTHING),
    Call("Status off", body={}, after_seconds=1.2),
    _generate("Generate while only a disabled one"),
    _edit("Edit while off", _WHOLE, "t four", MOVED),
    _list("List off after edit", 1, nonreal=True),
    _toggle("Toggle on as text", str(MOVED), "true"),
    _list("List right after on", nonreal=True),
    _list("List on", 4, nonreal=True),
    _toggle("Toggle a child off", CHILD, False),
    _list("List child off", nonreal=True),
    _delete("Delete a child", CHILD),
    _list("List 7 s after child deleted", 7, nonreal=True),
)

END = (
    _delete("Delete", MOVED),
    _delete("Delete again", MOVED),
    _list("List empty", nonreal=True),
    Call("Status empty", body={}, after_seconds=1.2),
    _generate("Generate with none"),
    _add("Add after delete"),
    _edit("Register self", {**_WHOLE, "Address": "http://MASTER"}, "self", OWN),
    _list("List self 8 s", 8, nonreal=True),
    _delete("Delete self", OWN),
    Call("Worker ShutdownServer", "ShutdownServer", {}, to=Server.WORKER),
    replace(_anonymous("Worker gone?", "GetNewSession", to=Server.WORKER), after_seconds=3),
)

ALL = (*SESSIONS, *CONTENT, *PARAMETERS, *ENTRY, *EDITS, *GENERATIONS, *OFF_AND_ON, *END)
