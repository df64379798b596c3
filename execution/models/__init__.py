"""The tables, as SQLAlchemy models.

For readers of the schema and for queries: what exists, how it hangs together, and
which rows are impossible. Each constraint says why it is there. The rows never
leave the modules that query them; others get the frozen values of `results`.

The schema's name is not written here: the engine in `queries` translates it.
What workers write at speed goes through the functions in `sql/`, not through these
classes, so that a worker need not import an ORM.
"""

from execution.models.executions import (
    CachedResult,
    Execution,
    ExecutionStep,
    Relay,
    Submission,
)
from execution.models.history import (
    ExecutionCheckpoint,
    ExecutionEvent,
    ExecutionLog,
    ExecutionMetric,
    ExecutionState,
    StepAttempt,
)
from execution.models.plans import Action, Plan, PlanStep
from execution.models.tables import Base
from execution.models.workers import Installation, Pulse, Queue, Worker

__all__ = [
    "Action",
    "Base",
    "CachedResult",
    "Execution",
    "ExecutionCheckpoint",
    "ExecutionEvent",
    "ExecutionLog",
    "ExecutionMetric",
    "ExecutionState",
    "ExecutionStep",
    "Installation",
    "Plan",
    "PlanStep",
    "Pulse",
    "Queue",
    "Relay",
    "StepAttempt",
    "Submission",
    "Worker",
]
