"""What `--json` prints. The shapes, whose keys do not change within a format:

    validate  {"valid": bool, "plan": str|null, "version": str|null, "digest": str|null,
               "steps": int, "faults": [fault], "warnings": [warning], "file": str}
              of several files {"valid": bool, "faults": [fault], "files": [the above]}
    explain   explanation
    publish   {"plan": str, "version": str|null, "digest": str}
    versions  {"items": [version]}
    diff      {"same": bool, "before": identity, "after": identity,
               "changes": [difference]}
    submit    {"execution_id": str}; with --many {"execution_ids": [str]}
    run       result
    list      {"items": [execution], "total": int, "page": int, "page_size": int}
    workers   {"items": [worker]}
    actions   {"items": [action]}; with a name, the action
    show      {"execution": execution, "steps": [step], "history": [change]}
              and, with --events, "events": [event]
    watch     one update on each line
    pause, resume, cancel
              {"execution_id": str, "status": str, "running_steps": [name]}

    fault      place, message, line, column, file, code (E001; W001 for a warning), rule
    warning    rule, message
    explanation
               plan, version, digest, parameters, deadline_seconds, waves, longest_path,
               end, queues, steps, result_reads, warnings; in steps: position, name,
               action, section, wave, undoes, queue, priority, needs, reads, inputs,
               timeout_seconds, deadline_seconds, retry, max_lost, on_failure,
               skipped_if, for_each, max_parallel, repeat (until, times, wait_seconds),
               cache (ttl_seconds, key)
    version    name, version, digest, published_at, is_current
    identity   name, version, digest
    difference kind (added, removed, changed), place, before, after
    result     execution_id, status, value, error, started_at, ended_at
    execution  id, plan, version, status, reason, epoch, last_seq, open_steps,
               total_steps, tags, parameters, variables, result, error, created_at,
               started_at, ended_at
    step       position, name, action, queue, status, reason, attempt, failures, losses,
               progress, progress_message, worker_id, claimed_at, ended_at, error,
               cached_from (execution_id, step, stored_at, attempt; or null),
               iterations
    worker     id, hostname, pid, pool, slots, in_hand, queues, started_at,
               beat_age_seconds, round_age_seconds, round_seconds, deeds,
               last_deeds, last_deeds_age_seconds
    action     name, doc, signature, timeout_seconds, published_by, published_at,
               workers (hostnames)
    signature  parameters, others (JSON Schema), result (JSON Schema)
    parameter  name, is_required, hint, has_default, default, schema (JSON Schema)
    change     from_status, to_status, by, reason, at
    event      execution_id, seq, type, step, data, at
    update     execution_id, status, progress, events, last_seq
    progress   percentage, completed_steps, total_steps, current_steps (100 at most),
               phase, message, eta_seconds, running_steps
    error      code, message, step, timestamp, recoverable, context

Times are ISO 8601 with their offset from UTC; what is not known is null. Later
releases may add keys. The values are those of `execution.results`, field by field.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Any

import typer

from execution.cli.judging import Judged
from execution.cli.record import Record
from execution.comparison import Comparison


def to_json(value: Any) -> Any:
    """Return a value of ours in JSON types."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_json(getattr(value, f.name)) for f in fields(value)}
    match value:
        case Enum():
            return value.value
        case datetime():
            return value.isoformat()
        case Mapping():
            return {str(key): to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
        case Path():
            return str(value)
        case _:
            return value


def print_json(value: Any, *, on_one_line: bool = False) -> None:
    """Print a value of ours as JSON and flush, so that a pipe sees it at once."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower()
    text = json.dumps(
        to_json(value),
        indent=None if on_one_line else 2,
        # another encoding would turn letters into question marks
        ensure_ascii=not encoding.startswith("utf"),
    )
    typer.echo(text)
    sys.stdout.flush()


def shape_judged(judged: Sequence[Judged]) -> dict[str, Any]:
    """Return what `validate --json` prints of one file or of several."""
    shapes = [_shape_one(one) for one in judged]
    if len(shapes) == 1:
        return shapes[0]
    return {
        "valid": all(one.is_valid for one in judged),
        "faults": [fault for one in judged for fault in one.faults],
        "files": shapes,
    }


def _shape_one(judged: Judged) -> dict[str, Any]:
    plan = judged.plan
    return {
        "valid": judged.is_valid,
        "plan": plan.name if plan else None,
        "version": plan.version if plan else None,
        "digest": plan.digest if plan else None,
        "steps": len(plan.steps) if plan else 0,
        "faults": judged.faults,
        "warnings": judged.warnings,
        "file": judged.file,
    }


def shape_comparison(comparison: Comparison) -> dict[str, Any]:
    """Return what `diff --json` prints."""
    return {"same": comparison.is_same, **to_json(comparison)}


def shape_record(record: Record, *, with_events: bool) -> dict[str, Any]:
    """Return what `show --json` prints."""
    shape = {
        "execution": record.execution,
        "steps": record.steps,
        "history": record.history,
    }
    return shape | ({"events": record.events} if with_events else {})
