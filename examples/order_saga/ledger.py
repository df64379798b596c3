"""The ledger of a shop, in a file of SQLite: each effect once, under its key.

It stands for services that recognise a repeated request. Promises: however often an
effect is booked under one key, it is there once, and the first answer is given again.

Must not know plans.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TypedDict

_LOCK_SECONDS = 30  # SQLite lets one connection write at a time


class Booked(TypedDict):
    """An effect as it stands in the ledger."""

    key: str
    account: str
    amount: int


def book(
    path: str, key: str, account: str, amount: int, *, lossy: bool = False
) -> Booked:
    """Book an amount unless that was done under this key; return what is booked.

    Raises ConnectionError after the booking, if it is new and the line is `lossy`.
    """
    with _writing(path) as connection:
        added = connection.execute(
            "INSERT INTO effects (key, account, amount) VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO NOTHING",
            (key, account, amount),
        ).rowcount
        statement = "SELECT account, amount FROM effects WHERE key = ?"
        account, amount = connection.execute(statement, (key,)).fetchone()
    if added and lossy:
        raise ConnectionError(f"the answer to {key} was lost")
    return {"key": key, "account": account, "amount": amount}


def read_effects(path: str) -> list[Booked]:
    """Return every effect, in the order in which they were booked."""
    with _writing(path) as connection:
        statement = "SELECT key, account, amount FROM effects ORDER BY number"
        return [
            {"key": key, "account": account, "amount": amount}
            for key, account, amount in connection.execute(statement)
        ]


@contextmanager
def _writing(path: str) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(path, timeout=_LOCK_SECONDS)) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS effects (number integer PRIMARY KEY,"
            " key text UNIQUE NOT NULL, account text NOT NULL, amount integer NOT NULL)"
        )
        with connection:
            yield connection
