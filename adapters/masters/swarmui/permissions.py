"""What the account that we have at a SwarmUI master must be permitted to do, and how that is found out."""

from collections.abc import Mapping

from ebbflow.adapters.masters.swarmui.api import SwarmUIServer
from ebbflow.core.errors import ConfigError, MasterRejected

NO_BACKEND = 2**31 - 1
"""An id that no backend ever has."""

PERMISSION_CHECKS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    # Also tells whether settings are locked. Of the routes that would, it is the one that can hit no backend.
    "add_remove_backends": ("AddNewBackend", {"type_id": "ebbflow-checks-whether-settings-are-locked"}),
    "view_backends_list": ("ListBackends", {}),
    "edit_backends": ("EditBackend", {"backend_id": NO_BACKEND, "title": "", "settings": {}}),
    "toggle_backends": ("ToggleBackend", {"backend_id": NO_BACKEND, "enabled": False}),
    "read_server_info_panels": ("ListConnectedUsers", {}),
}
"""What the master's account needs, and a call without effect that tells whether it has it."""


async def check_permissions(master: SwarmUIServer) -> None:
    """Make sure that our account may change backends, and that settings are not locked.

    Raises:
        ConfigError: it may not.
        MasterUnavailable, MasterRejected: the master did not say.
    """
    session = await master.session()
    # A stored session's permissions may have changed, so what it lacks is asked for again.
    for permission in ("add_remove_backends", *session.lacks(PERMISSION_CHECKS)):
        await _check(master, permission)


async def _check(master: SwarmUIServer, permission: str) -> None:
    route, body = PERMISSION_CHECKS[permission]
    try:
        await master.call(route, body)
    except MasterRejected as error:
        # Permitted: all that is wrong is that there is no such backend or type.
        if "Invalid backend" not in str(error):
            raise
    except ConfigError as error:
        raise ConfigError(f"{error} (needed: {', '.join(PERMISSION_CHECKS)})") from error
