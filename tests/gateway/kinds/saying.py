"""Answers as the tests of kinds write them."""

import json

from ebbflow.gateway.kinds.kind import Judgement, Kind, Reading, Said, Standing, Verdict, Wanted

SILENT = Said(None)
"""Refused, or silent beyond the time limit."""
EMPTY = Said(200)
READY, LOADING, ASLEEP = Standing.READY, Standing.LOADING, Standing.ASLEEP
HOT, NOT_YET, WRONG = Verdict.HOT, Verdict.NOT_YET, Verdict.WRONG


def says(data: object, status: int = 200) -> Said:
    return Said(status, json.dumps(data))


def figures(*lines: str) -> Said:
    return Said(200, "".join(f"{line}\n" for line in lines))


def figures_of(reading: Reading) -> tuple[int | None, int | None, float | None]:
    """What runs, what waits and what was served."""
    return reading.running, reading.queued, reading.served


def asked_in_turn(kind: Kind, wanted: Wanted, *answers: Said) -> list[str]:
    """What a test asks one after the other where these are the answers, and how it ends."""
    ask, judgement = kind.test(wanted), Judgement(Verdict.NOT_YET)
    turns: list[str] = []
    for answer in answers:
        assert ask is not None
        turns.append(f"{ask.method} {ask.path}")
        judgement = kind.judge(wanted, answer)
        ask = judgement.next_ask
    return [*turns, judgement.verdict.value]
