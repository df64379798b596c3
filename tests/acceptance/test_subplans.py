"""Steps that run a plan, by real workers: results, failures, moves and kills."""

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from execution import (
    ExecutionEngine,
    ExecutionStatus,
    Plan,
    PlanValidationError,
    Settings,
    Step,
    StepStatus,
)
from execution.filters import ExecutionFilter
from execution.results import ExecutionSummary
from tests.outages import read_lines
from tests.polling import wait_until
from tests.timeline import check_timeline
from tests.worker_process import WorkerProcess

HOLD = {"ledger": "${parameters.ledger}", "gate": "${parameters.gate}"}
PLACES = {"ledger": {"type": "string"}, "gate": {"type": "string"}}


def publish(engine: ExecutionEngine, name: str, *steps: Step, **fields: Any) -> None:
    engine.publish(Plan(name, steps=steps, **fields))


def parent_of(plan: str, **fields: Any) -> Plan:
    """A plan whose step `inner` runs another one, and whose next step reads that."""
    return Plan(
        f"with-{plan}",
        parameters=PLACES,
        steps=[
            Step("inner", plan=plan, **fields),
            Step("after", action="test.echo", with_={"value": "${steps.inner.result}"}),
        ],
    )


def find_child(engine: ExecutionEngine, parent_id: str) -> ExecutionSummary:
    """Return the only execution within one, as soon as it is there."""

    def look() -> tuple[ExecutionSummary, ...]:
        return engine.list_executions(ExecutionFilter(parent_id=parent_id)).items

    (child,) = wait_until(look, what="a plan within")
    return child


@pytest.fixture
def places(ledger: Path, tmp_path: Path) -> Mapping[str, str]:
    """Where a held step notes that it runs, and what it waits for."""
    return {"ledger": str(ledger), "gate": str(tmp_path / "gate")}


@pytest.fixture
def held(engine: ExecutionEngine) -> str:
    """A published plan of a step that waits for a gate, and one that follows."""
    publish(
        engine,
        "held",
        Step("hold", action="test.hold", with_=HOLD),
        Step("last", action="test.echo", with_={"value": "let go"}),
        parameters=PLACES,
    )
    return "held"


HAND_DOWN = {"ledger": "${parameters.ledger}", "gate": "${parameters.gate}"}


@pytest.mark.usefixtures("shared_worker")
def test_the_result_of_a_plan_is_that_of_the_step(engine: ExecutionEngine) -> None:
    publish(
        engine,
        "double",
        Step(
            "add",
            action="test.add",
            with_={"left": "${parameters.n}", "right": "${parameters.n}"},
        ),
        parameters={"n": {"type": "integer", "required": True}},
    )

    result = engine.execute(parent_of("double", with_={"n": 21}), timeout_seconds=60)

    assert result.unwrap() == 42
    child = find_child(engine, result.execution_id)
    assert child.status is ExecutionStatus.COMPLETED
    assert child.parent_id == result.execution_id
    step = engine.list_steps(result.execution_id)[0]
    assert (step.plan, step.child_id) == ("double", child.id)
    for execution_id in (result.execution_id, child.id):
        check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_each_item_runs_a_plan_of_its_own(engine: ExecutionEngine) -> None:
    publish(
        engine,
        "echo",
        Step("say", action="test.echo", with_={"value": "${parameters.value}"}),
        parameters={"value": {"type": "integer"}},
    )
    plan = Plan(
        "many",
        steps=[
            Step("scan", action="test.echo", with_={"value": list(range(12))}),
            Step(
                "each",
                plan="echo",
                for_each="steps.scan.result",
                with_={"value": "${item}"},
                max_parallel=3,
            ),
            Step("after", action="test.echo", with_={"value": "${steps.each.results}"}),
        ],
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.unwrap() == list(range(12))
    wanted = ExecutionFilter(parent_id=result.execution_id)
    assert engine.count_executions(wanted) == 12
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_plans_lie_within_plans(engine: ExecutionEngine) -> None:
    publish(engine, "leaf", Step("say", action="test.echo", with_={"value": 7}))
    publish(engine, "middle", Step("down", plan="leaf"))

    assert engine.execute(parent_of("middle"), timeout_seconds=60).unwrap() == 7


@pytest.mark.usefixtures("shared_worker")
def test_a_plan_that_names_itself_ends(engine: ExecutionEngine) -> None:
    publish(engine, "itself", Step("again", plan="itself"))

    result = engine.execute(parent_of("itself"), timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert "too deep" in result.error.message


def test_a_plan_that_names_itself_has_to_be_published(engine: ExecutionEngine) -> None:
    plan = Plan("unknown", version="1", steps=[Step("again", plan="unknown@1")])

    with pytest.raises(PlanValidationError, match="no plan is published"):
        engine.submit(plan)

    engine.publish(plan)
    engine.cancel(engine.submit(plan, priority=1))


def test_a_plan_that_names_itself_is_given_what_it_takes(
    engine: ExecutionEngine,
) -> None:
    plan = Plan(
        "choosy",
        parameters={"n": {"type": "integer", "required": True}},
        steps=[Step("again", plan="choosy", with_={"m": 1})],
    )

    with pytest.raises(PlanValidationError) as refusal:
        engine.publish(plan)

    assert {fault.rule for fault in refusal.value.faults} == {
        "missing-input",
        "unknown-input",
    }


@pytest.mark.usefixtures("shared_worker")
def test_a_failure_comes_up_with_its_cause(engine: ExecutionEngine) -> None:
    publish(
        engine, "broken", Step("fail", action="test.fail_until", with_={"attempt": 9})
    )

    result = engine.execute(parent_of("broken"), timeout_seconds=60)

    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.step == "inner"
    assert "plan broken failed" in result.error.message
    assert "attempt 1 is too early" in result.error.message
    assert result.error.context["child"] == find_child(engine, result.execution_id).id
    check_timeline(engine, result.execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_failed_plan_follows_the_policy_of_its_step(engine: ExecutionEngine) -> None:
    publish(
        engine, "broken", Step("fail", action="test.fail_until", with_={"attempt": 9})
    )
    plan = Plan(
        "second-best",
        steps=[
            Step("inner", plan="broken", on_failure={"fallback": "instead"}, needs=[]),
            Step("instead", action="test.echo", with_={"value": "${failure.code}"}),
        ],
        result="${steps.inner.result}",
    )

    assert engine.execute(plan, timeout_seconds=60).unwrap() == "E005"
    skipping = parent_of("broken", on_failure="skip")
    assert engine.execute(skipping, timeout_seconds=60).unwrap() is None


@pytest.mark.usefixtures("shared_worker")
def test_parameters_that_do_not_fit_fail_the_step(engine: ExecutionEngine) -> None:
    publish(
        engine,
        "picky",
        Step("say", action="test.nothing"),
        parameters={"n": {"type": "integer", "max": 3}},
    )

    result = engine.execute(parent_of("picky", with_={"n": 4}), timeout_seconds=60)

    assert result.error is not None
    assert "parameters.n: must be at most 3" in result.error.message


def test_a_plan_that_is_not_published_is_refused_at_once(
    engine: ExecutionEngine,
) -> None:
    with pytest.raises(PlanValidationError, match=r"steps\[0\].plan: no plan is pub"):
        engine.submit(parent_of("nowhere"))


@pytest.mark.parametrize(
    ("named", "meant"), [("nearbye", "nearby"), ("nearby@2.1", "nearby@2.0")]
)
def test_a_plan_that_is_not_published_may_be_one_with_a_name_like_it(
    engine: ExecutionEngine, named: str, meant: str
) -> None:
    publish(engine, "nearby", Step("say", action="test.nothing"), version="2.0")

    with pytest.raises(PlanValidationError, match=f'did you mean "{meant}"'):
        engine.submit(Plan("near", steps=[Step("a", plan=named)]))


def test_a_step_says_which_plan_it_runs_before_it_has_begun_one(
    engine: ExecutionEngine,
) -> None:
    publish(engine, "later", Step("say", action="test.nothing"), version="1")
    steps = [
        Step("each", plan="later@1", for_each="[1, 2]"),
        Step("again", repeat={"plan": "later", "times": 2}),
        Step("done", action="test.nothing"),
    ]

    execution_id = engine.submit(Plan("plans", steps=steps))

    said = [step.plan for step in engine.list_steps(execution_id)]
    assert said == ["later@1", "later", None]


@pytest.mark.usefixtures("shared_worker")
def test_items_and_iterations_say_which_plan_they_run(engine: ExecutionEngine) -> None:
    publish(engine, "item-or-turn", Step("say", action="test.nothing"))
    steps = [
        Step("each", plan="item-or-turn", for_each="[1]"),
        Step("again", repeat={"plan": "item-or-turn", "times": 1}),
    ]

    result = engine.execute(Plan("both", steps=steps), timeout_seconds=60)

    said = {step.name: step.plan for step in engine.list_steps(result.execution_id)}
    assert said == dict.fromkeys(
        ("each", "each[0]", "again", "again[0]"), "item-or-turn"
    )


def test_what_a_plan_does_not_take_is_refused_at_once(engine: ExecutionEngine) -> None:
    publish(
        engine,
        "strict",
        Step("say", action="test.nothing"),
        parameters={"day": {"type": "string", "required": True}},
    )

    with pytest.raises(PlanValidationError) as caught:
        engine.submit(parent_of("strict", with_={"dya": "today"}))

    assert [fault.place for fault in caught.value.faults] == [
        "steps[0].with.day",
        "steps[0].with.dya",
    ]
    assert 'did you mean "day"' in str(caught.value)


@pytest.mark.usefixtures("shared_worker")
def test_a_cancel_ends_the_plan_within_first(
    engine: ExecutionEngine, held: str, places: Mapping[str, str]
) -> None:
    execution_id = engine.submit(parent_of(held, with_=HAND_DOWN), places)
    child = find_child(engine, execution_id)
    wait_until(lambda: read_lines(Path(places["ledger"])), what="its first step")

    engine.cancel(execution_id, by="ann")

    # the step that runs is told, and is recorded before anything above has ended
    assert engine.get_status(child.id).status is ExecutionStatus.ENDING
    assert engine.get_status(execution_id).status is ExecutionStatus.ENDING
    Path(places["gate"]).touch()
    assert engine.wait(execution_id, timeout_seconds=60).status == "cancelled"
    assert engine.get_status(child.id).status is ExecutionStatus.CANCELLED
    steps = engine.list_steps(execution_id)
    assert [step.status for step in steps] == [StepStatus.CANCELLED] * 2
    for one in (execution_id, child.id):
        check_timeline(engine, one)


@pytest.mark.usefixtures("shared_worker")
def test_a_pause_holds_for_the_plan_within(
    engine: ExecutionEngine, held: str, places: Mapping[str, str]
) -> None:
    execution_id = engine.submit(parent_of(held, with_=HAND_DOWN), places)
    child = find_child(engine, execution_id)
    wait_until(lambda: read_lines(Path(places["ledger"])), what="its first step")

    engine.pause(execution_id)

    assert engine.get_status(child.id).status is ExecutionStatus.PAUSED
    Path(places["gate"]).touch()
    wait_until(lambda: engine.list_steps(child.id)[0].ended_at, what="its end")
    assert engine.list_steps(child.id)[1].status is StepStatus.READY
    engine.resume(execution_id)
    assert engine.get_status(child.id).status is not ExecutionStatus.PAUSED
    assert engine.wait(execution_id, timeout_seconds=60).unwrap() == "let go"
    for one in (execution_id, child.id):
        check_timeline(engine, one)


@pytest.mark.usefixtures("shared_worker")
def test_what_was_paused_alone_stays_so(
    engine: ExecutionEngine, held: str, places: Mapping[str, str]
) -> None:
    execution_id = engine.submit(parent_of(held, with_=HAND_DOWN), places)
    child = find_child(engine, execution_id)
    engine.pause(child.id)

    engine.pause(execution_id)
    engine.resume(execution_id)

    assert engine.get_status(child.id).status is ExecutionStatus.PAUSED
    Path(places["gate"]).touch()
    engine.resume(child.id)
    assert engine.wait(execution_id, timeout_seconds=60).unwrap() == "let go"


@pytest.mark.usefixtures("shared_worker")
def test_a_plan_that_somebody_cancels_has_failed_for_its_parent(
    engine: ExecutionEngine, held: str, places: Mapping[str, str]
) -> None:
    execution_id = engine.submit(parent_of(held, with_=HAND_DOWN), places)
    child = find_child(engine, execution_id)

    engine.cancel(child.id, by="ann", reason="not today")
    Path(places["gate"]).touch()

    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.code == "E004"
    assert result.error.message.endswith("cancelled by ann: not today")


@pytest.mark.usefixtures("shared_worker")
def test_the_deadline_of_a_step_ends_its_plan(
    engine: ExecutionEngine, held: str, places: Mapping[str, str]
) -> None:
    plan = parent_of(held, with_=HAND_DOWN, deadline="5s")

    execution_id = engine.submit(plan, places)

    child = find_child(engine, execution_id)
    result = engine.wait(execution_id, timeout_seconds=60)
    assert result.status is ExecutionStatus.FAILED
    assert engine.list_steps(execution_id)[0].status is StepStatus.TIMED_OUT
    assert engine.get_status(child.id).status is ExecutionStatus.TIMED_OUT
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_a_killed_worker_loses_no_plan_within(
    engine: ExecutionEngine, settings: Settings, places: Mapping[str, str]
) -> None:
    # in a queue that the shared worker does not serve: who is killed must hold the step
    alone = replace(settings, queue="subplans-alone")
    publish(
        engine,
        "held-alone",
        Step("hold", action="test.hold", with_=HOLD, queue=alone.queue),
        Step("last", action="test.echo", with_={"value": "let go"}, queue=alone.queue),
        parameters=PLACES,
    )
    execution_id = engine.submit(parent_of("held-alone", with_=HAND_DOWN), places)
    with WorkerProcess.start(alone, slots=1) as first:
        wait_until(lambda: read_lines(Path(places["ledger"])), what="its first step")
        first.kill()
    Path(places["gate"]).touch()

    with WorkerProcess.start(alone, slots=1):
        assert engine.wait(execution_id, timeout_seconds=60).unwrap() == "let go"

    wanted = ExecutionFilter(parent_id=execution_id)
    assert engine.count_executions(wanted) == 1
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("shared_worker")
def test_an_execution_is_deleted_with_those_within(engine: ExecutionEngine) -> None:
    publish(engine, "leaf", Step("say", action="test.echo", with_={"value": 7}))
    execution_id = engine.execute(parent_of("leaf"), timeout_seconds=60).execution_id

    assert engine._repository.delete_execution(execution_id)

    wanted = ExecutionFilter(parent_id=execution_id)
    assert engine.count_executions(wanted) == 0


@pytest.mark.usefixtures("shared_worker")
def test_plans_within_wait_for_their_key(engine: ExecutionEngine) -> None:
    publish(
        engine,
        "keyed",
        Step("say", action="test.echo", with_={"value": "${parameters.value}"}),
        parameters={"value": {"type": "integer"}},
        concurrency={"key": "one", "limit": 1},
    )
    plan = Plan(
        "several",
        steps=[
            Step("scan", action="test.echo", with_={"value": [1, 2, 3]}),
            Step(
                "each",
                plan="keyed",
                for_each="steps.scan.result",
                with_={"value": "${item}"},
            ),
        ],
        result="${steps.each.results}",
    )

    result = engine.execute(plan, timeout_seconds=60)

    assert result.unwrap() == [1, 2, 3]
    wanted = ExecutionFilter(parent_id=result.execution_id)
    children = engine.list_executions(wanted).items
    assert all(
        before.ended_at and after.started_at and before.ended_at <= after.started_at
        for before, after in pairwise(sorted(children, key=lambda c: str(c.started_at)))
    )


@pytest.mark.usefixtures("shared_worker")
def test_a_plan_within_that_is_rejected_fails_its_step(
    engine: ExecutionEngine, held: str, places: Mapping[str, str]
) -> None:
    publish(
        engine,
        "alone",
        Step("hold", action="test.hold", with_=HOLD),
        parameters=PLACES,
        concurrency={"key": "alone", "on_conflict": "reject"},
    )
    first = engine.submit("alone", places)

    result = engine.execute(
        parent_of("alone", with_=HAND_DOWN), places, timeout_seconds=60
    )

    assert result.error is not None
    assert first in result.error.message
    Path(places["gate"]).touch()
    engine.wait(first, timeout_seconds=60)
