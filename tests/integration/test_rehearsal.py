"""Plans in the test's own process: what they come to, and how time and kills are done.

The fixture `plans` is the one that users have; all that it runs is the real code.
"""

import asyncio
import importlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery
from pydantic import BaseModel

from execution import ExecutionStatus, Plan, Recovery, Step, StepStatus, action
from execution.database import Database
from execution.errors import (
    ActionRegistrationError,
    DatabaseError,
    ErrorCode,
    FatalError,
    PlanValidationError,
    RehearsalError,
    StepTimeoutError,
)
from execution.settings import CatalogueCheck, Settings
from execution.testing.ground import Ground
from execution.testing.rehearsal import Rehearsal
from execution.testing.runs import PlanRun
from execution.testing.surroundings import (
    GroundDatabase,
    Life,
    ProcessKilledError,
    QueueDispatcher,
    Surroundings,
)

TWO_STEPS = """
format: 1
name: two-steps
parameters:
  number: {type: integer, default: 1}
steps:
  - id: double
    action: rehearsed.double
    with: {number: "${parameters.number}"}
    retry: {attempts: 3, wait: fixed, initial: 1h, max: 1h}
    timeout: 1m
  - id: tell
    action: rehearsed.tell
    with: {number: "${steps.double.result}"}
result: ${steps.tell.result}
"""
INNER = """
format: 1
name: inner
steps: [{id: s, action: rehearsed.tell, with: {number: 0}}]
"""
KILLED_ONCE = ["ready", "started", "lost", "ready", "started", "completed"]


class Parcel(BaseModel):
    """What an action takes that is given a model."""

    grams: int


@action("rehearsed.double")
def double(number: int) -> int:
    return 2 * number


@action("rehearsed.weigh")
def weigh(parcel: Parcel) -> int:
    return parcel.grams


@pytest.fixture
def tell(plans: Rehearsal) -> Any:
    """What stands for the action that no test registers."""
    return plans.fake("rehearsed.tell", lambda number: f"it is {number}")


# runs and what they tell


def test_real_actions_and_fakes_make_the_result(plans: Rehearsal, tell: Any) -> None:
    run = plans.run(TWO_STEPS, {"number": 4})

    assert (run.status, run.result, run.error) == ("completed", "it is 8", None)
    assert run.obstacle is None


def test_steps_tell_what_they_were_given_and_came_to(
    plans: Rehearsal, tell: Any
) -> None:
    run = plans.run(TWO_STEPS)

    step = run.steps["tell"]
    assert (step.status, step.attempts) == (StepStatus.COMPLETED, 1)
    assert (step.inputs, step.result) == ({"number": 2}, "it is 2")


@pytest.mark.parametrize("how", ["text", "path", "name of a file", "mapping", "plan"])
def test_plan_is_taken_in_whatever_form_it_is(
    plans: Rehearsal, tell: Any, tmp_path: Path, how: str
) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(TWO_STEPS)
    plan = Plan.from_file(path)
    forms: dict[str, Any] = {
        "text": TWO_STEPS,
        "path": path,
        "name of a file": str(path),
        "mapping": plan.definition,
        "plan": plan,
    }

    run = plans.run(forms[how])

    assert run.result == "it is 2"


def test_published_plan_is_run_by_its_name(plans: Rehearsal, tell: Any) -> None:
    plans.publish(TWO_STEPS)

    run = plans.run("two-steps")

    assert run.result == "it is 2"


def test_nothing_is_left_for_the_next_test(plans: Rehearsal) -> None:
    # the tests above have run plans, in the same database
    assert plans.engine.count_executions() == 0
    assert plans.clock.now - plans.clock.now < timedelta(minutes=1)


def test_plan_that_names_an_unknown_action_is_refused(plans: Rehearsal) -> None:
    with pytest.raises(PlanValidationError, match=r"rehearsed\.tell"):
        plans.run(TWO_STEPS)


def test_failed_run_has_its_error(plans: Rehearsal, tell: Any) -> None:
    plans.fake("rehearsed.double", raises=FatalError("no more"))

    run = plans.run(TWO_STEPS)

    assert run.status is ExecutionStatus.FAILED
    assert run.result is None
    assert run.error is not None
    assert "no more" in run.error.message


def test_plans_within_plans_run_as_well(plans: Rehearsal, tell: Any) -> None:
    plans.publish(TWO_STEPS)
    outer = {
        "format": 1,
        "name": "outer",
        "steps": [{"id": "inner", "plan": "two-steps", "with": {"number": 5}}],
        "result": "${steps.inner.result}",
    }

    run = plans.run(outer)

    assert run.result == "it is 10"
    assert run.steps["inner"].child_id is not None


def test_items_and_loops_run_as_steps_of_their_own(plans: Rehearsal) -> None:
    numbers = iter(range(100))
    count = plans.fake("rehearsed.count", lambda: next(numbers))
    steps = [
        {
            "id": "each",
            "action": "rehearsed.double",
            "for_each": "${[1, 2, 3]}",
            "with": {"number": "${item}"},
        },
        {
            "id": "again",
            "repeat": {
                "action": "rehearsed.count",
                "until": "last >= 3",
                "times": 9,
                "wait": "1h",
            },
        },
    ]

    run = plans.run({"format": 1, "name": "many", "steps": steps})

    run.assert_completed()
    assert run.steps["each"].result == [2, 4, 6]
    assert len(count.calls) == 4


# assertions


@pytest.mark.parametrize(
    ("claim", "said"),
    [
        (lambda run: run.assert_order("tell", "double"), "tell has not ended before"),
        (lambda run: run.assert_attempts("double", 2), "1 attempts of double"),
        (lambda run: run.assert_not_started("double"), "double has started"),
        (lambda run: run.assert_attempts("dobule", 1), "there is no step dobule"),
    ],
)
def test_assertion_that_fails_shows_the_timeline(
    plans: Rehearsal, tell: Any, claim: Callable[[PlanRun], None], said: str
) -> None:
    run = plans.run(TWO_STEPS)

    with pytest.raises(AssertionError, match=rf"(?s){said}.*completed"):
        claim(run)


def test_run_that_has_not_completed_says_what_stands_in_its_way(
    plans: Rehearsal, tell: Any
) -> None:
    run = plans.submit(TWO_STEPS)
    plans.engine.pause(run.id)

    with pytest.raises(AssertionError, match="it cannot go on: it is paused"):
        run.go_on().assert_completed()


def test_coroutine_waits_for_a_run_in_a_thread(plans: Rehearsal, tell: Any) -> None:
    async def double_later(number: int) -> int:
        return 2 * number

    plans.fake("rehearsed.double", double_later)

    async def check() -> None:
        run = await asyncio.to_thread(plans.run, TWO_STEPS)
        assert run.result == "it is 2"

    asyncio.run(check())


# fakes


def test_fake_raises_in_turn_and_then_answers(plans: Rehearsal, tell: Any) -> None:
    fake = plans.fake(
        "rehearsed.double", raises=[TimeoutError, None, OSError("x")], returns=7
    )

    first, second = plans.run(TWO_STEPS), plans.run(TWO_STEPS)

    assert (first.result, second.result) == ("it is 7", "it is 7")
    assert [call.attempt for call in fake.calls] == [1, 2, 1, 2]


def test_calls_tell_inputs_and_the_key_of_their_step(
    plans: Rehearsal, tell: Any
) -> None:
    run = plans.run(TWO_STEPS, {"number": 3})

    [call] = tell.calls
    assert (call.inputs, call.step) == ({"number": 6}, "tell")
    assert call.idempotency_key == f"{run.id}:tell"


def test_attempts_of_a_step_share_its_idempotency_key(
    plans: Rehearsal, tell: Any
) -> None:
    fake = plans.fake("rehearsed.double", raises=[OSError], returns=1)

    plans.run(TWO_STEPS)

    assert len({call.idempotency_key for call in fake.calls}) == 1


def test_fake_takes_the_parameters_of_the_action_that_it_stands_for(
    plans: Rehearsal, tell: Any
) -> None:
    plans.fake("rehearsed.double", returns=1)
    wrong = TWO_STEPS.replace(
        'with: {number: "${parameters', 'with: {nmber: "${parameters'
    )

    with pytest.raises(PlanValidationError, match="nmber"):
        plans.run(wrong)


def test_fake_is_given_models_where_the_action_is(plans: Rehearsal) -> None:
    fake = plans.fake("rehearsed.weigh", lambda parcel: parcel.grams + 1)
    step = Step("weigh", action="rehearsed.weigh", with_={"parcel": {"grams": 5}})

    run = plans.run(Plan("p", steps=[step], result="${steps.weigh.result}"))

    assert run.result == 6
    assert fake.inputs == [{"parcel": Parcel(grams=5)}]


def test_fake_gets_the_context_if_it_asks_for_it(plans: Rehearsal, tell: Any) -> None:
    def double_slowly(ctx: Any, number: int) -> int:
        ctx.progress(50, "halfway")
        ctx.variables["seen"] = number
        return number

    plans.fake("rehearsed.double", double_slowly)

    run = plans.run(TWO_STEPS)

    assert "progress" in run.timeline.of("double")
    assert run.variables == {"seen": 1}


def test_coroutine_can_be_a_fake(plans: Rehearsal, tell: Any) -> None:
    async def double_later(number: int) -> int:
        await asyncio.sleep(0)
        return 9

    plans.fake("rehearsed.double", double_later)

    assert plans.run(TWO_STEPS).result == "it is 9"


def test_later_fake_takes_the_place_of_an_earlier_one(
    plans: Rehearsal, tell: Any
) -> None:
    plans.fake("rehearsed.double", returns=1)
    plans.fake("rehearsed.double", returns=2)

    assert plans.run(TWO_STEPS).result == "it is 2"


def test_fake_with_two_answers_is_refused(plans: Rehearsal) -> None:
    with pytest.raises(RehearsalError, match="not both"):
        plans.fake("rehearsed.double", double, returns=1)


def test_fake_that_returns_what_its_action_never_would_is_refused(
    plans: Rehearsal,
) -> None:
    with pytest.raises(RehearsalError, match="integer"):
        plans.fake("rehearsed.double", returns="two")


def test_name_that_no_action_can_have_is_refused(plans: Rehearsal) -> None:
    with pytest.raises(ActionRegistrationError, match="without spaces"):
        plans.fake("a name", returns=1)


def test_recovery_strategy_can_be_faked(plans: Rehearsal, tell: Any) -> None:
    plans.fake("rehearsed.double", raises=FatalError("broken"))
    asked = plans.fake("strategy:lenient", returns=Recovery.complete(7))
    steps = [
        Step(
            "double",
            action="rehearsed.double",
            with_={"number": 1},
            on_failure={"strategy": "lenient"},
        )
    ]

    run = plans.run(Plan("p", steps=steps, result="${steps.double.result}"))

    assert run.assert_completed().result == 7
    assert "broken" in asked.calls[0].inputs["failure"]["message"]


def test_celery_task_is_an_action_and_can_be_faked(plans: Rehearsal) -> None:
    app = Celery("shop", set_as_current=False)

    @app.task(name="rehearsed.add", shared=False)  # type: ignore[untyped-decorator]  # Celery ships no types
    def add(a: int, b: int) -> int:
        return a + b

    plans.use(app)
    step = Step("add", action="rehearsed.add", with_={"a": 1, "b": 2})
    plan = Plan("p", steps=[step], result="${steps.add.result}")
    real = plans.run(plan)
    fake = plans.fake("rehearsed.add", returns=-1)
    faked = plans.run(plan)

    assert (real.result, faked.result) == (3, -1)
    assert fake.inputs == [{"a": 1, "b": 2}]


def test_tasks_that_an_app_discovers_late_are_actions(
    plans: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "late_shop"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from celery import Celery\n"
        "app = Celery('late_shop', set_as_current=False)\n"
        "app.autodiscover_tasks(['late_shop'])\n"
    )
    (package / "tasks.py").write_text(
        "from late_shop import app\n"
        "@app.task(shared=False)\n"
        "def add(a, b):\n    return a + b\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    plans.use(importlib.import_module("late_shop").app)
    step = Step("add", action="late_shop.tasks.add", with_={"a": 1, "b": 2})
    run = plans.run(Plan("p", steps=[step], result="${steps.add.result}"))

    assert run.result == 3


# time


def test_waits_between_attempts_pass_at_once(plans: Rehearsal, tell: Any) -> None:
    plans.fake("rehearsed.double", raises=[OSError, OSError], returns=1)
    begun = plans.clock.now

    run = plans.run(TWO_STEPS)

    run.assert_attempts("double", 3)
    assert timedelta(hours=2) <= plans.clock.now - begun < timedelta(hours=3)


def test_short_wait_is_sat_out_by_the_worker(plans: Rehearsal, tell: Any) -> None:
    plans.fake("rehearsed.double", raises=[OSError], returns=1)
    plans.clock.stands_still = True

    run = plans.run(TWO_STEPS.replace("initial: 1h", "initial: 2s, jitter: 0s"))

    run.assert_completed()
    assert "retrying" in run.timeline.of("double")


def test_sleep_of_days_passes_at_once(plans: Rehearsal) -> None:
    steps = [
        Step("trial", sleep="14d"),
        Step("double", action="rehearsed.double", with_={"number": 1}),
    ]

    run = plans.run(Plan("p", steps=steps))

    assert run.assert_completed().timeline[-1].seconds > 14 * 86_400


def test_clock_of_an_installation_is_moved_by_no_setting(database: Database) -> None:
    found = database.query(
        "SELECT {schema}.plans_now() - clock_timestamp() AS moved"
        " FROM set_config('plans_test.moved', '7200', false)"
    )

    assert abs(found[0]["moved"]) < timedelta(seconds=1)


def test_clock_that_stands_still_lets_a_run_say_what_it_waits_for(
    plans: Rehearsal, tell: Any
) -> None:
    plans.fake("rehearsed.double", raises=[OSError], returns=1)
    plans.clock.stands_still = True

    run = plans.run(TWO_STEPS)

    assert run.status == "running"
    assert run.obstacle is not None
    assert "step double waits for 1h, until" in run.obstacle


def test_run_goes_on_once_the_clock_was_moved(plans: Rehearsal, tell: Any) -> None:
    plans.fake("rehearsed.double", raises=[OSError], returns=1)
    plans.clock.stands_still = True
    run = plans.run(TWO_STEPS)

    plans.clock.move("2h")
    run.go_on()

    assert run.assert_completed().obstacle is None


def test_attempt_that_takes_too_long_is_timed_out(plans: Rehearsal, tell: Any) -> None:
    plans.fake("rehearsed.double", takes="5m", returns=1)

    run = plans.run(TWO_STEPS)

    assert run.status == "failed"
    assert run.steps["double"].status == "timed_out"
    assert run.error is not None
    assert run.error.code is ErrorCode.TIMEOUT


def test_code_can_see_its_timeout_come(plans: Rehearsal, tell: Any) -> None:
    def clean_up(number: int) -> int:
        with pytest.raises(StepTimeoutError):
            plans.clock.move("5m")
        return -1

    plans.fake("rehearsed.double", clean_up)

    assert plans.run(TWO_STEPS).result == "it is -1"


def test_deadline_of_the_plan_ends_what_waits(plans: Rehearsal, tell: Any) -> None:
    plans.fake("rehearsed.double", raises=OSError)

    run = plans.run(TWO_STEPS + "deadline: 30m\n")

    assert run.status == "timed_out"
    run.assert_not_started("tell")


@pytest.mark.parametrize(
    ("duration", "said"), [("2 hours", "not a duration"), (-1, "forward")]
)
def test_clock_refuses_what_is_no_duration(
    plans: Rehearsal, duration: str | float, said: str
) -> None:
    with pytest.raises(RehearsalError, match=said):
        plans.clock.move(duration)


# kills


@pytest.mark.parametrize("point", ["claimed", "called"])
def test_killed_step_is_found_by_its_lease_and_runs_again(
    plans: Rehearsal, tell: Any, point: str
) -> None:
    kill = plans.kill_at("double", point)

    run = plans.run(TWO_STEPS)

    assert run.timeline.of("double") == KILLED_ONCE
    assert kill.done == 1
    run.assert_completed().assert_order("double", "tell")


def test_nothing_is_written_by_a_worker_after_its_kill(
    plans: Rehearsal, tell: Any
) -> None:
    plans.clock.stands_still = True
    plans.kill_at("double", "called")

    run = plans.run(TWO_STEPS)

    step = run.steps["double"]
    assert (step.status, step.result, step.attempts) == ("running", None, 1)
    assert run.timeline.of("double") == ["ready", "started"]
    assert run.obstacle is not None
    assert "held by a worker that was killed" in run.obstacle


def test_step_that_was_recorded_before_the_kill_does_not_run_again(
    plans: Rehearsal, tell: Any
) -> None:
    fake = plans.fake("rehearsed.double", returns=3)
    plans.kill_at("double", "completed")

    run = plans.run(TWO_STEPS)

    assert run.result == "it is 3"
    assert len(fake.calls) == 1
    # it rode on in the same transaction, and was lost with the worker
    assert run.timeline.of("tell") == KILLED_ONCE


def test_execution_is_sent_though_who_submitted_it_was_killed(
    plans: Rehearsal, tell: Any
) -> None:
    plans.kill_at(point="submitted")

    run = plans.run(TWO_STEPS)

    assert run.assert_completed().result == "it is 2"


def test_one_item_of_a_list_can_be_the_one_that_is_killed(plans: Rehearsal) -> None:
    step = Step(
        "each",
        action="rehearsed.double",
        for_each="${[1, 2]}",
        with_={"number": "${item}"},
    )
    plans.kill_at("each[1]")

    run = plans.run(Plan("p", steps=[step]))

    assert [s.attempts for s in run.steps.values() if s.name != "each"] == [1, 2]


def test_step_of_a_plan_within_a_plan_can_be_killed(
    plans: Rehearsal, tell: Any
) -> None:
    plans.publish(TWO_STEPS)
    plans.kill_at("double")

    run = plans.run(Plan("p", steps=[Step("inner", plan="two-steps")]))

    inner = plans.follow(str(run.assert_completed().steps["inner"].child_id))
    assert inner.timeline.of("double") == KILLED_ONCE


def test_worker_dies_with_the_code_that_submits_in_it(
    plans: Rehearsal, tell: Any
) -> None:
    plans.fake("rehearsed.double", lambda number: plans.engine.submit("inner") and 0)
    plans.publish(INNER)
    run = plans.submit(TWO_STEPS)
    plans.kill_at(point="submitted")

    run.go_on()

    assert run.assert_completed().timeline.of("double") == KILLED_ONCE


def test_step_that_kills_every_worker_ends(plans: Rehearsal, tell: Any) -> None:
    plans.kill_at("double", "claimed", times=100)

    run = plans.run(TWO_STEPS)

    assert run.status == "failed"
    assert run.error is not None
    assert run.error.code is ErrorCode.WORKER_LOST


def test_lease_runs_out_when_the_clock_is_moved(plans: Rehearsal, tell: Any) -> None:
    plans.clock.stands_still = True
    plans.kill_at("double")
    run = plans.run(TWO_STEPS)

    plans.clock.move("1m")

    assert run.timeline.of("double") == ["ready", "started", "lost", "ready"]


@pytest.mark.parametrize(
    ("step", "point", "times", "said"),
    [
        ("a", "caled", 1, "no point"),
        ("a", "submitted", 1, "takes no"),
        (None, "called", 1, "has to be named"),
        ("a", "called", 0, "counts from 1"),
    ],
)
def test_kill_that_could_never_come_is_refused(
    plans: Rehearsal, step: str | None, point: str, times: int, said: str
) -> None:
    with pytest.raises(RehearsalError, match=said):
        plans.kill_at(step, point, times=times)


# what stands in the way


def test_steps_run_whatever_queue_they_name(plans: Rehearsal) -> None:
    step = Step("s", action="rehearsed.double", queue="gpu", with_={"number": 1})

    run = plans.run(Plan("p", steps=[step], result="${steps.s.result}"))

    assert run.result == 2


def test_each_step_has_a_message_where_none_rides(
    plans_ground: Ground, plans_settings: Settings
) -> None:
    unridden = replace(plans_settings, ride=False)
    with plans_ground.apart(), Rehearsal.play(plans_ground, unridden) as plans:
        plans.fake("rehearsed.tell", returns="told")
        plans.kill_at("double", "completed")

        run = plans.run(TWO_STEPS)

        assert run.assert_completed().timeline.of("tell").count("started") == 1


def test_lost_message_is_what_a_run_waits_for(plans: Rehearsal, tell: Any) -> None:
    plans.clock.stands_still = True
    plans.kill_at(point="submitted")

    run = plans.run(TWO_STEPS)

    assert run.obstacle is not None
    assert "the message of step double is lost" in run.obstacle


def test_paused_run_says_so_and_goes_on_when_resumed(
    plans: Rehearsal, tell: Any
) -> None:
    run = plans.submit(TWO_STEPS)
    plans.engine.pause(run.id)
    assert run.go_on().obstacle == "it is paused"

    plans.engine.resume(run.id)

    assert run.go_on().result == "it is 2"


def test_action_can_pause_its_own_execution(plans: Rehearsal, tell: Any) -> None:
    run = plans.submit(TWO_STEPS)
    plans.fake("rehearsed.double", lambda number: str(plans.engine.pause(run.id)))

    run.go_on()

    assert run.status == "paused"
    assert run.steps["tell"].status == "ready"


def test_cancelled_run_ends(plans: Rehearsal, tell: Any) -> None:
    run = plans.submit(TWO_STEPS)
    plans.engine.cancel(run.id, by="ann")

    assert run.go_on().status == "cancelled"


def test_run_that_waits_for_a_key_says_so(plans: Rehearsal, tell: Any) -> None:
    plan = TWO_STEPS + "concurrency: {key: one, limit: 1}\n"
    first = plans.submit(plan)
    plans.engine.pause(first.id)

    second = plans.run(plan)

    assert second.obstacle is not None
    assert "concurrency key" in second.obstacle


def test_action_that_nobody_registers_is_named(
    plans_ground: Ground, plans_settings: Settings
) -> None:
    unchecked = replace(plans_settings, check=CatalogueCheck.OFF)
    with plans_ground.apart(), Rehearsal.play(plans_ground, unchecked) as plans:
        run = plans.run(TWO_STEPS)

        assert run.obstacle is not None
        assert "needs the action rehearsed.tell" in run.obstacle


def test_action_that_would_wait_for_a_run_is_told_so(plans: Rehearsal) -> None:
    plans.fake("rehearsed.tell", lambda number: plans.run(TWO_STEPS).result)

    run = plans.run(TWO_STEPS)

    assert run.error is not None
    assert "busy with the action" in run.error.message


# transactions


def test_submit_within_a_transaction_is_found_once_that_commits(
    plans: Rehearsal, tell: Any
) -> None:
    with plans.transaction() as session:
        execution_id = plans.engine.submit(
            Plan.from_text(TWO_STEPS), transaction=session
        )

    assert plans.follow(execution_id).go_on().result == "it is 2"


def test_submit_within_a_transaction_that_rolls_back_leaves_nothing(
    plans: Rehearsal, tell: Any
) -> None:
    plans.run(TWO_STEPS)
    with plans.transaction() as session:
        plans.engine.submit(Plan.from_text(TWO_STEPS), transaction=session)
        session.rollback()

    assert plans.engine.count_executions() == 1


def test_transaction_of_another_connection_is_refused(
    plans: Rehearsal, tell: Any, plans_database_url: str
) -> None:
    engine = sa.create_engine(plans_database_url)
    with (
        engine.begin() as connection,
        pytest.raises(RehearsalError, match=r"plans\.transaction"),
    ):
        plans.engine.submit(Plan.from_text(TWO_STEPS), transaction=connection)
    engine.dispose()


def test_call_that_postgres_refuses_leaves_the_rest_as_it_was(
    plans: Rehearsal, plans_ground: Ground, tell: Any
) -> None:
    run = plans.run(TWO_STEPS)
    database = GroundDatabase(plans_ground, Life())

    with pytest.raises(DatabaseError, match="division by zero"):
        database.query("SELECT 1 / 0")

    assert run.status == "completed"


def test_process_that_was_killed_neither_writes_nor_sends(
    plans: Rehearsal, plans_ground: Ground, plans_settings: Settings
) -> None:
    around = Surroundings.build(plans_ground, plans_settings)
    life = Life()
    database = GroundDatabase(plans_ground, life)
    dispatcher = QueueDispatcher(around.app, around.queue, life)
    life.end()

    with pytest.raises(ProcessKilledError):
        database.query("SELECT 1")
    with pytest.raises(ProcessKilledError):
        dispatcher.forward([{}])

    assert around.queue.take() is None


def test_tests_send_signals_and_move_the_clock_to_where_none_came(
    plans: Rehearsal,
) -> None:
    waits = Plan(
        "waits", steps=[Step("a", wait_for="go", timeout="2d", default="late")]
    )

    heard = plans.submit(waits)
    plans.engine.signal(heard.id, "go", "in time", by="ann")
    unheard = plans.run(waits)

    assert heard.go_on().result == "in time"
    assert unheard.result == "late"


def test_a_signal_lets_a_plan_go_on_that_waits_for_it(plans: Rehearsal) -> None:
    run = plans.run(Plan("waits", steps=[Step("a", wait_for="go")]))
    assert run.obstacle is not None

    plans.engine.signal(run.id, "go", 7)

    assert run.go_on().result == 7
