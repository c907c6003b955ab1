"""Signatures and tokens: letter by letter what the vendor's workers check, and nobody else's."""

import base64
import hashlib

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from ebbflow.gateway.reports import Generation
from ebbflow.gateway.tickets import Signer, new_private_key, signed_text
from ebbflow.gateway.wire import token_of, worker_of

URL = "http://127.0.0.1:3000"
KEY = new_private_key()
ID, SECRET, OTHER = "demo-0abc-1-0", "s" * 32, "o" * 32


@pytest.mark.parametrize(
    ("generation", "digest"),
    [
        (1, "950afe3c8abb0f984908e6031e1e46ab0126e1fbc0e264da67e6bc7415dd8265"),
        (2, "950afe3c8abb0f984908e6031e1e46ab0126e1fbc0e264da67e6bc7415dd8265"),
        (3, "2f3909591a7fc1bb91bf30234d839dc04daecb282034893af354015273d4fed8"),
    ],
)
def test_the_signed_text_is_letter_by_letter_the_vendors(generation: Generation, digest: str) -> None:
    text = signed_text(generation, url=URL, cost=10, endpoint="ep", reqnum=1)
    assert hashlib.sha256(text.encode()).hexdigest() == digest


@pytest.mark.parametrize("generation", [1, 2, 3])
def test_a_ticket_is_verified_with_the_public_key_alone_and_not_with_another_text(generation: Generation) -> None:
    signer = Signer(KEY)
    ticket = base64.b64decode(signer.sign(generation, url=URL, cost=10, endpoint="ep", reqnum=1))
    public = serialization.load_pem_public_key(signer.public_key.encode())
    assert isinstance(public, rsa.RSAPublicKey)
    text = signed_text(generation, url=URL, cost=10, endpoint="ep", reqnum=1)
    public.verify(ticket, text.encode(), padding.PKCS1v15(), hashes.SHA256())
    with pytest.raises(InvalidSignature):
        public.verify(ticket, text.replace("3000", "3001").encode(), padding.PKCS1v15(), hashes.SHA256())


def test_the_public_key_is_the_same_after_a_restart_and_begins_as_workers_expect() -> None:
    assert Signer(KEY).public_key == Signer(KEY).public_key
    assert Signer(KEY).public_key.startswith("-----BEGIN PUBLIC KEY-----\n")


def test_an_older_workers_ticket_is_of_one_request_and_a_newer_ones_of_its_address() -> None:
    signer = Signer(KEY)
    first, second = (signer.sign(2, url=URL, cost=10, endpoint="ep", reqnum=number) for number in (1, 2))
    assert first != second
    first, second = (signer.sign(3, url=URL, cost=10, endpoint="ep", reqnum=number) for number in (1, 2))
    assert first == second
    signer.forget({})
    assert signer.sign(3, url=URL, cost=1, endpoint="ep", reqnum=3) == first


@pytest.mark.parametrize(
    ("token", "worker"),
    [
        (token_of(ID, SECRET), ID),
        (token_of(ID, OTHER), ID),
        (token_of(ID, "x" * 32), ""),
        (token_of("demo-0abc-1-1", SECRET).replace("1-1.", "1-0."), ""),
        (token_of(ID, SECRET)[:-1], ""),
        (token_of(ID, SECRET) + "0", ""),
        (token_of("no id of ours", SECRET), ""),
        (ID, ""),
        ("", ""),
        ("ä.ö", ""),
    ],
)
def test_a_token_says_whose_it_is_under_either_secret_while_one_takes_the_others_place(token: str, worker: str) -> None:
    assert worker_of(token, (SECRET, OTHER)) == worker
