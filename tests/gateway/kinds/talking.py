"""A tiny client that looks at a server and tests it as a kind says: what the gateway does, without the gateway."""

import asyncio
import time
from collections.abc import Callable, Mapping

import httpx

from ebbflow.gateway.kinds.kind import Ask, Judgement, KeyHeader, Kind, Port, Reading, Said, Verdict, Wanted


class Talk:
    """With one server.

    Args:
        kind: of the server.
        url: its address.
        metrics_url: of its figures, where they are on a port of their own.
        key: sent as the kind says; empty: none.
        timeout_seconds: for each answer.
    """

    def __init__(
        self, kind: Kind, url: str, *, metrics_url: str = "", key: str = "", timeout_seconds: float = 5.0
    ) -> None:
        self.kind = kind
        self._bases = {Port.MAIN: url, Port.METRICS: metrics_url}
        word = f"Bearer {key}" if kind.key_header is KeyHeader.BEARER else key
        headers = {kind.key_header.value: word} if key else {}
        # Of this process alone: no proxy of its environment.
        self._http = httpx.AsyncClient(headers=headers, timeout=timeout_seconds, trust_env=False)

    async def __aenter__(self) -> "Talk":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def look(self, wanted: Wanted) -> Reading:
        asks = {name: ask for name, ask in self.kind.asks(wanted).items() if self._bases[ask.port]}
        answers = await asyncio.gather(*(self._said(ask) for ask in asks.values()))
        said: Mapping[str, Said] = dict(zip(asks, answers, strict=True))
        return self.kind.read(wanted, said)

    async def test(self, wanted: Wanted, turns: int = 1, between_seconds: float = 0.0) -> Judgement:
        """Test it until something else than "not yet" is said, or so many prompts and questions were sent."""
        ask, judgement = self.kind.test(wanted), Judgement(Verdict.NOT_YET)
        for _ in range(turns):
            assert ask is not None
            judgement = self.kind.judge(wanted, await self._said(ask))
            if judgement.verdict is not Verdict.NOT_YET:
                break
            ask = judgement.next_ask or self.kind.test(wanted)
            await asyncio.sleep(between_seconds)
        return judgement

    async def looks_until(self, wanted: Wanted, holds: Callable[[Reading], bool], seconds: float) -> list[Reading]:
        """Look again and again until something holds; all that was seen."""
        deadline = time.monotonic() + seconds
        seen = [await self.look(wanted)]
        while not holds(seen[-1]):
            assert time.monotonic() < deadline, seen[-1]
            await asyncio.sleep(0.2)
            seen.append(await self.look(wanted))
        return seen

    async def _said(self, ask: Ask) -> Said:
        url = f"{self._bases[ask.port]}{ask.path}"
        try:
            answer = await self._http.request(ask.method, url, json=ask.body)
        except httpx.TransportError:
            return Said(None)
        return Said(answer.status_code, answer.text)
