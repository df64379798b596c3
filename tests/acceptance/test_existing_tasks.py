"""The tasks of a project's own Celery app, run as steps by that project's workers."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.errors import PlanValidationError
from execution.results import ExecutionResult
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

SHOP = "tests.shop.app"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file in which the workers note what they publish, apart from steps."""
    path = tmp_path_factory.mktemp("shop") / "published"
    path.touch()
    return path


@pytest.fixture(scope="module")
def environment(settings: Settings, published: Path) -> dict[str, str]:
    """What the project reads from its environment."""
    queue = f"{settings.queue}_shipping"
    return {"SHOP_QUEUE": queue, "SHOP_PUBLISHED": str(published)}


@pytest.fixture(scope="module", autouse=True)
def worker(settings: Settings, environment: dict[str, str]) -> Iterator[WorkerProcess]:
    """A worker of the project that serves both of its queues."""
    queues = f"{settings.queue},{environment['SHOP_QUEUE']}"
    with WorkerProcess.start(
        settings, app=SHOP, options=["-Q", queues], environment=environment
    ) as started:
        yield started


def run(
    engine: ExecutionEngine, task: str, inputs: dict[str, Any], **policies: Any
) -> ExecutionResult:
    """Run a plan of one step, which is a task."""
    plan = Plan("task", steps=[Step("s", action=task, with_=inputs, **policies)])
    execution_id = engine.submit(plan)
    result = engine.wait(execution_id, timeout_seconds=60)
    check_timeline(engine, execution_id)
    return result


def read_lines(ledger: Path) -> list[str]:
    return ledger.read_text().splitlines()


def test_tasks_pass_results_on(engine: ExecutionEngine) -> None:
    plan = Plan(
        "sum",
        steps=[
            Step("one", action="shop.add", with_={"left": 1, "right": 2}),
            Step("two", action="shop.add", with_={"left": "${steps.one.result}"}),
        ],
    )

    assert engine.execute(plan, timeout_seconds=60).unwrap() == 3


def test_a_task_and_an_action_are_steps_of_one_plan(engine: ExecutionEngine) -> None:
    plan = Plan(
        "both",
        steps=[
            Step("task", action="shop.add", with_={"left": 20, "right": 1}),
            Step(
                "own",
                action="test.add",
                with_={"left": "${steps.task.result}", "right": 1},
            ),
        ],
    )

    assert engine.execute(plan, timeout_seconds=60).unwrap() == 22


def test_a_bound_task_sees_a_request_of_its_step(
    engine: ExecutionEngine, settings: Settings, worker: WorkerProcess
) -> None:
    result = run(engine, "shop.price", {"amount": 5, "currency": "EUR"})

    assert result.unwrap() == {
        "id": f"{result.execution_id}:s",
        "root_id": result.execution_id,
        "hostname": f"{worker.log.stem}@test",
        "retries": 0,
        "args": [],
        "kwargs": {"amount": 5, "currency": "EUR"},
        "queue": settings.queue,
        "directly": False,
        "current": "shop.price",
        "amount": 5,
    }


def test_arguments_by_position_are_inputs_by_name(engine: ExecutionEngine) -> None:
    inputs = {"first": 1, "rest": [3, 4], "last": 5}

    assert run(engine, "shop.place", inputs).unwrap() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("task", "inputs", "place"),
    [
        ("shop.add", {"left": 1, "up": 2}, r"steps\[0\].with.up"),
        ("shop.add", {}, r"steps\[0\].with.left"),
        ("shop.place", {"first": 1, "rest": 2}, r"steps\[0\].with.rest"),
    ],
    ids=["unknown", "missing", "no_list"],
)
def test_inputs_that_do_not_fit_a_task_are_refused(
    engine: ExecutionEngine, task: str, inputs: dict[str, Any], place: str
) -> None:
    with pytest.raises(PlanValidationError, match=place):
        run(engine, task, inputs)


def test_retry_is_another_attempt_after_its_countdown(
    engine: ExecutionEngine, ledger: Path, published: Path
) -> None:
    before = read_lines(published)
    inputs = {"ledger": str(ledger), "until": 2, "countdown": 0.3}
    begun = time.monotonic()

    result = run(engine, "shop.charge", inputs, retry={"attempts": 3, "initial": "1ms"})

    assert result.unwrap() == 2
    assert time.monotonic() - begun > 0.6
    assert [line for line in read_lines(ledger) if "attempt" in line] == [
        "attempt 0",
        "attempt 1",
        "attempt 2",
    ]
    assert read_lines(published) == before


def test_a_long_countdown_holds_no_slot(engine: ExecutionEngine, ledger: Path) -> None:
    inputs = {"ledger": str(ledger), "until": 1, "countdown": 600}
    plan = Plan(
        "later",
        steps=[Step("s", action="shop.charge", with_=inputs, retry={"attempts": 2})],
    )

    execution_id = engine.submit(plan)

    wait_until(
        lambda: engine.list_steps(execution_id)[0].status is StepStatus.WAITING,
        what="the step to wait",
    )
    engine.cancel(execution_id)


def test_without_attempts_left_a_retry_is_a_failure_that_says_so(
    engine: ExecutionEngine, ledger: Path
) -> None:
    result = run(engine, "shop.charge", {"ledger": str(ledger), "until": 1})

    assert result.error is not None
    assert result.error.code == "E005"
    assert "attempt 1 of 1 failed" in result.error.message
    assert "shop.charge asked to be tried again" in result.error.message
    assert "ConnectionError('busy')" in result.error.message


def test_a_retry_with_other_arguments_is_refused(engine: ExecutionEngine) -> None:
    result = run(engine, "shop.charge_more", {"amount": 1}, retry={"attempts": 3})

    assert result.error is not None
    assert "other arguments" in result.error.message


def test_autoretry_is_another_attempt(engine: ExecutionEngine, ledger: Path) -> None:
    policy = {"attempts": 3, "initial": "1ms", "on": ["execution.RetryableError"]}

    result = run(engine, "shop.reserve", {"ledger": str(ledger)}, retry=policy)

    assert result.unwrap() == 2


def test_what_listens_to_tasks_hears_of_each_attempt(
    engine: ExecutionEngine, ledger: Path
) -> None:
    policy = {"attempts": 3, "initial": "1ms"}

    run(engine, "shop.reserve", {"ledger": str(ledger)}, retry=policy)

    again = [
        "prerun True False",
        "retry ConnectionError('no stock server')",
        "postrun RETRY False",
    ]
    end = ["prerun True False", "success 2", "postrun SUCCESS False"]
    assert read_lines(ledger) == [*again, *again, *end]


def test_a_failure_is_told_and_recorded(engine: ExecutionEngine, ledger: Path) -> None:
    result = run(engine, "shop.refuse", {"ledger": str(ledger)})

    assert result.error is not None
    assert "LookupError: no such customer" in result.error.message
    assert read_lines(ledger) == [
        "prerun True False",
        "failure LookupError('no such customer') True",
        "postrun FAILURE False",
    ]


@pytest.mark.parametrize(
    ("task", "inputs", "attempts"),
    [
        ("shop.reject", {"requeue": True}, 2),
        ("shop.reject", {"requeue": False}, 1),
        ("shop.ignore", {}, 1),
    ],
    ids=["given_back", "thrown_away", "ignored"],
)
def test_a_task_that_gives_no_result_fails(
    engine: ExecutionEngine, task: str, inputs: dict[str, Any], attempts: int
) -> None:
    policy = {"attempts": 2, "initial": "1ms"}

    result = run(engine, task, inputs, retry=policy)

    assert result.status is ExecutionStatus.FAILED
    assert engine.list_steps(result.execution_id)[0].failures == attempts


def test_the_methods_of_a_class_hear_of_each_attempt(
    engine: ExecutionEngine, ledger: Path
) -> None:
    policy = {"attempts": 2, "initial": "1ms"}

    result = run(
        engine, "shop.pack", {"ledger": str(ledger), "things": 4}, retry=policy
    )

    assert result.unwrap() == 5
    assert [line for line in read_lines(ledger) if "run" not in line] == [
        "before_start 0",
        "called",
        "on_retry None",
        "retry None",
        "before_start 1",
        "called",
        "on_success 5",
        "success 5",
        "after_return SUCCESS",
    ]


def test_a_handler_that_fails_changes_nothing(
    engine: ExecutionEngine, ledger: Path
) -> None:
    policy = {"attempts": 2, "initial": "1ms"}

    result = run(
        engine, "shop.pack", {"ledger": str(ledger), "things": -1}, retry=policy
    )

    assert result.error is not None
    assert "ValueError: nothing to pack" in result.error.message
    assert "on_failure ValueError('nothing to pack')" in read_lines(ledger)


def test_a_task_may_be_replaced_within_its_step(
    engine: ExecutionEngine, published: Path
) -> None:
    before = read_lines(published)

    assert run(engine, "shop.substitute", {"left": 1}).unwrap() == 111
    assert read_lines(published) == before


def test_a_task_may_publish_others(engine: ExecutionEngine, published: Path) -> None:
    before = read_lines(published)

    run(engine, "shop.announce", {"left": 1}).unwrap()

    assert read_lines(published) == [*before, "shop.add"]


def test_a_step_goes_where_the_app_sends_its_task(
    engine: ExecutionEngine, environment: dict[str, str], settings: Settings
) -> None:
    plan = Plan(
        "ways",
        steps=[
            Step("routed", action="shop.ship"),
            Step("stated", action="shop.ship", queue=settings.queue),
            Step("other", action="shop.add", with_={"left": 1}),
            Step("last", action="shop.ship", run_on="always", deadline="1m"),
        ],
    )

    execution_id = engine.submit(plan)

    assert engine.wait(execution_id, timeout_seconds=60).is_success
    assert [step.queue for step in engine.list_steps(execution_id)] == [
        environment["SHOP_QUEUE"],
        settings.queue,
        settings.queue,
        environment["SHOP_QUEUE"],
    ]


def test_the_time_limit_of_a_task_is_its_timeout(engine: ExecutionEngine) -> None:
    result = run(engine, "shop.dawdle", {})

    assert result.error is not None
    assert result.error.code == "E002"


def test_celerys_own_tasks_and_ours_are_no_actions(engine: ExecutionEngine) -> None:
    own = ["celery.chain", "celery.backend_cleanup", "plans.step", "shop.add"]
    plan = Plan("own", steps=[Step(f"s{n}", action=name) for n, name in enumerate(own)])

    assert set(engine.list_unserved_actions(plan)) == set(own[:3])


def test_a_killed_task_runs_again(
    engine: ExecutionEngine, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    execution_id = engine.submit(
        Plan("held", steps=[Step("s", action="shop.hold", with_=inputs)])
    )

    def find_pids() -> list[int]:
        lines = [line for line in read_lines(ledger) if line.startswith("held")]
        return [int(line.split()[1]) for line in lines]

    (pid,) = wait_until(find_pids, what="the task to start")
    os.kill(pid, signal.SIGKILL)
    gate.touch()

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.unwrap() == find_pids()[1]
    check_timeline(engine, execution_id)


def test_a_task_that_kills_its_process_ends(engine: ExecutionEngine) -> None:
    result = run(engine, "shop.crash", {}, retry={"max_lost": 2})

    assert result.error is not None
    assert result.error.code == "E008"


def test_shared_tasks_of_imported_modules_are_actions_of_the_stand_alone_app(
    engine: ExecutionEngine, settings: Settings
) -> None:
    own = replace(
        settings, queue=f"{settings.queue}_alone", imports=("tests.shop.shared",)
    )
    step = Step("s", action="library.double", with_={"value": 21}, queue=own.queue)

    with WorkerProcess.start(own):
        result = engine.execute(Plan("shared", steps=[step]), timeout_seconds=60)

    assert result.unwrap() == 42
