"""A real Hypha server of an environment of its own, and what its users have: tokens, connections, HTTP."""

import base64
import hashlib
import hmac
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from hypha_rpc.websocket_client import connect_to_server

from ebbflow.standins.process import answers, free_port, running
from tests.extra_environment import environment

SECRET = "of-this-test-alone-and-of-nobody-else"
# What the server takes for its own, of its `core/auth.py`.
ISSUER, AUDIENCE = "https://amun.ai/", "https://amun-ai.eu.auth0.com/api/v2/"
ANSWER_SECONDS = 90


class HyphaServer:
    """One, which can be ended and started again at its address."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.port = folder, free_port()
        self._programs = environment("hypha")
        self._running = ExitStack()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Run it; it answers when this returns."""
        python = str(self._programs / "python")
        words = ["--host", "127.0.0.1", "--port", str(self.port), "--cache-dir", str(self._folder / "cache")]
        given = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "HYPHA_JWT_SECRET": SECRET}
        self._running.enter_context(
            running(
                [python, "-m", "hypha.server", *words],
                environment={**given, "EBBFLOW_TEST_SESSION": os.environ.get("EBBFLOW_TEST_SESSION", "")},
                log=self._folder / "hypha.log",
                is_ready=lambda: answers(f"{self.url}/health/readiness"),
            )
        )

    def stop(self) -> None:
        """End it."""
        self._running.close()

    @asynccontextmanager
    async def client(self, token: str | None, **more: Any) -> AsyncIterator[Any]:
        """A connection of somebody. Any: the package has no types."""
        server = await connect_to_server({"server_url": self.url, "token": token, "logger": None, **more})
        try:
            yield server
        finally:
            await server.disconnect()

    def post(self, path: str, token: str | None = None, **given: object) -> tuple[int, Any]:
        """A call over its HTTP gateway: status, and what it says."""
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        asked = urllib.request.Request(f"{self.url}/{path}", data=json.dumps(given).encode(), headers=headers)
        try:
            with urllib.request.urlopen(asked, timeout=ANSWER_SECONDS) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


def token(user: str, *, seconds: float = 3600, email: bool = True, scope: str = "") -> str:
    """A token as the server makes them; without a scope, with all rights in the user's own workspace."""
    now = time.time()
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user,
        "iat": int(now),
        "exp": int(now + seconds),
        "scope": scope,
        "gty": "client-credentials",
        f"{ISSUER}roles": [],
        f"{ISSUER}email": f"{user}@example.org" if email else None,
    }
    return signed(claims)


def signed(claims: Mapping[str, object]) -> str:
    """Claims, signed with the server's secret."""
    parts = [_text(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(SECRET.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, _text(signature)])


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@contextmanager
def hypha_server(folder: Path) -> Iterator[HyphaServer]:
    """One that runs until the block ends."""
    server = HyphaServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
