"""Signals, claimed and sent by hand: kept, taken once, and refused without a trace."""

import json
import uuid
from collections.abc import Iterator

import psycopg2
import pytest

from execution import (
    ExecutionEngine,
    ExecutionStatus,
    ParameterError,
    Plan,
    Settings,
    Step,
    StepStatus,
)
from execution.answers import Claim, Saved
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.ending import finish_execution
from execution.errors import (
    ExecutionNotFoundError,
    InvalidExecutionStateError,
    SignalConflictError,
    SignalNotAwaitedError,
)
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from execution.signal_records import AwaitAnswer, Awaited
from tests.integration.test_liveness import shift_clock
from tests.integration.test_protocol import claim, nothing, register, try_claim
from tests.rows import committed
from tests.sweeping import run_round
from tests.timeline import check_timeline, read_timeline

PLAN = Plan(
    "release",
    steps=[
        Step("approve", wait_for="approval", timeout="1h", default={"approved": False}),
        nothing("after"),
    ],
)
STRICT = Plan("strict", steps=[Step("approve", wait_for="approval", timeout="1h")])
TWO = Plan(
    "two",
    steps=[
        Step("one", wait_for="approval", needs=[]),
        Step("other", wait_for="approval", needs=[]),
    ],
)
ASKING = Plan(
    "asking",
    steps=[
        Step(
            "approve",
            wait_for="approval",
            payload={
                "approved": {"type": "boolean", "required": True},
                "comment": {"type": "string", "default": "none"},
            },
        )
    ],
)


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row: these tests claim in its name."""
    return register(liveness, settings)


@pytest.fixture
def reconciler(
    liveness: LivenessRecords, records: StepRecords, settings: Settings
) -> Reconciler:
    """A reconciler that looks when it is asked to."""
    dispatcher = ExecutionDispatcher(create_app(settings))
    quiet = ExecutionEventEmitter(None, "")
    return Reconciler(liveness, records, dispatcher, quiet, settings)


@pytest.fixture
def moving_clock(database: Database) -> Iterator[None]:
    """The clock goes right again after the test."""
    yield
    shift_clock(database, "0")


def wait_for(
    records: StepRecords, claimed: Claim, seconds: float | None = 3600.0
) -> AwaitAnswer:
    return records.signals.begin_wait(
        claimed.held,
        recorded_input=json.dumps(
            {"wait_for": "approval", "timeout": "1h"}
            | (
                {"default": {"approved": False}}
                if claimed.run.plan == "release"
                else {}
            )
        ),
        name="approval",
        seconds=seconds,
    )


def begin(
    engine: ExecutionEngine, records: StepRecords, worker_id: str, plan: Plan = PLAN
) -> Claim:
    return claim(records, worker_id, engine.submit(plan), 0)


def stand(engine: ExecutionEngine, execution_id: str) -> list[tuple[str, StepStatus]]:
    return [(s.name, s.status) for s in engine.list_steps(execution_id)]


def result_of(database: Database, execution_id: str, position: int = 0) -> object:
    query = (
        "SELECT result FROM {schema}.execution_steps"
        ' WHERE execution_id = %s AND "position" = %s'
    )
    return database.query(query, (execution_id, position))[0]["result"]


def types_of(engine: ExecutionEngine, execution_id: str) -> list[str]:
    return [e.type for e in read_timeline(engine, execution_id)]


def test_a_signal_ends_the_step_that_waits_for_it(
    engine: ExecutionEngine, records: StepRecords, database: Database, worker_id: str
) -> None:
    claimed = begin(engine, records, worker_id)
    execution_id = claimed.held.execution_id
    assert wait_for(records, claimed).outcome is Awaited.WAITING

    sent = engine.signal(
        execution_id, "approval", {"approved": True}, by="ann", reason="looks good"
    )

    assert (sent.taken_by, sent.by, sent.reason) == ("approve", "ann", "looks good")
    assert stand(engine, execution_id) == [
        ("approve", StepStatus.COMPLETED),
        ("after", StepStatus.READY),
    ]
    assert result_of(database, execution_id) == {"approved": True}
    check_timeline(engine, execution_id)


def test_who_has_approved_is_in_the_timeline(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    claimed = begin(engine, records, worker_id)
    wait_for(records, claimed)

    engine.signal(claimed.held.execution_id, "approval", by="ann", reason="well")

    told = {e.type: e for e in read_timeline(engine, claimed.held.execution_id)}
    for kind, step in (("signal.received", None), ("signal.taken", "approve")):
        assert told[kind].step == step
        assert told[kind].data["by"] == "ann"
        assert told[kind].data["reason"] == "well"


def test_who_waits_holds_nothing(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    claimed = begin(engine, records, worker_id)
    wait_for(records, claimed)

    approve = engine.list_steps(claimed.held.execution_id)[0]
    assert (approve.status, approve.worker_id) == (StepStatus.WAITING, None)
    assert records.save_checkpoint(claimed.held, "{}") is Saved.STALE


def test_a_signal_that_is_sent_early_is_kept(
    engine: ExecutionEngine, records: StepRecords, database: Database, worker_id: str
) -> None:
    execution_id = engine.submit(PLAN)
    sent = engine.signal(execution_id, "approval", {"approved": True}, by="ann")
    assert sent.taken_by is None

    answer = wait_for(records, claim(records, worker_id, execution_id, 0))

    assert answer.outcome is Awaited.ENDED
    assert [w.links[0].position for w in answer.completion.windows] == [1]
    assert result_of(database, execution_id) == {"approved": True}
    (kept,) = engine.list_signals(execution_id)
    assert kept.taken_by == "approve"
    check_timeline(engine, execution_id)


def test_a_wait_whose_commit_was_unknown_is_told_once(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    claimed = begin(engine, records, worker_id)

    first, again = wait_for(records, claimed), wait_for(records, claimed)

    assert (first.outcome, again.outcome) == (Awaited.WAITING, Awaited.WAITING)
    told = types_of(engine, claimed.held.execution_id)
    assert told.count("step.waiting") == 1


def test_an_early_signal_whose_taking_was_unknown_is_taken_once(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    claimed = begin(engine, records, worker_id)
    execution_id = claimed.held.execution_id
    for answer in (1, 2):
        engine.signal(execution_id, "approval", answer)

    first, again = wait_for(records, claimed), wait_for(records, claimed)

    assert first.outcome is again.outcome is Awaited.ENDED
    assert [w.links for w in first.completion.windows] == [
        w.links for w in again.completion.windows
    ]
    assert [s.taken_by for s in engine.list_signals(execution_id)] == ["approve", None]


def test_two_that_wait_for_one_name_take_one_each_in_their_order(
    engine: ExecutionEngine, records: StepRecords, database: Database, worker_id: str
) -> None:
    execution_id = engine.submit(TWO)
    for position in (1, 0):
        wait_for(records, claim(records, worker_id, execution_id, position), None)

    first, second = (engine.signal(execution_id, "approval", n) for n in (1, 2))

    assert (first.taken_by, second.taken_by) == ("one", "other")
    assert [result_of(database, execution_id, n) for n in (0, 1)] == [1, 2]
    assert engine.get_status(execution_id).status is ExecutionStatus.COMPLETED
    check_timeline(engine, execution_id)


def test_the_last_step_of_an_execution_can_be_ended_by_a_signal(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    plan = Plan(
        "told",
        steps=[Step("approve", wait_for="approval")],
        result={"by": "${steps.approve.result}"},
    )
    claimed = begin(engine, records, worker_id, plan)
    wait_for(records, claimed, None)

    engine.signal(claimed.held.execution_id, "approval", "yes")
    # what the result is made of is for those to read who run steps
    assert finish_execution(
        records, ExecutionEventEmitter(None, ""), claimed.held.execution_id
    )

    assert engine.get_result(claimed.held.execution_id).value == {"by": "yes"}


def test_a_key_sends_one_signal(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    claimed = begin(engine, records, worker_id)
    execution_id = claimed.held.execution_id
    wait_for(records, claimed)

    first, again = (
        engine.signal(execution_id, "approval", {"n": 1}, key="click") for _ in range(2)
    )

    assert first == again
    assert types_of(engine, execution_id).count("signal.received") == 1
    with pytest.raises(SignalConflictError, match="click"):
        engine.signal(execution_id, "approval", {"n": 2}, key="click")


def test_a_name_that_nothing_waits_for_is_refused(engine: ExecutionEngine) -> None:
    execution_id = engine.submit(PLAN)
    before = types_of(engine, execution_id)

    with pytest.raises(SignalNotAwaitedError, match="there are approval"):
        engine.signal(execution_id, "aproval")

    assert types_of(engine, execution_id) == before
    assert engine.list_signals(execution_id) == ()


def test_a_name_that_an_expression_could_come_to_is_kept(
    engine: ExecutionEngine,
) -> None:
    plan = Plan(
        "orders",
        parameters={"order": {"type": "string", "required": True}},
        steps=[Step("paid", wait_for="order_${parameters.order}")],
    )
    execution_id = engine.submit(plan, {"order": "7"})

    assert engine.signal(execution_id, "order_7").taken_by is None
    with pytest.raises(SignalNotAwaitedError, match=r"order_\$\{parameters.order\}"):
        engine.signal(execution_id, "orders7")


def test_an_execution_that_has_ended_takes_no_signal(engine: ExecutionEngine) -> None:
    execution_id = engine.submit(PLAN)
    engine.cancel(execution_id)

    with pytest.raises(InvalidExecutionStateError, match="it is cancelled"):
        engine.signal(execution_id, "approval")


@pytest.mark.parametrize("execution_id", [str(uuid.UUID(int=1)), "nonsense"])
def test_there_has_to_be_an_execution(
    engine: ExecutionEngine, execution_id: str
) -> None:
    with pytest.raises(ExecutionNotFoundError):
        engine.signal(execution_id, "approval")


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        ({}, "payload.approved: is required"),
        ({"approved": "yes"}, "payload.approved: must be of type boolean"),
        ({"approved": True, "coment": "x"}, 'did you mean "comment"'),
        ([True], "payload: must be a mapping"),
        ({"approved": object()}, "payload"),
    ],
)
def test_a_payload_that_nobody_asks_for_is_refused(
    engine: ExecutionEngine, payload: object, fault: str
) -> None:
    execution_id = engine.submit(ASKING)

    with pytest.raises(ParameterError, match=fault):
        engine.signal(execution_id, "approval", payload)

    assert engine.list_signals(execution_id) == ()


def test_a_payload_has_the_defaults_that_are_declared(engine: ExecutionEngine) -> None:
    sent = engine.signal(engine.submit(ASKING), "approval", {"approved": True})

    assert sent.payload == {"approved": True, "comment": "none"}


@pytest.mark.parametrize("payload", [float("nan"), object(), "x" * 300_000])
def test_what_is_no_payload_is_refused(
    engine: ExecutionEngine, payload: object
) -> None:
    execution_id = engine.submit(PLAN)

    with pytest.raises(ParameterError, match="payload"):
        engine.signal(execution_id, "approval", payload)


@pytest.mark.usefixtures("moving_clock")
def test_a_default_comes_when_the_time_is_over_and_not_before(
    engine: ExecutionEngine,
    records: StepRecords,
    reconciler: Reconciler,
    database: Database,
    worker_id: str,
) -> None:
    claimed = begin(engine, records, worker_id)
    execution_id = claimed.held.execution_id
    wait_for(records, claimed)

    shift_clock(database, "59 minutes")
    run_round(reconciler)
    early = stand(engine, execution_id)
    shift_clock(database, "61 minutes")
    run_round(reconciler)

    assert early[0] == ("approve", StepStatus.WAITING)
    assert result_of(database, execution_id) == {"approved": False}
    assert "signal.missed" in types_of(engine, execution_id)
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("moving_clock")
def test_without_a_default_the_step_has_timed_out(
    engine: ExecutionEngine,
    records: StepRecords,
    reconciler: Reconciler,
    database: Database,
    worker_id: str,
) -> None:
    claimed = begin(engine, records, worker_id, STRICT)
    execution_id = claimed.held.execution_id
    wait_for(records, claimed)

    shift_clock(database, "61 minutes")
    run_round(reconciler)

    assert stand(engine, execution_id) == [("approve", StepStatus.TIMED_OUT)]
    result = engine.get_result(execution_id)
    assert result.status is ExecutionStatus.FAILED
    assert result.error is not None
    assert result.error.code == "E002"
    assert result.error.message == (
        "step approve waited 1h for signal approval, which did not come"
    )
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("moving_clock")
@pytest.mark.parametrize("begins", ["before the pause", "within the pause"])
def test_a_pause_does_not_use_up_the_time(
    engine: ExecutionEngine,
    records: StepRecords,
    reconciler: Reconciler,
    database: Database,
    worker_id: str,
    begins: str,
) -> None:
    claimed = begin(engine, records, worker_id)
    execution_id = claimed.held.execution_id
    if begins == "before the pause":
        wait_for(records, claimed)
    engine.pause(execution_id)
    if begins == "within the pause":
        shift_clock(database, "10 minutes")
        wait_for(records, claimed)

    shift_clock(database, "9 hours")
    run_round(reconciler)
    paused = stand(engine, execution_id)
    engine.resume(execution_id)
    shift_clock(database, "9 hours 59 minutes")
    run_round(reconciler)
    early = stand(engine, execution_id)
    shift_clock(database, "10 hours 1 minute")
    run_round(reconciler)

    assert paused[0] == early[0] == ("approve", StepStatus.WAITING)
    assert result_of(database, execution_id) == {"approved": False}


def test_a_signal_within_a_pause_is_taken_and_lets_nothing_start(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    claimed = begin(engine, records, worker_id)
    execution_id = claimed.held.execution_id
    wait_for(records, claimed)
    engine.pause(execution_id)

    sent = engine.signal(execution_id, "approval")

    assert sent.taken_by == "approve"
    assert try_claim(records, worker_id, execution_id, 1).claim is None
    engine.resume(execution_id)
    assert try_claim(records, worker_id, execution_id, 1, epoch=2).claim is not None
    check_timeline(engine, execution_id)


def test_nobody_waits_in_an_execution_that_ends(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    claimed = begin(engine, records, worker_id)
    engine.cancel(claimed.held.execution_id)

    assert wait_for(records, claimed).outcome is Awaited.REFUSED


def test_who_goes_back_to_before_a_wait_waits_for_another_signal(
    engine: ExecutionEngine, records: StepRecords, worker_id: str
) -> None:
    plan = Plan(
        "again",
        steps=[
            Step("approve", wait_for="approval"),
            Step(
                "deploy",
                "test.nothing",
                on_failure={"restore": "approve", "times": 1},
            ),
        ],
    )
    claimed = begin(engine, records, worker_id, plan)
    execution_id = claimed.held.execution_id
    wait_for(records, claimed, None)
    engine.signal(execution_id, "approval", 1)
    deploy = claim(records, worker_id, execution_id, 1)
    error = json.dumps({"code": "E003", "message": "no", "context": {}})
    records.complete(deploy.held, StepStatus.FAILED, error=error, epoch=1)

    again = try_claim(records, worker_id, execution_id, 0, epoch=2).claim
    assert again is not None

    assert wait_for(records, again, None).outcome is Awaited.WAITING
    assert engine.signal(execution_id, "approval", 2).taken_by == "approve"
    check_timeline(engine, execution_id)


def test_sql_sends_with_the_commit_of_its_transaction(
    engine: ExecutionEngine,
    records: StepRecords,
    database: Database,
    reconciler: Reconciler,
    settings: Settings,
    worker_id: str,
) -> None:
    claimed = begin(engine, records, worker_id)
    execution_id = claimed.held.execution_id
    wait_for(records, claimed)
    with committed(str(settings.database_url), settings.schema) as cursor:
        cursor.execute(
            "SELECT signal(%s, 'approval', %s, by => 'ann')",
            (execution_id, '{"approved": true}'),
        )
        # who has not committed holds nobody up
        engine.pause(execution_id)
        engine.resume(execution_id)
        reconciler.answer_notice()
        before = stand(engine, execution_id)

    done = reconciler.answer_notice()

    assert before[0] == ("approve", StepStatus.WAITING)
    assert done.signalled_executions == 1
    assert result_of(database, execution_id) == {"approved": True}
    (sent,) = engine.list_signals(execution_id)
    assert (sent.by, sent.taken_by) == ("ann", "approve")
    check_timeline(engine, execution_id)


def test_a_sweep_finds_what_sql_has_sent(
    engine: ExecutionEngine, reconciler: Reconciler, settings: Settings
) -> None:
    execution_id = engine.submit(PLAN)
    _send_by_sql(settings, execution_id, "approval", "1")

    assert run_round(reconciler).signalled_executions >= 1
    assert "signal.received" in types_of(engine, execution_id)


def test_what_sql_sends_too_late_is_not_told_after_the_end(
    engine: ExecutionEngine,
    reconciler: Reconciler,
    settings: Settings,
) -> None:
    execution_id = engine.submit(PLAN)
    _send_by_sql(settings, execution_id, "approval", "1")
    engine.cancel(execution_id)
    before = types_of(engine, execution_id)

    run_round(reconciler)

    assert types_of(engine, execution_id) == before
    assert run_round(reconciler).signalled_executions == 0


def test_what_sql_has_sent_before_the_end_is_taken_after_a_retry(
    engine: ExecutionEngine,
    records: StepRecords,
    database: Database,
    reconciler: Reconciler,
    settings: Settings,
    worker_id: str,
) -> None:
    claimed = begin(engine, records, worker_id)
    execution_id = claimed.held.execution_id
    wait_for(records, claimed)
    _send_by_sql(settings, execution_id, "approval", "1", "click")
    engine.cancel(execution_id)
    run_round(reconciler)

    engine.retry(execution_id)
    again = try_claim(records, worker_id, execution_id, 0, epoch=2).claim

    assert again is not None
    assert wait_for(records, again).outcome is Awaited.ENDED
    assert result_of(database, execution_id) == 1
    check_timeline(engine, execution_id)


@pytest.mark.usefixtures("moving_clock")
def test_what_sql_has_sent_comes_before_the_default_also_when_nobody_looked(
    engine: ExecutionEngine,
    records: StepRecords,
    reconciler: Reconciler,
    database: Database,
    settings: Settings,
    worker_id: str,
) -> None:
    claimed = begin(engine, records, worker_id)
    execution_id = claimed.held.execution_id
    wait_for(records, claimed)
    _send_by_sql(settings, execution_id, "approval", '{"approved": true}')

    shift_clock(database, "61 minutes")
    run_round(reconciler)

    assert result_of(database, execution_id) == {"approved": True}
    assert try_claim(records, worker_id, execution_id, 1).claim is not None
    check_timeline(engine, execution_id)


@pytest.mark.parametrize(
    ("plan", "name", "payload", "message"),
    [
        (PLAN, "aproval", "1", "waits for signal 'aproval'; there are approval"),
        (ASKING, "approval", "{}", "payload.approved: is required"),
        (ASKING, "approval", '{"approved": 1}', "payload.approved: must be of type"),
        (ASKING, "approval", '{"approved": true, "x": 1}', "payload.x: nobody asks"),
        (ASKING, "approval", "[]", "payload must be a JSON object"),
    ],
)
def test_sql_is_told_what_is_wrong(
    engine: ExecutionEngine,
    settings: Settings,
    plan: Plan,
    name: str,
    payload: str,
    message: str,
) -> None:
    execution_id = engine.submit(plan)

    with pytest.raises(psycopg2.Error, match=message):
        _send_by_sql(settings, execution_id, name, payload)

    assert engine.list_signals(execution_id) == ()


def test_sql_sends_once_for_a_key_and_never_to_what_has_ended(
    engine: ExecutionEngine, settings: Settings
) -> None:
    execution_id = engine.submit(ASKING)
    first, again = (
        _send_by_sql(settings, execution_id, "approval", '{"approved": true}', "click")
        for _ in range(2)
    )
    with pytest.raises(psycopg2.Error, match="belongs to another signal"):
        _send_by_sql(settings, execution_id, "approval", '{"approved": false}', "click")
    engine.cancel(execution_id)

    assert first == again
    with pytest.raises(psycopg2.Error, match="has ended: it is cancelled"):
        _send_by_sql(settings, execution_id, "approval", '{"approved": true}')
    with pytest.raises(psycopg2.Error, match="there is no execution"):
        _send_by_sql(settings, str(uuid.uuid4()), "approval", "1")


def _send_by_sql(
    settings: Settings,
    execution_id: str,
    name: str,
    payload: str,
    key: str | None = None,
) -> object:
    with committed(str(settings.database_url), settings.schema) as cursor:
        cursor.execute(
            "SELECT signal(%s, %s, %s, key => %s)", (execution_id, name, payload, key)
        )
        (signal_id,) = cursor.fetchone() or (None,)
        return signal_id
