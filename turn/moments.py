"""Points of time as people write and read them: by the clock of where they are."""

import re
from datetime import datetime, time, timedelta

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
SOME_NOW = datetime(2026, 1, 1).astimezone()
"""What a time is measured from where only its form matters."""


def moment(at_seconds: float) -> str:
    """`2026-11-30 14:03:12`, by the local clock.

    Args:
        at_seconds: epoch seconds.
    """
    return f"{datetime.fromtimestamp(at_seconds).astimezone():%Y-%m-%d %H:%M:%S}"


def moment_of(text: str, *, now_seconds: float) -> float:
    """Epoch seconds of a time as people write it.

    Args:
        text: ISO, local where it names no zone; `14:03` of today; or an age such as `2h`.
        now_seconds: epoch seconds.

    Raises:
        ValueError: it is none of them, or is yet to come; says what would be right.
    """
    found = _understood(text, datetime.fromtimestamp(now_seconds).astimezone())
    if found > now_seconds:
        raise ValueError(f"{text!r} is yet to come: it is {moment(now_seconds)}; of another day, write the date too")
    return found


def check_moment(text: str) -> None:
    """Whether that is a time at all, told before anybody knows how late it is.

    Raises:
        ValueError: it is none; says what would be right.
    """
    _understood(text, SOME_NOW)


def age_of(text: str) -> float:
    """Seconds of an age such as `45s`, `30m`, `8h` or `2d`.

    Raises:
        ValueError: it is none; says what would be right.
    """
    found = re.fullmatch(r"(\d{1,7})\s*([smhd])", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no age: 45s, 30m, 8h or 2d would be right")
    return float(int(found[1]) * UNITS[found[2]])


def _understood(text: str, now: datetime) -> float:
    found = _written(text.strip(), now)
    if found is None:
        raise ValueError(f"{text!r} is no time: 14:03, 2026-11-30T14:03, 2026-11-30T14:03Z or 2h (ago) would be right")
    return found


def _written(text: str, now: datetime) -> float | None:
    try:
        if re.fullmatch(r"\d{1,7}\s*[smhd]", text):
            return (now - timedelta(seconds=age_of(text))).timestamp()
        if re.fullmatch(r"\d\d?:\d\d(:\d\d)?", text):
            # Without a zone, so that a day on which the clocks change has the offset of that hour.
            return datetime.combine(
                now.date(), time.fromisoformat(text.zfill(len(text) + (text[1] == ":")))
            ).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None
