"""`ebbflow gateway` as a process: over TLS, refused without its secrets, and the same gateway after a restart."""

import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ebbflow.standins.process import free_port, running
from tests.gateway.processes import until

SECRETS = {"EBBFLOW_GATEWAY_OPERATOR_KEY": "o" * 40, "EBBFLOW_GATEWAY_WORKER_SECRET": "w" * 40}


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", "ebbflow.cli", "gateway", *words]


def certificate(folder: Path) -> tuple[Path, Path]:
    """One for 127.0.0.1, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "gateway")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "tls.pem", folder / "tls.key"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


@contextmanager
def gateway(folder: Path, *words: str, tls: Path | None = None) -> Iterator[httpx.Client]:
    port = free_port()
    address = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    trusted = ssl.create_default_context(cafile=tls) if tls else True
    with httpx.Client(base_url=address, verify=trusted) as client:

        def answers() -> bool:
            try:
                return client.get("/healthz").is_success
            except httpx.TransportError:
                return False

        given = {**os.environ, **SECRETS}
        words = ("--port", str(port), "--database", str(folder / "kept.sqlite"), *words)
        with running(command(*words), environment=given, log=folder / "gateway.log", is_ready=answers):
            yield client


def test_over_tls_it_answers_whoever_trusts_its_certificate_and_no_key_is_in_its_log(tmp_path: Path) -> None:
    pem, key = certificate(tmp_path)
    with gateway(tmp_path, "--tls-certificate", str(pem), "--tls-key", str(key), tls=pem) as client:
        assert client.get("/pubkey/").text.startswith("-----BEGIN PUBLIC KEY-----")
        assert client.post("/route/?api_key=a-clients-key", json={"endpoint": "ep"}).status_code == 401
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"{client.base_url}/healthz")
    said = (tmp_path / "gateway.log").read_text()
    assert "a-clients-key" not in said
    assert not any(secret in said for secret in SECRETS.values())


def test_after_a_restart_it_is_the_same_gateway(tmp_path: Path) -> None:
    operator = {"Authorization": f"Bearer {SECRETS['EBBFLOW_GATEWAY_OPERATOR_KEY']}"}
    with gateway(tmp_path) as client:
        public = client.get("/pubkey/").text
        assert client.put("/operator/endpoints/ep", json={}, headers=operator).is_success
        key = client.post("/operator/endpoints/ep/keys", json={}, headers=operator).json()["key"]
        first = client.post("/route/", json={"endpoint": "ep", "api_key": key}).json()
    with gateway(tmp_path) as client:
        assert client.get("/pubkey/").text == public
        again = client.post("/route/", json={"endpoint": "ep", "api_key": key}).json()
        assert again["request_idx"] > first["request_idx"]


@pytest.mark.parametrize(
    ("changes", "words", "code", "says"),
    [
        ({"EBBFLOW_GATEWAY_OPERATOR_KEY": ""}, (), 4, "EBBFLOW_GATEWAY_OPERATOR_KEY has 0 letters, and at least 32"),
        ({"EBBFLOW_GATEWAY_WORKER_SECRET": "short"}, (), 4, "EBBFLOW_GATEWAY_WORKER_SECRET has 5 letters"),
        ({}, ("--tls-key", "x.pem"), 2, "--tls-certificate and --tls-key go together"),
        ({}, ("--tls-key", "x.pem", "--tls-certificate", "y.pem"), 4, "y.pem is no file"),
    ],
)
def test_what_it_cannot_begin_with_is_said_before_it_begins(
    tmp_path: Path, changes: dict[str, str], words: tuple[str, ...], code: int, says: str
) -> None:
    given = {**os.environ, **SECRETS, **changes}
    ended = subprocess.run(command(*words), env=given, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, says in ended.stdout + ended.stderr) == (code, True), ended.stderr
    assert list(tmp_path.iterdir()) == [], "nothing was made"


def asked_for_endpoint(client: httpx.Client, *words: str, **changes: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "ebbflow.cli", "endpoint", *words, "--gateway", str(client.base_url)],
        env={**os.environ, **SECRETS, **changes},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def test_the_command_makes_an_endpoint_with_a_key_and_says_what_is_wrong(tmp_path: Path) -> None:
    with gateway(tmp_path) as client:
        code, key = asked_for_endpoint(client, "ep")
        assert code == 0
        assert client.post("/route/", json={"endpoint": "ep", "api_key": key.strip()}).status_code == 200
        assert asked_for_endpoint(client, "ep", "--no-key", "--max-queue-seconds", "5") == (
            0, "endpoint ep is as you said\n",
        )  # fmt: skip
        code, newer = asked_for_endpoint(client, "ep", "--overlap", "1s")
        asked = {"endpoint": "ep", "api_key": newer.strip()}
        assert (code, client.post("/route/", json=asked).status_code) == (0, 200)
        old = {"endpoint": "ep", "api_key": key.strip()}
        until(lambda: client.post("/route/", json=old).status_code == 401, "the key of before has ended")
        code, said = asked_for_endpoint(client, "a b")
        assert (code, "1 to 40 of [A-Za-z0-9_.-] are expected" in said) == (4, True), said
        code, said = asked_for_endpoint(client, "ep", EBBFLOW_GATEWAY_OPERATOR_KEY="x" * 40)
        assert (code, "does not know this key" in said) == (4, True), said
        code, said = asked_for_endpoint(client, "ep", EBBFLOW_GATEWAY_OPERATOR_KEY="")
        assert (code, "export it here too" in said) == (4, True), said
    code, said = asked_for_endpoint(client, "ep")
    assert (code, "start `ebbflow gateway`, or name --gateway" in said) == (1, True), said
