"""Fields of a fleet set otherwise in the text of its file: comments, anchors and order stay as they are. Pure."""

import difflib
import re
from collections.abc import Sequence

import yaml

from ebbflow.core.canonical import Plain
from ebbflow.fleet.changing import Change, Json, in_a_line
from ebbflow.fleet.positions import Step, below

CONTEXT_LINES = 3
ALIAS = re.compile(r"\s*:\s*(?P<word>\*[^\s,\]}]+)")
ANCHOR = re.compile(r"&[^\s,\]}]+\s+")


class NotRewritableError(ValueError):
    """The text holds the fleet in a way that is not understood well enough to change it."""


def rewritten(text: str, at: Sequence[Step], changes: Sequence[Change], after: Json) -> str:
    """The text of a file with a fleet's fields set otherwise.

    Args:
        text: the file's; one YAML document.
        at: where in it the fleet stands; of an alias what its anchor stands for is changed.
        changes: of the fleet.
        after: the fleet as a person writes it once they are made, for sections that the file does not have.

    Raises:
        NotRewritableError: there is no mapping where the fleet should be, or in the place of one of its sections.
    """
    root = _node(yaml.compose(text, Loader=yaml.SafeLoader), at)
    edits: dict[tuple[int, int], list[str]] = {}
    made: set[str] = set()
    for change in changes:
        section, *rest = change.path
        there = below(root, section)
        if there is None or not rest:
            # A section is written whole, once.
            if section not in made:
                _add(edits, _placed(text, root, section, after[section]))
            made.add(section)
        else:
            _add(edits, _placed(text, _mapping(there), ".".join(rest), change.value))
    for (begin, end), new in sorted(edits.items(), reverse=True):
        text = text[:begin] + "".join(new) + text[end:]
    return text


def diff(before: str, after: str, *, name: str) -> str:
    """What a person changes, as `patch` and `git apply` take it; empty: nothing."""
    lines = difflib.unified_diff(
        before.splitlines(), after.splitlines(), fromfile=f"a/{name}", tofile=f"b/{name}", n=CONTEXT_LINES, lineterm=""
    )
    return "".join(f"{line}\n" for line in lines)


Edit = tuple[int, int, str]
"""From, until, and what stands there instead."""


def _add(edits: dict[tuple[int, int], list[str]], edit: Edit) -> None:
    begin, end, new = edit
    edits.setdefault((begin, end), []).append(new)


def _placed(text: str, mapping: yaml.MappingNode, key: str, value: Plain) -> Edit:
    """The edit that sets one key of a mapping."""
    for known, there in mapping.value:
        if known.value == key:
            begin, end = _span(text, known, there)
            return begin, end, _in_its_place(text, there, value)
    if not mapping.value:
        raise NotRewritableError(f"{key} has no place in an empty section")
    last_key, last = mapping.value[-1]
    _, end = _span(text, last_key, last)
    if mapping.flow_style:
        return end, end, f", {key}: {in_a_line(value)}"
    # After what stands behind the last value: a comment is that value's.
    line_end = text.find("\n", end)
    place = len(text) if line_end < 0 else line_end
    return place, place, f"\n{' ' * last_key.start_mark.column}{key}: {in_a_line(value)}"


def _in_its_place(text: str, there: yaml.Node, value: Plain) -> str:
    """The new value, in the style of the one that it replaces."""
    if isinstance(there, yaml.MappingNode) and not there.flow_style and isinstance(value, dict):
        indent = " " * there.value[0][0].start_mark.column
        return f"\n{indent}".join(f"{key}: {in_a_line(each)}" for key, each in value.items())
    return in_a_line(value)


def _span(text: str, key: yaml.Node, value: yaml.Node) -> tuple[int, int]:
    """From where to where a value stands in the text."""
    if value.start_mark.index < key.end_mark.index:
        # An alias: what it stands for is further up, and the word itself is here.
        alias = ALIAS.match(text, key.end_mark.index)
        if alias is None:
            raise NotRewritableError(f"what stands behind {key.value} is not understood")
        return alias.start("word"), alias.end("word")
    begin: int = value.start_mark.index
    anchor = ANCHOR.match(text, begin)
    return begin if anchor is None else anchor.end(), _end(text, value)


def _end(text: str, node: yaml.Node) -> int:
    """Where a value ends; of a block its own end would be where the next thing begins, past all comments."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _span(text, *node.value[-1])[1]
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(text, node.value[-1])
    end: int = node.end_mark.index
    return end


def _node(root: yaml.Node | None, at: Sequence[Step]) -> yaml.MappingNode:
    node = root
    for step in at:
        node = below(node, step)
    return _mapping(node)


def _mapping(node: yaml.Node | None) -> yaml.MappingNode:
    if not isinstance(node, yaml.MappingNode):
        raise NotRewritableError("a section of the fleet is no mapping in its file")
    return node
