"""celery-plans: durable plans on Celery, Redis and PostgreSQL.

The public names. Each is imported when it is first used, so that a worker, which
imports this package for `@action`, does not load what only producers need.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .actions import action
    from .background import BackgroundTaskManager
    from .context import Context
    from .engine import ExecutionEngine
    from .errors import (
        ExecutionFailedError,
        ExecutionNotFinishedError,
        ExecutionNotFoundError,
        FatalError,
        FilterError,
        ParameterError,
        PlanNotFoundError,
        PlansError,
        PlanValidationError,
        RetryableError,
        SignalNotAwaitedError,
        SubmissionConflictError,
    )
    from .events import ExecutionEventEmitter
    from .filters import ExecutionFilter
    from .lifecycle import ExecutionStateManager
    from .observations import LineLevel, LogLine, Metric
    from .plan import Plan, Step
    from .progress import ExecutionProgressTracker
    from .recovery import Recovery
    from .repository import ExecutionRepository
    from .results import ExecutionProgress, ExecutionResult
    from .runner import ExecutionTaskRunner
    from .service import ExecutionService
    from .settings import Settings
    from .signal_records import Signal
    from .states import ExecutionStatus, StepStatus
    from .strategies import recovery_strategy
    from .updates import ExecutionUpdate

CELERY_PLANS = True
"""Tells this package from another that happens to be called `execution`."""

__all__ = [
    "BackgroundTaskManager",
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
    "ExecutionService",
    "ExecutionStateManager",
    "ExecutionStatus",
    "ExecutionTaskRunner",
    "ExecutionUpdate",
    "FatalError",
    "FilterError",
    "LineLevel",
    "LogLine",
    "Metric",
    "ParameterError",
    "Plan",
    "PlanNotFoundError",
    "PlanValidationError",
    "PlansError",
    "Recovery",
    "RetryableError",
    "Settings",
    "Signal",
    "SignalNotAwaitedError",
    "Step",
    "StepStatus",
    "SubmissionConflictError",
    "action",
    "recovery_strategy",
]

_HOMES = {
    "BackgroundTaskManager": "background",
    "Context": "context",
    "ExecutionEngine": "engine",
    "ExecutionEventEmitter": "events",
    "ExecutionFailedError": "errors",
    "ExecutionFilter": "filters",
    "ExecutionNotFinishedError": "errors",
    "ExecutionNotFoundError": "errors",
    "ExecutionProgress": "results",
    "ExecutionProgressTracker": "progress",
    "ExecutionRepository": "repository",
    "ExecutionResult": "results",
    "ExecutionService": "service",
    "ExecutionStateManager": "lifecycle",
    "ExecutionStatus": "states",
    "ExecutionTaskRunner": "runner",
    "ExecutionUpdate": "updates",
    "FatalError": "errors",
    "FilterError": "errors",
    "LineLevel": "observations",
    "LogLine": "observations",
    "Metric": "observations",
    "ParameterError": "errors",
    "Plan": "plan",
    "PlanNotFoundError": "errors",
    "PlanValidationError": "errors",
    "PlansError": "errors",
    "Recovery": "recovery",
    "RetryableError": "errors",
    "Settings": "settings",
    "Signal": "signal_records",
    "SignalNotAwaitedError": "errors",
    "Step": "plan",
    "StepStatus": "states",
    "SubmissionConflictError": "errors",
    "action": "actions",
    "recovery_strategy": "strategies",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
