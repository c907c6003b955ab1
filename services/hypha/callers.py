"""Who calls, by what the Hypha server says of them, and what they may. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ebbflow.core.text import one_line

MAY_WORK = frozenset({"rw", "a"})
"""A right in a workspace by which one belongs to it: to read is given to anybody."""
LONGEST_NAME = 200
SERVER = "*/"
"""How the server's own address begins. It has every right, and no person is behind it that could be named."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody, as the server knows them."""

    user: str
    """The account: of a token that somebody made for another program, whose token it was."""
    email: str = ""
    workspaces: frozenset[str] = frozenset()
    is_anonymous: bool = False

    @property
    def shown(self) -> str:
        """In words, for people."""
        return f"{self.user} ({self.email})" if self.email else self.user


NOBODY = Caller("nobody", is_anonymous=True)
"""Of whom the server says nothing that could be read."""


@dataclass(frozen=True, slots=True)
class Rights:
    """Who may what."""

    allow: frozenset[str]
    admins: frozenset[str]

    @classmethod
    def of(cls, allow: Sequence[str], admins: Sequence[str]) -> "Rights":
        """As the settings say."""
        return cls(frozenset(map(_folded, allow)), frozenset(map(_folded, admins)))

    def may_call(self, caller: Caller) -> bool:
        """Whether they may submit, and ask after their own."""
        return not caller.is_anonymous and bool(_names(caller) & (self.allow | self.admins))

    def is_admin(self, caller: Caller) -> bool:
        """Whether they may also see and cancel what is others'."""
        return not caller.is_anonymous and bool(_names(caller) & self.admins)


def caller_of(context: object) -> Caller:
    """Read the context that comes with a call: who it is stands in the part that the server writes."""
    if not isinstance(context, Mapping) or str(context.get("from", SERVER)).startswith(SERVER):
        return NOBODY
    said = context.get("user")
    if not isinstance(said, Mapping):
        return NOBODY
    user, parent, email = (_name(said.get(key)) for key in ("id", "parent", "email"))
    if not user:
        return NOBODY
    roles = said.get("roles")
    named = "anonymous" in roles if isinstance(roles, Sequence) else True
    # Only a plain no is one.
    is_anonymous = said.get("is_anonymous") is not False or named
    return Caller(parent or user, email, _workspaces(said.get("scope")), is_anonymous)


def _workspaces(scope: object) -> frozenset[str]:
    given = scope.get("workspaces") if isinstance(scope, Mapping) else None
    if not isinstance(given, Mapping):
        return frozenset()
    return frozenset(_name(name) for name, right in given.items() if right in MAY_WORK) - {""}


def _name(value: object) -> str:
    """A name as it stands; one that is none, or cannot be shown, is no name."""
    text = value if isinstance(value, str) else ""
    return text if text and text == one_line(text, LONGEST_NAME) else ""


def _names(caller: Caller) -> set[str]:
    """All that a list may call them by."""
    email = {f"email:{caller.email}"} if caller.email else set()
    mine = {f"user:{caller.user}", *email, *(f"workspace:{name}" for name in caller.workspaces)}
    return {_folded(name) for name in mine}


def _folded(name: str) -> str:
    """Addresses are compared without case; ids and workspaces as they stand."""
    return name.lower() if name.startswith("email:") else name
