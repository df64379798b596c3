"""An execution shown while it runs: a moving picture on a terminal, else lines.

Promises: what is said in between stays readable above the picture; a reader that is
no terminal gets one line per entry of the timeline and no control sequence. It must
not know where updates come from, nor decide anything.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..updates import ExecutionUpdate
from .display import describe_event, styled
from .exits import printable

if TYPE_CHECKING:
    from ..results import Event

_FRAMES_PER_SECOND = 8
_MOST_STEPS_SHOWN = 4

UNIMPORTANT = frozenset({"step.ready", "step.progress"})
"""Entries that a picture shows better than a line."""

_ROUTINE = UNIMPORTANT | {"step.started", "step.completed", "step.waiting"}
"""Entries that are worth a line only where there are few steps."""
_MOST_TOLD_STEPS = 100
_MOST_ALIKE = 20
_PERCENT_BETWEEN = 5


class Fold:
    """Chooses what is worth a line, and what is only counted where there is much.

    Of an execution with few steps that is everything. Of one with more, nothing that
    is routine, and of what is not, the first twenty of a kind; how far it has come is
    said with every twentieth of the way.
    """

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._counts: Counter[str] = Counter()
        self._said_percent = 0.0

    def choose(self, update: ExecutionUpdate) -> "tuple[list[Event], str | None]":
        """Return the entries that get a line, and how far it is, if that is news."""
        if update.progress.total_steps <= _MOST_TOLD_STEPS:
            return list(update.events), None
        told = []
        for event in update.events:
            self._counts[event.type] += event.type not in _ROUTINE
            if 0 < self._counts[event.type] <= _MOST_ALIKE:
                told.append(event)
        percent = update.progress.percentage
        if percent < self._said_percent + _PERCENT_BETWEEN:
            return told, None
        self._said_percent = percent - percent % _PERCENT_BETWEEN
        return told, self._describe(update)

    def _describe(self, update: ExecutionUpdate) -> str:
        progress = update.progress
        folded = [
            f"{count:,} {kind}"
            for kind, count in self._counts.items()
            if count > _MOST_ALIKE
        ]
        return ", ".join(
            [
                f"{progress.completed_steps:,} of {progress.total_steps:,} steps ended",
                f"{progress.running_steps:,} run",
                *folded,
            ]
        )


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
        self._fold = Fold()

    def show(self, update: ExecutionUpdate) -> None:
        """Write the update's entries."""
        if self._first is None:
            self._first = next(iter(update.events), None)
        if self._first is None:
            return
        told, summary = self._fold.choose(update)
        for event in told:
            if event.type not in self._hidden:
                self._write(self._count_seconds(event), describe_event(event))
        if summary is not None:
            elapsed = self._count_seconds(update.events[-1]) if update.events else 0.0
            self._write(elapsed, Text(summary))

    def _count_seconds(self, event: "Event") -> float:
        assert self._first is not None  # noqa: S101  # there is one by now
        return (event.at - self._first.at).total_seconds()

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
        told: Collection[str] | None,
    ) -> None:
        """Show in `live` what `draw` makes of an update, above it what is `told`."""
        self._live = live
        self._draw = draw
        self._told = told
        self._fold = Fold()

    def show(self, update: ExecutionUpdate) -> None:
        """Redraw the picture."""
        told, _ = self._fold.choose(update)
        for event in told:
            if self._is_told(event.type):
                self._live.console.print(describe_event(event), soft_wrap=True)
        self._live.update(self._draw(update))

    def _is_told(self, kind: str) -> bool:
        return kind not in UNIMPORTANT if self._told is None else kind in self._told

    def say(self, text: str, style: str = "") -> None:
        """Write a line above the picture."""
        self._live.console.print(Text(text, style=style), soft_wrap=True)


@contextmanager
def open_view(
    console: Console,
    draw: Callable[[ExecutionUpdate], RenderableType],
    *,
    hidden: Collection[str] = (),
    told: Collection[str] | None = (),
) -> Iterator[View]:
    """Yield the view that suits the console.

    `hidden` are the types of entries that are not worth a line, `told` those that are
    worth one even above a picture; None: all that it does not show better.
    """
    if not console.is_terminal or console.is_dumb_terminal:
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
