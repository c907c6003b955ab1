"""A launch script's output means what the protocol says it means, however it is cut into reads."""

import pytest

from ebbflow.adapters.launch_output import (
    Failed,
    LaunchOutput,
    LaunchProblem,
    Refused,
    Result,
    Said,
    Url,
    read_launch_output,
)
from ebbflow.adapters.providers.announced import read_announced

S = b"[SwarmAutoScaleBackend]"
E = b"[/SwarmAutoScaleBackend]"
U = Url("http://h:7801")
ENDED = LaunchProblem.ENDED
BAD_URL = LaunchProblem.BAD_URL
BAD_RETRIES = LaunchProblem.BAD_RETRIES


def message(text: str) -> bytes:
    return S + text.encode() + E


NEW_URL = message("NewURL: http://h:7801")

# The row of the contract's table, what is printed, and what it leads to: a result, or how the launch failed.
LINES: list[tuple[str, bytes, Result | LaunchProblem]] = [
    ("1", NEW_URL, U),
    ("2", b"  " + message("NewURL:http://h:7801/ ") + b" \t", Url("http://h:7801/")),
    ("3", message("  NewURL:\thttp://h "), Url("http://h")),
    ("4", message("NewURL:   "), ENDED),
    ("5", message("newurl: http://h"), ENDED),
    ("6", message("NewURL : http://h"), ENDED),
    ("7", message("NewURL http://h"), ENDED),
    ("8", b"ready " + NEW_URL, ENDED),
    ("9", NEW_URL + b" ok", ENDED),
    ("10", b'"' + NEW_URL + b'"', ENDED),
    ("11", b"\x1b[0m" + NEW_URL, ENDED),
    ("12", message("NewURL: http://a") + message("NewURL: http://b"), BAD_URL),
    ("13", S + NEW_URL, ENDED),
    ("14", S + b"NewURL: http://h", ENDED),
    ("15", NEW_URL.replace(b"Swarm", b"swarm"), ENDED),
    ("16", b"\xef\xbb\xbf" + NEW_URL, U),
    ("16, not at the start", b"log\n\xef\xbb\xbf" + NEW_URL, ENDED),
    ("16, twice", b"\xef\xbb\xbf\xef\xbb\xbf" + NEW_URL, ENDED),
    ("17", b"\xff" + NEW_URL, ENDED),
    ("18", b"\x1f" + NEW_URL, ENDED),
    ("19", "\u00a0".encode() + NEW_URL, U),
    ("20", b"50%\r" + NEW_URL + b"\r\n", U),
    ("21", message("NewURL: http://h\x0bx"), BAD_URL),
    ("22", message("NewURL: h:7801"), BAD_URL),
    ("23", S + E, ENDED),
    ("24", message("Status: up"), ENDED),
    ("25", message("DoRetries: 3") + b"\n" + NEW_URL, Url("http://h:7801", 3)),
    ("25, plus", message("DoRetries: +3") + b"\n" + NEW_URL, Url("http://h:7801", 3)),
    ("26", message("DoRetries: 007") + b"\n" + NEW_URL, Url("http://h:7801", 7)),
    ("27", message("DoRetries: -1") + b"\n" + NEW_URL, Url("http://h:7801", 0)),
    ("28", message("DoRetries: 3.0") + b"\n" + NEW_URL, BAD_RETRIES),
    ("28, blank", message("DoRetries: ") + b"\n" + NEW_URL, BAD_RETRIES),
    ("28, word", message("DoRetries: three") + b"\n" + NEW_URL, BAD_RETRIES),
    ("28, underscore", message("DoRetries: 1_0") + b"\n" + NEW_URL, BAD_RETRIES),
    ("28, full-width", message("DoRetries: \uff13") + b"\n" + NEW_URL, BAD_RETRIES),
    ("28, very long", message("DoRetries: " + "9" * 5000) + b"\n" + NEW_URL, BAD_RETRIES),
    ("29", message("DoRetries: 2147483647") + b"\n" + NEW_URL, Url("http://h:7801", 240)),
    ("30", message("DoRetries: 2147483648") + b"\n" + NEW_URL, BAD_RETRIES),
    ("30, lowest", message("DoRetries: -2147483648") + b"\n" + NEW_URL, Url("http://h:7801", 0)),
    ("30, below", message("DoRetries: -2147483649") + b"\n" + NEW_URL, BAD_RETRIES),
    ("no colon", message("DoRetries") + b"\n" + message("DeclareFailed") + b"\n" + NEW_URL, U),
    ("31", message("DeclareFailed: no GPU left"), Refused("no GPU left")),
    ("32", message("DeclareFailed:"), Refused("")),
    ("33", S + b"DeclareFailed: \xff\xfe" + E, Refused("\ufffd\ufffd")),
    ("a", message("DoRetries: 2") + b"\n" + message("DoRetries: 5") + b"\n" + NEW_URL, Url("http://h:7801", 5)),
    ("b", NEW_URL + b"\n" + message("DoRetries: 9"), U),
    ("c", NEW_URL + b"\n" + message("NewURL: http://second"), U),
    ("d", message("NewURL:") + b"\n" + NEW_URL, U),
    ("e", message("DeclareFailed: full") + b"\n" + NEW_URL, Refused("full")),
    ("f", b"loading\nloading\n", ENDED),
    ("nothing at all", b"", ENDED),
    ("no other line ends", b"x\x0b" + NEW_URL, ENDED),
    ("next line is no line end", "x\x85".encode() + NEW_URL, ENDED),
]


PADDING = b"x" * 70_000

# Outputs of our own: malformed, huge, binary, odd ends of lines, as scripts in the field print them.
OURS: list[tuple[str, bytes, Result | LaunchProblem]] = [
    ("only line ends", b"\n\r\r\n\n", ENDED),
    ("message after empty lines", b"\n\n\r\n" + NEW_URL, U),
    ("lone CR between messages", message("DoRetries: 4") + b"\r" + NEW_URL + b"\r", Url("http://h:7801", 4)),
    ("progress bar over many CRs", b"\r".join(b"%d%%" % n for n in range(101)) + b"\r" + NEW_URL, U),
    ("CR CR LF", b"x\r\r\n" + NEW_URL, U),
    ("NUL bytes around", b"\0" + NEW_URL + b"\0", ENDED),
    ("NUL bytes on another line", b"\0\0\0\n" + NEW_URL, U),
    ("a whole random-looking binary", bytes(range(256)) * 40 + b"\n" + NEW_URL, U),
    ("binary with a message inside one line", b"\x89PNG" + NEW_URL + b"\x00", ENDED),
    ("UTF-16", NEW_URL.decode().encode("utf-16-le"), ENDED),
    ("bad bytes in a refusal", S + b"DeclareFailed: caf\xe9" + E, Refused("caf\ufffd")),
    ("cut UTF-8 at the end", S + b"DeclareFailed: \xe4\xb8" + E, Refused("\ufffd")),
    ("ten megabytes in one line, then it", b"x" * 10_000_000 + b"\n" + NEW_URL, U),
    ("ten megabytes in short lines, then it", b"loading\n" * 1_250_000 + NEW_URL, U),
    ("a line too long that ends in a message", PADDING + NEW_URL, ENDED),
    ("a line too long that begins with one", NEW_URL + PADDING, ENDED),
    ("a message in a line of blanks that is too long", b" " * 70_000 + NEW_URL, ENDED),
    ("a long line just before it, ended by CR", PADDING + b"\r" + NEW_URL, U),
    ("a very long reason", message("DeclareFailed: " + "y" * 60_000), Refused("y" * 60_000)),
    ("start tag alone", S, ENDED),
    ("end tag alone", E, ENDED),
    ("tags swapped", E + b"NewURL: http://h" + S, ENDED),
    ("tags that overlap", b"[SwarmAutoScaleBackend][/SwarmAutoScaleBackend", ENDED),
    ("message over two lines", S + b"NewURL:\nhttp://h" + E, ENDED),
    ("message cut by the end of output", NEW_URL[:-1], ENDED),
    ("message cut, then whole", NEW_URL[:-5] + b"\n" + NEW_URL, U),
    ("two messages of different keys on one line", message("DoRetries: 3") + NEW_URL, BAD_RETRIES),
    ("unknown key, then it", message("Version: 2") + b"\n" + NEW_URL, U),
    ("key in Cyrillic look-alikes", message("N\u0435wURL: http://h"), ENDED),
    ("value quoted", message('NewURL: "http://h:7801"'), BAD_URL),
    ("value in angle brackets", message("NewURL: <http://h:7801>"), BAD_URL),
    ("two URLs in one value", message("NewURL: http://a http://b"), BAD_URL),
    ("an unexpanded variable", message("NewURL: $URL"), BAD_URL),
    ("an empty host from an empty variable", message("NewURL: http://:7801"), BAD_URL),
    ("port out of range", message("NewURL: http://h:78010"), BAD_URL),
    ("a bad URL, then a good one", message("NewURL: h") + b"\n" + NEW_URL, BAD_URL),
    ("a zero-width space before the value", message("NewURL: \u200bhttp://h"), BAD_URL),
    ("IPv6", message("NewURL: http://[fd00::7]:7801"), Url("http://[fd00::7]:7801")),
    ("retries twice, the first bad", message("DoRetries: x") + b"\n" + message("DoRetries: 2"), BAD_RETRIES),
    ("retries with a plus alone", message("DoRetries: +") + b"\n" + NEW_URL, BAD_RETRIES),
    ("retries in hexadecimal", message("DoRetries: 0x10") + b"\n" + NEW_URL, BAD_RETRIES),
    ("refused after retries", message("DoRetries: 2") + b"\n" + message("DeclareFailed: no"), Refused("no")),
    ("refused with colons", message("DeclareFailed: sbatch: error: QOS: limit"), Refused("sbatch: error: QOS: limit")),
    ("bash -x echo of the command", b"+ echo '" + NEW_URL + b"'\n" + NEW_URL, U),
]


def ended(output: bytes) -> Result:
    parser = LaunchOutput()
    parser.feed(output)
    return parser.end()


def outcome(result: Result | None) -> Result | LaunchProblem | None:
    return result.kind if isinstance(result, Failed) else result


@pytest.mark.parametrize(("output", "expected"), [row[1:] for row in LINES], ids=[row[0] for row in LINES])
def test_every_row_of_the_contract_holds(output: bytes, expected: Result | LaunchProblem) -> None:
    assert outcome(ended(output)) == expected
    assert outcome(ended(output + b"\r\n")) == expected


@pytest.mark.parametrize(("output", "expected"), [row[1:] for row in OURS], ids=[row[0] for row in OURS])
@pytest.mark.parametrize("piece", [1 << 24, 65_536, 4096, 7])
def test_outputs_of_our_own_mean_the_same_however_slowly_they_come(
    output: bytes, expected: Result | LaunchProblem, piece: int
) -> None:
    if len(output) // piece > 20_000:
        piece = len(output) // 20_000
    parser = LaunchOutput()
    for position in range(0, len(output), piece):
        parser.feed(output[position : position + piece])
    assert outcome(parser.end()) == expected


@pytest.mark.parametrize("output", [row[1] for row in LINES], ids=[row[0] for row in LINES])
def test_where_the_reads_are_split_makes_no_difference(output: bytes) -> None:
    expected = ended(output)
    for position in range(min(len(output), 400) + 1):
        parser = LaunchOutput()
        parser.feed(output[:position])
        parser.feed(output[position:])
        assert parser.end() == expected
    bytewise = LaunchOutput()
    for byte in output:
        bytewise.feed(bytes([byte]))
    assert bytewise.end() == expected


def test_nothing_is_decided_before_the_line_or_the_output_ends() -> None:
    parser = LaunchOutput()
    assert parser.feed(NEW_URL) is None
    assert parser.result is None
    assert parser.feed(b"\r") == U
    assert parser.feed(b"\n" + message("DeclareFailed: late") + b"\n") == U
    assert parser.end() == U
    assert read_launch_output(NEW_URL) == Said()


def test_feeding_after_the_end_is_our_mistake() -> None:
    parser = LaunchOutput()
    assert parser.end() == parser.end()
    with pytest.raises(ValueError, match=r"after end\(\)"):
        parser.feed(b"x")


def test_a_line_without_an_end_is_cut_and_ignored_with_one_warning() -> None:
    parser = LaunchOutput(max_line_bytes=1000)
    for _ in range(10_000):
        parser.feed(b"x" * 1000)
    parser.feed(b"\n" + NEW_URL + b" " * 1000 + b"\n" + message("NewURL: http://second") + b"\n")
    assert parser.result == Url("http://second")
    cut = f"a line of more than 1000 bytes was ignored, which holds {S.decode()}"
    assert parser.warnings == ("a line of more than 1000 bytes was ignored", cut)


def test_a_line_of_just_the_longest_length_is_read() -> None:
    for bytes_more, expected in ((0, U), (-1, None)):
        parser = LaunchOutput(max_line_bytes=len(NEW_URL) + bytes_more)
        assert parser.feed(NEW_URL + b"\n") == expected


@pytest.mark.parametrize("line", [b'"' + NEW_URL + b'"', b"\x1b[0m" + NEW_URL])
def test_a_message_that_is_not_alone_on_its_line_is_warned_about_once(line: bytes) -> None:
    parser = LaunchOutput()
    parser.feed(line + b"\n" + line + b"\n")
    (warning,) = parser.warnings
    assert "not one whole message" in warning


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"0: " + NEW_URL, "'0: [SwarmAutoScaleBackend]NewURL"),
        (b"(base) root@n1:~# " + NEW_URL, "'(base) root@n1:~# [Swarm"),
        (b"\x1b[32m" + NEW_URL + b"\x1b[0m", r"'\x1b[32m[Swarm"),
        (b"Nov 28 14:00:01 " + NEW_URL, "'Nov 28 14:00:01 [Swarm"),
        (b'"' + NEW_URL + b'"', "'\"[Swarm"),
        (S + b"NewURL: http://h:7801", "NewURL: http://h:7801'"),
        (b"x" * 500 + NEW_URL, "xxxx[SwarmAutoScaleBackend]NewURL"),
    ],
    ids=["srun --label", "a prompt", "colours", "ts", "quotes", "no close tag", "a long prefix"],
)
def test_regression_a_prefixed_or_cut_message_was_not_named_in_the_failure(line: bytes, shown: str) -> None:
    output = b"starting\n" + line + b"\nready\n"
    failed = ended(output)
    assert isinstance(failed, Failed)
    assert failed.kind is ENDED
    assert "was ignored" in failed.detail
    assert shown in failed.detail
    said = read_launch_output(output)
    assert (said.result, shown in said.ignored) == (None, True), "and while it may still come"


def test_a_message_that_is_not_one_is_no_reason_once_there_is_a_good_one() -> None:
    assert ended(b"0: " + NEW_URL + b"\n" + NEW_URL) == U


def test_too_many_retries_are_cut_with_a_warning() -> None:
    parser = LaunchOutput(max_retries=7)
    parser.feed(message("DoRetries: 8") + b"\n" + NEW_URL + b"\n")
    assert parser.result == Url("http://h:7801", 7)
    assert parser.warnings == ("DoRetries 8 was cut to 7",)


def test_regression_an_announced_password_was_quoted_in_the_failure() -> None:
    failed = ended(message("NewURL: http://carol:s3cret@10.0.0.7:7801"))
    assert isinstance(failed, Failed)
    assert failed.kind is LaunchProblem.BAD_URL
    said = read_launch_output(b"0: " + message("NewURL: http://carol:s3cret@10.0.0.7:7801") + b"\n")
    announced = read_announced(message("NewURL: http://{who}@h") + b"\n", {"who": "carol:s3cret"})
    for text in (failed.detail, said.ignored, announced.detail):
        assert "http://***@" in text
        assert "s3cret" not in text
