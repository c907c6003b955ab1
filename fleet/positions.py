"""Where in a YAML file a value stands, and what the parser passes over: two keys of one name in one mapping."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import yaml

Step = str | int


@dataclass(frozen=True, slots=True)
class Twice:
    """A key that a mapping has twice, of which YAML readers take the last without a word."""

    key: str
    first_line: int
    line: int


class Positions:
    """The lines of a file's values, counted from 1.

    Args:
        text: the file's; one YAML document that can be read.
    """

    def __init__(self, text: str) -> None:
        self._root = yaml.compose(text, Loader=yaml.SafeLoader)

    def line(self, path: Sequence[Step]) -> int | None:
        """The line of the value at a path, or of the nearest one above it; an alias stands where its anchor does."""
        node, line = self._root, None
        for step in path:
            found = below(node, step)
            if found is None:
                break
            node, line = found, found.start_mark.line + 1
        return line

    def twice(self) -> Iterator[Twice]:
        """Every key that its mapping has twice."""
        seen: set[int] = set()
        waiting = [self._root]
        while waiting:
            node = waiting.pop()
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            if isinstance(node, yaml.MappingNode):
                lines: dict[str, int] = {}
                for key, value in node.value:
                    line = key.start_mark.line + 1
                    name = str(key.value)
                    if name in lines and name != "<<":
                        yield Twice(name, lines[name], line)
                    lines.setdefault(name, line)
                    waiting.append(value)
            elif isinstance(node, yaml.SequenceNode):
                waiting.extend(node.value)


def below(node: yaml.Node | None, step: Step) -> yaml.Node | None:
    """The value of a key of a mapping, or of a place in a list; None: it has none."""
    if isinstance(node, yaml.MappingNode):
        # Of two keys of one name the last one is taken.
        values: list[yaml.Node] = [value for key, value in node.value if str(key.value) == str(step)]
        return values[-1] if values else None
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        item: yaml.Node = node.value[step]
        return item
    return None
