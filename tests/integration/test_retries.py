"""Executions that go on after their end: retried, a step skipped, a result forced."""

import uuid
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step, StepStatus
from execution.acts import Act
from execution.answers import Recorded
from execution.database import Database
from execution.errors import (
    ConcurrencyConflictError,
    ExpressionError,
    InvalidExecutionStateError,
    ParameterError,
    StepNotFoundError,
)
from execution.liveness import LivenessRecords
from execution.operations import ActAnswer, OperationRecords
from execution.records import StepRecords
from tests.integration.test_protocol import register
from tests.integration.test_restores import Hand
from tests.timeline import heads, read_timeline


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


@pytest.fixture
def hand(
    engine: ExecutionEngine, records: StepRecords, database: Database, worker_id: str
) -> Hand:
    return Hand(engine, records, database, worker_id)


def step(name: str, needs: list[str] | None = None, **fields: Any) -> Step:
    return Step(name, action="test.nothing", needs=needs, **fields)


def end_by_failure(hand: Hand, *names: str) -> None:
    """Let the steps fail one after the other, and the execution with them."""
    held = [hand.claim(name).held for name in names]
    for one in held:
        hand.fail(one)
    assert hand.conclude() == "failed"


def retry(hand: Hand, **said: Any) -> ExecutionStatus:
    status = hand.engine.retry(hand.execution_id, **said)
    hand.check()
    return status


def test_a_retry_begins_what_failed_anew_and_nothing_else(hand: Hand) -> None:
    hand.begin(step("a"), step("b"), step("c"))
    hand.run("a")
    end_by_failure(hand, "b")

    status = retry(hand, by="ann", reason="the bank is back")

    assert status is ExecutionStatus.PENDING
    assert hand.statuses() == {"a": "completed", "b": "ready", "c": "pending"}
    hand.run("b", "c")
    assert hand.conclude() == "completed"
    assert hand.outcomes("b") == [(1, "failed")]
    assert (hand.row("a")["attempt"], hand.row("b")["attempt"]) == (1, 2)


def test_who_retried_and_why_is_kept(hand: Hand) -> None:
    hand.begin(step("a"))
    end_by_failure(hand, "a")

    retry(hand, by="ann", reason="the bank is back")

    change = hand.engine.get_state_history(hand.execution_id)[-1]
    assert (change.from_status, change.to_status) == ("failed", "pending")
    assert (change.by, change.reason) == ("ann", "the bank is back")
    told = [
        event
        for event in read_timeline(hand.engine, hand.execution_id)
        if event.type == "execution.retried"
    ]
    assert [event.data["steps"] for event in told] == [["a"]]
    assert (told[0].data["by"], told[0].data["from"]) == ("ann", "failed")


def test_a_skipped_step_lets_its_execution_go_on(hand: Hand) -> None:
    hand.begin(step("a"), step("b"), step("c"))
    hand.run("a")
    end_by_failure(hand, "b")

    hand.engine.skip(hand.execution_id, "b", by="ann", reason="not needed")
    hand.check()

    assert hand.statuses() == {"a": "completed", "b": "skipped", "c": "ready"}
    assert hand.row("b")["reason"] == "operator"
    hand.run("c")
    assert hand.conclude() == "completed"


def test_a_forced_result_is_what_the_step_came_to(hand: Hand) -> None:
    hand.begin(step("a"), step("b"), result="${steps.a.result}")
    end_by_failure(hand, "a")

    hand.engine.force_result(
        hand.execution_id, "a", {"id": 7}, by="ann", reason="booked by hand"
    )
    hand.check()

    assert hand.statuses() == {"a": "completed", "b": "ready"}
    hand.run("b")
    assert hand.conclude() == "completed"
    assert hand.engine.get_result(hand.execution_id).value == {"id": 7}
    forced = [
        event
        for event in read_timeline(hand.engine, hand.execution_id)
        if event.type == "step.forced"
    ]
    assert (forced[0].data["by"], forced[0].data["reason"]) == ("ann", "booked by hand")


# what is within an execution


@pytest.fixture
def outer(hand: Hand) -> Hand:
    """An execution whose first step runs the plan `within`, of two steps."""
    hand.engine.publish(Plan("within", steps=[step("first"), step("second")]))
    hand.begin(Step("inside", plan="within"), step("after"))
    return hand


def begin_child(outer: Hand) -> Hand:
    """Begin the execution that `inside` waits for; return a hand for it."""
    subplan = outer.records.children.find_subplan("within")
    assert subplan is not None
    inner = Hand(outer.engine, outer.records, outer.database, outer.worker_id)
    inner.execution_id = str(uuid.uuid4())
    answer = outer.records.children.begin(
        outer.claim("inside").held,
        subplan,
        child_id=inner.execution_id,
        parameters="{}",
        recorded_input="{}",
    )
    assert str(answer.outcome) == "begun"
    return inner


def fail_child(outer: Hand) -> Hand:
    """Let the second step of the child fail, and its parent with it."""
    inner = begin_child(outer)
    inner.run("first")
    inner.fail(inner.claim("second").held)
    outer.engine._relay.finish(inner.execution_id)
    assert outer.conclude() == "failed"
    return inner


def test_a_retry_goes_on_in_the_execution_within(outer: Hand) -> None:
    inner = fail_child(outer)

    retry(outer)

    assert outer.statuses() == {"inside": "waiting", "after": "pending"}
    assert inner.statuses() == {"first": "completed", "second": "ready"}
    inner.run("second")
    outer.engine._relay.tell_parent(inner.execution_id)
    outer.run("after")
    assert outer.conclude() == "completed"
    inner.check()


def test_a_child_that_fails_again_fails_its_parent_again(outer: Hand) -> None:
    inner = fail_child(outer)
    retry(outer)

    inner.fail(inner.claim("second").held)
    outer.engine._relay.finish(inner.execution_id)

    assert outer.conclude() == "failed"
    retry(outer)
    assert inner.statuses() == {"first": "completed", "second": "ready"}
    assert inner.epoch == 3


def test_a_child_goes_on_with_its_parent_alone(outer: Hand) -> None:
    inner = fail_child(outer)

    with pytest.raises(InvalidExecutionStateError, match=outer.execution_id):
        inner.engine.retry(inner.execution_id)


def test_a_parent_cancelled_at_once_after_its_retry_ends(outer: Hand) -> None:
    inner = fail_child(outer)
    # the process that retries dies before it carries word
    operate(outer, Act.RETRY)

    outer.engine.cancel(outer.execution_id)

    assert str(inner.engine.get_status(inner.execution_id).status) == "cancelled"
    assert str(outer.engine.get_status(outer.execution_id).status) == "cancelled"
    outer.check()
    inner.check()


def test_a_parent_paused_at_once_after_its_retry_pauses_its_child(outer: Hand) -> None:
    inner = fail_child(outer)
    operate(outer, Act.RETRY)

    outer.engine.pause(outer.execution_id)

    assert str(inner.engine.get_status(inner.execution_id).status) == "paused"


def test_the_preview_names_the_steps_within(outer: Hand) -> None:
    inner = fail_child(outer)

    found = outer.engine.preview_retry(outer.execution_id)

    assert [(one.execution_id, one.step) for one in found.steps] == [
        (outer.execution_id, "after"),
        (inner.execution_id, "second"),
    ]
    assert [one.step for one in found.repeated] == ["second"]


def test_a_skipped_step_gives_up_the_execution_within(outer: Hand) -> None:
    inner = begin_child(outer)

    outer.engine.skip(outer.execution_id, "inside")

    assert str(inner.engine.get_status(inner.execution_id).status) == "cancelled"
    assert outer.statuses() == {"inside": "skipped", "after": "ready"}
    outer.run("after")
    assert outer.conclude() == "completed"


def operate(hand: Hand, act: Act, **said: Any) -> ActAnswer:
    """Do an act, and tell nobody: as a process that dies at once."""
    return OperationRecords(hand.database).operate(
        act,
        hand.execution_id,
        act_id=str(said.pop("act_id", None) or uuid.uuid4()),
        epoch=hand.epoch,
        **said,
    )


# keys


def keyed(on_conflict: str, name: str) -> Plan:
    return Plan(
        name,
        steps=[step("a"), step("b")],
        concurrency={"key": "all", "on_conflict": on_conflict},
    )


def test_a_retry_waits_for_its_key(hand: Hand) -> None:
    plan = keyed("queue", "waiting-for-a-key")
    hand.execution_id = hand.engine.submit(plan)
    hand.run("a")
    end_by_failure(hand, "b")
    other = hand.engine.submit(plan)

    status = retry(hand)

    assert status is ExecutionStatus.PENDING
    assert hand.engine.get_status(hand.execution_id).waits_for_key
    assert hand.statuses() == {"a": "completed", "b": "pending"}
    hand.engine.cancel(other)
    hand.engine._keyed.settle("waiting-for-a-key:all")
    hand.run("b")
    assert hand.conclude() == "completed"


def test_a_step_is_skipped_while_its_execution_waits_for_the_key(hand: Hand) -> None:
    plan = keyed("queue", "skipping-for-a-key")
    hand.execution_id = hand.engine.submit(plan)
    end_by_failure(hand, "a")
    hand.engine.submit(plan)

    hand.engine.skip(hand.execution_id, "a")

    hand.check()
    assert hand.statuses() == {"a": "skipped", "b": "pending"}


def test_a_retry_is_rejected_while_others_have_its_key(hand: Hand) -> None:
    plan = keyed("reject", "rejected-by-a-key")
    hand.execution_id = hand.engine.submit(plan)
    end_by_failure(hand, "a")
    other = hand.engine.submit(plan)

    with pytest.raises(ConcurrencyConflictError) as refusal:
        hand.engine.retry(hand.execution_id)

    assert refusal.value.holders == (other,)
    hand.engine.cancel(other)
    retry(hand)
    assert not hand.engine.get_status(hand.execution_id).waits_for_key


# the end


END: dict[str, Any] = {"run_on": "always", "deadline": "1m"}


def test_the_end_comes_once_more(hand: Hand) -> None:
    hand.begin(step("a"), step("tidy", **END))
    hand.fail_step("a")
    hand.run("tidy")
    assert hand.conclude() == "failed"

    retry(hand)

    assert hand.statuses() == {"a": "ready", "tidy": "skipped"}
    hand.run("a")
    assert hand.statuses()["tidy"] == "ready"
    hand.run("tidy")
    assert hand.conclude() == "completed"
    assert hand.outcomes("tidy") == [(1, "restored")]
    assert hand.engine.get_status(hand.execution_id).total_steps == 2


def test_what_was_rolled_back_is_not_retried(hand: Hand) -> None:
    undo = {"action": "test.nothing"}
    hand.begin(step("a", undo=undo), step("b"), rollback="on_failure")
    hand.run("a")
    hand.fail_step("b")
    undoing = next(name for name in hand.statuses() if name not in {"a", "b"})
    hand.run(undoing)
    assert hand.conclude() == "failed"

    with pytest.raises(InvalidExecutionStateError, match=f"rolled back by {undoing}"):
        hand.engine.retry(hand.execution_id)


# refusals, and the same act again


def test_an_act_is_done_once(hand: Hand) -> None:
    hand.begin(step("a"), step("b"))
    end_by_failure(hand, "a")
    act_id = str(uuid.uuid4())
    first = operate(hand, Act.RETRY, act_id=act_id)

    again = operate(hand, Act.RETRY, act_id=act_id)

    assert (first.refusal, again.refusal) == (None, None)
    assert heads(first.move.windows) == heads(again.move.windows) == ["a"]
    assert hand.epoch == 2


def test_a_step_that_is_not_there_is_named(hand: Hand) -> None:
    hand.begin(step("a"))
    end_by_failure(hand, "a")

    with pytest.raises(StepNotFoundError, match="no step 'z'"):
        hand.engine.skip(hand.execution_id, "z")


def test_a_step_waits_for_what_it_needs_before_it_is_skipped(hand: Hand) -> None:
    hand.begin(step("a"), step("b"), step("c"))

    with pytest.raises(InvalidExecutionStateError, match=r"needs is settled: a$"):
        hand.engine.skip(hand.execution_id, "b")


def test_a_late_result_from_before_a_retry_is_refused(hand: Hand) -> None:
    hand.begin(step("a", retry={"max_lost": 1}))
    zombie = hand.claim("a").held
    hand.fail(zombie)
    assert hand.conclude() == "failed"
    retry(hand)

    late = hand.records.complete(zombie, StepStatus.COMPLETED, result="1", epoch=1)

    assert late.outcome is Recorded.STALE
    held = hand.claim("a").held
    assert hand.succeed(held, 2).outcome is Recorded.RECORDED
    assert hand.row("a")["result"] == 2


def test_what_a_step_has_saved_stays_for_its_next_attempt(hand: Hand) -> None:
    hand.begin(step("a"))
    held = hand.claim("a").held
    hand.records.save_checkpoint(held, '{"done": 3}')
    hand.fail(held)
    hand.conclude()

    retry(hand)

    assert hand.claim("a").checkpoint == {"done": 3}


def test_a_large_result_can_be_forced(hand: Hand) -> None:
    hand.begin(step("a"), result="${steps.a.result}")
    end_by_failure(hand, "a")
    value = "x" * 300_000

    hand.engine.force_result(hand.execution_id, "a", value)

    # the plan's result is made by who runs steps
    assert hand.conclude() == "completed"
    assert hand.engine.get_result(hand.execution_id).value == value


def test_the_deadline_of_a_plan_counts_anew(hand: Hand) -> None:
    hand.begin(step("a"), deadline="1h")
    hand.database.query(
        "UPDATE {schema}.executions SET deadline = now() - interval '1 minute'"
        " WHERE id = %s RETURNING 1",
        (hand.execution_id,),
    )
    LivenessRecords(hand.database).expire_execution(hand.execution_id)
    hand.conclude()
    assert str(hand.engine.get_status(hand.execution_id).status) == "timed_out"

    retry(hand)

    (row,) = hand.database.query(
        "SELECT deadline - now() > interval '59 minutes' AS is_new"
        " FROM {schema}.executions WHERE id = %s",
        (hand.execution_id,),
    )
    assert row["is_new"]


# new inputs


def test_new_inputs_are_those_of_the_next_attempt(hand: Hand) -> None:
    hand.begin(step("a"), step("b", with_={"amount": 1, "of": "${steps.a.result}"}))
    hand.run("a")
    end_by_failure(hand, "b")

    retry(hand, inputs={"b": {"amount": 5}})

    assert hand.claim("b").recorded_input == {"amount": 5, "of": "a"}
    told = read_timeline(hand.engine, hand.execution_id)
    (event,) = [one for one in told if one.type == "execution.retried"]
    assert event.data["inputs"] == {"b": ["amount"]}


def test_an_input_that_could_not_be_made_is_given(hand: Hand) -> None:
    hand.begin(step("a"), step("b", with_={"n": "${steps.a.result.n}"}))
    hand.run("a")
    end_by_failure(hand, "b")

    with pytest.raises(ExpressionError):
        hand.engine.retry(hand.execution_id, inputs={"b": {"other": 1}})
    retry(hand, inputs={"b": {"n": 1}})

    assert hand.claim("b").recorded_input == {"n": 1}


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        ({"z": {}}, StepNotFoundError, "no step 'z'"),
        ({"a": {"n": 1}}, InvalidExecutionStateError, "does not begin anew"),
        ({"c": {"n": 1}}, InvalidExecutionStateError, "has not begun"),
        ({"b": 7}, ParameterError, "must be a mapping"),
    ],
)
def test_inputs_that_nobody_takes_change_nothing(
    hand: Hand, inputs: Any, error: type[Exception], says: str
) -> None:
    hand.begin(step("a"), step("b"), step("c"))
    hand.run("a")
    end_by_failure(hand, "b")

    with pytest.raises(error, match=says):
        hand.engine.retry(hand.execution_id, inputs=inputs)

    assert str(hand.engine.get_status(hand.execution_id).status) == "failed"
