"""What the gateway and its master's adapter both know: the token by which a worker proves who it is. Pure.

A token is the worker's id in clear, and that id's HMAC under a secret.

The gateway and its master's block share the secret, so that a worker can be started without asking the gateway, and no
record holds a secret: who has the secret can make every token anew.
"""

import hashlib
import hmac
import re

from ebbflow.core.addresses import PORT
from ebbflow.core.ids import parse_worker_id

BETWEEN = "."
LEAST_LETTERS = 32
"""Of a secret, and of an operator's key."""
ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
"""The name of one."""
ADDRESS = re.compile(rf"https?://([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+\]):{PORT}/?")
"""Of a worker, and nothing more."""


def token_of(worker_id: str, secret: str) -> str:
    """What a worker is given as MASTER_TOKEN."""
    return f"{worker_id}{BETWEEN}{_mac(worker_id, secret)}"


def worker_of(token: str, secrets: tuple[str, ...]) -> str:
    """Whose token it is, under any of these secrets (two while one takes the other's place); empty: nobody's."""
    worker_id, _, mac = token.partition(BETWEEN)
    # Each is compared, and wholly, so that the time tells nothing.
    matches = [hmac.compare_digest(mac.encode(), _mac(worker_id, secret).encode()) for secret in secrets]
    return worker_id if any(matches) and parse_worker_id(worker_id) is not None else ""


def _mac(worker_id: str, secret: str) -> str:
    return hmac.new(secret.encode(), worker_id.encode(), hashlib.sha256).hexdigest()
