"""A plan as it is stored: the rows of its steps, and what holds for its executions.

Promises: pure; the names are those of the columns of `plan_steps` and `plans`. Knows no
connection.
"""

import json
from dataclasses import asdict
from typing import Any

from .plan import CompiledStep, Plan


def describe_concurrency(plan: Plan) -> tuple[str | None, int | None, str | None]:
    """Return the key, the limit and the rule of a plan's executions, if it has any."""
    stated = plan.concurrency
    if stated is None:
        return None, None, None
    parts = json.dumps(stated.key_parts, ensure_ascii=False)
    return parts, stated.limit, stated.on_conflict.value


def describe_step(step: CompiledStep) -> dict[str, Any]:
    """Return the row of a compiled step, by its columns."""
    return {
        "position": step.position,
        "name": step.name,
        "action": step.action,
        "queue": step.queue,
        "priority": step.priority,
        "needs": list(step.needs),
        "successors": list(step.successors),
        "reads": list(step.reads),
        "survives_skips": step.survives_skips,
        "on_failure": step.on_failure,
        "timeout_seconds": step.timeout_seconds,
        "deadline_seconds": step.deadline_seconds,
        "max_attempts": step.max_attempts,
        "max_lost": step.max_lost,
        "retry": step.retry.to_json(),
        "retries_timeouts": step.retry.retries_timeouts,
        "condition": step.condition,
        "inputs": step.inputs,
        "section": step.section,
        "run_on": step.run_on,
        "undoes": step.undoes,
        "for_each": step.for_each,
        "max_parallel": step.max_parallel,
        "tolerate": step.tolerate,
        "tolerate_percent": step.tolerate_percent,
        "fallback": step.fallback,
        "stands_in_for": step.stands_in_for,
        "restore": step.restore,
        "restore_times": step.restore_times,
        "cache": step.cache.to_json() if step.cache else None,
        "item_reads": None if step.item_reads is None else list(step.item_reads),
        "subplan": step.subplan,
        "uses": list(step.uses),
        "repeat": None if step.repeat is None else asdict(step.repeat),
        "awaits": step.awaits,
        "payload": step.payload,
    }
