"""What the writes of owners came to: whether they landed, and what is to be sent.

Frozen values, and how the rows of functions are read into them. Knows no connection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .holds import Hold
from .results import RunningStep
from .states import ExecutionStatus
from .windows import Link, Window, read_windows


@dataclass(frozen=True)
class Submitted:
    """What a submit came to: the execution, and the windows to send.

    `held_key` is the key that it waits for, as the database names it.
    """

    execution_id: str
    is_new: bool
    last_seq: int | None
    windows: tuple[Window, ...]
    held_key: str | None = None


@dataclass(frozen=True)
class SubmittedChunk:
    """What a submit of many came to: their ids in order, and the windows to send.

    `held_keys` are those that some of them wait for.
    """

    execution_ids: tuple[str, ...]
    windows: tuple[Window, ...]
    held_keys: tuple[str, ...] = ()


@dataclass(frozen=True)
class Move:
    """Whether a change of state landed, where the execution stands, what to send.

    `status` is None when there is no such execution.
    """

    landed: bool
    status: ExecutionStatus | None
    last_seq: int | None = None
    open_steps: int | None = None
    windows: tuple[Window, ...] = ()


@dataclass(frozen=True)
class HoldAnswer:
    """What a pause or a resume of all of a plan, a tag or a queue came to.

    `hold` is the one that was set or ended. A pause that did not land tells of the one
    that there was; a resume that did not found none. `running_steps` are the first
    thousand that still run of what is paused.
    """

    landed: bool
    hold: Hold | None
    running_steps: tuple[RunningStep, ...] = ()
    warning: str | None = None


def read_submitted(
    row: Mapping[str, Any], runs: Sequence[tuple[Link, ...]]
) -> Submitted:
    """Return what a submit came to; `runs` are the links that it has to send."""
    begun = str(row["execution_id"])
    return Submitted(
        execution_id=begun,
        is_new=row["outcome"] == "created",
        last_seq=row["last_seq"],
        windows=tuple(Window(begun, 1, run) for run in runs),
        held_key=row["held_key"],
    )


def read_move(execution_id: str, row: Mapping[str, Any]) -> Move:
    """Return what the database answered to a change of state."""
    return Move(
        landed=row["landed"],
        status=ExecutionStatus(row["status"]) if row["status"] else None,
        last_seq=row.get("last_seq"),
        open_steps=row.get("open_steps"),
        windows=read_windows(
            execution_id, row.get("epoch") or 1, row.get("windows") or ()
        ),
    )
