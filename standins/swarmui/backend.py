"""One entry in a SwarmUI master's list of backends, and how it is shown and saved.

Source: SwarmUI src/Backends/SwarmSwarmBackend.cs `SwarmSwarmBackendSettings`, src/WebAPI/BackendAPI.cs `BackendToNet`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace

from ebbflow.standins.swarmui.http import JsonObject
from ebbflow.standins.swarmui.load import BackendState

BACKEND_TYPE = "swarmswarmbackend"
HIDDEN_SECRET = "\t<secret>"
LIST_TYPE = "System.Collections.Generic.List`1[FreneticUtilities.FreneticDataSyntax.FDSData]"
"""What a list is turned into where a text is wanted."""


@dataclass(frozen=True, slots=True)
class BackendSettings:
    """The settings of a backend of type `swarmswarmbackend`, with SwarmUI's defaults."""

    address: str = ""
    allow_idle: bool = False
    allow_forwarding: bool = True
    allow_websocket: bool = True
    authorization_header: str = field(default="", repr=False)
    other_headers: str = field(default="", repr=False)
    connection_attempt_timeout_seconds: int = 30

    @property
    def base_url(self) -> str:
        """The address without a trailing slash."""
        return self.address.strip().rstrip("/")

    def merged(self, given: Mapping[str, object]) -> "BackendSettings":
        """Return these settings with the given keys replaced; a missing key keeps its value, a hidden secret too.

        Raises:
            ValueError: a value cannot be read.
        """
        settings = self
        for item in fields(self):
            name = _upstream_name(item.name)
            if name in given and given[name] != HIDDEN_SECRET:
                settings = _with(settings, item.name, given[name])
        return settings

    def saved(self) -> JsonObject:
        """Return every setting by its upstream name."""
        return {_upstream_name(item.name): getattr(self, item.name) for item in fields(self)}

    def shown(self) -> JsonObject:
        """Return the settings as the API shows them, with a set secret hidden."""
        hidden = {"AuthorizationHeader": HIDDEN_SECRET} if self.authorization_header else {}
        return self.saved() | hidden

    def headers(self) -> dict[str, str]:
        """Return the headers of requests to the worker; as upstream, a line with two colons is dropped."""
        lines = (line.split(":") for line in self.other_headers.split("\n"))
        headers = {parts[0].strip(): parts[1].strip() for parts in lines if len(parts) == 2}
        return headers | ({"Authorization": self.authorization_header} if self.authorization_header else {})


def _upstream_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _with(settings: BackendSettings, name: str, value: object) -> BackendSettings:
    """One setting changed, read as SwarmUI reads settings: otherwise than parameters.

    Raises:
        ValueError: null, or no integer where one is wanted; the entry is shut down by then.
    """
    if value is None:
        raise ValueError(f"{name} is null")
    text = LIST_TYPE if isinstance(value, list) else value if isinstance(value, str) else json.dumps(value)
    changed: dict[str, object] = {name: text}
    match getattr(settings, name):
        case bool():
            changed[name] = text.strip().lower() == "true"
        case int():
            changed[name] = int(text)
    return replace(settings, **changed)  # type: ignore[arg-type]  # the type was looked up from the field's own value


@dataclass(slots=True, eq=False)
class Backend:
    """A control entry (`parent` is None), or the child through which work goes to one backend of a worker."""

    id: int
    own_settings: BackendSettings = field(default_factory=BackendSettings)
    parent: "Backend | None" = None
    own_title: str = ""
    remote_id: int | None = None
    enabled: bool = True
    state: BackendState = BackendState.WAITING
    modcount: int = 0
    max_usages: int = 1
    usages: int = 0
    can_load_models: bool = False
    current_model: str | None = None
    last_used_at: float | None = None
    models: frozenset[str] = frozenset()
    children: "dict[int, Backend]" = field(default_factory=dict)
    """By the id that the worker gives its own backend."""
    init_attempts: int = 0
    """Never set back: an entry that gave up gets one more attempt per edit."""
    epoch: int = 0
    """Grows whenever the entry starts or stops, so that what an earlier start left running knows that it is over."""
    polls: int = 0
    """The number of its latest poll; an earlier one that still waits has ended."""
    is_shutting_down: bool = False
    """An edit waits for its children: it takes no work, whatever its state says."""
    is_remote_loading: bool = False
    session_id: str = ""

    @property
    def is_real(self) -> bool:
        """Whether it is kept over a restart."""
        return self.id >= 0

    @property
    def settings(self) -> BackendSettings:
        """A child has its control entry's settings: the only sure link between the two."""
        return self.own_settings if self.parent is None else self.parent.own_settings

    @property
    def title(self) -> str:
        """The title as listed."""
        if self.parent is None:
            return self.own_title
        return f"[Remote from {self.parent.id}: {self.parent.own_title}] {self.own_title}"

    @property
    def is_in_use(self) -> bool:
        """Whether it is full: one that still has a free usage counts as free, even while it works."""
        return self.usages >= self.max_usages and self.state is BackendState.RUNNING

    @property
    def may_run(self) -> bool:
        """Whether it counts as a running backend for a request."""
        is_up = self.state is BackendState.RUNNING and not self.is_shutting_down
        return self.enabled and is_up and self.max_usages > 0

    def claim(self, now: float) -> None:
        """Take one usage. The control entry's time of use is never touched, as upstream."""
        self.usages += 1
        self.last_used_at = now

    def release(self, now: float) -> None:
        """Give one usage back."""
        self.usages -= 1
        self.last_used_at = now

    def to_json(self, now: float, *, full_data: bool) -> JsonObject:
        """Return the entry as ListBackends shows it; its usages are shown nowhere."""
        seconds = 0 if self.last_used_at is None else int(now - self.last_used_at)
        shown: JsonObject = {
            "type": BACKEND_TYPE,
            "status": str(self.state),
            "id": self.id,
            "settings": self.settings.shown(),
            "modcount": self.modcount,
            "features": [],
            "enabled": self.enabled,
            "title": self.title,
            "max_usages": self.max_usages,
            "seconds_since_used": seconds,
            "time_since_used": "Never" if self.last_used_at is None else f"{seconds} seconds ago",
            "can_load_models": self.can_load_models,
        }
        return shown | ({"current_model": self.current_model} if full_data else {})
