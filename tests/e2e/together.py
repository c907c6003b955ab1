"""Tests that wait more than they work, run all at once: each with a fleet of its own, so that none sees another.

A function decorated with `together` is a test like any other, except that all selected ones of its module begin when
the first one's turn comes; then each reports what came of it.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.e2e.world import opened_worlds

AT_ONCE = 2
"""With more, SQLite turns writers away, and they wait for seconds before they try again."""

Test = TypeVar("Test", bound=Callable[..., Awaitable[None]])

OURS = ("world", "worlds")


def together(test: Test) -> Test:
    """Mark a test to be run at once with the others of its module. It may take `world` or `worlds`, and parameters."""
    names = [name for name in inspect.signature(test).parameters if name not in OURS]

    async def report(request: pytest.FixtureRequest, ran_together: dict[str, BaseException | None], **_: Any) -> None:
        error = ran_together[request.node.nodeid]
        if error is not None:
            raise error

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    shown = [inspect.Parameter(name, kind) for name in ("request", "ran_together", *names)]
    report.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
    report.__name__, report.__doc__, report.__module__ = test.__name__, test.__doc__, test.__module__
    report.run_together = test  # type: ignore[attr-defined]
    return report  # type: ignore[return-value]


@pytest.fixture(scope="module")
async def ran_together(
    anyio_backend: str,
    prefect_server: str,
    prefect_environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> dict[str, BaseException | None]:
    """What came of each selected test of this module: nothing, or what it raised."""
    places = asyncio.Semaphore(AT_ONCE)
    found: dict[str, BaseException | None] = {}
    chosen = [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item.function, "run_together")
    ]

    async def run(item: pytest.Function, folder: Path) -> None:
        test = item.function.run_together
        parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        parameters.pop("anyio_backend", None)
        async with places:
            try:
                async with opened_worlds(folder, prefect_environment) as worlds:
                    taken = inspect.signature(test).parameters
                    if "worlds" in taken:
                        parameters["worlds"] = worlds
                    if "world" in taken:
                        parameters["world"] = await worlds()
                    await test(**parameters)
                found[item.nodeid] = None
            except (Exception, pytest.fail.Exception) as error:
                found[item.nodeid] = error

    await asyncio.gather(*(run(item, tmp_path_factory.mktemp("together")) for item in chosen))
    return found
