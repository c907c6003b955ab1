"""Tests that wait more than they work, run all at once: each with a fleet of its own, so that none sees another.

A function decorated with `together` is a test like any other, except that all selected ones of its module begin when
the first one's turn comes; then each reports what came of it.
"""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.e2e.fixtures import collect_leaks
from tests.e2e.plain_house import PlainHouse
from tests.e2e.prefect_house import PrefectHouse
from tests.e2e.world import Worlds, opened_worlds

PLAIN_AT_ONCE = 8
"""They wait for processes that start. On two cores fewer take longer, and more take as long and cost more."""

PREFECT_AT_ONCE = 2
"""With more, SQLite turns writers away, and they wait for seconds before they try again."""

Test = TypeVar("Test", bound=Callable[..., Awaitable[None]])

WITH_PREFECT = ("prefect_world", "prefect_worlds")
OURS = ("world", "worlds", *WITH_PREFECT)


def together(test: Test) -> Test:
    """Mark a test to be run at once with the others of its module.

    It may take `world` or `worlds`, which have no Prefect, or `prefect_world` or `prefect_worlds`; and parameters.
    """
    names = [name for name in inspect.signature(test).parameters if name not in OURS]
    asked = [name for name in inspect.signature(test).parameters if name in OURS]
    assert len(asked) == 1, f"{test.__name__} takes {asked}: one of {OURS} says in which house it runs"

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


def _takes_prefect(item: pytest.Function) -> bool:
    return any(name in WITH_PREFECT for name in inspect.signature(item.function.run_together).parameters)


@pytest.fixture(scope="module")
def chosen_together(request: pytest.FixtureRequest) -> list[pytest.Function]:
    """The selected tests of this module that run together."""
    return [
        item
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path and hasattr(item.function, "run_together")
    ]


@pytest.fixture(scope="module")
def prefect_of_module(
    request: pytest.FixtureRequest, chosen_together: list[pytest.Function]
) -> Iterator[PrefectHouse | None]:
    """The house with Prefect; its server is started where a selected test of this module wants it, and only there."""
    if not any(_takes_prefect(item) for item in chosen_together):
        yield None
        return
    request.getfixturevalue("prefect_server")
    yield PrefectHouse(request.getfixturevalue("prefect_environment"))
    collect_leaks()


@pytest.fixture(scope="module")
async def ran_together(
    anyio_backend: str,
    chosen_together: list[pytest.Function],
    prefect_of_module: PrefectHouse | None,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, BaseException | None]:
    """What came of each selected test of this module: nothing, or what it raised."""
    plain, with_prefect = asyncio.Semaphore(PLAIN_AT_ONCE), asyncio.Semaphore(PREFECT_AT_ONCE)
    found: dict[str, BaseException | None] = {}

    def worlds_of(item: pytest.Function, folder: Path) -> AbstractAsyncContextManager[Worlds]:
        if not _takes_prefect(item):
            return opened_worlds(folder, PlainHouse())
        assert prefect_of_module is not None
        return opened_worlds(folder, prefect_of_module)

    async def run(item: pytest.Function, folder: Path) -> None:
        test = item.function.run_together
        parameters = dict(item.callspec.params) if hasattr(item, "callspec") else {}
        parameters.pop("anyio_backend", None)
        async with with_prefect if _takes_prefect(item) else plain:
            try:
                async with worlds_of(item, folder) as worlds:
                    for name in inspect.signature(test).parameters:
                        if name in OURS:
                            parameters[name] = worlds if name.endswith("worlds") else await worlds()
                    await test(**parameters)
                found[item.nodeid] = None
            except (Exception, pytest.fail.Exception) as error:
                found[item.nodeid] = error

    await asyncio.gather(*(run(item, tmp_path_factory.mktemp("together")) for item in chosen_together))
    return found
