"""Tables in a narrow terminal: as wide as it is, with all of every name."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from execution.cli.overseeing import MovingTable
from execution.cli.tables import print_table

NAME = "shop.tasks.orders.transcode"


def open_terminal(width: int) -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=width, no_color=True)


def read(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [24, 80])
def test_a_name_that_is_too_long_goes_on_in_the_next_line(width: int) -> None:
    table = Table("action", "state")
    table.add_row(NAME, "ready")
    console = open_terminal(width)

    print_table(console, table)

    lines = read(console).splitlines()
    cells = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    assert "".join(cells) == NAME
    assert max(len(line) for line in lines if "\x1b" not in line) <= width


@pytest.mark.parametrize(("has_bars", "count"), [(True, 6), (False, 5)])
def test_a_narrow_terminal_has_no_room_for_bars(has_bars: bool, count: int) -> None:
    table = MovingTable(5, str, has_bars=has_bars)

    assert len(table.draw().columns) == count
