"""What is wrong with a file of fleets: where it stands, and in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from ebbflow.fleet.positions import Positions, Step

PARAMETER = "fleet"
"""What every flow of ours needs."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a file."""

    text: str
    """Its deployment and field, its value, and what would be right."""
    line: int | None = None

    def __str__(self) -> str:
        """As a person reads it."""
        return self.text if self.line is None else f"line {self.line}: {self.text}"


class WrongFileError(Exception):
    """What is wrong with a file or a deployment of it: the path of each field, below its deployment, and words."""

    def __init__(self, *found: tuple[Sequence[Step], str], line: int | None = None) -> None:
        super().__init__()
        self._found, self._line = found, line

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Those whose line is known by itself."""
        return tuple(Problem(text, self._line) for _, text in self._found)

    def at(self, positions: Positions, deployment: Sequence[Step]) -> tuple[Problem, ...]:
        """With the lines at which they stand."""
        return tuple(Problem(text, positions.line((*deployment, *path))) for path, text in self._found)


def spelled(path: Sequence[Step]) -> str:
    """`limits.max_workers`, `providers[0].block`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
