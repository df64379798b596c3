"""How far an execution is: a percentage, the steps at work, and when it may be done.

A step that has ended counts fully, a running one by what it reports. The estimate
takes the pace so far for the pace to come, and is None before there is one.
"""

from collections.abc import Sequence
from datetime import datetime

from execution.errors import ExecutionNotFoundError
from execution.repository import ExecutionRepository
from execution.results import ExecutionProgress, ExecutionSummary, StepSummary
from execution.states import TERMINAL_STEP_STATUSES, ExecutionStatus, StepStatus


class ExecutionProgressTracker:
    """Answers how far an execution is."""

    def __init__(self, repository: ExecutionRepository) -> None:
        """Read from `repository`."""
        self._repository = repository

    def get_progress(self, execution_id: str) -> ExecutionProgress:
        """Return the progress of an execution.

        Raises ExecutionNotFoundError when there is no such one.
        """
        execution = self._repository.get_by_id(execution_id)
        if execution is None:
            raise ExecutionNotFoundError(f"there is no execution {execution_id}")
        steps = self._repository.list_steps(execution_id)
        return compute_progress(execution, steps, self._repository.read_clock())


def compute_progress(
    execution: ExecutionSummary, steps: Sequence[StepSummary], now: datetime
) -> ExecutionProgress:
    """Return the progress of an execution with these steps; `now` is the database's."""
    ended = sum(step.status in TERMINAL_STEP_STATUSES for step in steps)
    running = [step for step in steps if step.status is StepStatus.RUNNING]
    partial = sum((step.progress or 0.0) / 100 for step in running)
    share = 1.0 if not steps else (ended + partial) / len(steps)
    told = [step.progress_message for step in running if step.progress_message]
    return ExecutionProgress(
        # rounded up to 100, the last of many steps would look done
        percentage=min(round(100 * share, 1), 100.0 if share >= 1 else 99.9),
        completed_steps=ended,
        total_steps=len(steps),
        current_steps=tuple(step.name for step in running),
        phase=execution.status.value,
        message=told[-1] if told else None,
        eta_seconds=_estimate(execution, share, now),
    )


def _estimate(execution: ExecutionSummary, share: float, now: datetime) -> float | None:
    if execution.status is not ExecutionStatus.RUNNING or execution.started_at is None:
        return None
    if not 0 < share < 1:
        return None
    elapsed = (now - execution.started_at).total_seconds()
    # a clock that was set back says nothing of the pace
    return round(elapsed * (1 - share) / share, 1) if elapsed > 0 else None
