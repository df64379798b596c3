"""Plans run from end to end on real workers."""

from dataclasses import replace

import pytest

from execution import (
    ExecutionEngine,
    ExecutionStatus,
    Plan,
    Settings,
    Step,
    StepStatus,
)
from execution.errors import ExecutionFailedError, ExecutionNotFinishedError
from execution.installation import Installation
from execution.settings import CatalogueCheck
from tests.worker_process import WorkerProcess

pytestmark = pytest.mark.usefixtures("shared_worker")


def test_a_sequence_passes_results_on(engine: ExecutionEngine) -> None:
    plan = Plan(
        "sums",
        parameters={"start": {"type": "integer", "required": True}},
        steps=[
            Step(
                "first",
                action="test.add",
                with_={"left": "${parameters.start}", "right": 1},
            ),
            Step(
                "second",
                action="test.add",
                with_={"left": "${steps.first.result}", "right": 10},
            ),
        ],
        result={"sum": "${steps.second.result}"},
    )

    result = engine.execute(plan, {"start": 100}, timeout_seconds=60)

    assert result.unwrap() == {"sum": 111}


def test_branches_join(engine: ExecutionEngine) -> None:
    branches = [
        Step(f"branch_{n}", action="test.echo", with_={"value": n}, needs=["root"])
        for n in range(8)
    ]
    plan = Plan(
        "diamond",
        steps=[
            Step("root", action="test.nothing", needs=[]),
            *branches,
            Step(
                "join",
                action="test.echo",
                with_={"value": [f"${{steps.branch_{n}.result}}" for n in range(8)]},
                needs=[b.id for b in branches],
            ),
        ],
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.unwrap() == list(range(8))


def test_a_window_ends_and_the_next_one_begins(engine: ExecutionEngine) -> None:
    plan = Plan("long", steps=[Step(f"s{n}", action="test.nothing") for n in range(50)])

    execution_id = engine.submit(plan)
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.is_success
    assert {step.attempt for step in engine.list_steps(execution_id)} == {1}


def test_attempts_are_repeated_in_place(engine: ExecutionEngine) -> None:
    plan = Plan(
        "flaky",
        steps=[
            Step(
                "try",
                action="test.fail_until",
                with_={"attempt": 3},
                retry={"attempts": 3},
            )
        ],
    )

    execution_id = engine.submit(plan)
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.unwrap() == 3
    assert engine.get_status(execution_id).variables == {"last": 3}


def test_an_exhausted_step_aborts_with_its_cause(engine: ExecutionEngine) -> None:
    plan = Plan(
        "doomed",
        steps=[
            Step(
                "bad",
                action="test.fail_until",
                with_={"attempt": 9},
                retry={"attempts": 2},
            ),
            Step("never", action="test.nothing"),
        ],
    )

    execution_id = engine.submit(plan)
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.code == "E005"
    assert "attempt 2 is too early" in result.error.message
    steps = {step.name: step.status for step in engine.list_steps(execution_id)}
    assert steps == {"bad": StepStatus.FAILED, "never": StepStatus.CANCELLED}
    with pytest.raises(ExecutionFailedError, match="E005"):
        result.unwrap()


def test_a_failure_can_be_skipped_over(engine: ExecutionEngine) -> None:
    plan = Plan(
        "tolerant",
        steps=[
            Step(
                "bad", action="test.fail_until", with_={"attempt": 2}, on_failure="skip"
            ),
            Step("next", action="test.echo", with_={"value": "${steps.bad.status}"}),
        ],
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.unwrap() == "skipped"


def test_a_skip_runs_down_its_line_and_stops_at_a_join(engine: ExecutionEngine) -> None:
    plan = Plan(
        "dag",
        steps=[
            Step(
                "bad",
                action="test.fail_until",
                with_={"attempt": 2},
                on_failure="skip",
                needs=[],
            ),
            Step("after_bad", action="test.nothing", needs=["bad"]),
            Step("good", action="test.nothing", needs=[]),
            Step(
                "join",
                action="test.echo",
                with_={"value": 1},
                needs=["after_bad", "good"],
            ),
        ],
    )

    execution_id = engine.submit(plan)
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.unwrap() == 1
    after_bad = engine.list_steps(execution_id)[1]
    assert (after_bad.status, after_bad.reason) == (StepStatus.SKIPPED, "needs")


@pytest.mark.parametrize(
    ("step", "code", "says"),
    [
        (
            Step("s", action="test.return_foreign"),
            "E003",
            "is a object, which JSON cannot hold",
        ),
        (
            Step("s", action="test.add", with_={"left": 1}),
            "E003",
            "missing a required argument",
        ),
    ],
    ids=["result_is_no_json", "inputs_do_not_fit"],
)
def test_what_another_attempt_would_repeat_is_not_retried(
    engine: ExecutionEngine, settings: Settings, step: Step, code: str, says: str
) -> None:
    plan = Plan("fatal", steps=[step], defaults={"retry": {"attempts": 5}})

    # as a producer does whom nobody has told of the inputs
    unchecked = replace(settings, check=CatalogueCheck.OFF)
    with ExecutionEngine(Installation(unchecked, None)) as careless:
        execution_id = careless.submit(plan)
    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.error is not None
    assert result.error.code == code
    assert says in result.error.message
    assert engine.list_steps(execution_id)[0].attempt == 1


def test_a_missing_path_fails_with_its_place(engine: ExecutionEngine) -> None:
    plan = Plan(
        "path",
        steps=[
            Step("one", action="test.echo", with_={"value": {"a": 1}}),
            Step("two", action="test.echo", with_={"value": "${steps.one.result.b}"}),
        ],
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.error is not None
    assert result.error.code == "E007"
    assert "steps.one.result.b" in result.error.message


def test_a_result_is_not_there_before_the_end(
    engine: ExecutionEngine, shared_worker: WorkerProcess
) -> None:
    plan = Plan(
        "unserved", steps=[Step("s", action="test.nothing", queue="nobody_serves")]
    )

    execution_id = engine.submit(plan)

    with pytest.raises(ExecutionNotFinishedError, match="pending"):
        engine.get_result(execution_id)


def test_a_monitor_yields_every_event_once(engine: ExecutionEngine) -> None:
    plan = Plan(
        "watched", steps=[Step(f"s{n}", action="test.observe") for n in range(5)]
    )
    execution_id = engine.submit(plan)

    updates = list(engine.monitor(execution_id))

    numbers = [event.seq for update in updates for event in update.events]
    assert numbers == list(range(1, len(numbers) + 1))
    assert updates[-1].status is ExecutionStatus.COMPLETED
    assert updates[-1].progress.percentage == 100.0


@pytest.mark.parametrize("action", ["test.exit", "test.cancel_itself"])
def test_code_that_tries_to_end_its_process_fails_as_code_does(
    engine: ExecutionEngine, action: str
) -> None:
    execution_id = engine.submit(Plan("exits", steps=[Step("s", action=action)]))

    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    (step,) = engine.list_steps(execution_id)
    assert (step.attempt, step.failures, step.losses) == (1, 1, 0)


def test_a_connection_cut_during_an_attempt_is_no_error_of_the_code(
    engine: ExecutionEngine,
) -> None:
    plan = Plan("cut", steps=[Step("s", action="test.cut_connections")])
    execution_id = engine.submit(plan)

    result = engine.wait(execution_id, timeout_seconds=60)

    assert result.unwrap() == "done"
    assert engine.list_steps(execution_id)[0].attempt == 1


def test_a_result_that_cannot_be_made_fails_the_execution(
    engine: ExecutionEngine,
) -> None:
    plan = Plan(
        "no-result",
        steps=[Step("s", action="test.echo", with_={"value": 1})],
        result="${steps.s.result.missing}",
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.code == "E007"


def test_what_a_failing_attempt_told_is_kept(engine: ExecutionEngine) -> None:
    plan = Plan("told", steps=[Step("s", action="test.tell_and_fail")])

    execution_id = engine.submit(plan)
    engine.wait(execution_id, timeout_seconds=60)

    (step,) = engine.list_steps(execution_id)
    assert (step.progress, step.progress_message) == (70.0, "second")
