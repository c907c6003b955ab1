"""The launch-script protocol as a pure machine: bytes in, one result out. No clock, no process, no file.

A launch script prints messages on stdout, one per line, between other text::

    [SwarmAutoScaleBackend]NewURL: http://10.0.0.7:7801[/SwarmAutoScaleBackend]

`NewURL` and `DeclareFailed` decide, and nothing after them is read; `DoRetries` counts only before them. Whatever else
a line says is log text. Python's own `splitlines`, `strip` and `int` accept more than the protocol does, so none of
them is used here.

Source: SwarmUI docs/Features/AutoScalingBackend.md and src/Backends/AutoScalingBackend.cs, `LaunchOne`.
"""

import re
from dataclasses import dataclass
from enum import Enum

from ebbflow.core.addresses import url_problem
from ebbflow.core.text import without_user

START_TAG = "[SwarmAutoScaleBackend]"
END_TAG = "[/SwarmAutoScaleBackend]"
MAX_RETRIES = 240
"""At 5 s each, twenty minutes of attempts."""
MAX_LINE_BYTES = 65536

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WHITE_SPACE = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006"
    "\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
)
"""What .NET trims. Python's `strip` would take U+001C to U+001F as well."""

_START = START_TAG.encode()
_LINE_ENDS = re.compile(rb"[\r\n]")
# Leading zeros apart, so that no text of any length reaches `int`, which refuses more than 4300 digits.
_INTEGER = re.compile(r"(?P<sign>[+-]?)0*(?P<digits>[0-9]{1,10})")
_INT32 = range(-(2**31), 2**31)


class LaunchProblem(Enum):
    """How a launch went wrong. None of them says anything about capacity."""

    START = "start"
    """The script could not be started."""
    BAD_URL = "bad_url"
    """It announced something that is no usable address."""
    BAD_RETRIES = "bad_retries"
    """It asked for a number of retries that is no int32."""
    ENDED = "ended"
    """Its output ended without an address and without a refusal."""
    TIMEOUT = "timeout"
    """It took too long."""


@dataclass(frozen=True, slots=True)
class Url:
    """The worker is to be reached here."""

    url: str
    retries: int | None = None
    """Attempts to reach it after the first, as `DoRetries` said; None: it said nothing, and SwarmUI makes one."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The script declared that it cannot launch now: capacity, not an error."""

    reason: str
    """Its own words; may be empty."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The launch failed."""

    kind: LaunchProblem
    detail: str


Result = Url | Refused | Failed


class LaunchOutput:
    """Reads one script's stdout as it comes, in pieces of any size.

    Args:
        max_line_bytes: a longer line is log text, whatever it holds.
        max_retries: what a larger `DoRetries` is cut to.

    Attributes:
        result: None while nothing is decided; never changes afterwards.
    """

    def __init__(self, max_line_bytes: int = MAX_LINE_BYTES, max_retries: int = MAX_RETRIES) -> None:
        self.result: Result | None = None
        self._warnings: dict[str, str] = {}
        self._max_line_bytes = max_line_bytes
        self._max_retries = max_retries
        self._retries: int | None = None
        self._partial = bytearray()
        self._is_too_long = False
        self._is_first_line = True
        self._has_ended = False

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person who wrote the script would like to know, each kind once."""
        return tuple(self._warnings.values())

    @property
    def ignored(self) -> str:
        """The first line that was meant as a message, it seems, and is none; empty: there was none."""
        return self._warnings.get("tag") or self._warnings.get("cut", "")

    def feed(self, data: bytes) -> Result | None:
        """Take the next bytes. After a decision they are ignored.

        Raises:
            ValueError: the output was said to have ended.
        """
        if self._has_ended:
            raise ValueError("feed() after end(): the output had ended")
        if self.result is not None:
            return self.result
        for start in range(0, len(data), self._max_line_bytes):
            self._read(data[start : start + self._max_line_bytes])
            if self.result is not None:
                break
        return self.result

    def end(self) -> Result:
        """The last holder of stdout is gone: the last line counts without an end mark. Idempotent."""
        self._has_ended = True
        if self.result is None:
            self._end_line()
        if self.result is None:
            text = "the output ended without NewURL and without DeclareFailed"
            self.result = Failed(LaunchProblem.ENDED, "; ".join(filter(None, (text, self.ignored))))
        return self.result

    def _read(self, data: bytes) -> None:
        """Take at most as many bytes as a line may have."""
        # CR LF makes an empty line more, which is log text as any other: so no state is needed between two reads.
        (first, *more) = _LINE_ENDS.split(data, maxsplit=1)
        self._add(first)
        if not more:
            return
        self._end_line()
        (rest,) = more
        if _START not in rest:
            # Log text; megabytes of it are common, so it is not looked at line by line.
            self._add(rest[max(rest.rfind(b"\n"), rest.rfind(b"\r")) + 1 :])
            return
        (*whole, rest) = _LINE_ENDS.split(rest)
        for line in whole:
            if self.result is None:
                self._add(line)
                self._end_line()
        self._add(rest)

    def _add(self, piece: bytes) -> None:
        room = self._max_line_bytes - len(self._partial)
        if len(piece) > room:
            self._is_too_long = True
        self._partial += piece[:room]

    def _end_line(self) -> None:
        line, is_too_long, is_first = bytes(self._partial), self._is_too_long, self._is_first_line
        self._partial.clear()
        self._is_too_long = self._is_first_line = False
        if is_too_long:
            text = f"a line of more than {self._max_line_bytes} bytes was ignored"
            self._warn(*(("cut", f"{text}, which holds {START_TAG}") if _START in line else ("long", text)))
            return
        if is_first:
            line = line.removeprefix(BYTE_ORDER_MARK)
        if _START in line:
            self._read_line(line.decode("utf-8", "replace").strip(WHITE_SPACE))

    def _read_line(self, line: str) -> None:
        if not (line.startswith(START_TAG) and line.endswith(END_TAG)):
            before = line.partition(START_TAG)[0]
            shown = ascii(without_user(line[max(0, len(before) - 40) :])[:200])
            self._warn("tag", f"a line holds {START_TAG}, is not one whole message, and was ignored: {shown}")
            return
        inner = line.removeprefix(START_TAG).removesuffix(END_TAG).strip(WHITE_SPACE)
        key, colon, value = inner.partition(":")
        value = value.strip(WHITE_SPACE)
        if key + colon == "NewURL:" and value:
            self._read_url(value)
        elif key + colon == "DoRetries:":
            self._read_retries(value)
        elif key + colon == "DeclareFailed:":
            self.result = Refused(value)

    def _read_url(self, value: str) -> None:
        if problem := url_problem(value):
            self.result = Failed(LaunchProblem.BAD_URL, bad_url(value, problem))
        else:
            self.result = Url(value, self._retries)

    def _read_retries(self, value: str) -> None:
        found = _INTEGER.fullmatch(value)
        number = int(found["sign"] + found["digits"]) if found else None
        if number is None or number not in _INT32:
            self.result = Failed(LaunchProblem.BAD_RETRIES, f"DoRetries {value[:200]!a} is not a 32-bit integer")
            return
        if number > self._max_retries:
            self._warn("retries", f"DoRetries {number} was cut to {self._max_retries}")
        self._retries = min(max(number, 0), self._max_retries)

    def _warn(self, kind: str, warning: str) -> None:
        self._warnings.setdefault(kind, warning)


@dataclass(frozen=True, slots=True)
class Said:
    """What a script has printed so far."""

    result: Result | None = None
    """None while nothing is decided."""
    ignored: str = ""
    """The first line that was meant as a message and is none, for the person who wrote the script."""


def read_launch_output(data: bytes) -> Said:
    """Read what a script has printed so far, from the beginning of its stdout."""
    output = LaunchOutput()
    output.feed(data)
    return Said(output.result, output.ignored)


def bad_url(url: str, problem: str) -> str:
    """What is said of an address that is none."""
    return f"NewURL {without_user(url)[:200]!a}: {problem}"
