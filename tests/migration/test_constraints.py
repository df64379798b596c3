"""Rows that cannot be: each is refused by the constraint that is there for it."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg2 import errors
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class with a small name
from psycopg2.extras import Json

from execution.settings import Settings
from execution.sql.guards import ROW_RULES
from execution.states import ExecutionStatus, StepStatus
from tests.rows import (
    ENDED,
    NOW,
    insert,
    insert_execution,
    insert_plan,
    insert_plan_step,
    insert_step,
    rolled_back,
)

TOKEN = str(uuid.uuid4())
ENDED_STEPS = sorted({*ENDED, "skipped"})
OPEN_STEPS = sorted({*StepStatus} - {*ENDED_STEPS})

EXECUTIONS: list[tuple[str, str, dict[str, Any]]] = [
    ("status_known", "running", {"status": "lost"}),
    ("reason_known", "ending", {"reason": "because"}),
    *(("ending_has_reason", s, {"reason": None}) for s in ("ending", *sorted(ENDED))),
    *(
        ("ending_has_reason", s, {"reason": "cancel"})
        for s in ("pending", "running", "paused")
    ),
    *(("ended_has_time", s, {"ended_at": None}) for s in sorted(ENDED)),
    *(
        ("ended_has_time", s, {"ended_at": NOW, "open_steps": 0})
        for s in sorted({*ExecutionStatus} - ENDED)
    ),
    *(("ended_is_closed", s, {"open_steps": 1}) for s in sorted(ENDED)),
    ("paused_has_time", "paused", {"paused_at": None}),
    ("section_known", "ending", {"section": "middle"}),
    ("sections_follow_steps", "running", {"section": "rollback"}),
    ("open_steps_counted", "running", {"open_steps": -1}),
    ("counters_start_at_one", "running", {"next_seq": 0}),
    ("counters_start_at_one", "running", {"epoch": 0}),
    ("held_cannot_run", "running", {"concurrency_key": "p:k"}),
    ("admitted_has_key", "running", {"admitted_at": NOW}),
    ("delayed_cannot_run", "running", {"is_delayed": True, "starts_at": NOW}),
    ("delayed_has_time", "pending", {"is_delayed": True}),
]
STEPS: list[tuple[str, str, dict[str, Any]]] = [
    ("status_known", "pending", {"status": "lost"}),
    *(
        ("running_has_holder", "running", {column: None})
        for column in ("lease_token", "worker_id", "delivery", "claimed_at")
    ),
    ("running_has_holder", "running", {"attempt": 0}),
    *(
        ("unstarted_has_no_holder", s, {"lease_token": TOKEN})
        for s in ("pending", "ready", "waiting")
    ),
    ("started_needs_settled", "pending", {"pending_deps": -1}),
    *(
        ("started_needs_settled", s, {"pending_deps": 1})
        for s in ("ready", "running", "completed")
    ),
    ("ready_has_time", "ready", {"ready_at": None}),
    ("waiting_has_end", "waiting", {"wake_at": None}),
    ("only_waiting_has_time", "ready", {"wake_at": NOW}),
    ("only_waiting_waits_for", "ready", {"waits_for": "queue:q"}),
    ("parked_waits_for", "waiting", {"parked_at": NOW}),
    ("only_waiting_has_child", "ready", {"child_id": TOKEN}),
    *(
        ("result_is_success", s, {"result": {"n": 1}})
        for s in sorted({*StepStatus} - {"completed"})
    ),
    *(("ended_has_time", s, {"ended_at": None}) for s in ENDED_STEPS),
    *(("ended_has_time", s, {"ended_at": NOW}) for s in OPEN_STEPS),
    *(
        ("counters_not_negative", "pending", {counter: -1})
        for counter in ("failures", "losses", "publishes", "attempt")
    ),
    *(
        ("progress_is_percentage", "running", {"progress": progress})
        for progress in (-0.1, 100.1, 101.0, float("inf"), float("nan"))
    ),
]
WORKER = {
    "id": TOKEN,
    "hostname": "h",
    "pid": 1,
    "pool": "prefork",
    "slots": 1,
    "queues": ["q"],
    "actions": [],
    "pulse": 0.0,
    "sampled_at": NOW,
    "started_at": NOW,
    "beat_at": NOW,
}


def insert_published_plan(cursor: Cursor) -> None:
    insert(
        cursor,
        "plans",
        id=TOKEN,
        name="by hand",
        digest="",
        definition={},
        result_reads=[],
        published_at=NOW,
    )


def insert_keyed_plan(**columns: Any) -> Callable[[Cursor], None]:
    return lambda cursor: insert(
        cursor,
        "plans",
        id=TOKEN,
        name="by hand",
        digest="",
        definition={},
        result_reads=[],
        concurrency_key=Json(["all"]),
        **columns,
    )


def insert_attempt(cursor: Cursor) -> None:
    execution_id = insert_execution(cursor)
    insert_step(cursor, execution_id)
    insert(
        cursor,
        "step_attempts",
        execution_id=execution_id,
        position=0,
        attempt=1,
        outcome="fine",
        ended_at=NOW,
    )


def insert_state(cursor: Cursor) -> None:
    insert(
        cursor,
        "execution_states",
        execution_id=insert_execution(cursor),
        seq=1,
        to_status="lost",
        at=NOW,
    )


def insert_event(cursor: Cursor) -> None:
    insert(
        cursor,
        "execution_events",
        execution_id=insert_execution(cursor),
        seq=0,
        type="step.ready",
        data={},
        at=NOW,
    )


def insert_line(cursor: Cursor) -> None:
    execution_id = insert_execution(cursor)
    insert_step(cursor, execution_id)
    insert(
        cursor,
        "execution_logs",
        execution_id=execution_id,
        position=0,
        attempt=1,
        number=1,
        level="loud",
        source="stdout",
        message="",
        at=NOW,
    )


def insert_worker(**columns: Any) -> Callable[[Cursor], None]:
    return lambda cursor: insert(cursor, "workers", **{**WORKER, **columns})


def insert_only_row(table: str) -> Callable[[Cursor], None]:
    return lambda cursor: insert(cursor, table, is_only=False)


def insert_hold(table: str, **columns: Any) -> Callable[[Cursor], None]:
    return lambda cursor: insert(
        cursor, table, kind="team", name="x", id=TOKEN, created_at=NOW, **columns
    )


def insert_batch(**columns: object) -> Callable[[Cursor], None]:
    values = {
        "id": TOKEN,
        "act": "pause",
        "filter": {},
        "status": "running",
        "next_at": NOW,
        "created_at": NOW,
        **columns,
    }
    return lambda cursor: insert(cursor, "batches", **values)


def insert_batch_item(**columns: object) -> Callable[[Cursor], None]:
    values = {"batch_id": TOKEN, "position": 0, "execution_id": TOKEN, **columns}

    def insert_both(cursor: Cursor) -> None:
        insert_batch()(cursor)
        insert(cursor, "batch_items", **values)

    return insert_both


def insert_schedule(**columns: object) -> Callable[[Cursor], None]:
    values = {
        "name": "nightly",
        "plan": "p",
        "parameters": Json({}),
        "tags": [],
        "priority": 0,
        "cron": "0 3 * * *",
        "time_zone": "UTC",
        "catch_up": "last",
        "overlap": "skip",
        "start_at": NOW,
        "created_at": NOW,
        **columns,
    }
    return lambda cursor: insert(cursor, "schedules", **values)


def insert_run(**columns: object) -> Callable[[Cursor], None]:
    values = {
        "id": TOKEN,
        "schedule": "nightly",
        "scheduled_at": NOW,
        "trigger": "timer",
        "outcome": "missed",
        "at": NOW,
        **columns,
    }

    def insert_both(cursor: Cursor) -> None:
        insert_schedule()(cursor)
        insert(cursor, "schedule_runs", **values)

    return insert_both


def insert_dependency(**columns: object) -> Callable[[Cursor], None]:
    return lambda cursor: insert(cursor, "dependencies", name="stripe", **columns)


def insert_signal(**columns: object) -> Callable[[Cursor], None]:
    def insert_both(cursor: Cursor) -> None:
        sent: dict[str, object] = {"name": "approval", "payload": Json(1), **columns}
        insert(
            cursor,
            "execution_signals",
            execution_id=insert_execution(cursor),
            id=str(uuid.uuid4()),
            sent_at=NOW,
            **sent,
        )

    return insert_both


OTHERS: list[tuple[str, Callable[[Cursor], None]]] = [
    ("ck_step_attempts_outcome_known", insert_attempt),
    ("ck_execution_states_status_known", insert_state),
    ("ck_execution_events_seq_starts_at_one", insert_event),
    (
        "ck_execution_signals_taken_is_told",
        insert_signal(taken_by=0, taken_at=NOW),
    ),
    (
        "ck_execution_signals_taken_has_time",
        insert_signal(seq=1, taken_by=0),
    ),
    ("ck_execution_logs_level_known", insert_line),
    (
        "ck_workers_end_reason_known",
        insert_worker(ended_at=NOW, end_reason="bored"),
    ),
    ("ck_workers_ended_has_reason", insert_worker(ended_at=NOW)),
    ("ck_workers_ended_has_reason", insert_worker(end_reason="lost")),
    ("ck_plans_published_has_queue", insert_published_plan),
    ("ck_plans_concurrency_whole", insert_keyed_plan(concurrency_limit=1)),
    (
        "ck_plans_on_conflict_known",
        insert_keyed_plan(concurrency_limit=1, on_conflict="drop"),
    ),
    (
        "ck_plan_steps_section_known",
        lambda cursor: insert_plan_step(cursor, insert_plan(cursor), section="middle"),
    ),
    (
        "ck_plan_steps_end_has_run_on",
        lambda cursor: insert_plan_step(cursor, insert_plan(cursor), section="end"),
    ),
    (
        "ck_plan_steps_rollback_undoes",
        lambda cursor: insert_plan_step(cursor, insert_plan(cursor), undoes=0),
    ),
    ("ck_holds_kind_known", insert_hold("holds")),
    (
        "ck_past_holds_kind_known",
        insert_hold("past_holds", resume_id=TOKEN, resumed_at=NOW),
    ),
    ("ck_batches_act_known", insert_batch(act="praise")),
    ("ck_batches_status_known", insert_batch(status="lost", ended_at=NOW, counts={})),
    ("ck_batches_ended_has_time", insert_batch(status="completed")),
    ("ck_batches_ended_has_counts", insert_batch(counts={})),
    ("ck_batches_rate_moves", insert_batch(rate_per_second=0)),
    ("ck_batch_items_status_known", insert_batch_item(status="lost", at=NOW)),
    ("ck_batch_items_settled_has_time", insert_batch_item(status="done")),
    ("ck_schedules_one_rule", insert_schedule(every_seconds=5)),
    ("ck_schedules_every_forward", insert_schedule(cron=None, every_seconds=0)),
    ("ck_schedules_catch_up_known", insert_schedule(catch_up="some")),
    ("ck_schedules_overlap_known", insert_schedule(overlap="merge")),
    ("ck_schedule_runs_trigger_known", insert_run(trigger="moon")),
    ("ck_schedule_runs_outcome_known", insert_run(outcome="lost")),
    ("ck_schedule_runs_started_has_execution", insert_run(outcome="started")),
    ("ck_dependencies_state_known", insert_dependency(state="broken")),
    ("ck_dependencies_trial_is_looked_at", insert_dependency(state="ramp")),
    ("ck_dependencies_pause_at_is_share", insert_dependency(pause_at=1.5)),
    ("ck_pulse_one_row", insert_only_row("pulse")),
    ("ck_installation_one_row", insert_only_row("installation")),
]


@pytest.fixture
def cursor(settings: Settings) -> Iterator[Cursor]:
    """A transaction that leaves nothing behind."""
    assert settings.database_url is not None
    with rolled_back(settings.database_url, settings.schema) as opened:
        yield opened


@pytest.mark.parametrize(("constraint", "status", "columns"), EXECUTIONS)
def test_an_impossible_execution_is_refused(
    cursor: Cursor, constraint: str, status: str, columns: dict[str, Any]
) -> None:
    with pytest.raises(errors.CheckViolation) as refusal:
        insert_execution(cursor, **{"status": status, **columns})

    assert refusal.value.diag.constraint_name == f"ck_executions_{constraint}"


@pytest.mark.parametrize(("constraint", "status", "columns"), STEPS)
def test_an_impossible_step_is_refused(
    cursor: Cursor, constraint: str, status: str, columns: dict[str, Any]
) -> None:
    execution_id = insert_execution(cursor)

    with pytest.raises(errors.CheckViolation) as refusal:
        insert_step(cursor, execution_id, **{"status": status, **columns})

    assert refusal.value.diag.constraint_name == f"ck_execution_steps_{constraint}"


@pytest.mark.parametrize(("constraint", "insert_row"), OTHERS)
def test_any_other_impossible_row_is_refused(
    cursor: Cursor, constraint: str, insert_row: Callable[[Cursor], None]
) -> None:
    with pytest.raises(errors.CheckViolation) as refusal:
        insert_row(cursor)

    assert refusal.value.diag.constraint_name == constraint


def test_every_check_has_a_row_that_it_refuses(cursor: Cursor) -> None:
    cursor.execute(
        "SELECT conname FROM pg_constraint"
        " WHERE contype = 'c' AND connamespace = current_schema()::regnamespace"
    )

    guarded = {
        f"ck_{table}_{name}" for table, rules in ROW_RULES.items() for name in rules
    }
    assert guarded | {name for (name,) in cursor.fetchall()} == {
        *(f"ck_executions_{constraint}" for constraint, _, _ in EXECUTIONS),
        *(f"ck_execution_steps_{constraint}" for constraint, _, _ in STEPS),
        *(constraint for constraint, _ in OTHERS),
    }


@pytest.mark.parametrize("status", ExecutionStatus)
def test_a_possible_execution_is_let_in(cursor: Cursor, status: str) -> None:
    assert insert_execution(cursor, status)


@pytest.mark.parametrize("status", StepStatus)
def test_a_possible_step_is_let_in(cursor: Cursor, status: str) -> None:
    insert_step(cursor, insert_execution(cursor), status)


@pytest.mark.parametrize("table", ["pulse", "installation"])
def test_a_table_of_one_row_has_no_second(cursor: Cursor, table: str) -> None:
    with pytest.raises(errors.UniqueViolation):
        insert(cursor, table, is_only=True)


def test_a_plan_names_each_step_once(cursor: Cursor) -> None:
    plan_id = insert_plan(cursor)
    insert_plan_step(cursor, plan_id, position=0, name="a")

    with pytest.raises(errors.UniqueViolation) as refusal:
        insert_plan_step(cursor, plan_id, position=1, name="a")

    assert refusal.value.diag.constraint_name == "uq_plan_steps_name"


def test_a_version_is_published_with_one_body(cursor: Cursor) -> None:
    version = {"name": "p", "version": "1", "definition": {}, "result_reads": []}
    published = {"published_at": NOW, "default_queue": "q"}
    insert(cursor, "plans", id=str(uuid.uuid4()), digest="a", **version, **published)
    insert(cursor, "plans", id=str(uuid.uuid4()), digest="b", **version)

    with pytest.raises(errors.UniqueViolation) as refusal:
        insert(
            cursor, "plans", id=str(uuid.uuid4()), digest="c", **version, **published
        )

    assert refusal.value.diag.constraint_name == "uq_plans_published_version"


def test_a_step_belongs_to_an_execution(cursor: Cursor) -> None:
    with pytest.raises(errors.ForeignKeyViolation):
        insert_step(cursor, str(uuid.uuid4()))
