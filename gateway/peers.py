"""How gateways on one database speak to each other: what is handed on, and the proof that it comes from one of them."""

import hashlib
import hmac
from collections.abc import Mapping

import httpx
import orjson
from starlette.requests import Request

from ebbflow.gateway.asking import MOST_BYTES

PROOF, FOR = "ebbflow-peer", "ebbflow-for"
"""Headers: that a gateway speaks, and for which address."""
HANDED_ON = frozenset(("authorization", "content-type", "accept", "user-agent"))
GIVEN_BACK = frozenset(("content-type", "retry-after", "allow"))
CALL_SECONDS = 9.0
"""For an answer that is handed back; the vendor's client waits for ten."""
ASK_SECONDS = 2.0
STAND_DOWN = "/peer/stand-down"


class PeerUnreachable(Exception):
    """Another gateway does not answer; it may live all the same, unless `is_gone`."""

    def __init__(self, words: str, *, is_gone: bool) -> None:
        super().__init__(words)
        self.is_gone = is_gone
        """Its machine says that nobody listens there."""


def proof_of(operator_key: str) -> str:
    """By which gateways of one installation know each other; they have the operator's key in common."""
    return hmac.new(operator_key.encode(), b"one of several gateways", hashlib.sha256).hexdigest()


def is_peer(given: str, operator_keys: tuple[str, ...]) -> bool:
    """Whether it is the proof of one of us."""
    # Each is compared, so that the time tells nothing.
    return any([hmac.compare_digest(given.encode(), proof_of(key).encode()) for key in operator_keys])


class Peers:
    """Asks other gateways.

    Args:
        operator_key: that they have in common.
        transport: replaces the network in tests.
    """

    def __init__(self, operator_key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._proof = proof_of(operator_key)
        self._http = httpx.AsyncClient(
            transport=transport, timeout=CALL_SECONDS, limits=httpx.Limits(max_connections=1000), trust_env=False
        )

    async def hand_on(
        self, address: str, method: str, target: str, headers: Mapping[str, str], body: bytes, *, client: str
    ) -> httpx.Response:
        """Let another gateway answer.

        Args:
            address: of the other.
            method: of the request.
            target: its path and query.
            headers: of the request; those that matter are handed on.
            body: of the request.
            client: whose request it is.

        Raises:
            PeerUnreachable: it does not answer.
        """
        given = {name: value for name, value in headers.items() if name in HANDED_ON}
        given |= {PROOF: self._proof, FOR: client}
        return await self._sent(method, address + target, given, body, CALL_SECONDS)

    async def ask_to_stand_down(self, address: str, number: int) -> bool:
        """Tell one that another has the seat; whether it says that it decides no more. Any other answer is none.

        Raises:
            PeerUnreachable: it does not answer.
        """
        body = orjson.dumps({"number": number})
        answer = await self._sent("POST", address + STAND_DOWN, {PROOF: self._proof}, body, ASK_SECONDS)
        try:
            told = orjson.loads(answer.content)
        except ValueError:
            return False
        return answer.status_code == 200 and isinstance(told, dict) and told.get("decides") is False

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def _sent(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, seconds: float
    ) -> httpx.Response:
        assert len(body) <= MOST_BYTES, "nobody reads more"
        try:
            return await self._http.request(method, url, headers=dict(headers), content=body, timeout=seconds)
        except httpx.ConnectError as error:
            raise PeerUnreachable(str(error), is_gone=_is_refused(error)) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PeerUnreachable(f"{type(error).__name__}: {error}", is_gone=False) from error


def client_of(request: Request, operator_keys: tuple[str, ...]) -> str:
    """Whose request it is: of one that was handed on, the address that the other gateway says."""
    given = request.headers.get(PROOF)
    if given and is_peer(given, operator_keys):
        return request.headers.get(FOR, "")
    return request.client.host if request.client else ""


def _is_refused(error: BaseException | None) -> bool:
    """Whether every address that was tried said that nobody listens there."""
    if isinstance(error, BaseExceptionGroup):
        return all(_is_refused(each) for each in error.exceptions)
    if error is None or isinstance(error, ConnectionRefusedError):
        return error is not None
    return _is_refused(error.__cause__ or error.__context__)
