"""Text from outside, made fit to be shown: workers, queues, neighbours and persons can write anything."""

import re

MOST_CHARACTERS = 500
_USER = re.compile(r"://\S*@")
_MARKDOWN = re.compile(r"([\\`*\[\]<|~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))")
"""What begins something of Markdown's or HTML's within a line. Within a word `_` is itself."""
_ESCAPED = re.compile(r"\\([\\`*\[\]<|~&_])")


def one_line(text: object, most: int = MOST_CHARACTERS) -> str:
    """One printable line, cut where it is long: no line ends, no escape sequences, nothing that turns its direction.

    No user name and no password of an address either.
    """
    words = " ".join(without_user(str(text)[: 4 * most]).split())
    shown = "".join(each if each.isprintable() else "\ufffd" for each in words)
    return shown if len(shown) <= most else f"{shown[: most - 1]}\u2026"


_BY_ONE = {"are": "is", "have": "has", "were": "was"}


def counted(count: int, noun: str, does: str = "") -> str:
    """`1 worker`, `2 launches`; with what they do, by its plural: `1 worker stays`, `2 runs are`."""
    if count == 1:
        return f"1 {noun} {_BY_ONE.get(does, f'{does}s')}" if does else f"1 {noun}"
    many = f"{count} {noun}{'es' if noun.endswith('ch') else 's'}"
    return f"{many} {does}" if does else many


def markdown(text: str) -> str:
    """The text as it stands, where Markdown is read: no link, no picture, no heading, no HTML of its writer's."""
    return _MARKDOWN.sub(r"\\\1", text)


def without_markdown(escaped: str) -> str:
    """The text that `markdown` was given."""
    return _ESCAPED.sub(r"\1", escaped)


def without_user(text: str) -> str:
    """The text without the user names and passwords of the addresses in it."""
    return _USER.sub("://***@", text)
