"""The writes of those who carry out batches: what is next, and one act at a time.

Each is one call of a function in `sql/` and one transaction; an act and the mark of its
item are the same one. Knows neither Celery nor Redis nor SQLAlchemy.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .database import Database
from .states import ExecutionStatus
from .windows import Window, read_windows


@dataclass(frozen=True)
class Handful:
    """Items of a batch to act on now; or, if there are none, when to ask again.

    `is_running` says whether the batch goes on, None that this was no moment to ask.
    """

    is_running: bool | None
    positions: tuple[int, ...]
    wait_seconds: float


@dataclass(frozen=True)
class Deed:
    """What came of one item: whether it was acted on, and what follows from that."""

    execution_id: str
    is_acted_on: bool
    is_stopped: bool
    last_seq: int | None
    has_to_finish: bool
    held_key: str | None
    windows: tuple[Window, ...]


class BatchRecords:
    """Hands out the items of batches, and acts on them."""

    def __init__(self, database: Database) -> None:
        """Write through `database`."""
        self._database = database

    def find_due(self, most: int) -> tuple[str, ...]:
        """Return batches that go on, the oldest first."""
        rows = self._database.call_all("due_batches", most)
        return tuple(row["due_batches"] for row in rows)

    def hand_out(
        self, batch_id: str, *, most: int, grace_seconds: float, can_send: bool
    ) -> Handful:
        """Return the next items of a batch, as many as its rate allows.

        None, unless who asks `can_send`, of one that lets steps run.

        What others were handed out and have not marked is given again once nothing
        else is left, and nothing was handed out for `grace_seconds`.
        """
        row = self._database.call(
            "hand_out_items", batch_id, most, grace_seconds, can_send
        )
        return Handful(
            is_running=row["status"] and row["status"] == "running",
            positions=tuple(row["positions"]),
            wait_seconds=row["wait_seconds"] or 0.0,
        )

    def act(self, batch_id: str, position: int) -> Deed:
        """Act on the execution of one item and mark it, unless that was done."""
        row = self._database.call("act_on_item", batch_id, position)
        return _read_deed(str(row["execution_id"]), row)


def _read_deed(execution_id: str, row: Mapping[str, Any]) -> Deed:
    return Deed(
        execution_id=execution_id,
        is_acted_on=row["last_seq"] is not None,
        is_stopped=row["outcome"] == "stopped",
        last_seq=row["last_seq"],
        has_to_finish=row["status"] == ExecutionStatus.ENDING
        and row["open_steps"] == 0,
        held_key=row["held_key"],
        windows=read_windows(execution_id, row["epoch"] or 1, row["windows"] or ()),
    )
