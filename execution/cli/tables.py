"""Tables and the console that they are shown on.

    a terminal      boxes, as wide as it is (COLUMNS wins), ids whole in any width,
                    what is too long for its column on further lines
    a pipe, a file  a line for each row, columns two spaces apart, nothing cut

Promises: no control sequence goes to what is no terminal; NO_COLOR and TERM=dumb are
obeyed. Must not know what stands in the tables.
"""

import sys

from rich.console import Console
from rich.table import Table

_WIDTH_WITHOUT_TERMINAL = 100_000
"""So wide that nothing is cut off."""


def open_console(*, stderr: bool = False) -> Console:
    """Return a console on the standard output, or on the standard error."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL,
        highlight=False,
        markup=False,
        emoji=False,
    )


def print_table(console: Console, table: Table) -> None:
    """Print a table as it suits the console."""
    table.title_justify = "left"
    if console.is_terminal:
        fold(table)
        console.print(table)
        return
    table.box = None
    table.pad_edge = False
    table.padding = (0, 2, 0, 0)
    for column in table.columns:
        column.no_wrap = True
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        # the last column is filled up to its width
        console.print(line.rstrip(), soft_wrap=True)


def fold(table: Table) -> None:
    """Break words that are too long; half a name is none that could be typed."""
    for column in table.columns:
        column.overflow = "fold"
