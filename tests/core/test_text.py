"""What is shown of text from outside."""

import pytest

from ebbflow.core.text import counted, markdown, one_line, without_markdown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\r\n and\ttabs", "two lines and tabs"),
        ("\x1b[31mred\x1b[0m", "\ufffd[31mred\ufffd[0m"),
        ("turned \u202e round", "turned \ufffd round"),
        ("nul\0", "nul\ufffd"),
        ("\u00fcber \u65e5\u672c", "\u00fcber \u65e5\u672c"),
        ("", ""),
        (7, "7"),
    ],
)
def test_it_is_one_printable_line(text: object, shown: str) -> None:
    assert one_line(text) == shown


def test_it_is_cut_where_it_is_long() -> None:
    assert one_line("x" * 10_000_000) == "x" * 499 + "\u2026"
    assert one_line("x" * 500) == "x" * 500
    assert one_line("abc", 2) == "a\u2026"


def test_no_markdown_of_its_writers_is_read() -> None:
    hostile = "[click](http://e.vil) ![x](y) <img src=x> _em_ `code` **b** | a &lt;"
    shown = markdown(hostile)
    assert r"\_em\_" in shown
    assert shown.replace("\\", "") == hostile
    for mark in "[]<`*|&":
        assert shown.count(mark) == shown.count(f"\\{mark}") == hostile.count(mark)


def test_names_and_comparisons_are_left_as_they_are() -> None:
    assert markdown("min_workers is 1: 99 > 10, 2 workers!") == "min_workers is 1: 99 > 10, 2 workers!"


@pytest.mark.parametrize(
    "text", ["queue 0 < 1", r"C:\share\_x", "[click](http://e.vil) _em_ `code` **b** | a &lt; ~", "", "\\"]
)
def test_what_was_made_fit_for_markdown_can_be_told_as_it_stood(text: str) -> None:
    assert without_markdown(markdown(text)) == text


@pytest.mark.parametrize(
    ("count", "noun", "does", "said"),
    [
        (1, "minute", "", "1 minute"),
        (0, "worker", "", "0 workers"),
        (2, "launch", "fit", "2 launches fit"),
        (1, "worker", "stay", "1 worker stays"),
        (0, "worker", "stay", "0 workers stay"),
        (1, "run", "are", "1 run is"),
        (1, "request", "have", "1 request has"),
        (1, "request", "were", "1 request was"),
    ],
)
def test_regression_one_was_told_as_several(count: int, noun: str, does: str, said: str) -> None:
    assert counted(count, noun, does) == said
