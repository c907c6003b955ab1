"""`ebbflow endpoint`: what clients of a gateway name, and the key that they need."""

import asyncio
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ebbflow.cli.gateway import OPERATOR_KEY
from ebbflow.cli.overrides import seconds_of
from ebbflow.cli.speaking import NOT_RIGHT, REFUSED, end, say
from ebbflow.gateway.wire import LEAST_LETTERS

if TYPE_CHECKING:
    import httpx

CALL_SECONDS = 20.0


def endpoint(
    name: Annotated[str, typer.Argument(help="What clients name, for instance llama-70b.")],
    gateway: Annotated[str, typer.Option(help="Its address.")] = "http://127.0.0.1:7870",
    max_queue_seconds: Annotated[
        float | None,
        typer.Option(help="A worker with more before it gets nothing: requests wait in order.", show_default=False),
    ] = None,
    key: Annotated[bool, typer.Option("--key/--no-key", help="Whether a new client key is made and told.")] = True,
    overlap: Annotated[
        str | None, typer.Option(help="How long the keys of before still hold, such as 1h.", show_default=False)
    ] = None,
) -> None:
    """Make an endpoint of a gateway, or change it, and print a new key for its clients: once, it is kept nowhere.

    Reads EBBFLOW_GATEWAY_OPERATOR_KEY from its environment. Keys of before hold on, unless an --overlap is said.
    """
    import httpx

    operator_key = os.environ.get(OPERATOR_KEY, "")
    if len(operator_key) < LEAST_LETTERS:
        end(REFUSED, f"{OPERATOR_KEY} is the gateway's own, at least {LEAST_LETTERS} letters: export it here too")
    settings: dict[str, object] = {} if max_queue_seconds is None else {"max_queue_seconds": max_queue_seconds}
    overlap_seconds = None if overlap is None else seconds_of(overlap, "--overlap")

    async def ask() -> str:
        headers = {"Authorization": f"Bearer {operator_key}"}
        async with httpx.AsyncClient(base_url=gateway, headers=headers, timeout=CALL_SECONDS) as http:
            path = f"/operator/endpoints/{name}"
            known = await _answer(http, "GET", "/operator/endpoints")
            if settings or name not in {each["name"] for each in known["endpoints"]}:
                await _answer(http, "PUT", path, settings)
            if not key:
                return ""
            return str((await _answer(http, "POST", f"{path}/keys", {"overlap_seconds": overlap_seconds}))["key"])

    try:
        made = asyncio.run(ask())
    except (httpx.TransportError, httpx.InvalidURL) as error:
        end(
            NOT_RIGHT, f"the gateway at {gateway} does not answer ({error}): start `ebbflow gateway`, or name --gateway"
        )
    say(made or f"endpoint {name} is as you said")


async def _answer(
    http: "httpx.AsyncClient", method: str, path: str, body: dict[str, object] | None = None
) -> dict[str, Any]:
    answer = await http.request(method, path, json=body)
    if answer.is_success:
        return dict(answer.json())
    if answer.status_code == 401:
        end(REFUSED, f"the gateway does not know this key: {OPERATOR_KEY} is the one that it was started with")
    end(REFUSED, f"the gateway refused: HTTP {answer.status_code}: {answer.text[:300]}")
