"""What goes wrong in the demo itself."""

from pathlib import Path

LAST_LINES = 15


class StepFailed(Exception):
    """One step of the demo did not succeed.

    Args:
        what: which step, and what happened.
        log: where to read more.
    """

    def __init__(self, what: str, log: Path | None = None) -> None:
        super().__init__(what)
        self.log = log

    def __str__(self) -> str:
        """The step, its log, and the log's last lines."""
        text = super().__str__()
        if self.log is None:
            return text
        return f"{text}\nIts log is {self.log} and ends with:\n{_tail(self.log)}"


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"  (it cannot be read: {error.strerror})"
    return "\n".join(f"  {line}" for line in lines[-LAST_LINES:]) or "  (it is empty)"
