"""Writes the pages that derive from the code: states and moves, tables, rules of plans.

python docs/generate.py            write them
python docs/generate.py --check    say which are out of date, and exit with 1
"""

import inspect
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sqlalchemy import CheckConstraint, Column, Index, Table, UniqueConstraint
from sqlalchemy.dialects import postgresql

from execution import models
from execution.language.rules import Rule
from execution.language.subjects import Subject
from execution.sql.guards import ROW_RULES
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
    ExecutionStatus.COMPLETED: "all steps are settled and the result is recorded",
    ExecutionStatus.FAILED: "a step aborted it, or its result could not be made",
    ExecutionStatus.CANCELLED: "somebody asked for the end",
    ExecutionStatus.TIMED_OUT: "the deadline of its plan has passed",
}
EXECUTION_CAUSES: Mapping[ExecutionMove, str] = {
    ExecutionMove.START: "the first claim of one of its steps",
    ExecutionMove.PAUSE: "`pause`",
    ExecutionMove.RESUME: "`resume`; the epoch rises",
    ExecutionMove.REQUEUE: "`resume`, of one that still waits for its key",
    ExecutionMove.END: "its last step ended, an aborting failure, `cancel`, a deadline",
    ExecutionMove.COMPLETE: "the finish of one that ends by its result",
    ExecutionMove.FAIL: "the finish of one that was aborted, or has a faulty result",
    ExecutionMove.CANCEL: "the finish of one that was cancelled",
    ExecutionMove.TIME_OUT: "the finish of one that outlived its deadline",
}
STEP_STATES: Mapping[StepStatus, str] = {
    StepStatus.PENDING: "waits for other steps",
    StepStatus.READY: "may run; a message is under way, or will be",
    StepStatus.RUNNING: "an attempt holds it, by a lease token",
    StepStatus.WAITING: "waits for a time before its next attempt, and holds nothing",
    StepStatus.COMPLETED: "recorded with its result",
    StepStatus.FAILED: "its attempts or losses are used up, or no other could help",
    StepStatus.SKIPPED: "its needs were all skipped, its condition was false, or its"
    " failure is skipped over",
    StepStatus.CANCELLED: "the execution ended before it started",
    StepStatus.TIMED_OUT: "its last attempt outlived the timeout, or it its deadline",
}
STEP_CAUSES: Mapping[StepMove, str] = {
    StepMove.RIDE: "who completed all that it needs goes on to it, in the same write",
    StepMove.RELEASE: "the last of its needs is settled",
    StepMove.CLAIM: "a worker takes it; the attempt is counted",
    StepMove.COMPLETE: "an attempt has returned",
    StepMove.FAIL: "the last attempt has failed, or the last loss is used up",
    StepMove.SKIP: "its needs were all skipped, its condition came to false, or it"
    " failed under `on_failure: skip`",
    StepMove.TIME_OUT: "its last attempt outlived its timeout, or a deadline passed",
    StepMove.CANCEL: "the execution ends before it starts; while it runs, nothing yet",
    StepMove.GIVE_BACK: "its attempt was lost or outlived its timeout; another follows",
    StepMove.WAIT: "an attempt failed, and the next is to follow only later",
    StepMove.WAKE: "that time has come",
    StepMove.RESTORE: "it or a later step has failed, and the execution goes back",
}

MEANINGS: Mapping[str, str] = {
    # a word that means something else in one table has `@table` behind it
    "action": "name of the code that runs",
    "actions": "names that the worker has code for",
    "admitted_at": "when it was given its key; null while it waits for it",
    "advanced_at": "when the pulse was advanced last",
    "at": "when",
    "attempt": "number of the attempt, from 1",
    "attempt_deadline": "when the attempt must be over, if it has a timeout",
    "beat_at": "last heartbeat",
    "beats": "how often it has beaten since it registered",
    "by": "who asked for it",
    "chunks": "count that the step reports",
    "claimed_at": "when the attempt began",
    "claimed_beat": "how often its worker had beaten at the claim",
    "claimed_by_ride": "claimed without a message of its own: its worker rode on to it",
    "condition": "expression that must come to true for the step to run",
    "concurrency_key@plans": "texts, and paths of parameters, that make its key",
    "concurrency_key@executions": "name of its plan, a colon and its key, if any",
    "concurrency_limit": "how many of its executions run at once under one key",
    "on_conflict": "what becomes of more: `queue`, `reject` or `cancel_older`",
    "created_at": "when it was stored",
    "deadline": "when all of it must be over, if there is such a moment",
    "deadline_seconds": "how long all of it may take",
    "default_queue": "queue of steps that have none, where SQL submits it",
    "data": "what belongs to it, as JSON",
    "definition": "the document, canonical",
    "deliveries": "ids of the messages that it ran at the last beat",
    "delivery": "id of the message that brought it",
    "digest": "SHA-256 of what must be the same",
    "doc": "the action's documentation",
    "end_reason": "stopped, or lost",
    "ended_at": "when it ended",
    "epoch": "generation of messages; older ones are dropped",
    "error": "code, message, step, timestamp, recoverable, context",
    "execution_id": "the execution",
    "failures": "attempts that ended in the code's own error or timeout",
    "front": "when the newest message was sent that a worker has claimed",
    "from_status": "state before; none at the submit",
    "functions_digest": "which release's functions are installed",
    "hostname": "Celery's name of the worker",
    "id": "identity",
    "in_hand": "messages that it had, running or reserved, at the last beat",
    "input": "inputs as they were evaluated",
    "inputs": "template of the inputs",
    "iterations": "how many it has begun, if it is a loop",
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
    "on_failure": "abort, skip, fallback, restore or strategy",
    "open_steps": "steps that have not ended",
    "outcome": "failed, timed_out or lost; of what a restore takes back, restored if it"
    " had ended, else cancelled",
    "paused_at": "when it was paused, while it is",
    "parameters": "values that the execution was submitted with",
    "pending_deps": "needs that are not settled yet",
    "pid": "process id of the worker's main process",
    "plan_id": "the plan",
    "pool": "prefork, thread or solo",
    "position": "place of the step in the plan, from 0",
    "priority": "higher is sent first",
    "progress": "percentage that the step reports",
    "progress_message": "word that goes with it",
    "published_at": "when it was marked as sent; null while it has to be sent",
    "published_by": "Celery's name of the worker that did so",
    "publishes": "how often it was marked as sent",
    "pulse": "the pulse at the last beat",
    "queue": "Celery queue",
    "queues": "queues that the worker serves",
    "reads": "positions that its expressions name",
    "ready_at": "when it became ready",
    "reason": "why",
    "rollback": "the reasons of an end for which what has completed is undone",
    "run_on": "for which ends it runs: `failure` (every end but success) or `always`",
    "child_id": "execution that the step waits for, and that runs its plan",
    "depth": "how many executions it lies within",
    "number": "counts the words that were left, so that a later one is not forgotten",
    "parent_id": "execution one of whose steps runs this one",
    "parent_position": "that step",
    "paused_with_parent": "whether it goes on when its parent does",
    "subplan": "published plan that the step runs instead of an action",
    "section": "what it belongs to: `steps`, `rollback` or `end`",
    "section@executions": "how far it is: `steps`, `rollback`, `end` or `over`",
    "undoes": "position of the step that it undoes",
    "for_each": "the expression of the list that has a step for each item",
    "item_reads": "positions that the inputs of those name",
    "max_parallel": "how many of those may run at a time",
    "tolerate": "how many of those may be skipped",
    "tolerate_percent": "the same, as a share of them",
    "item_of": "position of the step that it is an item or an iteration of",
    "item": "the item, and its index; or what came before the iteration",
    "first_item": "position of its first item, or of its last iteration",
    "cache": "how old a result may be that is used again, and what it is known by",
    "cached_from": "whose result it has, if it did not run for it",
    "expires_at": "from when on it is not used any more",
    "step": "id of the step that it comes from",
    "execution_id@cached_results": "where it comes from; gone, perhaps",
    "digest@cached_results": "SHA-256 of the action and the key or the inputs",
    "result@cached_results": "what the action returned",
    "action@cached_results": "name of the code that returned it",
    "item_count": "how many items it has",
    "next_item": "position of the item that is to become ready next",
    "restore": "position of the step to before which its failure leads back",
    "restore_times": "how often that may be",
    "restores": "how often that was",
    "skips_left": "how many of its items may still be skipped",
    "fallback": "position of the step that stands in for it when it fails",
    "stands_in_for": "position of the step whose fallback it is",
    "end_steps": "positions of the steps that run at its end",
    "cancels_running": "whether a failure tells the steps that run beside it to stop",
    "queue@executions": "where its steps go that name no queue",
    "records": "count that the step reports",
    "result": "what came out, or the template of it",
    "result_reads": "positions that the result names",
    "repeat": "how often it is repeated, and until when, if it is a loop",
    "retries_timeouts": "whether another attempt may follow a timeout",
    "retry": "how long to wait before which attempt, and after which errors",
    "rounds": "when its reconciler looked last, for how long, and what it has done",
    "sampled_at": "the sample of what is in hand was begun after this",
    "saved_at": "when it was saved",
    "seq": "number within the execution, from 1, without gaps",
    "signature": "what the action takes and returns, as JSON Schema",
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
    "wake_at": "when it becomes ready again, while it waits",
    "worker_id": "who holds it",
    "published_at@plans": "when its name was last made to stand for it, if ever",
    "published_at@actions": "when it was last published otherwise than before",
    "digest@submissions": "SHA-256 of plan, parameters, tags and priority",
    "value@pulse": "seconds that were lived through",
    "attempt@execution_steps": "number of the last attempt; 0 before the first",
    "data@execution_checkpoints": "what the step has saved",
    "data@execution_events": "details, by the type",
    "digest@executions": "SHA-256 of plan, parameters, tags and priority",
    "digest@plans": "SHA-256 of the definition",
    "ended_at@workers": "when it signed off or was declared dead",
    "id@execution_logs": "rises in the order of writing",
    "id@execution_metrics": "rises in the order of writing",
    "id@executions": "UUID of version 7, drawn by the client",
    "id@installation": "drawn once; names the Redis channels",
    "id@workers": "drawn at each registration",
    "name@execution_metrics": "what was measured",
    "name@execution_steps": "its id in the plan",
    "name@plan_steps": "its id in the plan",
    "position@execution_events": "step that it is about, if any",
    "priority@execution_steps": "that of the step and of the execution, added",
    "queue@actions": "where steps go that state no queue, if it has one",
    "queue@plan_steps": "Celery queue; empty for that of the action, or the submit",
    "reason@execution_states": "what was given as the reason, or why it ends",
    "reason@execution_steps": "why it was skipped: `failed` or `needs`",
    "reason@executions": "why it ends: `result`, `abort`, `cancel` or `deadline`",
    "result@execution_steps": "what the action returned",
    "result@executions": "what the plan's result came to",
    "result@plans": "template of the result",
    "seq@execution_states": "number of the event that tells of it",
    "started_at@executions": "when it was running for the first time",
    "started_at@workers": "when it registered",
    "timeout_seconds@actions": "longest time of one attempt, where a step states none",
    "worker_id@execution_steps": "who holds it, or held it last",
    "worker_id@step_attempts": "who held it",
}

REASONS: Mapping[str, str] = {
    "admitted_has_key": "only who waits for a key is admitted",
    "concurrency_whole": "a key without a limit would hold executions for ever",
    "held_cannot_run": "what waits for its key does not run, whoever believes so",
    "ix_executions_admitted": "how many run under a key",
    "ix_executions_held": "who is next under a key, and the sweep for keys with room",
    "on_conflict_known": "no code handles another word",
    "counters_not_negative": "below zero, something was counted twice",
    "counters_start_at_one": "readers begin after 0",
    "end_reason_known": "no code handles another word",
    "ended_has_reason": "an end has a reason, and nothing else has",
    "ended_has_time": "an end has a time, and nothing else has",
    "ended_is_closed": "a terminal state comes when no step is open any more",
    "ending_has_reason": "the first reason decides how it ends, so it is kept",
    "one_row": "there is one row",
    "open_steps_counted": "below zero, something was counted twice",
    "outcome_known": "no code handles another word",
    "paused_has_time": "a resume gives that time back to what stood still",
    "published_has_queue": "SQL must know where steps go that name no queue",
    "progress_is_percentage": "beyond it, every estimate would be wrong",
    "ready_has_time": "the age of a backlog is counted from it",
    "waiting_has_end": "a step that waits without an end would never be found",
    "only_waiting_has_time": "a time for what does not wait would be forgotten",
    "only_waiting_has_child": "the end of a child goes to a step that waits for it",
    "section_known": "another word would be a section that never comes",
    "end_has_run_on": "only steps of the end are chosen by how it ends",
    "rollback_undoes": "what undoes a step knows which",
    "sections_follow_steps": "what comes after the steps comes after all of them",
    "reason_known": "no code handles another word",
    "result_is_success": "only success leaves a result that others may read",
    "running_has_holder": "without a holder nobody could lose it",
    "seq_starts_at_one": "readers begin after 0",
    "started_needs_settled": "nothing starts before all that it needs is settled",
    "status_known": "no code handles another word",
    "unstarted_has_no_holder": "an old token must not match it",
    "ix_execution_steps_deadline": "the sweep for steps that wait past their deadline",
    "ix_execution_steps_unsent": "the next step of a fan-out, and what nobody sends",
    "ix_execution_steps_sent": "how many messages of an execution a queue holds",
    "ix_execution_steps_waiting": "the sweep for timers that are due",
    "ix_executions_parent": "the executions within one, and those of each of its steps",
    "ix_execution_steps_child": "whether an execution has others within it to tell",
    "ix_executions_deadline": "the sweep for executions beyond their deadline",
    "ix_execution_steps_ready": "the sweep for ready steps that were not sent",
    "ix_execution_steps_running": "the sweep for steps whose worker is gone",
    "ix_executions_created_at": "lists of all executions, newest first",
    "ix_executions_ending": "the sweep for executions that lack only their end",
    "ix_executions_plan_id": "the executions of a plan",
    "ix_executions_status_created_at": "lists by state, newest first",
    "ix_plans_name": "plans by name",
    "ix_submissions_execution_id": "the keys of an execution that is deleted",
    "ix_cached_results_expires_at": "what has expired, oldest first",
    "ix_workers_living": "the sweep for silent workers",
    "uq_plan_steps_name": "a plan names each step once",
    "uq_plans_published_version": "a version is published with one body only",
    "uq_plans_digest": "the same plan is stored once",
}
"""Why there are these rules (by their names within the table) and indexes."""


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
            *_list_causes(EXECUTION_CAUSES, ExecutionMove),
            "## Step",
            "",
            *_draw(STEP_MOVES, TERMINAL_STEP_STATUSES),
            *_list_states(STEP_STATES, TERMINAL_STEP_STATUSES),
            *_list_causes(STEP_CAUSES, StepMove),
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


def _list_causes(
    causes: Mapping[ExecutionMove, str] | Mapping[StepMove, str],
    moves: type[ExecutionMove] | type[StepMove],
) -> Iterable[str]:
    said: dict[str, str] = {str(move): cause for move, cause in causes.items()}
    yield "| move | what makes it |"
    yield "|---|---|"
    for move in moves:
        yield f"| {move.replace('_', ' ')} | {said[move]} |"
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
        kind = column.type.compile(postgresql.dialect()).lower()  # type: ignore[no-untyped-call]  # SQLAlchemy's own
        kind = kind.replace("timestamp with time zone", "timestamptz")
        yield f"| `{column.name}` | {kind} | {_keys(column)} | {_mean(column)} |"
    yield ""
    yield from _list_rules(table)
    yield from _list_indexes(table)


def _list_rules(table: Table) -> Iterable[str]:
    rules = {
        str(constraint.name).removeprefix(f"ck_{table.name}_"): str(constraint.sqltext)
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    rules |= ROW_RULES.get(table.name, {})
    if rules:
        yield "What the database lets no row break, and why:"
        yield ""
        yield from (f"- `{rules[name]}`: {REASONS[name]}" for name in sorted(rules))
        yield ""


def _list_indexes(table: Table) -> Iterable[str]:
    indexes = {str(index.name): _write_index(index) for index in table.indexes}
    indexes |= {
        str(constraint.name): f"{_write_columns(constraint.columns)}, unique"
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint)
    }
    if indexes:
        yield "Besides its key it has an index on:"
        yield ""
        yield from (f"- {indexes[name]}: {REASONS[name]}" for name in sorted(indexes))
        yield ""


def _write_index(index: Index) -> str:
    condition = index.dialect_options["postgresql"]["where"]
    return (
        _write_columns(index.expressions)
        + (", unique" if index.unique else "")
        + (f", where `{condition}`" if condition is not None else "")
    )


def _write_columns(columns: Iterable[object]) -> str:
    # a column, or an expression such as one that is sorted downwards
    return ", ".join(f"`{getattr(column, 'name', column)}`" for column in columns)


def _keys(column: Column[object]) -> str:
    marks = ["key"] if column.primary_key else []
    marks += [f"→ `{key.column.table.name}`" for key in column.foreign_keys]
    marks += ["may be null"] if column.nullable else []
    return ", ".join(dict.fromkeys(marks))


def _mean(column: Column[object]) -> str:
    return MEANINGS.get(f"{column.name}@{column.table.name}") or MEANINGS[column.name]


def build_rules() -> str:
    """Return the part of docs/plan_tools.md that lists what plans can break."""
    return "\n".join(line for subject in Subject for line in _list_rules_of(subject))


def _list_rules_of(subject: Subject) -> Iterable[str]:
    rules = [rule for rule in Rule if rule.subject is subject]
    yield f"### {subject}: {rules[0].code}"
    yield ""
    yield "| rule | what is wrong; what to do |"
    yield "|---|---|"
    yield from (f"| `{rule}` | {rule.meaning} |" for rule in rules)
    yield ""


def build_pages() -> dict[Path, str]:
    """Return every derived page with what it should hold."""
    return {
        DOCS / "state_machine.md": build_state_page() + "\n",
        DOCS / "models.md": _end_page(DOCS / "models.md", build_tables()),
        DOCS / "plan_tools.md": _end_page(DOCS / "plan_tools.md", build_rules()),
    }


def _end_page(page: Path, text: str) -> str:
    """Return a page with its derived part, which follows what is written by hand."""
    head, mark, _ = page.read_text("utf-8").partition("<!-- generated -->\n")
    return f"{head}{mark}\n{text}"


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
