"""Executions within executions, as the database keeps them: begun, moved, told of.

Every act is one call of a function in `sql/19_*.sql` and a compare-and-set; no
call locks two executions. Knows neither how plans are read nor what is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from .answers import Completion, HeldStep, Recorded, read_completion
from .database import Database
from .states import ExecutionStatus
from .windows import Window, read_windows


@dataclass(frozen=True)
class Subplan:
    """A published plan that a step names, and what its parameters must be."""

    plan_id: str
    declarations: Mapping[str, Any]


class Begun(StrEnum):
    """Whether a child was begun; the SQL says what each asks of the caller."""

    BEGUN = "begun"
    REPEATED = "repeated"
    REFUSED = "refused"
    REFUSED_KEY = "refused_key"
    POSTPONED = "postponed"
    TOO_DEEP = "too_deep"
    STALE = "stale"


@dataclass(frozen=True)
class BeginAnswer:
    """The answer to a child that is to begin; to send for it and its parent."""

    outcome: Begun
    detail: str | None
    last_seq: int
    child_last_seq: int | None
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class Word:
    """What has to be told of an execution; without a number, nothing was left.

    `children` are those that do not stand where it wants them.
    """

    number: int | None
    has_ended: bool
    children: tuple[str, ...]


@dataclass(frozen=True)
class MovedChild:
    """A child that has followed its parent; `act` is None when it had nothing to do."""

    act: str | None
    last_seq: int | None
    has_to_finish: bool
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class ToldParent:
    """An execution that was told of the end of its child, and where it stands now."""

    execution_id: str
    completion: Completion


class ChildRecords:
    """Begins children, lets them follow their parents, and tells these of their end."""

    def __init__(self, database: Database) -> None:
        """Write through `database`."""
        self._database = database

    def find_subplan(self, name: str) -> Subplan | None:
        """Return the plan published as `NAME` or `NAME@VERSION`, or None."""
        row = self._database.call("find_subplan", name)
        if row["plan_id"] is None:
            return None
        return Subplan(str(row["plan_id"]), row["declarations"])

    def begin(
        self,
        held: HeldStep,
        subplan: Subplan,
        *,
        child_id: str,
        parameters: str,
        recorded_input: str,
    ) -> BeginAnswer:
        """Begin the execution `child_id` for a step, which waits for it from then on.

        `parameters` are bound, as JSON text. The same call made again answers the same.
        """
        row = self._database.call(
            "begin_child",
            held.execution_id,
            held.position,
            held.token,
            subplan.plan_id,
            child_id,
            parameters,
            recorded_input,
        )
        return BeginAnswer(
            Begun(row["outcome"]),
            row["detail"],
            row["last_seq"],
            row["child_last_seq"],
            (
                *read_windows(held.execution_id, row["epoch"], row["windows"]),
                *read_windows(child_id, 1, row["child_windows"]),
            ),
        )

    def read_word(self, execution_id: str) -> Word:
        """Return what has to be told of an execution."""
        row = self._database.call("read_relay", execution_id)
        children = tuple(str(child) for child, _ in row["children"] or ())
        return Word(row["number"], bool(row["has_ended"]), children)

    def move(self, child_id: str) -> MovedChild:
        """Let a child follow its parent, if it still has to."""
        row = self._database.call("move_child", child_id)
        return MovedChild(
            row["act"],
            row["last_seq"],
            row["status"] == ExecutionStatus.ENDING and row["open_steps"] == 0,
            read_windows(child_id, row["epoch"] or 1, row["windows"]),
        )

    def forget_word(self, execution_id: str, number: int) -> bool:
        """Forget what was told; False when there is more to tell by now."""
        return bool(
            self._database.call("forget_relay", execution_id, number)["forget_relay"]
        )

    def end(self, child_id: str) -> ToldParent | None:
        """Tell the parent of an ended execution; None when nobody waits to hear it."""
        row = self._database.call("end_child", child_id)
        if row["outcome"] == "nothing":
            return None
        parent = str(row["parent"])
        return ToldParent(parent, read_completion(parent, Recorded.RECORDED, row))
