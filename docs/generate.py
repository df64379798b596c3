"""Writes the pages that derive from the code: states and moves, tables and fields.

python docs/generate.py            write them
python docs/generate.py --check    say which are out of date, and exit with 1
"""

import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sqlalchemy import CheckConstraint, Column, Table

from execution import models
from execution.states import (
    EXECUTION_MOVES,
    STEP_MOVES,
    TERMINAL_EXECUTION_STATUSES,
    TERMINAL_STEP_STATUSES,
    ExecutionMove,
    ExecutionStatus,
    StepMove,
    StepStatus,
)

DOCS = Path(__file__).parent

EXECUTION_STATES: Mapping[ExecutionStatus, str] = {
    ExecutionStatus.PENDING: "submitted; no step has been claimed yet",
    ExecutionStatus.RUNNING: "steps start as soon as what they need is settled",
    ExecutionStatus.PAUSED: "running steps end and are recorded, none starts",
    ExecutionStatus.ENDING: "nothing starts any more; what runs is waited for",
    ExecutionStatus.COMPLETED: "all steps are settled and there is a result",
    ExecutionStatus.FAILED: "a step aborted it, or its result could not be made",
    ExecutionStatus.CANCELLED: "somebody asked for the end",
    ExecutionStatus.TIMED_OUT: "kept for deadlines of plans, which are not there yet",
}
STEP_STATES: Mapping[StepStatus, str] = {
    StepStatus.PENDING: "waits for other steps",
    StepStatus.READY: "may run; a message is under way, or will be",
    StepStatus.RUNNING: "an attempt holds it, by a lease token",
    StepStatus.WAITING: "kept for durable timers, which are not there yet",
    StepStatus.COMPLETED: "recorded with its result",
    StepStatus.FAILED: "its attempts, or its losses, are used up",
    StepStatus.SKIPPED: "all its needs were skipped, or its failure is skipped over",
    StepStatus.CANCELLED: "the execution ended before it started",
    StepStatus.TIMED_OUT: "its last attempt outlived the timeout",
}

MEANINGS: Mapping[str, str] = {
    "action": "name of the code that runs",
    "actions": "names that the worker has code for",
    "advanced_at": "when the pulse was advanced last",
    "at": "when",
    "attempt": "number of the attempt, from 1; 0 before the first",
    "attempt_deadline": "when the attempt is over, if it has a timeout",
    "beat_at": "last heartbeat",
    "by": "who asked for it",
    "chunks": "count that the step reports",
    "claimed_at": "when the attempt began",
    "claimed_by_ride": "claimed without a message of its own; always false so far",
    "created_at": "when it was stored",
    "data": "what belongs to it, as JSON",
    "definition": "the document, canonical",
    "deliveries": "ids of the messages in hand at the last beat",
    "delivery": "id of the message that brought it",
    "digest": "SHA-256 of what must be the same",
    "doc": "first line of the action's documentation",
    "end_reason": "stopped, or lost",
    "ended_at": "when it ended",
    "epoch": "generation of messages; older ones are dropped",
    "error": "code, message, step, timestamp, recoverable, context",
    "execution_id": "the execution",
    "failures": "attempts that ended in the code's own error or timeout",
    "from_status": "state before; none at the submit",
    "functions_digest": "which release's functions are installed",
    "hostname": "Celery's name of the worker",
    "id": "identity",
    "input": "inputs as they were evaluated",
    "inputs": "template of the inputs",
    "is_only": "always true: there is one row",
    "key": "idempotency key",
    "lease_token": "drawn for each claim; every write of the attempt carries it",
    "level": "level of the line",
    "losses": "attempts whose process vanished",
    "max_attempts": "failures after which the step ends",
    "max_lost": "losses after which the step ends",
    "message": "text",
    "name": "name",
    "needs": "positions that it waits for",
    "next_seq": "number of the next event",
    "on_failure": "abort or skip",
    "open_steps": "steps that have not ended",
    "outcome": "failed, timed_out, lost or cancelled",
    "parameters": "values that the execution was submitted with",
    "pending_deps": "needs that are not settled yet",
    "pid": "process id of the worker's main process",
    "plan_id": "the plan",
    "pool": "prefork, threads or solo",
    "position": "place of the step in the plan, from 0",
    "priority": "higher is sent first",
    "progress": "percentage that the step reports",
    "progress_message": "word that goes with it",
    "published_at": "when its message was sent last",
    "publishes": "how often its message was sent",
    "pulse": "the pulse at the last beat",
    "queue": "Celery queue",
    "queues": "queues that the worker serves",
    "reads": "positions that the inputs name",
    "ready_at": "when it became ready",
    "reason": "why",
    "records": "count that the step reports",
    "result": "what came out, or the template of it",
    "result_reads": "positions that the result names",
    "sampled_at": "the sample of what is in hand was begun after this",
    "saved_at": "when it was saved",
    "seq": "number within the execution, without gaps for events",
    "signature": "parameters of the action",
    "slots": "steps that it runs at once",
    "started_at": "when it started",
    "status": "state",
    "successors": "positions that wait for it",
    "survives_skips": "runs even when all its needs were skipped",
    "tags": "words to find it by",
    "timeout_seconds": "longest time of one attempt",
    "to_status": "state after",
    "tokens": "lease tokens that living processes show at the last beat",
    "total_steps": "steps in all",
    "type": "name of the event",
    "value": "number",
    "variables": "what steps have set",
    "version": "version that the document names",
    "wake_at": "kept for durable timers",
    "worker_id": "who holds it",
    "published_at@actions": "when a worker published it last",
    "digest@submissions": "SHA-256 of plan, parameters, tags and priority",
    "value@pulse": "seconds that were lived through",
}


def build_state_page() -> str:
    """Return docs/state_machine.md."""
    return "\n".join(
        [
            "# States and moves",
            "",
            "Generated from `execution/states.py` by `python docs/generate.py`. These",
            "tables make the guard in the database, which refuses every other move.",
            "",
            "## Execution",
            "",
            *_draw(EXECUTION_MOVES, TERMINAL_EXECUTION_STATUSES),
            *_list_states(EXECUTION_STATES, TERMINAL_EXECUTION_STATUSES),
            "## Step",
            "",
            *_draw(STEP_MOVES, TERMINAL_STEP_STATUSES),
            *_list_states(STEP_STATES, TERMINAL_STEP_STATUSES),
        ]
    )


Status = ExecutionStatus | StepStatus
Moves = (
    Mapping[tuple[ExecutionStatus, ExecutionMove], ExecutionStatus]
    | Mapping[tuple[StepStatus, StepMove], StepStatus]
)


def _draw(moves: Moves, terminal: Iterable[Status]) -> Iterable[str]:
    yield "```mermaid"
    yield "stateDiagram-v2"
    yield "    [*] --> pending"
    for (before, move), after in moves.items():
        yield f"    {before} --> {after}: {move.replace('_', ' ')}"
    for status in sorted(terminal):
        yield f"    {status} --> [*]"
    yield "```"
    yield ""


def _list_states(
    states: Mapping[ExecutionStatus, str] | Mapping[StepStatus, str],
    terminal: Iterable[Status],
) -> Iterable[str]:
    yield "| state | | |"
    yield "|---|---|---|"
    for status, meaning in states.items():
        yield f"| `{status}` | {meaning} | {'terminal' if status in terminal else ''} |"
    yield ""


def build_tables() -> str:
    """Return the part of docs/models.md that lists every table."""
    classes = {
        str(mapper.class_.__tablename__): mapper.class_
        for mapper in models.Base.registry.mappers
    }
    ordered = sorted(classes)
    return "\n".join(line for name in ordered for line in _describe(classes[name]))


def _describe(model: type) -> Iterable[str]:
    table: Table = model.__table__  # type: ignore[attr-defined]  # every model has one
    yield f"### `{table.name}`: {model.__name__}"
    yield ""
    yield inspect.cleandoc(model.__doc__ or "")
    yield ""
    yield "| field | type | | meaning |"
    yield "|---|---|---|---|"
    for column in table.columns:
        yield f"| `{column.name}` | {column.type} | {_keys(column)} | {_mean(column)} |"
    yield ""
    checks = sorted(
        f"- `{constraint.sqltext}`"
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    )
    if checks:
        yield from ["Impossible otherwise:", "", *checks, ""]


def _keys(column: Column[object]) -> str:
    marks = ["key"] if column.primary_key else []
    marks += [f"→ `{key.column.table.name}`" for key in column.foreign_keys]
    marks += ["may be empty"] if column.nullable else []
    return ", ".join(dict.fromkeys(marks))


def _mean(column: Column[object]) -> str:
    return MEANINGS.get(f"{column.name}@{column.table.name}") or MEANINGS[column.name]


def build_pages() -> dict[Path, str]:
    """Return every derived page with what it should hold."""
    models_page = DOCS / "models.md"
    head, mark, _ = models_page.read_text("utf-8").partition("<!-- generated -->\n")
    return {
        DOCS / "state_machine.md": build_state_page() + "\n",
        models_page: f"{head}{mark}\n{build_tables()}",
    }


def main() -> int:
    """Write the pages, or check them; return the exit code."""
    stale = [
        (path, text)
        for path, text in build_pages().items()
        if not path.exists() or path.read_text("utf-8") != text
    ]
    for path, text in stale:
        if "--check" in sys.argv:
            sys.stderr.write(f"{path} is out of date; run: python docs/generate.py\n")
        else:
            path.write_text(text, "utf-8")
    return int(bool(stale) and "--check" in sys.argv)


if __name__ == "__main__":
    sys.exit(main())
