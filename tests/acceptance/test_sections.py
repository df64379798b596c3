"""What comes after the steps: those that are undone, and those of the end."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.database import Database
from tests.outages import read_lines
from tests.polling import wait_until
from tests.timeline import check_timeline, read_timeline
from tests.worker_process import WorkerProcess

Note = Callable[..., Step]


@pytest.fixture
def noting(ledger: Path) -> Note:
    """Build steps that note that they ran."""

    def build(name: str, **fields: Any) -> Step:
        inputs = {"ledger": str(ledger)}
        if fields.pop("undone", False):
            fields["undo"] = {"action": "test.note", "with": inputs}
        return Step(name, action="test.note", with_=inputs, **fields)

    return build


@pytest.fixture
def ran(ledger: Path) -> Callable[[], list[str]]:
    """Read the names of the steps that ran, in their order."""
    return lambda: [line.split()[0] for line in read_lines(ledger)]


def read_result(database: Database, execution_id: str, step: str) -> object:
    (row,) = database.query(
        "SELECT result FROM {schema}.execution_steps"
        " WHERE execution_id = %s AND name = %s AND status = 'completed'",
        (execution_id, step),
    )
    return row["result"]


@pytest.mark.usefixtures("shared_worker")
def test_the_end_of_a_success_runs_what_always_runs(
    engine: ExecutionEngine, noting: Note, ran: Callable[[], list[str]]
) -> None:
    plan = Plan(
        "tidy",
        steps=[
            noting("a", undone=True),
            noting("sorry", run_on="failure", deadline="1m"),
            noting("tidy", run_on="always", deadline="1m"),
            noting("b"),
            noting("report", run_on="always", deadline="1m"),
        ],
        rollback="on_failure",
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.status is ExecutionStatus.COMPLETED
    # the only leaf is that of the steps
    assert result.unwrap() == {"step": "b", "attempt": 1}
    assert ran() == ["a", "b", "tidy", "report"]
    assert [s.name for s in engine.list_steps(result.execution_id)] == [
        *("a", "tidy", "b", "report"),
    ]
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_failure_is_undone_backwards_and_then_tidied_up(
    engine: ExecutionEngine, noting: Note, ran: Callable[[], list[str]]
) -> None:
    plan = Plan(
        "saga",
        steps=[
            noting("a", undone=True),
            noting("b"),
            noting("c", undone=True),
            Step("d", action="test.refuse", undo={"action": "test.nothing"}),
            noting("e", undone=True),
            noting("tidy", run_on="failure", deadline="1m"),
        ],
        rollback=["on_failure"],
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert ran() == ["a", "b", "c", "c.undo", "a.undo", "tidy"]
    status = engine.get_status(result.execution_id)
    # three were added at the end
    assert (status.total_steps, status.open_steps) == (8, 0)
    types = [e.type for e in read_timeline(engine, result.execution_id)]
    assert types.index("execution.ending") < types.index("step.added")
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_branches_are_undone_in_the_order_in_which_they_completed(
    engine: ExecutionEngine, noting: Note, ran: Callable[[], list[str]]
) -> None:
    branches = [noting(f"b{n}", needs=["a"], undone=True) for n in range(6)]
    names = [branch.id for branch in branches]
    plan = Plan(
        "branches",
        steps=[
            noting("a", needs=[], undone=True),
            *branches,
            Step("z", action="test.refuse", needs=names),
        ],
        rollback="on_failure",
    )

    execution_id = engine.execute(plan, timeout_seconds=60).execution_id

    events = read_timeline(engine, execution_id)
    completed = [e.step for e in events if e.type == "step.completed"]
    assert len(completed) == 14
    assert completed[7:] == [f"{name}.undo" for name in reversed(completed[:7])]
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_what_undoes_a_step_is_told_what_it_came_to(
    engine: ExecutionEngine, database: Database
) -> None:
    undo = {
        "action": "test.echo",
        "with": {
            "value": [
                "${step.result.id}",
                "${step.status}",
                "${steps.first.result}",
                "${steps.charge.attempt}",
            ]
        },
    }
    plan = Plan(
        "told",
        steps=[
            Step("first", action="test.echo", with_={"value": 1}),
            Step("charge", action="test.echo", with_={"value": {"id": 7}}, undo=undo),
            Step("ship", action="test.refuse"),
        ],
        rollback="on_failure",
    )

    execution_id = engine.execute(plan, timeout_seconds=60).execution_id

    assert read_result(database, execution_id, "charge.undo") == [7, "completed", 1, 1]


@pytest.mark.usefixtures("shared_worker")
def test_what_cannot_be_undone_stops_nothing(
    engine: ExecutionEngine, noting: Note, ran: Callable[[], list[str]]
) -> None:
    plan = Plan(
        "stubborn",
        steps=[
            noting("a", undone=True),
            Step("b", action="test.nothing", undo={"action": "test.refuse"}),
            Step("c", action="test.fail_until", with_={"attempt": 9}),
            Step("gone", action="test.refuse", run_on="always", deadline="1m"),
            noting("last", run_on="always", deadline="1m"),
        ],
        rollback="on_failure",
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert ran() == ["a", "a.undo", "last"]
    steps = {s.name: s.status for s in engine.list_steps(result.execution_id)}
    assert (steps["b.undo"], steps["gone"]) == (StepStatus.FAILED, StepStatus.FAILED)
    # the outcome is that of the steps
    assert result.error is not None
    assert "attempt 1 is too early" in result.error.message
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_undoing_is_retried(engine: ExecutionEngine, database: Database) -> None:
    undo = {
        "action": "test.fail_until",
        "with": {"attempt": 3},
        "retry": {"attempts": 5, "initial": "10ms"},
    }
    plan = Plan(
        "retried",
        steps=[
            Step("a", action="test.nothing", undo=undo),
            Step("b", action="test.refuse"),
        ],
        rollback="on_failure",
    )

    execution_id = engine.execute(plan, timeout_seconds=60).execution_id

    assert read_result(database, execution_id, "a.undo") == 3
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize(
    ("rollback", "undone"), [("on_cancel", ["a.undo"]), ("on_failure", [])]
)
def test_a_cancel_is_undone_if_the_plan_says_so(
    engine: ExecutionEngine,
    noting: Note,
    ran: Callable[[], list[str]],
    ledger: Path,
    rollback: str,
    undone: list[str],
) -> None:
    plan = Plan(
        "cancelled",
        steps=[
            noting("a", undone=True),
            Step(
                "b",
                action="test.until_cancelled",
                with_={"ledger": str(ledger)},
            ),
            noting("c"),
            noting("tidy", run_on="always", deadline="1m"),
        ],
        rollback=rollback,
    )
    execution_id = engine.submit(plan)
    wait_until(lambda: len(read_lines(ledger)) == 2, what="the second step to run")

    engine.cancel(execution_id)

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.CANCELLED
    assert ran()[2:] == [*undone, "tidy"]
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_cancel_before_any_worker_came_still_tidies_up(
    engine: ExecutionEngine, noting: Note, ran: Callable[[], list[str]]
) -> None:
    plan = Plan(
        "early",
        steps=[
            noting("a", queue="nobody-serves-this"),
            noting("tidy", run_on="failure", deadline="1m"),
        ],
    )
    execution_id = engine.submit(plan)

    engine.cancel(execution_id)

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.CANCELLED
    assert ran() == ["tidy"]
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_the_end_runs_after_the_deadline(
    engine: ExecutionEngine, noting: Note, ran: Callable[[], list[str]]
) -> None:
    plan = Plan(
        "late",
        steps=[
            noting("a", undone=True),
            Step("b", action="test.sleep", with_={"seconds": 15}),
            noting("tidy", run_on="always", deadline="1m"),
        ],
        # within which "a" must have ended, and "b" have begun
        deadline="5s",
        rollback="on_failure",
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.status is ExecutionStatus.TIMED_OUT
    assert ran() == ["a", "a.undo", "tidy"]
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_step_of_the_end_has_a_deadline_of_its_own(engine: ExecutionEngine) -> None:
    plan = Plan(
        "endless",
        steps=[
            Step("a", action="test.nothing"),
            Step(
                "tidy",
                action="test.sleep",
                with_={"seconds": 15},
                run_on="always",
                deadline="500ms",
            ),
        ],
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.status is ExecutionStatus.COMPLETED
    tidy = engine.list_steps(result.execution_id)[-1]
    assert tidy.status is StepStatus.TIMED_OUT
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_failure_stops_its_siblings_if_the_plan_says_so(
    engine: ExecutionEngine, ledger: Path
) -> None:
    inputs = {"ledger": str(ledger)}
    plan = Plan(
        "stopping",
        steps=[
            Step("a", action="test.until_cancelled", with_=inputs, needs=[]),
            Step("b", action="test.sleep", with_={"seconds": 0.5}, needs=[]),
            Step("c", action="test.refuse", needs=["b"]),
        ],
        failing="cancel_running",
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    first = engine.list_steps(result.execution_id)[0]
    assert (first.status, first.attempt) == (StepStatus.CANCELLED, 1)
    check_timeline(engine, result.execution_id)


def test_a_killed_worker_does_not_stop_the_undoing(
    engine: ExecutionEngine, settings: Settings, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    undo = {
        "action": "test.hold",
        "with": {"ledger": str(ledger), "gate": str(gate)},
        "queue": "killed",
    }
    plan = Plan(
        "killed",
        steps=[
            Step("a", action="test.nothing", undo=undo, queue="killed"),
            Step("b", action="test.refuse", queue="killed"),
        ],
        rollback="on_failure",
    )
    alone = replace(settings, queue="killed")
    execution_id = engine.submit(plan)
    with WorkerProcess.start(alone, slots=1) as worker:
        wait_until(lambda: len(read_lines(ledger)) == 1, what="the undoing to begin")
        worker.kill()
    gate.touch()
    with WorkerProcess.start(alone, slots=1):
        result = engine.wait(execution_id, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    undone = engine.list_steps(execution_id)[-1]
    assert (undone.status, undone.attempt, undone.losses) == (
        StepStatus.COMPLETED,
        2,
        1,
    )
    check_timeline(engine, execution_id)
