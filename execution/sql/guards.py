"""What the database lets no row of an execution or a step break.

One trigger for each of the two tables refuses every move that is not in the tables of
`states`, and every row that breaks one of the rules here. They are not CHECKs:
PostgreSQL reads and prepares those anew for each statement, and nearly every statement
here writes one row. A trigger's function is prepared once for each connection, which
saves a quarter of what it costs to record a step (docs/performance.md).

Pure text. A rule that comes to NULL holds, as with a constraint.
"""

from collections.abc import Mapping

from ..states import (
    TERMINAL_EXECUTION_STATUSES,
    TERMINAL_STEP_STATUSES,
    EndReason,
    ExecutionStatus,
    Section,
    StepStatus,
    list_execution_edges,
    list_step_edges,
)


def _one_of(column: str, values: object) -> str:
    listed = ", ".join(f"'{value}'" for value in sorted(values))  # type: ignore[call-overload]  # any StrEnum class or set
    return f"{column} IN ({listed})"


_ENDING = {ExecutionStatus.ENDING, *TERMINAL_EXECUTION_STATUSES}

EXECUTION_RULES: Mapping[str, str] = {
    # an unknown word would be a state that no code handles
    "status_known": _one_of("NEW.status", ExecutionStatus),
    "reason_known": _one_of("NEW.reason", EndReason),
    # the first reason is kept from the moment the end begins
    "ending_has_reason": f"({_one_of('NEW.status', _ENDING)})"
    " = (NEW.reason IS NOT NULL)",
    # a terminal state comes last: nothing runs any more, and the time is known
    "ended_has_time": f"({_one_of('NEW.status', TERMINAL_EXECUTION_STATUSES)})"
    " = (NEW.ended_at IS NOT NULL)",
    "ended_is_closed": "NEW.ended_at IS NULL OR NEW.open_steps = 0",
    # counters below zero mean that something was counted twice
    "open_steps_counted": "NEW.open_steps >= 0",
    "counters_start_at_one": "NEW.next_seq >= 1 AND NEW.epoch >= 1",
    # what comes after the steps comes after all of them
    "sections_follow_steps": "NEW.section = 'steps'"
    f" OR {_one_of('NEW.status', _ENDING)}",
    "section_known": _one_of("NEW.section", Section),
    # resume gives back the time of the pause to what stood still
    "paused_has_time": "NEW.status <> 'paused' OR NEW.paused_at IS NOT NULL",
    # what waits for its key does not run, whoever believes so
    "held_cannot_run": "NEW.status <> 'running' OR NEW.concurrency_key IS NULL"
    " OR NEW.admitted_at IS NOT NULL",
    # what waits for its time does not run either, and has one
    "delayed_cannot_run": "NEW.status <> 'running' OR NOT NEW.is_delayed",
    "delayed_has_time": "NOT NEW.is_delayed OR NEW.starts_at IS NOT NULL",
    "admitted_has_key": "NEW.admitted_at IS NULL OR NEW.concurrency_key IS NOT NULL",
}
"""By their names within the table `executions`."""

STEP_RULES: Mapping[str, str] = {
    "status_known": _one_of("NEW.status", StepStatus),
    # a running step has a holder; without one nobody could lose it
    "running_has_holder": "NEW.status <> 'running' OR (NEW.lease_token IS NOT NULL"
    " AND NEW.worker_id IS NOT NULL AND NEW.delivery IS NOT NULL"
    " AND NEW.claimed_at IS NOT NULL AND NEW.attempt >= 1)",
    # what has not started has no holder, so an old token cannot match it
    "unstarted_has_no_holder": "NEW.status NOT IN ('pending', 'ready', 'waiting')"
    " OR NEW.lease_token IS NULL",
    # nothing starts before all that it needs is settled
    "started_needs_settled": "NEW.pending_deps >= 0 AND (NEW.pending_deps = 0"
    " OR NEW.status NOT IN ('ready', 'running', 'completed'))",
    "ready_has_time": "NEW.status <> 'ready' OR NEW.ready_at IS NOT NULL",
    # a step that waits without an end would never be found
    "waiting_has_end": "NEW.status <> 'waiting' OR NEW.wake_at IS NOT NULL"
    " OR (NEW.item_count > 0 AND NEW.pending_deps > 0) OR NEW.fallback IS NOT NULL"
    " OR NEW.child_id IS NOT NULL OR NEW.waits_for IS NOT NULL",
    # the word of what it waits for would wake a step that is elsewhere by then
    "only_waiting_waits_for": "NEW.waits_for IS NULL OR NEW.status = 'waiting'",
    # its time stands still for what it waits for, and for nothing else
    "parked_waits_for": "NEW.parked_at IS NULL OR NEW.waits_for IS NOT NULL",
    # the end of a child goes to a step that waits for it, and to no other
    "only_waiting_has_child": "NEW.child_id IS NULL OR NEW.status = 'waiting'",
    "only_waiting_has_time": "NEW.wake_at IS NULL OR NEW.status = 'waiting'",
    # only success leaves a result that others may read
    "result_is_success": "NEW.result IS NULL OR NEW.status = 'completed'",
    "ended_has_time": f"({_one_of('NEW.status', TERMINAL_STEP_STATUSES)})"
    " = (NEW.ended_at IS NOT NULL)",
    "counters_not_negative": "NEW.failures >= 0 AND NEW.losses >= 0"
    " AND NEW.publishes >= 0 AND NEW.attempt >= 0",
    "progress_is_percentage": "NEW.progress BETWEEN 0 AND 100",
}
"""By their names within the table `execution_steps`."""

ROW_RULES: Mapping[str, Mapping[str, str]] = {
    "executions": EXECUTION_RULES,
    "execution_steps": STEP_RULES,
}

_GUARD = """
-- Generated from the move tables and the rules in guards.py. After the write, not
-- before: a trigger that comes before locks the row first, a write of its own.
CREATE FUNCTION guard_{table}() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND OLD.status <> NEW.status
       AND OLD.status || '>' || NEW.status <> ALL ('{{{moves}}}'::text[]) THEN
        RAISE EXCEPTION 'celery-plans: {table} cannot go from % to %',
            OLD.status, NEW.status;
    END IF;
{rules}
    RETURN NULL;
END $$;


CREATE TRIGGER guard_rows AFTER INSERT OR UPDATE ON {table}
FOR EACH ROW EXECUTE FUNCTION guard_{table}();
"""

_RULE = """    IF NOT ({condition}) THEN
        RAISE EXCEPTION 'celery-plans: a row of {table} breaks {name}'
            USING ERRCODE = 'check_violation', TABLE = '{table}',
                  CONSTRAINT = 'ck_{table}_{name}';
    END IF;"""


def write_guards() -> str:
    """Return the SQL of both guards."""
    edges = {
        "executions": list_execution_edges(),
        "execution_steps": list_step_edges(),
    }
    return "\n".join(
        _GUARD.format(
            table=table,
            moves=",".join(f"{before}>{after}" for before, after in edges[table]),
            rules="\n".join(
                _RULE.format(table=table, name=name, condition=condition)
                for name, condition in rules.items()
            ),
        )
        for table, rules in ROW_RULES.items()
    )
