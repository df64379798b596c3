"""What operators do to one execution, as the database does it, or would.

Each act is one call of a function in `sql/28_operations.sql`: it lands once, whoever
calls again, or says why it is refused. Knows neither what is sent nor who is told.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .acts import Act, ActPreview, PreviewedStep, Refusal, StepRole
from .answers import Claim, Run, read_claim
from .database import Database
from .large_values import Read
from .receipts import Move, read_move
from .states import StepStatus


@dataclass(frozen=True)
class ActAnswer:
    """What an act came to: how the execution has moved, or why it was refused.

    `about` says more of the refusal. `held_key` is the key that it waits for.
    """

    move: Move
    epoch: int | None
    refusal: Refusal | None
    about: str | None
    held_key: str | None


@dataclass(frozen=True)
class StoppedStep:
    """A step of an ended execution, as it would be claimed once more.

    `of_step` is its place in the plan, `role` what a retry makes of it, if anything.
    `open_needs` names what has to be settled first.
    """

    position: int
    of_step: int
    role: StepRole | None
    has_items: bool
    open_needs: str | None
    claim: Claim


class OperationRecords:
    """Acts of operators, in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        """Write through `database`."""
        self._database = database

    def operate(
        self,
        act: Act,
        execution_id: str,
        *,
        act_id: str,
        epoch: int,
        step: str | None = None,
        result: str | None = None,
        inputs: Mapping[int, Any] | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> ActAnswer:
        """Do an act to what `epoch` has left; `act_id` once done is not done again.

        `result` is JSON text; `inputs` are {input, changed} by the positions of steps.
        """
        row = self._database.call(
            "operate_execution",
            execution_id,
            act_id,
            act.value,
            step,
            result,
            json.dumps(inputs or {}, ensure_ascii=False),
            epoch,
            by,
            reason,
        )
        refusal = Refusal(row["refusal"]) if row["refusal"] else None
        move = read_move(execution_id, {**row, "landed": refusal is None})
        return ActAnswer(move, row["epoch"], refusal, row["about"], row["held_key"])

    def find_stopped(
        self, execution_id: str, step: str, read: Read
    ) -> StoppedStep | None:
        """Return a step by its name, if there is one; `read` is for large values."""
        row = self._database.call("describe_stopped", execution_id, step)
        if row["position"] is None:
            return None
        run = Run(execution_id, row["plan"], row["parameters"], row["execution"])
        is_known = row["role"] in set(StepRole)
        return StoppedStep(
            position=row["position"],
            of_step=row["of_step"],
            role=StepRole(row["role"]) if is_known else None,
            has_items=row["has_items"],
            open_needs=row["open_needs"],
            claim=read_claim(run, "", row["claim"], {}, read),
        )

    def preview(
        self,
        act: Act,
        execution_id: str,
        *,
        step: str | None = None,
        renewed: tuple[int, ...] = (),
    ) -> tuple[ActPreview | None, Refusal | None, str | None]:
        """Return what an act would come to now, or why it would be refused."""
        row = self._database.call(
            "preview_act", execution_id, act.value, step, list(renewed)
        )
        if row["refusal"]:
            return None, Refusal(row["refusal"]), row["about"]
        steps = tuple(_read_previewed(step) for step in row["steps"])
        return ActPreview(act, execution_id, row["status"], steps), None, None


def _read_previewed(row: list[Any]) -> PreviewedStep:
    execution_id, name, action, role, status, attempts, seconds = row
    return PreviewedStep(
        execution_id=str(execution_id),
        step=name,
        action=action,
        role=StepRole(role),
        status=StepStatus(status),
        attempts=attempts,
        seconds=float(seconds),
    )
