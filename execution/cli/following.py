"""An execution shown while it runs: a moving picture on a terminal, else lines.

Promises: what is said in between stays readable above the picture; a reader that is
no terminal gets one line per entry of the timeline and no control sequence. It must
not know where updates come from, nor decide anything.
"""

import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from execution.cli.display import describe_event, styled
from execution.cli.exits import printable
from execution.results import Event, ExecutionUpdate

_FRAMES_PER_SECOND = 8
_MOST_STEPS_SHOWN = 4

UNIMPORTANT = frozenset({"step.ready", "step.progress"})
"""Entries that a picture shows better than a line."""

ROUTINE = UNIMPORTANT | {"step.started", "step.completed"}
"""Entries that are worth a line only where there are few steps."""


class View(Protocol):
    """Shows one execution."""

    def show(self, update: ExecutionUpdate) -> None:
        """Show where the execution stands now."""

    def say(self, text: str, style: str = "") -> None:
        """Add a sentence of our own."""


class LinesView:
    """One line per entry of the timeline, with the seconds since its first."""

    def __init__(self, console: Console, hidden: Collection[str] = ()) -> None:
        """Write to `console`, but no entries of the types in `hidden`."""
        self._console = console
        self._hidden = hidden
        self._opened = time.monotonic()
        self._first: Event | None = None

    def show(self, update: ExecutionUpdate) -> None:
        """Write the update's entries."""
        if self._first is None:
            self._first = next(iter(update.events), None)
        for event in update.events:
            if self._first is not None and event.type not in self._hidden:
                elapsed = event.at - self._first.at
                self._write(elapsed.total_seconds(), describe_event(event))

    def say(self, text: str, style: str = "") -> None:
        """Write a line."""
        self._write(time.monotonic() - self._opened, Text(text, style=style))

    def _write(self, elapsed_seconds: float, line: Text) -> None:
        clock = Text(f"{elapsed_seconds:7.1f} s  ")
        self._console.print(clock.append_text(line), soft_wrap=True)


class PictureView:
    """A picture at the bottom of the terminal, redrawn with each update."""

    def __init__(
        self,
        live: Live,
        draw: Callable[[ExecutionUpdate], RenderableType],
        told: Collection[str],
    ) -> None:
        """Show in `live` what `draw` makes of an update, above it what is `told`."""
        self._live = live
        self._draw = draw
        self._told = told

    def show(self, update: ExecutionUpdate) -> None:
        """Redraw the picture."""
        for event in update.events:
            if event.type in self._told:
                self._live.console.print(describe_event(event), soft_wrap=True)
        self._live.update(self._draw(update))

    def say(self, text: str, style: str = "") -> None:
        """Write a line above the picture."""
        self._live.console.print(Text(text, style=style), soft_wrap=True)


@contextmanager
def open_view(
    console: Console,
    draw: Callable[[ExecutionUpdate], RenderableType],
    *,
    hidden: Collection[str] = (),
    told: Collection[str] = (),
) -> Iterator[View]:
    """Yield the view that suits the console.

    `hidden` are the types of entries that are not worth a line, `told` those that are
    worth one even above a picture.
    """
    if not console.is_terminal:
        yield LinesView(console, hidden)
        return
    with Live(console=console, refresh_per_second=_FRAMES_PER_SECOND) as live:
        yield PictureView(live, draw, told)


def draw_bar(update: ExecutionUpdate) -> RenderableType:
    """Return a bar with what runs at this moment."""
    progress = update.progress
    bar = Table.grid(padding=(0, 1))
    running = map(printable, progress.current_steps[:_MOST_STEPS_SHOWN])
    shown = ", ".join(running)
    if progress.running_steps > _MOST_STEPS_SHOWN:
        shown += f" and {progress.running_steps - _MOST_STEPS_SHOWN} more"
    eta = "" if progress.eta_seconds is None else f"{progress.eta_seconds:.0f} s left"
    bar.add_row(
        styled(update.status),
        ProgressBar(total=100, completed=progress.percentage, width=30),
        f"{progress.completed_steps}/{progress.total_steps}",
        eta,
        Text(shown, style="cyan"),
    )
    return bar
