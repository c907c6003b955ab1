"""Tickets by which a worker knows that a client was sent by us: RSA, PKCS#1 v1.5, SHA-256, in base64. Pure.

Source: Vast's worker software. The third generation signs the worker's address alone, so that one signature serves for
its life; the first two sign cost, endpoint, number and address, each number as it is printed.
"""

import base64
import json
from collections.abc import Container

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ebbflow.gateway.reports import Generation

KEY_BITS = 2048


def signed_text(generation: Generation, *, url: str, cost: float, endpoint: str, reqnum: int) -> str:
    """What is signed, letter by letter as the worker makes it."""
    if generation == 3:
        return json.dumps({"url": url}, indent=4, sort_keys=True)
    return json.dumps({"cost": cost, "endpoint": endpoint, "reqnum": reqnum, "url": url}, indent=4)


class Signer:
    """Signs tickets with one key, which every worker has asked for once at its start.

    Args:
        private_key: PEM, as `new_private_key` makes it.
    """

    def __init__(self, private_key: bytes) -> None:
        key = serialization.load_pem_private_key(private_key, password=None)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise TypeError("tickets are signed with an RSA key")
        self._key = key
        self._by_url: dict[str, str] = {}

    @property
    def public_key(self) -> str:
        """PEM, as workers import it."""
        made = self._key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return made.decode()

    def sign(self, generation: Generation, *, url: str, cost: float, endpoint: str, reqnum: int) -> str:
        """The signature of a ticket; a worker of the third generation has one for its whole life."""
        if generation == 3 and (known := self._by_url.get(url)):
            return known
        text = signed_text(generation, url=url, cost=cost, endpoint=endpoint, reqnum=reqnum)
        made = base64.b64encode(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256())).decode()
        if generation == 3:
            self._by_url[url] = made
        return made

    def forget(self, live: Container[str]) -> None:
        """Keep signatures of these addresses alone."""
        self._by_url = {url: made for url, made in self._by_url.items() if url in live}


def new_private_key() -> bytes:
    """A key in PEM. Kept for ever: with another one every worker refuses every ticket until it is started anew."""
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
