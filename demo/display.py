"""What a person sees while the demo runs: a live panel on a terminal, plain lines elsewhere."""

from contextlib import AbstractContextManager
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ebbflow.core.lifecycle import WorkerState
from ebbflow.demo.view import View

TURNS_SHOWN = 8
SECONDS_BETWEEN_LINES = 10.0


class Display(AbstractContextManager["Display"], Protocol):
    """Shows views."""

    def show(self, view: View) -> None:
        """Show how it is now."""

    def say(self, text: str) -> None:
        """Say something that stays."""


def make_display() -> Display:
    """A live panel where there is a terminal, else lines."""
    console = Console()
    return Panel(console) if console.is_terminal else Lines()


def counts(view: View) -> str:
    """The workers by state, in the order of their life."""
    return ", ".join(f"{view.workers[state]} {state.value}" for state in WorkerState if view.workers[state]) or "none"


def time_left(view: View) -> str:
    """About how long the rest takes, no more exactly than it is known."""
    return f"about {max(5, round(view.left_seconds / 5) * 5)} s left"


class Lines:
    """One line at each new step and turn, and one every ten seconds."""

    def __init__(self) -> None:
        self._step = ""
        self._said: set[str] = set()
        self._line_at = -SECONDS_BETWEEN_LINES

    def __enter__(self) -> Self:
        """Nothing is to be prepared."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is to be restored."""

    def show(self, view: View) -> None:
        """Print what is new."""
        if view.step != self._step:
            self._step = view.step
            self.say(f"{view.elapsed_seconds:5.0f} s  {view.step} ({time_left(view)})")
        for turn in view.history.turns:
            if turn.is_over and turn.run_id not in self._said:
                self._said.add(turn.run_id)
                self.say(f"{view.elapsed_seconds:5.0f} s    turn: {turn.name}")
        if view.elapsed_seconds - self._line_at >= SECONDS_BETWEEN_LINES:
            self._line_at = view.elapsed_seconds
            tally = view.tally
            self.say(
                f"{view.elapsed_seconds:5.0f} s    {view.queued} queued, {view.running} running, "
                f"{tally.served} served, {len(tally.losses)} lost; workers: {counts(view)}"
            )

    def say(self, text: str) -> None:
        """Print a line at once, also into a pipe."""
        print(text, flush=True)


class Panel:
    """A panel that is drawn again in its place."""

    def __init__(self, console: Console) -> None:
        # Signals must not be met inside of rich: it only draws when it is told to.
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the terminal back."""
        self._live.stop()

    def show(self, view: View) -> None:
        """Draw."""
        self._live.update(Group(_figures(view), Text(), _turns(view)), refresh=True)

    def say(self, text: str) -> None:
        """Print above the panel."""
        self._live.console.print(text, markup=False, highlight=False)


def _figures(view: View) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(Text(f"{view.elapsed_seconds:.0f} s", style="bold"), Text(view.step, style="bold"))
    table.add_row("", Text(time_left(view), style="dim"))
    table.add_row("requests", f"{view.queued} queued, {view.running} running")
    lost = len(view.tally.losses)
    table.add_row("", Text(f"{view.tally.served} served, {lost} lost", style="red" if lost else ""))
    table.add_row("workers", f"{'█' * view.workers[WorkerState.READY]} {counts(view)}")
    return table


def _turns(view: View) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row(Text("last turns", style="bold"), "")
    for turn in view.history.turns[-TURNS_SHOWN:]:
        table.add_row(Text(turn.state, style=_style(turn.state)), Text(turn.name, overflow="ellipsis", no_wrap=True))
    return table


def _style(state: str) -> str:
    return {"Acted": "green", "Held": "dim", "Skipped": "dim", "Running": "cyan"}.get(state, "red")
