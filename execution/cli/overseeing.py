"""Many executions shown while they move: a moving table on a terminal, else lines.

Promises: what is shown of an execution is one update of it, so that nothing is asked
for a picture; nothing that came from a plan is obeyed. It must not know which are
followed, nor how.
"""

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..filters import ExecutionFilter
from ..states import is_terminal
from ..updates import ExecutionUpdate
from .display import describe_event, styled
from .exits import printable
from .following import UNIMPORTANT
from .output import print_json
from .tables import fold, open_console

if TYPE_CHECKING:
    from ..engine import ExecutionEngine

_LEAST_ROWS = 5
_WIDTH_FOR_BARS = 110
_COLUMNS = ("id", "plan", "state", "", "steps", "last")
_LINES_BESIDE_ROWS = 6
_FRAMES_PER_SECOND = 4


def follow_all(
    engine: "ExecutionEngine", wanted: ExecutionFilter, *, as_json: bool
) -> None:
    """Show what happens to the executions that are wanted, until Ctrl-C."""
    after = engine.get_cursor(wanted)
    console = open_console()
    is_moving = console.is_terminal and not console.is_dumb_terminal and not as_json
    if not is_moving:
        typer.echo("following what happens from now on; Ctrl-C ends it", err=True)
    if as_json:
        for update in engine.monitor_all(wanted, after=after):
            print_json(update, on_one_line=True)
    elif is_moving:
        _show_table(engine, wanted, after, console)
    else:
        for update in engine.monitor_all(wanted, after=after):
            _print_lines(console, update)


def _print_lines(console: Console, update: ExecutionUpdate) -> None:
    for event in update.events:
        if event.type not in UNIMPORTANT:
            line = Text(f"{update.execution_id}  ")
            console.print(line.append_text(describe_event(event)), soft_wrap=True)


def _show_table(
    engine: "ExecutionEngine", wanted: ExecutionFilter, after: str, console: Console
) -> None:
    most = max(console.height - _LINES_BESIDE_ROWS, _LEAST_ROWS)
    table = MovingTable(
        most,
        lambda one: engine.get_status(one).plan,
        has_bars=console.width >= _WIDTH_FOR_BARS,
    )
    found = engine.list_executions(wanted, page_size=min(most, 500)).items
    for execution in reversed(found):
        if not is_terminal(execution.status):
            table.note(engine.look(execution.id)[0])
    with Live(
        table.draw(), console=console, refresh_per_second=_FRAMES_PER_SECOND
    ) as live:
        for update in engine.monitor_all(wanted, after=after):
            table.note(update)
            live.update(table.draw())


class MovingTable:
    """The executions that moved last, the newest move above."""

    def __init__(
        self, most_rows: int, find_plan: Callable[[str], str], *, has_bars: bool = True
    ) -> None:
        """Show so many at most; `find_plan` tells the plan of one that is new."""
        self._most_rows = most_rows
        self._find_plan = find_plan
        self._has_bars = has_bars
        self._plans: dict[str, str] = {}
        self._updates: dict[str, ExecutionUpdate] = {}

    def note(self, update: ExecutionUpdate) -> None:
        """Take up where an execution stands now."""
        execution_id = update.execution_id
        if execution_id not in self._plans:
            self._plans[execution_id] = self._find_plan(execution_id)
        self._updates.pop(execution_id, None)
        self._updates[execution_id] = update
        for oldest in list(self._updates)[: -self._most_rows]:
            # it is asked for again, should it move again
            del self._updates[oldest], self._plans[oldest]

    def draw(self) -> Table:
        """Return the table."""
        table = Table(title_justify="left")
        for name in _COLUMNS if self._has_bars else filter(None, _COLUMNS):
            table.add_column(name, no_wrap=name in ("id", "state", "steps"))
        fold(table)
        table.title = "" if self._updates else "nothing has moved yet"
        for update in islice(reversed(self._updates.values()), self._most_rows):
            progress = update.progress
            last = update.events[-1] if update.events else None
            bar = ProgressBar(total=100, completed=progress.percentage, width=20)
            table.add_row(
                update.execution_id,
                printable(self._plans[update.execution_id]),
                styled(update.status),
                *([bar] if self._has_bars else []),
                f"{progress.completed_steps}/{progress.total_steps}",
                describe_event(last) if last else "",
            )
        return table
