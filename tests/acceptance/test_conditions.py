"""Steps with `when`, run by a real worker."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionResult, ExecutionStatus, Plan, Step
from execution.database import Database
from execution.errors import ErrorCode
from tests.timeline import check_timeline, read_timeline
from tests.worker_process import WorkerProcess

pytestmark = pytest.mark.usefixtures("shared_worker")


def echo(name: str, value: object = 1, **fields: Any) -> Step:
    return Step(name, action="test.echo", with_={"value": value}, **fields)


def run(
    engine: ExecutionEngine, plan: Plan, parameters: Mapping[str, Any] | None = None
) -> ExecutionResult:
    result = engine.execute(plan, parameters, timeout_seconds=60)
    check_timeline(engine, result.execution_id)
    return result


def ends_of(engine: ExecutionEngine, result: ExecutionResult) -> dict[str, str]:
    return {s.name: s.status.value for s in engine.list_steps(result.execution_id)}


def test_in_a_sequence_the_next_step_runs_after_one_that_is_not_wanted(
    engine: ExecutionEngine,
) -> None:
    plan = Plan(
        "sequence",
        steps=[
            echo("a", [1, 2]),
            echo("b", when="size(steps.a.result) > 2"),
            echo("c", "${steps.b.result}", when='${steps.b.status == "skipped"}'),
            echo("d", when="steps.c.result == null"),
        ],
        result={"c": "${steps.c.result}", "b": "${steps.b.status}"},
    )

    result = run(engine, plan)

    assert result.unwrap() == {"c": None, "b": "skipped"}
    assert list(ends_of(engine, result).values()) == [
        "completed",
        "skipped",
        "completed",
        "completed",
    ]


def test_in_a_graph_a_skip_runs_down_to_a_join_with_a_live_branch(
    engine: ExecutionEngine,
) -> None:
    plan = Plan(
        "graph",
        parameters={"size": {"type": "integer"}},
        steps=[
            echo("root", needs=[]),
            echo("big", needs=["root"], when="parameters.size > 10"),
            echo("after_big", needs=["big"]),
            echo("small", needs=["root"], when="parameters.size <= 10"),
            echo("join", needs=["after_big", "small"]),
            echo(
                "only_big",
                needs=["after_big", "small"],
                when='steps.after_big.status == "completed"',
            ),
        ],
    )

    result = run(engine, plan, {"size": 3})

    assert ends_of(engine, result) == {
        "root": "completed",
        "big": "skipped",
        "after_big": "skipped",
        "small": "completed",
        "join": "completed",
        "only_big": "skipped",
    }


def test_a_skip_says_that_the_condition_was_its_reason(engine: ExecutionEngine) -> None:
    result = run(engine, Plan("p", steps=[echo("a", when="1 > 2")]))

    events = read_timeline(engine, result.execution_id)
    (skipped,) = (event for event in events if event.type == "step.skipped")
    assert skipped.data["reason"] == "condition"
    assert result.status is ExecutionStatus.COMPLETED


@pytest.mark.parametrize("condition", ["steps.a.result", "steps.a.result.nope > 1"])
@pytest.mark.parametrize(
    ("on_failure", "status", "end"),
    [
        ("abort", ExecutionStatus.FAILED, "failed"),
        ("skip", ExecutionStatus.COMPLETED, "skipped"),
    ],
)
def test_a_condition_that_cannot_be_evaluated_fails_the_step(
    engine: ExecutionEngine,
    condition: str,
    on_failure: str,
    status: ExecutionStatus,
    end: str,
) -> None:
    retry = {"attempts": 3, "initial": "1ms"}
    step = echo("b", when=condition, on_failure=on_failure, retry=retry)

    result = run(engine, Plan("p", steps=[echo("a", {"x": 1}), step]))

    assert result.status is status
    failed = engine.list_steps(result.execution_id)[1]
    assert (failed.status.value, failed.attempt) == (end, 1)
    assert failed.error is not None
    assert failed.error.code is ErrorCode.EXPRESSION
    assert f"steps.b.when: ${{{condition}}}" in failed.error.message


def test_attempts_that_are_repeated_do_not_ask_again(
    engine: ExecutionEngine, database: Database, ledger: Path
) -> None:
    plan = Plan(
        "p",
        steps=[
            Step(
                "a",
                action="test.fail_until",
                with_={"attempt": 2},
                when='execution.tags.exists(t, t == "go")',
                # long enough to be sat out in the database, and claimed anew
                retry={"attempts": 2, "initial": "3s", "jitter": "0s"},
            )
        ],
    )
    execution_id = engine.submit(plan, tags=["go"])
    events = engine.monitor(execution_id)
    next(u for u in events if any(e.type == "step.waiting" for e in u.events))

    # what it was evaluated from is no more
    database.query(
        "UPDATE {schema}.executions SET tags = '{{}}' WHERE id = %s RETURNING 1",
        (execution_id,),
    )

    assert engine.wait(execution_id, timeout_seconds=60).unwrap() == 2


def test_a_long_line_of_skips_ends(
    engine: ExecutionEngine, shared_worker: WorkerProcess
) -> None:
    steps = [echo(f"s{n}", when="false" if n % 2 else "true") for n in range(40)]

    result = run(engine, Plan("line", steps=steps))

    assert list(ends_of(engine, result).values()) == ["completed", "skipped"] * 20


def test_steps_of_the_end_have_conditions_too(
    engine: ExecutionEngine, database: Database
) -> None:
    end: dict[str, Any] = {"run_on": "always", "deadline": "10s"}
    undo = {"action": "test.echo", "with": {"value": "${step.result + 1}"}}
    plan = Plan(
        "ends",
        rollback="on_failure",
        steps=[
            echo("a", 1, undo=undo),
            Step("b", action="test.refuse"),
            echo("wanted", when='steps.b.status == "failed"', **end),
            echo("unwanted", when='steps.b.status == "completed"', **end),
            echo("last", "${steps.unwanted.status}", **end),
        ],
    )

    result = run(engine, plan)

    ends = ends_of(engine, result)
    assert ends == {
        "a": "completed",
        "b": "failed",
        "wanted": "completed",
        "unwanted": "skipped",
        "last": "completed",
        "a.undo": "completed",
    }
    (undone,) = database.query(
        "SELECT result FROM {schema}.execution_steps"
        " WHERE execution_id = %s AND name = 'a.undo'",
        (result.execution_id,),
    )
    assert undone["result"] == 2


def test_a_step_with_items_is_asked_once(engine: ExecutionEngine) -> None:
    items: dict[str, Any] = {"for_each": "steps.a.result.filter(x, x > 1)"}
    plan = Plan(
        "items",
        steps=[
            echo("a", [1, 2, 3]),
            echo("b", "${item * 10 + index}", when="size(steps.a.result) > 2", **items),
            echo("c", "${item}", when="size(steps.a.result) > 3", **items),
        ],
        result=["${steps.b.results}", "${sum(steps.b.results)}", "${steps.c.status}"],
    )

    result = run(engine, plan)

    assert result.unwrap() == [[20, 31], 51, "skipped"]
    assert [s.name for s in engine.list_steps(result.execution_id)][3:] == [
        "b[0]",
        "b[1]",
    ]
