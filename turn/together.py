"""Several things at once, none of which is left alone when another one fails."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def together(*calls: Awaitable[T]) -> list[T]:
    """Wait for all of them, and only then raise what the first of them raised.

    A mistake in one provider's adapter must not leave another one's launch running behind a turn that has ended.
    """
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]
