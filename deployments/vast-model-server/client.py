"""Asks the endpoint for so many tokens, with the vendor's client: `python client.py 3 100` are three requests of 100.

Environment: GATEWAY (its address), ENDPOINT (its name), ENDPOINT_KEY (of `ebbflow endpoint`), and SSL_CERT_FILE where
the gateway's certificate is your own authority's.
"""

import asyncio
import os
import ssl
import sys
import time

from vastai import Serverless

GATEWAY, ENDPOINT, KEY = os.environ["GATEWAY"], os.environ["ENDPOINT"], os.environ["ENDPOINT_KEY"]


class Client(Serverless):  # type: ignore[misc]
    """The vendor's, which otherwise begins by asking the vendor's website for its certificate."""

    async def get_ssl_context(self) -> ssl.SSLContext:
        """Trust what this host trusts."""
        return ssl.create_default_context()


async def ask(count: int, tokens: int) -> None:
    """Send them at once; print where each was served, once it is."""
    async with Client(KEY, autoscaler_url=GATEWAY, webserver_url=GATEWAY) as client:
        endpoint = await client.get_endpoint(ENDPOINT)

        async def one() -> None:
            began, came = time.monotonic(), 0
            payload = {"prompt": "tell me of the tide", "max_tokens": tokens}
            answer = await endpoint.request("/generate", payload, cost=tokens, timeout=600.0, stream=True)
            async for _ in answer["response"]:
                came += 1
            seconds = time.monotonic() - began
            print(answer["status"], answer["url"], f"{came} tokens, {seconds:.1f} s", flush=True)

        await asyncio.gather(*(one() for _ in range(count)))


asyncio.run(ask(int(sys.argv[1]), int(sys.argv[2])))
