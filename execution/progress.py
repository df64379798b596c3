"""How far an execution is: a percentage, the steps at work, and when it may be done.

A step that has ended counts fully, a running one by what it reports. The estimate
takes the pace so far for the pace to come, and is None before there is one.
"""

from datetime import datetime

from .errors import ExecutionNotFoundError
from .repository import ExecutionRepository
from .results import ExecutionProgress, ExecutionSummary, RunningSteps
from .states import ExecutionStatus


class ExecutionProgressTracker:
    """Answers how far an execution is."""

    def __init__(self, repository: ExecutionRepository) -> None:
        """Read from `repository`."""
        self._repository = repository

    def get_progress(self, execution_id: str) -> ExecutionProgress:
        """Return the progress of an execution.

        Raises ExecutionNotFoundError when there is no such one.
        """
        found = self._repository.get_with_running(execution_id)
        if found is None:
            raise ExecutionNotFoundError(f"there is no execution {execution_id}")
        return compute_progress(*found)


def compute_progress(
    execution: ExecutionSummary, running: RunningSteps
) -> ExecutionProgress:
    """Return the progress of an execution of which `running` runs."""
    total = execution.total_steps
    ended = total - execution.open_steps
    share = (ended + running.progress_sum / 100) / total if total else 1.0
    return ExecutionProgress(
        # rounded up to 100, the last of many steps would look done
        percentage=min(round(100 * share, 1), 100.0 if share >= 1 else 99.9),
        completed_steps=ended,
        total_steps=total,
        current_steps=running.names,
        phase=execution.status.value,
        message=running.message,
        eta_seconds=_estimate(execution, share, running.seen_at),
        running_steps=running.count,
    )


def _estimate(execution: ExecutionSummary, share: float, now: datetime) -> float | None:
    if execution.status is not ExecutionStatus.RUNNING or execution.started_at is None:
        return None
    if not 0 < share < 1:
        return None
    elapsed = (now - execution.started_at).total_seconds()
    # a clock that was set back says nothing of the pace
    return round(elapsed * (1 - share) / share, 1) if elapsed > 0 else None
