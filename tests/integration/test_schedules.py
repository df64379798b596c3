"""Schedules: what becomes of their times, whoever finds them and whoever dies.

Played by hand: time is moved by writing back the moments that are stored.
"""

import uuid
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.errors import (
    ParameterError,
    PlanNotFoundError,
    ScheduleError,
    ScheduleNotFoundError,
)
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.reconciler import Reconciler
from execution.records import StepRecords
from execution.schedule_records import ScheduleRun
from execution.timing import RunOutcome, RunTrigger, decide_firing
from tests.racing import run_at_once
from tests.sweeping import NOBODY, look, run_round
from tests.timeline import check_timeline

PLAN = Plan(
    "scheduled",
    tags=["of-the-plan"],
    parameters={
        "day": {"type": "string", "pattern": "[a-z]+", "default": "mon"},
    },
    steps=[Step("a", action="test.nothing")],
)


@pytest.fixture(scope="module", autouse=True)
def published(engine: ExecutionEngine) -> None:
    """The plan, under its name."""
    engine.publish(PLAN)


@pytest.fixture(scope="module")
def reconciler(
    liveness: LivenessRecords, records: StepRecords, settings: Settings
) -> Reconciler:
    """A reconciler that looks when it is asked to."""
    return build_reconciler(liveness, records, settings)


def build_reconciler(
    liveness: LivenessRecords, records: StepRecords, settings: Settings
) -> Reconciler:
    dispatcher = ExecutionDispatcher(create_app(settings))
    quiet = ExecutionEventEmitter(None, "")
    return Reconciler(liveness, records, dispatcher, quiet, settings)


@pytest.fixture
def name(engine: ExecutionEngine) -> Any:
    """A name of its own; what a test leaves there is deleted."""
    drawn = f"s-{uuid.uuid4()}"
    yield drawn
    for execution_id in live(engine, drawn):
        engine.cancel(execution_id)
    if any(schedule.name == drawn for schedule in engine.list_schedules()):
        engine.delete_schedule(drawn)


def hourly(engine: ExecutionEngine, name: str, **options: Any) -> None:
    engine.create_schedule(
        name, "scheduled", **{"every": "1h", "overlap": "allow", **options}
    )


def let_pass(database: Database, name: str, hours: float) -> None:
    """Make a schedule as old as that, and nobody to have looked meanwhile."""
    database.query(
        "UPDATE {schema}.schedules SET next_at = next_at - %s, start_at = start_at - %s"
        " WHERE name = %s RETURNING 1",
        (timedelta(hours=hours), timedelta(hours=hours), name),
    )
    database.query(
        "UPDATE {schema}.schedule_runs SET scheduled_at = scheduled_at - %s"
        " WHERE schedule = %s RETURNING 1",
        (timedelta(hours=hours), name),
    )


def runs(engine: ExecutionEngine, name: str) -> list[ScheduleRun]:
    """Return its runs, the oldest first."""
    return list(reversed(engine.list_schedule_runs(name, limit=1000)))


def outcomes(engine: ExecutionEngine, name: str) -> list[str]:
    return [run.outcome.value for run in runs(engine, name)]


def live(engine: ExecutionEngine, name: str) -> list[str]:
    page = engine.list_executions()
    return [e.id for e in page.items if e.schedule == name and not e.has_ended]


# times


def test_nothing_begins_before_its_time(
    engine: ExecutionEngine, liveness: LivenessRecords, name: str
) -> None:
    hourly(engine, name)

    found = look(liveness)

    assert [due.name for due in found.due_schedules] == []
    assert engine.get_schedule(name).next_at is not None


def test_a_time_that_has_come_begins_an_execution(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    hourly(engine, name, parameters={"day": "fri"}, tags=["mine"], priority=4)
    let_pass(database, name, 1)
    due_at = engine.get_schedule(name).next_at

    run_round(reconciler)

    (run,) = runs(engine, name)
    assert run.execution_id is not None
    execution = engine.get_status(run.execution_id)
    assert (run.outcome, run.scheduled_at) == (RunOutcome.STARTED, due_at)
    assert (execution.schedule, execution.scheduled_at) == (name, due_at)
    assert execution.parameters == {"day": "fri"}
    assert set(execution.tags) == {"of-the-plan", "mine"}
    step = engine.list_steps(run.execution_id)[0]
    assert step.status == "ready"
    assert due_at is not None
    assert engine.get_schedule(name).next_at == due_at + timedelta(hours=1)


def test_the_schedule_goes_by_its_version_of_the_plan(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    for version in ("1", "2"):
        engine.publish(
            Plan(name, version=version, steps=[Step("a", action="test.nothing")])
        )
    engine.create_schedule(name, f"{name}@1", every="1h")
    let_pass(database, name, 1)

    run_round(reconciler)

    (execution_id,) = live(engine, name)
    assert engine.get_status(execution_id).version == "1"


@pytest.mark.parametrize("attempt", range(5))
def test_of_many_reconcilers_one_begins_a_time(
    engine: ExecutionEngine,
    database: Database,
    settings: Settings,
    name: str,
    attempt: int,
) -> None:
    hourly(engine, name, catch_up="all")
    let_pass(database, name, 3)

    run_at_once([partial(reconcile_alone, settings) for _ in range(4)])

    started = runs(engine, name)
    assert [run.outcome for run in started] == [RunOutcome.STARTED] * 3
    assert len({run.scheduled_at for run in started}) == 3
    assert len(live(engine, name)) == 3


def reconcile_alone(settings: Settings) -> None:
    assert settings.database_url is not None
    with closing(Database(settings.database_url, settings.schema)) as database:
        run_round(
            build_reconciler(LivenessRecords(database), StepRecords(database), settings)
        )


def test_a_fire_that_is_made_again_enters_nothing_twice(
    engine: ExecutionEngine, liveness: LivenessRecords, database: Database, name: str
) -> None:
    hourly(engine, name)
    let_pass(database, name, 1)
    (due,) = look(liveness).due_schedules
    firing = decide(due)

    landed = [liveness.schedules.fire(due, firing) for _ in range(2)]

    assert landed == [True, False]
    assert outcomes(engine, name) == ["queued"]


def decide(due: Any) -> Any:
    return decide_firing(
        due.timing,
        due.catch_up,
        due.catch_up_seconds,
        due_at=due.due_at,
        now=due.seen_at,
    )


def test_what_who_died_has_queued_is_found_by_a_sweep(
    engine: ExecutionEngine,
    liveness: LivenessRecords,
    reconciler: Reconciler,
    database: Database,
    name: str,
) -> None:
    hourly(engine, name)
    let_pass(database, name, 1)
    (due,) = look(liveness).due_schedules
    liveness.schedules.fire(due, decide(due))

    done = run_round(reconciler)

    assert done.scheduled_runs == 1
    assert outcomes(engine, name) == ["started"]


def test_a_begin_that_is_made_again_begins_nothing_twice(
    engine: ExecutionEngine, liveness: LivenessRecords, database: Database, name: str
) -> None:
    hourly(engine, name)
    let_pass(database, name, 1)
    (due,) = look(liveness).due_schedules
    liveness.schedules.fire(due, decide(due))
    run = liveness.schedules.next_run(name)
    assert run is not None

    begun = [liveness.schedules.begin_run(run, "{}", None) for _ in range(2)]

    assert [b.outcome for b in begun] == [RunOutcome.STARTED, None]
    assert len(live(engine, name)) == 1


def test_a_change_meanwhile_wins_against_who_fires(
    engine: ExecutionEngine, liveness: LivenessRecords, database: Database, name: str
) -> None:
    hourly(engine, name)
    let_pass(database, name, 1)
    (due,) = look(liveness).due_schedules
    engine.update_schedule(name, every="2h", by="ann", reason="too often")

    assert not liveness.schedules.fire(due, decide(due))
    assert outcomes(engine, name) == []


# catching up


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"catch_up": "none"}, {"missed": 1}),
        ({"catch_up": "last"}, {"missed": 1, "started": 1}),
        ({"catch_up": "all"}, {"started": 5}),
        ({"catch_up": "all", "catch_up_window": "150m"}, {"missed": 1, "started": 2}),
    ],
)
def test_missed_times_are_caught_up_with_as_asked(
    engine: ExecutionEngine,
    reconciler: Reconciler,
    database: Database,
    name: str,
    options: dict[str, str],
    expected: dict[str, int],
) -> None:
    hourly(engine, name, **options)
    # on the half hour, so that no time is just now
    let_pass(database, name, 5.5)

    run_round(reconciler)

    assert Counter(outcomes(engine, name)) == expected
    next_at = engine.get_schedule(name).next_at
    assert next_at is not None
    assert next_at > engine.read_clock()


def test_a_pause_is_caught_up_with_once_it_is_over(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    hourly(engine, name)
    engine.pause_schedule(name, by="ann", reason="maintenance")
    let_pass(database, name, 2.5)
    run_round(reconciler)
    assert outcomes(engine, name) == []

    engine.resume_schedule(name, by="bob")
    run_round(reconciler)

    assert Counter(outcomes(engine, name)) == {"missed": 1, "started": 1}
    acts = [(c.act, c.by, c.reason) for c in engine.list_schedule_changes(name)]
    assert acts == [
        ("resume", "bob", None),
        ("pause", "ann", "maintenance"),
        ("create", None, None),
    ]


def test_after_its_end_a_schedule_has_no_time(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    end = datetime.now(UTC) + timedelta(minutes=90)
    hourly(engine, name, end_at=end)
    let_pass(database, name, 1)
    database.query(
        "UPDATE {schema}.schedules SET end_at = end_at - interval '1 hour'"
        " WHERE name = %s RETURNING 1",
        (name,),
    )

    run_round(reconciler)

    assert outcomes(engine, name) == ["started"]
    assert engine.get_schedule(name).next_at is None
    assert engine.list_next_times(name) == ()


# overlap


def test_a_time_is_skipped_while_one_runs(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    hourly(engine, name, overlap="skip", catch_up="all")
    let_pass(database, name, 2)

    run_round(reconciler)

    first, second = runs(engine, name)
    assert [first.outcome, second.outcome] == [RunOutcome.STARTED, RunOutcome.SKIPPED]
    assert second.detail == f"execution {first.execution_id} still runs"


def test_a_queued_time_begins_when_the_one_before_has_ended(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    hourly(engine, name, overlap="queue", catch_up="all")
    let_pass(database, name, 3)
    run_round(reconciler)
    assert outcomes(engine, name) == ["started", "queued", "queued"]
    assert run_round(reconciler).scheduled_runs == 0

    engine.cancel(live(engine, name)[0])
    reconciler.answer_notice()

    assert outcomes(engine, name) == ["started", "started", "queued"]


def test_a_later_time_replaces_the_one_that_runs(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    hourly(engine, name, overlap="cancel_older")
    let_pass(database, name, 1)
    run_round(reconciler)
    (older,) = live(engine, name)
    let_pass(database, name, 1)

    run_round(reconciler)

    (newer,) = live(engine, name)
    assert engine.get_status(older).status is ExecutionStatus.CANCELLED
    error = engine.get_result(older).error
    assert error is not None
    assert f"a later time of schedule {name} has come" in error.message
    assert runs(engine, name)[-1].execution_id == newer
    check_timeline(engine, older)


def test_of_later_times_the_last_one_replaces(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    hourly(engine, name, overlap="cancel_older", catch_up="all")
    let_pass(database, name, 3)

    run_round(reconciler)

    assert outcomes(engine, name) == ["skipped", "skipped", "started"]


def test_the_end_of_another_schedule_is_nothing_to_wait_for(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    engine.submit(PLAN)
    hourly(engine, name, overlap="skip")
    let_pass(database, name, 1)

    run_round(reconciler)

    assert outcomes(engine, name) == ["started"]


# what cannot begin


def test_a_run_of_a_plan_that_is_gone_has_failed_and_says_why(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    hourly(engine, name)
    database.query(
        "UPDATE {schema}.schedules SET plan = 'gone' WHERE name = %s RETURNING 1",
        (name,),
    )
    let_pass(database, name, 1)

    run_round(reconciler)

    last = engine.get_schedule(name).last_run
    assert last is not None
    assert last.outcome is RunOutcome.FAILED
    assert (
        last.detail == "no plan is published as 'gone'; publish it: plans publish FILE"
    )
    next_at = engine.get_schedule(name).next_at
    assert next_at is not None
    assert next_at > engine.read_clock()


def test_a_run_whose_parameters_do_not_fit_any_more_has_failed(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    steps = [Step("a", action="test.nothing")]
    engine.publish(Plan(name, steps=steps))
    engine.create_schedule(name, name, every="1h")
    day = {"day": {"type": "string", "required": True}}
    engine.publish(Plan(name, steps=steps, parameters=day))
    let_pass(database, name, 1)

    run_round(reconciler)

    (run,) = runs(engine, name)
    assert run.outcome is RunOutcome.FAILED
    assert "parameters.day: is required" in str(run.detail)


def test_a_run_that_its_plan_rejects_is_skipped(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    plan = Plan(
        name,
        concurrency={"key": "one", "on_conflict": "reject"},
        steps=[Step("a", action="test.nothing")],
    )
    engine.publish(plan)
    holder = engine.submit(plan)
    engine.create_schedule(name, name, every="1h")
    let_pass(database, name, 1)

    run_round(reconciler)

    (run,) = runs(engine, name)
    assert run.outcome is RunOutcome.SKIPPED
    assert holder in str(run.detail)


def test_a_run_waits_for_the_key_of_its_plan(
    engine: ExecutionEngine, reconciler: Reconciler, database: Database, name: str
) -> None:
    plan = Plan(
        name,
        concurrency={"key": "one", "on_conflict": "queue"},
        steps=[Step("a", action="test.nothing")],
    )
    engine.publish(plan)
    holder = engine.submit(plan)
    engine.create_schedule(name, name, every="1h")
    let_pass(database, name, 1)
    run_round(reconciler)
    (execution_id,) = live(engine, name)
    assert engine.get_status(execution_id).waits_for_key

    engine.cancel(holder)
    run_round(reconciler)

    assert not engine.get_status(execution_id).waits_for_key


# what people do


def test_a_run_now_begins_besides_the_times(engine: ExecutionEngine, name: str) -> None:
    hourly(engine, name)
    next_at = engine.get_schedule(name).next_at
    engine.pause_schedule(name)

    run = engine.run_schedule_now(name, by="ann", reason="to see it")

    assert (run.outcome, run.trigger) == (RunOutcome.STARTED, RunTrigger.PERSON)
    assert (run.by, run.reason) == ("ann", "to see it")
    assert live(engine, name) == [run.execution_id]
    assert engine.get_schedule(name).next_at == next_at


def test_a_run_now_is_asked_for_once(
    engine: ExecutionEngine, liveness: LivenessRecords, name: str
) -> None:
    hourly(engine, name)
    run_id = str(uuid.uuid4())

    for _ in range(2):
        assert liveness.schedules.ask_run(name, run_id, "ann", None)

    assert [run.id for run in runs(engine, name)] == [run_id]


def test_a_name_that_is_taken_is_refused(engine: ExecutionEngine, name: str) -> None:
    hourly(engine, name)

    with pytest.raises(ScheduleError, match=f"there is a schedule {name} already"):
        hourly(engine, name, every="2h")


def test_a_create_that_is_made_again_is_answered_as_the_first(
    engine: ExecutionEngine, name: str
) -> None:
    start = datetime.now(UTC) + timedelta(days=1)

    for _ in range(2):
        hourly(engine, name, start_at=start)

    assert engine.get_schedule(name).next_at == start


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "give either cron or every"),
        ({"every": "1h", "cron": "* * * * *"}, "give either cron or every"),
        ({"cron": "61 * * * *"}, 'cron: "61 . . . ." is no cron text: Bad minute'),
        ({"cron": "@daily"}, "must have five fields"),
        ({"cron": "0 0 30 2 *"}, "Bad day-of-month"),
        ({"every": "1ms"}, "every: must be at least 1s, and is 1ms"),
        ({"every": "soon"}, "every: soon is not a duration"),
        ({"every": "1h", "time_zone": "Mars"}, 'there is no time zone "Mars"'),
        ({"every": "1h", "overlap": "all"}, "overlap: is 'all', not one of skip"),
        ({"every": "1h", "catch_up": "yes"}, "catch_up: is 'yes', not one of none"),
        ({"every": "1h", "priority": 11}, "priority: is 11, not 0 to 9"),
        (
            {"every": "1h", "end_at": datetime(2020, 1, 1, tzinfo=UTC)},
            "end_at: is before start_at",
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(
    engine: ExecutionEngine, name: str, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ScheduleError, match=complaint):
        engine.create_schedule(name, "scheduled", **options)

    with pytest.raises(ScheduleNotFoundError, match=name):
        engine.get_schedule(name)


def test_what_does_not_fit_the_plan_is_refused(
    engine: ExecutionEngine, name: str
) -> None:
    with pytest.raises(ParameterError, match=r"parameters\.day"):
        engine.create_schedule(name, "scheduled", {"day": "MONDAY"}, every="1h")
    with pytest.raises(PlanNotFoundError, match="no plan 'gone'"):
        engine.create_schedule(name, "gone", every="1h")
    with pytest.raises(ParameterError, match="nobody knows of which time zone"):
        hourly(engine, name, start_at=datetime(2100, 1, 1))  # noqa: DTZ001  # what is refused
    with pytest.raises(ScheduleError, match="cannot be called"):
        engine.create_schedule("a b", "scheduled", every="1h")


def test_an_update_changes_what_is_given(engine: ExecutionEngine, name: str) -> None:
    hourly(engine, name, tags=["old"])

    changed = engine.update_schedule(
        name, cron="0 3 * * *", time_zone="Europe/Berlin", by="ann", reason="at night"
    )

    assert (changed.cron, changed.every_seconds) == ("0 3 * * *", None)
    assert (changed.tags, changed.revision) == (("old",), 2)
    assert changed.next_at is not None
    assert changed.next_at.hour in (1, 2)
    assert engine.list_schedule_changes(name)[0].reason == "at night"
    with pytest.raises(ScheduleError, match="Bad minute"):
        engine.update_schedule(name, cron="x 3 * * *")
    assert engine.get_schedule(name) == changed


def test_updates_at_once_lose_nothing(engine: ExecutionEngine, name: str) -> None:
    hourly(engine, name)

    run_at_once(
        [
            partial(engine.update_schedule, name, tags=["t"]),
            partial(engine.update_schedule, name, priority=7),
            partial(engine.update_schedule, name, overlap="queue"),
        ]
    )

    found = engine.get_schedule(name)
    assert (found.tags, found.priority, found.overlap) == (("t",), 7, "queue")


def test_a_deleted_schedule_leaves_what_it_began(
    engine: ExecutionEngine, name: str
) -> None:
    hourly(engine, name)
    run = engine.run_schedule_now(name)

    engine.delete_schedule(name, by="ann", reason="not needed")

    assert live(engine, name) == [run.execution_id]
    assert engine.list_schedule_changes(name)[0].by == "ann"
    for act in (
        engine.get_schedule,
        engine.delete_schedule,
        engine.pause_schedule,
        engine.resume_schedule,
        engine.run_schedule_now,
        engine.list_schedule_runs,
        engine.list_next_times,
    ):
        with pytest.raises(ScheduleNotFoundError, match="plans schedule list"):
            act(name)


def test_next_times_are_shown_before_a_schedule_is_stored(
    engine: ExecutionEngine, name: str
) -> None:
    previewed = engine.preview_times(count=3, every="1h")
    hourly(engine, name)

    listed = engine.list_next_times(name, count=3)

    assert [b - a for a, b in pairwise(listed)] == [timedelta(hours=1)] * 2
    assert listed[0] - previewed[0] < timedelta(minutes=1)


def test_workers_stay_awake_for_a_time_that_comes_soon(
    engine: ExecutionEngine, liveness: LivenessRecords, database: Database, name: str
) -> None:
    hourly(engine, name)
    database.query(
        "UPDATE {schema}.schedules SET next_at = now() + interval '3 seconds'"
        " WHERE name = %s RETURNING 1",
        (name,),
    )

    found = liveness.sweep(
        NOBODY, tick_seconds=1, lease_seconds=3600, beat_seconds=1, most=1
    )

    assert found.comes_soon
