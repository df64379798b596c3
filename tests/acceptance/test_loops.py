"""Steps that repeat what they do until it is enough, by a real worker."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.filters import ExecutionFilter
from tests.outages import read_lines
from tests.polling import wait_until
from tests.timeline import check_timeline, read_timeline
from tests.worker_process import WorkerProcess

COUNT = {"value": {"n": '${get(last, "n", 0) + 1}', "at": "${index}"}}
SEEN = {
    name: f"${{steps.count.{name}}}"
    for name in ("status", "result", "results", "error")
}


def loop(*others: Step, **repeat: Any) -> Plan:
    """A plan that counts, and reads what it has come to."""
    policies = ("retry", "on_failure", "deadline", "when", "undo", "queue", "timeout")
    fields = {name: repeat.pop(name) for name in policies if name in repeat}
    written = {"action": "test.echo", "with": COUNT, "times": 10, **repeat}
    return Plan(
        "loop",
        steps=[
            Step("count", repeat=written, **fields),
            Step("after", action="test.echo", with_={"value": SEEN}),
            *others,
        ],
        result="${steps.count.result}",
        rollback="on_failure",
    )


def statuses(engine: ExecutionEngine, execution_id: str) -> dict[str, str]:
    return {s.name: str(s.status) for s in engine.list_steps(execution_id)}


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("until", ["last.n == 4", "${index == 3}"])
def test_a_loop_is_over_when_its_condition_is_true(
    engine: ExecutionEngine, until: str
) -> None:
    result = engine.execute(loop(until=until), timeout_seconds=60)

    assert result.unwrap() == {"n": 4, "at": 3}
    steps = {s.name: s for s in engine.list_steps(result.execution_id)}
    assert [*steps] == ["count", "after", *(f"count[{n}]" for n in range(4))]
    assert {s.status for s in steps.values()} == {StepStatus.COMPLETED}
    assert steps["count"].iterations == 4
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_without_a_condition_all_iterations_run(engine: ExecutionEngine) -> None:
    result = engine.execute(loop(times=70), timeout_seconds=60)

    assert result.unwrap() == {"n": 70, "at": 69}
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_what_follows_sees_the_loop_as_one_step(engine: ExecutionEngine) -> None:
    plan = loop(times=2)
    plan = Plan.from_mapping(plan.definition | {"result": "${steps.after.result}"})

    assert engine.execute(plan, timeout_seconds=60).unwrap() == {
        "status": "completed",
        "result": {"n": 2, "at": 1},
        "results": None,
        "error": None,
    }


@pytest.mark.usefixtures("shared_worker")
def test_a_loop_that_comes_to_its_bound_fails(engine: ExecutionEngine) -> None:
    result = engine.execute(loop(until="last.n > 99", times=3), timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.code == "E003"
    assert "steps.count.repeat.until: is still false after 3" in result.error.message
    assert statuses(engine, result.execution_id) == {
        "count": "failed",
        "after": "cancelled",
        **{f"count[{n}]": "completed" for n in range(3)},
    }
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("until", ["last.n", "last.nothing", "last.n.deep"])
def test_a_condition_that_is_none_fails_the_loop(
    engine: ExecutionEngine, until: str
) -> None:
    result = engine.execute(loop(until=until), timeout_seconds=60)

    assert result.error is not None
    assert (result.error.code, result.error.step) == ("E007", "count")
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_each_iteration_has_attempts_of_its_own(engine: ExecutionEngine) -> None:
    plan = loop(
        action="test.fail_until",
        times=3,
        retry={"attempts": 2, "initial": "10ms"},
        **{"with": {"attempt": 2}},
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.unwrap() == 2
    steps = {s.name: s for s in engine.list_steps(result.execution_id)}
    assert [steps[f"count[{n}]"].attempt for n in range(3)] == [2, 2, 2]
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("policy", ["abort", "skip", {"fallback": "spare"}])
def test_an_iteration_that_fails_for_good_is_the_failure_of_its_loop(
    engine: ExecutionEngine, policy: Any
) -> None:
    others = []
    if isinstance(policy, dict):
        others = [Step("spare", action="test.echo", with_={"value": "${failure.step}"})]
    plan = loop(
        *others,
        action="test.fail_until",
        on_failure=policy,
        **{"with": {"attempt": "${index}"}},
    )

    result = engine.execute(plan, timeout_seconds=60)

    found = statuses(engine, result.execution_id)
    assert {found.pop(f"count[{n}]") for n in range(2)} == {"completed"}
    assert found.pop("count[2]") == "failed"
    match policy:
        case "abort":
            assert found == {"count": "failed", "after": "cancelled"}
            assert result.error is not None
            assert result.error.step == "count[2]"
        case "skip":
            assert found == {"count": "skipped", "after": "completed"}
            assert result.unwrap() is None
        case _:
            assert set(found.values()) == {"completed"}
            assert result.unwrap() == "count[2]"
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_loop_that_is_not_wanted_has_no_iterations(engine: ExecutionEngine) -> None:
    result = engine.execute(loop(when="false"), timeout_seconds=60)

    assert statuses(engine, result.execution_id) == {
        "count": "skipped",
        "after": "completed",
    }


@pytest.mark.usefixtures("shared_worker")
def test_a_condition_is_asked_before_the_first_iteration_alone(
    engine: ExecutionEngine,
) -> None:
    result = engine.execute(loop(when="execution.id != ''", times=3))

    assert result.unwrap() == {"n": 3, "at": 2}
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_what_a_loop_did_is_undone_once(engine: ExecutionEngine) -> None:
    undo = {"action": "test.echo", "with": {"value": "${step.result.n}"}}
    plan = loop(Step("fail", action="test.refuse"), times=3, undo=undo)

    result = engine.execute(plan, timeout_seconds=60)

    found = statuses(engine, result.execution_id)
    assert [name for name in found if "undo" in name] == ["count.undo"]
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_iterations_stand_apart_by_the_wait_between_them(
    engine: ExecutionEngine,
) -> None:
    result = engine.execute(loop(times=3, wait="300ms"), timeout_seconds=60)

    begun = [
        event.at
        for event in read_timeline(engine, result.execution_id)
        if event.type == "step.started" and str(event.step).startswith("count[")
    ]
    waits = [(b - a).total_seconds() for a, b in pairwise(begun)]
    assert len(waits) == 2
    assert min(waits) >= 0.3
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("policy", ["abort", "skip", {"fallback": "spare"}])
def test_the_deadline_of_a_loop_is_for_all_its_iterations(
    engine: ExecutionEngine, policy: Any
) -> None:
    others = []
    if isinstance(policy, dict):
        others = [Step("spare", action="test.echo", with_={"value": "${failure.code}"})]
    plan = loop(
        *others,
        action="test.sleep",
        times=1000,
        deadline="1s",
        on_failure=policy,
        **{"with": {"seconds": 0.3}},
    )

    result = engine.execute(plan, timeout_seconds=60)

    steps = {s.name: s for s in engine.list_steps(result.execution_id)}
    match policy:
        case "abort":
            assert steps["count"].status is StepStatus.TIMED_OUT
        case "skip":
            assert steps["count"].status is StepStatus.SKIPPED
        case _:
            assert result.unwrap() == "E002"
    assert 1 < len(steps) < 100
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_cancel_ends_the_loop(engine: ExecutionEngine, ledger: Path) -> None:
    plan = loop(action="test.until_cancelled", **{"with": {"ledger": str(ledger)}})
    execution_id = engine.submit(plan)
    wait_until(lambda: len(read_lines(ledger)) == 1, what="an iteration to run")

    engine.cancel(execution_id)

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.CANCELLED
    assert set(statuses(engine, execution_id).values()) == {"cancelled"}
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_pause_holds_the_loop(
    engine: ExecutionEngine, ledger: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    inputs = {"ledger": str(ledger), "gate": str(gate)}
    plan = loop(action="test.hold", times=3, **{"with": inputs})
    execution_id = engine.submit(plan)
    wait_until(lambda: len(read_lines(ledger)) == 1, what="an iteration to run")
    engine.pause(execution_id)
    gate.touch()

    def has_ended() -> bool:
        return statuses(engine, execution_id)["count[0]"] == "completed"

    wait_until(has_ended, what="what ran to end")
    assert statuses(engine, execution_id)["count"] == "ready"
    assert len(read_lines(ledger)) == 1

    engine.resume(execution_id)
    assert engine.wait(execution_id, timeout_seconds=60).is_success
    check_timeline(engine, execution_id)


def publish_count(engine: ExecutionEngine) -> None:
    """Publish a plan that counts on, and refuses to count beyond three."""
    steps = [
        Step(
            "refuse", action="test.refuse", when="parameters.n > 2", on_failure="abort"
        ),
        Step("add", action="test.add", with_={"left": "${parameters.n}", "right": 1}),
    ]
    number = {"n": {"type": "integer", "required": True}}
    engine.publish(Plan("count", steps=steps, parameters=number))


COUNT_ON = {"plan": "count", "with": {"n": "${index == 0 ? 0 : last}"}}


def list_within(engine: ExecutionEngine, parent_id: str) -> list[ExecutionStatus]:
    found = engine.list_executions(ExecutionFilter(parent_id=parent_id)).items
    return [execution.status for execution in found]


@pytest.mark.usefixtures("shared_worker")
def test_a_loop_may_run_a_plan_in_each_iteration(engine: ExecutionEngine) -> None:
    publish_count(engine)
    repeat = {**COUNT_ON, "until": "last == 3", "times": 5}

    result = engine.execute(Plan("p", steps=[Step("a", repeat=repeat)]))

    assert result.unwrap() == 3
    within = list_within(engine, result.execution_id)
    assert within == [ExecutionStatus.COMPLETED] * 3
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_plan_that_fails_in_an_iteration_fails_the_loop(
    engine: ExecutionEngine,
) -> None:
    publish_count(engine)
    loop = Step("a", repeat={**COUNT_ON, "times": 5}, on_failure={"fallback": "b"})
    spare = Step("b", action="test.echo", with_={"value": "${failure.message}"})

    result = engine.execute(Plan("p", steps=[loop, spare]))

    assert "plan count failed: FatalError" in str(result.unwrap())
    assert statuses(engine, result.execution_id)["a[3]"] == "failed"
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
@pytest.mark.parametrize("ends_by", ["cancel", "deadline"])
def test_what_runs_within_a_loop_ends_with_it(
    engine: ExecutionEngine, ledger: Path, ends_by: str
) -> None:
    wait = Step("w", action="test.until_cancelled", with_={"ledger": str(ledger)})
    engine.publish(Plan("wait", steps=[wait]))
    loop = Step("a", repeat={"plan": "wait", "times": 5}, deadline="5s")
    if ends_by == "cancel":
        loop = replace(loop, deadline="1h")
    execution_id = engine.submit(Plan("p", steps=[loop]))
    wait_until(lambda: read_lines(ledger), what="an iteration to run")

    if ends_by == "cancel":
        engine.cancel(execution_id)

    ended = engine.wait(execution_id, timeout_seconds=60)
    assert (
        ended.status
        is {
            "cancel": ExecutionStatus.CANCELLED,
            "deadline": ExecutionStatus.FAILED,
        }[ends_by]
    )
    within = list_within(engine, execution_id)
    assert len(within) == 1
    assert within[0] in {ExecutionStatus.CANCELLED, ExecutionStatus.TIMED_OUT}
    check_timeline(engine, execution_id)


@pytest.mark.parametrize("point", ["claimed", "completed"])
def test_a_process_killed_between_two_iterations_loses_neither(
    engine: ExecutionEngine, settings: Settings, tmp_path: Path, point: str
) -> None:
    gate = tmp_path / "gate"
    execution_id = engine.submit(loop(times=3, queue=f"between-{point}"))
    both = replace(settings, queue=f"{settings.queue},between-{point}")
    # the first thing that is claimed is the loop, the first that completes an iteration
    fault = {"PLANS_FAULT": f"{point}:wait:{gate}"}
    # another process would go on with the loop if this one counted as dead for a moment
    with WorkerProcess.start(both, slots=1, environment=fault) as worker:
        wait_until(gate.with_name("gate.reached").exists, what="the process to stop")
        worker.kill()
    begun = sum(name.startswith("count[") for name in statuses(engine, execution_id))

    with WorkerProcess.start(both):
        result = engine.wait(execution_id, timeout_seconds=60)

    assert begun == {"claimed": 0, "completed": 1}[point]
    assert result.unwrap() == {"n": 3, "at": 2}
    steps = {s.name: s for s in engine.list_steps(execution_id)}
    assert [steps[f"count[{n}]"].attempt for n in range(3)] == [1, 1, 1]
    check_timeline(engine, execution_id)


def test_killed_workers_lose_no_iteration(
    engine: ExecutionEngine, settings: Settings, ledger: Path
) -> None:
    plan = loop(
        action="test.work",
        times=30,
        queue="killed",
        **{"with": {"ledger": str(ledger)}},
    )
    execution_id = engine.submit(plan)
    both = replace(settings, queue=f"{settings.queue},killed")
    for lines in (3, 15):
        with WorkerProcess.start(both, slots=2) as worker:
            wait_until(
                lambda n=lines: len(read_lines(ledger)) >= n,  # type: ignore[misc]  # bound to this round
                what="iterations to run",
            )
            worker.kill()
    with WorkerProcess.start(both, slots=2):
        result = engine.wait(execution_id, timeout_seconds=60)

    assert result.is_success
    steps = engine.list_steps(execution_id)
    assert [s.name for s in steps[2:]] == [f"count[{n}]" for n in range(30)]
    assert {s.status for s in steps} == {StepStatus.COMPLETED}
    check_timeline(engine, execution_id)
