"""How a stand-in Vast API says no.

Source: vast-ai/docs, "Rate limits and errors"; the answers' YAML files of the API reference.
"""

from typing import Any

Json = dict[str, Any]
"""An object of the API; its fields differ from answer to answer."""


class Refused(Exception):
    """A request that is answered with an error body."""

    def __init__(self, status: int, error: str, message: str) -> None:
        super().__init__(f"{status} {error}: {message}")
        self.status = status
        self.body: Json = {"success": False, "error": error, "msg": message}


def invalid(message: str, error: str = "invalid_args") -> Refused:
    """A request that nobody can answer as it stands."""
    return Refused(400, error, message)


def no_such_instance(instance_id: int) -> Refused:
    """Nothing of that id is there any more, or ever was."""
    return Refused(404, "no_such_instance", f"Instance {instance_id} not found.")


def no_such_ask(offer_id: int, status: int) -> Refused:
    """The offer is taken, or never was; 404 and 410 have both been seen."""
    message = f"error 404/3603: no_such_ask Instance type by id {offer_id} is not available."
    return Refused(status, "invalid_args" if status == 404 else "no_such_ask", message)
