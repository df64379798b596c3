"""celery-plans: durable plans on Celery, Redis and PostgreSQL.

The public names. Each is imported when it is first used, so that a worker, which
imports this package for `@action`, does not load what only producers need.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from execution.actions import action
    from execution.context import Context
    from execution.engine import ExecutionEngine
    from execution.errors import (
        ExecutionFailedError,
        ExecutionNotFinishedError,
        ExecutionNotFoundError,
        FatalError,
        ParameterError,
        PlanNotFoundError,
        PlansError,
        PlanValidationError,
        RetryableError,
        SubmissionConflictError,
    )
    from execution.events import ExecutionEventEmitter
    from execution.lifecycle import ExecutionStateManager
    from execution.plan import Plan, Step
    from execution.progress import ExecutionProgressTracker
    from execution.queries import ExecutionFilter
    from execution.recovery import Recovery
    from execution.repository import ExecutionRepository
    from execution.results import ExecutionProgress, ExecutionResult, ExecutionUpdate
    from execution.runner import ExecutionTaskRunner
    from execution.settings import Settings
    from execution.states import ExecutionStatus, StepStatus
    from execution.strategies import recovery_strategy

CELERY_PLANS = True
"""Tells this package from another that happens to be called `execution`."""

__all__ = [
    "Context",
    "ExecutionEngine",
    "ExecutionEventEmitter",
    "ExecutionFailedError",
    "ExecutionFilter",
    "ExecutionNotFinishedError",
    "ExecutionNotFoundError",
    "ExecutionProgress",
    "ExecutionProgressTracker",
    "ExecutionRepository",
    "ExecutionResult",
    "ExecutionStateManager",
    "ExecutionStatus",
    "ExecutionTaskRunner",
    "ExecutionUpdate",
    "FatalError",
    "ParameterError",
    "Plan",
    "PlanNotFoundError",
    "PlanValidationError",
    "PlansError",
    "Recovery",
    "RetryableError",
    "Settings",
    "Step",
    "StepStatus",
    "SubmissionConflictError",
    "action",
    "recovery_strategy",
]

_HOMES = {
    "Context": "context",
    "ExecutionEngine": "engine",
    "ExecutionEventEmitter": "events",
    "ExecutionFailedError": "errors",
    "ExecutionFilter": "queries",
    "ExecutionNotFinishedError": "errors",
    "ExecutionNotFoundError": "errors",
    "ExecutionProgress": "results",
    "ExecutionProgressTracker": "progress",
    "ExecutionRepository": "repository",
    "ExecutionResult": "results",
    "ExecutionStateManager": "lifecycle",
    "ExecutionStatus": "states",
    "ExecutionTaskRunner": "runner",
    "ExecutionUpdate": "results",
    "FatalError": "errors",
    "ParameterError": "errors",
    "Plan": "plan",
    "PlanNotFoundError": "errors",
    "PlanValidationError": "errors",
    "PlansError": "errors",
    "Recovery": "recovery",
    "RetryableError": "errors",
    "Settings": "settings",
    "Step": "plan",
    "StepStatus": "states",
    "SubmissionConflictError": "errors",
    "action": "actions",
    "recovery_strategy": "strategies",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'execution' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"execution.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
