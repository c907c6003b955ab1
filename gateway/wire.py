"""What the gateway and its master's adapter both know: the token by which a worker proves who it is. Pure.

A token is the worker's id in clear, and that id's HMAC under a secret.

The gateway and its master's block share the secret, so that a worker can be started without asking the gateway, and no
record holds a secret: who has the secret can make every token anew.
"""

import hashlib
import hmac
import re
from urllib.parse import urlsplit

from ebbflow.core.ids import parse_worker_id

BETWEEN = "."
LEAST_LETTERS = 32
"""Of a secret, and of an operator's key."""
ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
"""The name of one."""


def token_of(worker_id: str, secret: str) -> str:
    """What a worker is given as MASTER_TOKEN."""
    return f"{worker_id}{BETWEEN}{_mac(worker_id, secret)}"


def worker_of(token: str, secrets: tuple[str, ...]) -> str:
    """Whose token it is, under any of these secrets (two while one takes the other's place); empty: nobody's."""
    worker_id, _, mac = token.partition(BETWEEN)
    # Each is compared, and wholly, so that the time tells nothing.
    matches = [hmac.compare_digest(mac.encode(), _mac(worker_id, secret).encode()) for secret in secrets]
    return worker_id if any(matches) and parse_worker_id(worker_id) is not None else ""


def is_address(url: str) -> bool:
    """Whether it is a worker's address and nothing more: http://HOST:PORT."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_bare = not (parts.path or parts.query or parts.fragment or parts.username or parts.password)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and port is not None and is_bare


def _mac(worker_id: str, secret: str) -> str:
    return hmac.new(secret.encode(), worker_id.encode(), hashlib.sha256).hexdigest()
