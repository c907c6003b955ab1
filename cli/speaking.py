"""How the command speaks: to a person in colour, to a pipe plainly, to a program in JSON; and how it ends."""

import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.markup import escape

from ebbflow.core.errors import FleetError
from ebbflow.core.text import one_line

T = TypeVar("T")

FINE, NOT_RIGHT, USAGE, NO_SERVER, REFUSED = 0, 1, 2, 3, 4
EXIT_CODES = """\b
Exit codes:
  0  done
  1  something is not as it should be, or is left: the output says what
  2  the command was not understood
  3  the Prefect server does not answer
  4  refused, and nothing was done: the error says what would be right"""

WIDE = 10_000
"""Columns where nobody says how many there are, as in a pipe."""


NARROWEST, USUAL = 40, 80
"""A terminal that says it has fewer columns than the first does not know how many it has, and gets the second."""


def console() -> Console:
    """Where answers go. Colour and width are the terminal's; a pipe has no colour and is not wrapped narrowly."""
    # Without a kind a terminal promises nothing, colour least of all.
    colours: Literal["auto"] | None = "auto" if os.environ.get("TERM") else None
    made = Console(width=None if sys.stdout.isatty() else WIDE, color_system=colours, highlight=False, emoji=False)
    if made.width < NARROWEST:
        made.width = USUAL
    return made


def say(text: str) -> None:
    """One line for a person, as it stands: what others wrote is no markup."""
    console().print(escape(text), soft_wrap=True)


def warn(text: str) -> None:
    """One line beside the answer."""
    Console(stderr=True, highlight=False, emoji=False).print(escape(text), soft_wrap=True)


def answer(value: object) -> None:
    """The answer for a program: one JSON value, and nothing else, on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


class Ended(typer.Exit):
    """The end of a command, with the words that it ended with."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code)
        self.text = text


def end(code: int, text: str = "") -> NoReturn:
    """End with a code, and with words on standard error."""
    if text:
        warn(text)
    raise Ended(code, text)


def run(make: Callable[[], Coroutine[Any, Any, T]], *, interrupted: str = "") -> T:
    """Run what a command does; what goes wrong ends it with words and a code, without a traceback.

    Args:
        make: makes the coroutine. Any: what asyncio says of coroutines.
        interrupted: what a person who presses Ctrl-C, or who sends SIGTERM, has to know of what was begun.
    """
    try:
        with _terminated_as_interrupted():
            return asyncio.run(make())
    except FleetError as error:
        end(REFUSED, str(error))
    except KeyboardInterrupt:
        _end_interrupted(interrupted)
    except Exception as error:
        code = _code_of(error)
        if code is None:
            raise
        end(code, f"{type(error).__name__}: {one_line(error)}")
    except BaseException as error:
        # While a flow runs here, SIGTERM is Prefect's.
        if "prefect.exceptions.TerminationSignal" not in _kinds(error):
            raise
        _end_interrupted(interrupted)


def _end_interrupted(told: str) -> NoReturn:
    end(NOT_RIGHT, f"interrupted{f'; {told}' if told else ''}")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Let SIGTERM be what Ctrl-C is, unless whoever has started this wants it otherwise."""
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    # Not by way of SIGINT, which a shell lets its background jobs ignore.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _code_of(error: Exception) -> int | None:
    """How the command ends where its server went away or refused it; None: that is a mistake of ours."""
    kinds = _kinds(error)
    if "httpx.TransportError" in kinds:
        return NO_SERVER
    refused = {"prefect.exceptions.PrefectHTTPStatusError", "prefect.exceptions.ObjectNotFound", "builtins.OSError"}
    return NOT_RIGHT if kinds & refused else None


def _kinds(error: BaseException) -> set[str]:
    """Its classes by name: looked up, not imported, as whoever asks no server has loaded neither httpx nor Prefect."""
    return {f"{kind.__module__}.{kind.__name__}" for kind in type(error).__mro__}
