"""Keys of model servers at rest: sealed under the gateway's own secret, so that the database alone gives none away."""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class Sealing:
    """Seals and opens.

    Args:
        secrets: the gateway's, the newest first; what an older one has sealed is still opened.
    """

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self._fernet = MultiFernet([Fernet(_key(secret)) for secret in secrets])

    def seal(self, key: str) -> str:
        """What is kept of a key."""
        return self._fernet.encrypt(key.encode()).decode() if key else ""

    def open(self, sealed: str) -> str:
        """The key; empty: there is none, or it was sealed under a secret that the gateway has no more."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode() if sealed else ""
        except InvalidToken:
            return ""


def _key(secret: str) -> bytes:
    return base64.urlsafe_b64encode(hashlib.sha256(b"keys of model servers\0" + secret.encode()).digest())
