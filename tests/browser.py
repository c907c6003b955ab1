"""A real browser without a window: Debian's Chromium, told what to do over its DevTools protocol.

Source: https://chromedevtools.github.io/devtools-protocol/: Target, Page, Runtime and Emulation.
"""

import asyncio
import base64
import itertools
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

HOW_TO_INSTALL = "no browser here: `apt-get install chromium` brings it"
START_SECONDS = 90.0
ANSWER_SECONDS = 60.0
LOOK_SECONDS = 0.1
OPTIONS = (
    "--headless=new",
    "--no-sandbox",  # a container's root may not make one
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--no-proxy-server",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)
NETWORK_ONLY_HERE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


def is_installed() -> bool:
    """Whether there is a Chromium."""
    return shutil.which("chromium") is not None


class Page:
    """One page of a browser.

    Args:
        connection: to this page's own end of the protocol.
    """

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    async def open(self, url: str, *, width: int = 1280, height: int = 900) -> None:
        """Go there; what the page shows comes later."""
        await self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )
        await self.send("Page.navigate", url=url)

    async def shows(self, *texts: str, seconds: float = 20.0) -> str:
        """Wait until a person sees all of these; the whole text that is seen then."""
        ends_at = asyncio.get_running_loop().time() + seconds
        while True:
            seen = str(await self.evaluate("document.body ? document.body.innerText : ''"))
            missing = [text for text in texts if text not in seen]
            if not missing:
                return seen
            assert asyncio.get_running_loop().time() < ends_at, f"not seen in {seconds:g} s: {missing}; but: {seen}"
            await asyncio.sleep(LOOK_SECONDS)

    async def evaluate(self, script: str) -> Any:
        """What a script of the page's own language answers. Any: its JSON."""
        answer = await self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def picture(self) -> bytes:
        """What is seen, as PNG."""
        answer = await self.send("Page.captureScreenshot", format="png", optimizeForSpeed=False)
        return base64.b64decode(answer["data"])

    async def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer. Any: the protocol's JSON."""
        number = next(self._numbers)
        await self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                answer: dict[str, Any] = json.loads(await self._connection.recv())
                # Events come between; nobody here listens to them.
                if answer.get("id") == number:
                    assert "error" not in answer, f"{method}: {answer['error']}"
                    return dict(answer["result"])


@asynccontextmanager
async def opened_browser(folder: Path) -> AsyncIterator[Page]:
    """Start a browser with one page, and end it.

    Args:
        folder: an empty one for its profile.
    """
    command = ["chromium", *OPTIONS, NETWORK_ONLY_HERE, f"--user-data-dir={folder}", "about:blank"]
    with (folder / "output").open("wb") as output:
        browser = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
    try:
        port, _ = await _spoken_at(folder / "DevToolsActivePort", browser)
        async with connect(await _page_address(port), max_size=None, proxy=None) as connection:
            yield Page(connection)
    finally:
        with suppress(ProcessLookupError):
            browser.terminate()
        try:
            await asyncio.wait_for(browser.wait(), timeout=10)
        except TimeoutError:
            browser.kill()
            await browser.wait()


async def _spoken_at(file: Path, browser: asyncio.subprocess.Process) -> list[str]:
    """The port and the path that the browser writes into its profile once it listens."""
    async with asyncio.timeout(START_SECONDS):
        while len(lines := _lines(file)) < 2:
            said = " ".join(_lines(file.parent / "output")[-40:])
            assert browser.returncode is None, f"chromium ended with {browser.returncode}: {said}"
            await asyncio.sleep(LOOK_SECONDS)
    return lines


def _lines(file: Path) -> list[str]:
    return file.read_text(errors="replace").split() if file.exists() else []


async def _page_address(port: str) -> str:
    import httpx

    async with httpx.AsyncClient(timeout=ANSWER_SECONDS, trust_env=False) as client:
        pages = (await client.get(f"http://127.0.0.1:{port}/json/list")).json()
    return next(str(page["webSocketDebuggerUrl"]) for page in pages if page["type"] == "page")
