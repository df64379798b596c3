"""The table of sales, in a file of SQLite.

Promises: a file is loaded whole or not at all; loading it again changes nothing; and of
two rows about one sale the later one is kept, in whichever order they are loaded.

Must not know plans.
"""

import csv
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date
from decimal import Decimal
from pathlib import Path

_COLUMNS = ["sale", "day", "amount"]
_LOCK_SECONDS = 30  # SQLite lets one connection write at a time

Row = tuple[str, str, int]


class UnreadableFileError(ValueError):
    """A file that is not what it should be, and will not be later on."""


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file: sale, day, cents.

    Raises UnreadableFileError, with the line, for a file that has another form.
    """
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.reader(file)
        try:
            _check_columns(next(reader, []))
            return [_read_row(cells) for cells in reader]
        except (ValueError, ArithmeticError, csv.Error) as error:
            place = f"{path.name}, line {reader.line_num}"
            raise UnreadableFileError(f"{place}: {error}") from error


def _check_columns(names: Sequence[str]) -> None:
    if names != _COLUMNS:
        raise ValueError(f"the columns must be {', '.join(_COLUMNS)}")


def _read_row(cells: Sequence[str]) -> Row:
    sale, day, amount = cells
    return sale, date.fromisoformat(day).isoformat(), round(Decimal(amount) * 100)


def create_table(database: str) -> None:
    """Create the table if it is not there."""
    with _writing(database) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS sales ("
            " sale text PRIMARY KEY, day text NOT NULL, cents integer NOT NULL)"
        )


def upsert(database: str, rows: Sequence[Row]) -> None:
    """Store rows under their keys; of two with one key, the later is kept."""
    with _writing(database) as connection:
        connection.executemany(
            "INSERT INTO sales VALUES (?, ?, ?)"
            " ON CONFLICT (sale) DO UPDATE"
            " SET day = excluded.day, cents = excluded.cents"
            " WHERE (excluded.day, excluded.cents) > (sales.day, sales.cents)",
            rows,
        )


def sum_up(database: str) -> tuple[int, int]:
    """Return how many sales there are, and their cents in all."""
    with _writing(database) as connection:
        statement = "SELECT count(*), coalesce(sum(cents), 0) FROM sales"
        count, cents = connection.execute(statement).fetchone()
    return count, cents


@contextmanager
def _writing(database: str) -> Iterator[sqlite3.Connection]:
    opened = sqlite3.connect(database, timeout=_LOCK_SECONDS)
    with closing(opened) as connection, connection:
        yield connection
