"""The tables, as SQLAlchemy models.

For readers of the schema and for queries: what exists, how it hangs together, and
which rows are impossible. Each constraint says why it is there. The rows never
leave the modules that query them; others get the frozen values of `results`.

The schema's name is not written here: the engine in `queries` translates it.
What workers write at speed goes through the functions in `sql/`, not through these
classes, so that a worker need not import an ORM.
"""

from .batches import Batch, BatchItem
from .dependencies import Dependency, DependencyOutcome, DependencyPass
from .executions import (
    CachedResult,
    Execution,
    ExecutionStep,
    Relay,
    Submission,
)
from .history import (
    ExecutionCheckpoint,
    ExecutionEvent,
    ExecutionLog,
    ExecutionMetric,
    ExecutionState,
    StepAttempt,
)
from .holds import Hold, PastHold
from .plans import Action, Plan, PlanStep
from .schedules import Schedule, ScheduleChange, ScheduleRun
from .signals import ExecutionSignal
from .tables import Base
from .workers import Installation, Pulse, Queue, Worker

__all__ = [
    "Action",
    "Base",
    "Batch",
    "BatchItem",
    "CachedResult",
    "Dependency",
    "DependencyOutcome",
    "DependencyPass",
    "Execution",
    "ExecutionCheckpoint",
    "ExecutionEvent",
    "ExecutionLog",
    "ExecutionMetric",
    "ExecutionSignal",
    "ExecutionState",
    "ExecutionStep",
    "Hold",
    "Installation",
    "PastHold",
    "Plan",
    "PlanStep",
    "Pulse",
    "Queue",
    "Relay",
    "Schedule",
    "ScheduleChange",
    "ScheduleRun",
    "StepAttempt",
    "Submission",
    "Worker",
]
