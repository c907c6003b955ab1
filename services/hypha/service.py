"""The whole service: reads its file, and serves until a signal comes."""

import signal
import time
from collections.abc import Callable, Mapping
from functools import partial

import anyio
from pydantic import SecretStr

from ebbflow.services.hypha.audit import Audit, History, Line
from ebbflow.services.hypha.board import Board
from ebbflow.services.hypha.callers import caller_of
from ebbflow.services.hypha.cluster import Cluster
from ebbflow.services.hypha.desk import Desk
from ebbflow.services.hypha.head import Head
from ebbflow.services.hypha.line import Place, ServerLine
from ebbflow.services.hypha.rounds import Rounds
from ebbflow.services.hypha.settings import Settings
from ebbflow.services.hypha.store import Store
from ebbflow.services.hypha.tokens import Tokens

LAST_SECONDS = 5.0
"""For the last events, at the end."""


async def serve(
    settings: Settings,
    *,
    hypha_token: SecretStr | None,
    ray_token: SecretStr | None,
    prefect_authorization: SecretStr | None,
    say: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or SIGINT. Jobs at Ray go on, and the next service finds them.

    Args:
        settings: of the operator.
        hypha_token: None: it is in the file that the settings name.
        ray_token: None: the head asks for none.
        prefect_authorization: the header of that name; None: the server asks for none.
        say: is told what a person should know.

    Raises:
        ConfigError: what the operator has to change.
        StoreError: the state folder cannot be used.
    """
    now = time.time
    store = Store(settings.state_folder)
    await store.open()
    head = Head(
        settings.ray,
        token=ray_token,
        timeout_seconds=settings.call_timeout_seconds,
        driver_cpus=settings.driver_cpus,
    )
    history = None
    if settings.prefect and settings.fleet:
        history = History(settings.prefect, settings.fleet, now=now, authorization=prefect_authorization)
    try:
        board = Board(store, settings.limits, now)
        await board.open()
        audit = Audit(settings.state_folder, history)
        rounds = Rounds(board, head, interval_seconds=settings.interval_seconds, say=say)
        desk = Desk(settings, board, Cluster(head, rounds, history), audit)

        def refused(context: Mapping[str, object], why: str) -> None:
            audit.note(Line(now(), caller_of(context).shown, "message", "refused", f"a message was not taken: {why}"))

        line = ServerLine(
            Place(settings.hypha, settings.workspace, settings.service),
            Tokens(hypha_token, settings.token_file, store=store, now=now),
            {name: partial(desk.call, name) for name in desk.functions},
            refused=refused,
            token_seconds=3600 * settings.token_hours,
            say=say,
        )
        async with anyio.create_task_group() as group:
            group.start_soon(_until_signal, group.cancel_scope)
            group.start_soon(rounds.run)
            if history is not None:
                group.start_soon(history.run)
            await line.run()
    except BaseExceptionGroup as group_of:
        # One of the tasks above failed; the others were ended by it.
        raise _only(group_of) from None
    finally:
        with anyio.CancelScope(shield=True):
            if history is not None:
                with anyio.move_on_after(LAST_SECONDS):
                    await history.send(everything=True)
                await history.aclose()
            await head.aclose()
            await store.aclose()


async def _until_signal(scope: anyio.CancelScope) -> None:
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            scope.cancel()
            return


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _only(first) if isinstance(first, BaseExceptionGroup) else first
