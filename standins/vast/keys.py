"""Keys of a stand-in Vast account, and what they may do.

Source: vast-ai/docs, authentication.mdx and hello-world.mdx: an instance's own key can only start, stop and destroy it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import Request

from ebbflow.standins.vast.instances import RentedInstance
from ebbflow.standins.vast.refusals import Refused

KEY = "stand-in-key"
HIDDEN = "***"
OF_AN_INSTANCE = frozenset({"update", "destroy"})


@dataclass(frozen=True, slots=True)
class Key:
    """Who asks."""

    name: str
    rights: frozenset[str] | None = None
    """Names of endpoints; None: all."""
    instance_id: int | None = None
    """The only instance that it may touch; None: all."""

    def check(self, endpoint: str, instance_id: int | None) -> None:
        """Refuse what it may not do.

        Raises:
            Refused: 403.
        """
        is_right = self.rights is None or endpoint in self.rights
        if not is_right or self.instance_id not in (None, instance_id):
            raise Refused(403, "auth_error", f"This key is not allowed to {endpoint}.")


def key_of(
    request: Request, keys: Mapping[str, Key], instances: Mapping[int, RentedInstance], bad_key_status: int
) -> Key:
    """Who a request comes from.

    Raises:
        Refused: 401 or 404, for a key that is none.
    """
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    secret = token if kind == "Bearer" else request.query_params.get("api_key", "")
    if secret in keys:
        return keys[secret]
    for instance in instances.values():
        if instance.key == secret:
            return Key(f"instance {instance.id}", OF_AN_INSTANCE, instance.id)
    raise Refused(bad_key_status, "auth_error", "Invalid user key")


def redacted(name: str, value: str) -> str:
    """A header or parameter without its secret."""
    if name.lower() in ("authorization", "api_key", "cookie"):
        return f"Bearer {HIDDEN}" if value.startswith("Bearer ") else HIDDEN
    return value
