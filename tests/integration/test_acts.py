"""The table (act, state) → result, walked: each cell by the engine, and by the command.

The executions are rows, made in each state that there is; what is not in the table is
not asked.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
from typer.testing import CliRunner

from execution import ExecutionEngine, Settings
from execution.acts import STEP_ACTS, Act, Verdict, can_be, judge
from execution.cli.app import app
from execution.cli.exits import ExitCode, exit_code
from execution.states import (
    TERMINAL_EXECUTION_STATUSES,
    ExecutionStatus,
    StepStatus,
)
from tests.rows import (
    committed,
    insert_execution,
    insert_plan,
    insert_plan_step,
    insert_step,
)

Cell = tuple[Act, ExecutionStatus, StepStatus | None]

_TYPED: dict[Act, str] = {act: act.value for act in Act if act is not Act.DELETE}
"""What the command line calls the acts that it has."""


def list_cells() -> list[Cell]:
    whole: list[Cell] = [
        (act, status, None)
        for act in Act
        if act not in STEP_ACTS
        for status in ExecutionStatus
    ]
    return whole + [
        (act, status, step)
        for act in Act
        if act in STEP_ACTS
        for status in ExecutionStatus
        for step in StepStatus
        if can_be(status, step)
    ]


CELLS = list_cells()


def make(settings: Settings, status: ExecutionStatus, step: StepStatus | None) -> str:
    """Make an execution of two steps: `a`, which is looked at, and `b` beside it.

    Where `a` waits for something, it is `b`.
    """
    is_over = status in TERMINAL_EXECUTION_STATUSES
    stopped = StepStatus.COMPLETED
    if status is not ExecutionStatus.COMPLETED:
        stopped = StepStatus.CANCELLED
    first = step or (stopped if is_over else StepStatus.READY)
    second = stopped if is_over else StepStatus.READY
    needs = [1] if first is StepStatus.PENDING else []
    with committed(str(settings.database_url), settings.schema) as cursor:
        plan_id = insert_plan(cursor)
        for position, name in enumerate("ab"):
            insert_plan_step(cursor, plan_id, position=position, name=name)
        both = (first, second)
        is_open = [one not in _ENDED for one in both]
        execution_id = insert_execution(
            cursor,
            status.value,
            plan_id=plan_id,
            total_steps=2,
            open_steps=sum(is_open),
            section="over" if is_over else "steps",
        )
        insert_step(cursor, execution_id, first.value, needs=needs)
        insert_step(
            cursor,
            execution_id,
            second.value,
            position=1,
            name="b",
            successors=[0] if needs else [],
        )
    return execution_id


_ENDED = frozenset(
    {
        StepStatus.COMPLETED,
        StepStatus.FAILED,
        StepStatus.SKIPPED,
        StepStatus.CANCELLED,
        StepStatus.TIMED_OUT,
    }
)


def do(engine: ExecutionEngine, act: Act, execution_id: str) -> Any:
    match act:
        case Act.SKIP:
            return engine.skip(execution_id, "a")
        case Act.FORCE:
            return engine.force_result(execution_id, "a", 7)
        case Act.DELETE:
            return engine.delete_execution(execution_id)
        case _:
            return getattr(engine, act.value)(execution_id)


@pytest.mark.parametrize("act", Act)
def test_the_engine_answers_each_cell_as_the_table_says(
    engine: ExecutionEngine, settings: Settings, act: Act
) -> None:
    for cell in CELLS:
        if cell[0] is act:
            execution_id = make(settings, *cell[1:])
            verdict = judge(*cell)
            call = partial(do, engine, act, execution_id)
            if verdict.error is None:
                check_answer(call(), cell, verdict)
            else:
                with pytest.raises(verdict.error) as refusal:
                    call()
                assert type(refusal.value) is verdict.error, cell
                now = engine.get_status(execution_id).status
                assert now is cell[1], f"{cell} changed something"


def check_answer(answer: Any, cell: Cell, verdict: Verdict) -> None:
    if cell[0] is Act.DELETE:
        assert answer is (not verdict.leads_to), cell
    else:
        assert answer in verdict.leads_to, cell


def list_arguments(act: Act, execution_id: str) -> Sequence[str]:
    more = {Act.SKIP: ["a"], Act.FORCE: ["a", "7"]}.get(act, [])
    return [_TYPED[act], execution_id, *more]


@pytest.mark.parametrize("act", _TYPED)
def test_the_command_ends_with_the_code_that_the_table_says(
    settings: Settings, act: Act
) -> None:
    environment = {
        "PLANS_DATABASE_URL": str(settings.database_url),
        "PLANS_BROKER_URL": str(settings.broker_url),
        "PLANS_SCHEMA": settings.schema,
        "PLANS_QUEUE": settings.queue,
    }
    for cell in CELLS:
        # the codes hang on the class of the error: a step in its two moods will do
        if cell[0] is not act or cell[2] not in (None, *_MOODS):
            continue
        execution_id = make(settings, *cell[1:])
        verdict = judge(*cell)

        done = CliRunner().invoke(
            app, list_arguments(act, execution_id), env=environment
        )

        assert done.exit_code == expect(verdict), (cell, done.output)
        assert (done.stderr == "") is verdict.is_done


_MOODS = (StepStatus.READY, StepStatus.FAILED, StepStatus.RUNNING)


def expect(verdict: Verdict) -> ExitCode:
    error = verdict.error
    return ExitCode.OK if error is None else exit_code(error("no"))
