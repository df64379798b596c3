"""What a stolen password is good for: each login tries more than its program needs."""
# ruff: noqa: S608  # names of our own

import uuid
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from psycopg2 import errors

from execution.answers import Claim
from execution.children import Begun, Subplan
from execution.database import Database
from execution.dispatcher import ExecutionDispatcher, create_app
from execution.ending import finish_execution
from execution.engine import ExecutionEngine
from execution.errors import DatabaseError
from execution.events import ExecutionEventEmitter
from execution.liveness import LivenessRecords
from execution.local import LocalStack
from execution.plan import Plan, Step
from execution.reconciler import Reconciler
from execution.records import StepRecords
from execution.settings import Settings
from execution.sql.grants import Role
from execution.states import ExecutionStatus
from execution.timing import Firing, RunOutcome
from tests.integration.test_protocol import claim, nothing, register
from tests.polling import wait_until
from tests.roles import make_installation, run_statement
from tests.sweeping import look

SCHEMA = "hostile_logins"
QUIET = ExecutionEventEmitter(None, "")
OTHERS = [Role.WORKER, Role.PRODUCER, Role.READER]

Urls = dict[Role, str]


@pytest.fixture(scope="module")
def urls(stack: LocalStack, tmp_path_factory: pytest.TempPathFactory) -> Urls:
    """A database with roles."""
    superuser_url = str(stack.urls.database_url)
    return make_installation(superuser_url, SCHEMA, tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def settings(stack: LocalStack, urls: Urls) -> Settings:
    """Settings of a producer."""
    return Settings(
        database_url=urls[Role.PRODUCER],
        broker_url=stack.urls.broker_url,
        redis_url=stack.urls.redis_url,
        schema=SCHEMA,
        queue=SCHEMA,
        imports=("tests.actions",),
        lease_seconds=600.0,
    )


@pytest.fixture(scope="module")
def worker_database(urls: Urls) -> Iterator[Database]:
    """The connection of a worker."""
    with closing(Database(urls[Role.WORKER], SCHEMA)) as opened:
        yield opened


@pytest.fixture(scope="module")
def liveness(worker_database: Database) -> LivenessRecords:
    """What a worker sees to beside its steps."""
    return LivenessRecords(worker_database)


@pytest.fixture(scope="module")
def records(worker_database: Database) -> StepRecords:
    """What a worker writes of its steps."""
    return StepRecords(worker_database)


@pytest.fixture(scope="module")
def worker_id(liveness: LivenessRecords, settings: Settings) -> str:
    """A worker that is only a row."""
    return register(liveness, settings)


def run(url: str, statement: str) -> list[tuple[object, ...]]:
    return run_statement(url, SCHEMA, statement)


# what a worker begins


@pytest.fixture
def queued(engine: ExecutionEngine, urls: Urls) -> Iterator[str]:
    """A schedule that is three hours and a half late."""
    name = f"schedule-{uuid.uuid4()}"
    engine.publish(Plan("scheduled", steps=[nothing("a")]))
    engine.create_schedule(name, "scheduled", every="1h", catch_up="all")
    run(
        urls[Role.MIGRATOR],
        "UPDATE schedules SET next_at = now() - interval '210 minutes',"
        f" start_at = now() - interval '210 minutes' WHERE name = '{name}'",
    )
    yield name
    engine.delete_schedule(name)


def fire(liveness: LivenessRecords, name: str, due: tuple[datetime, ...]) -> None:
    (late,) = (late for late in look(liveness).due_schedules if late.name == name)
    next_at = late.seen_at + timedelta(hours=1)
    assert liveness.schedules.fire(late, Firing(due, None, next_at))


def test_a_worker_enters_no_times_that_a_schedule_cannot_have(
    liveness: LivenessRecords, queued: str
) -> None:
    now = datetime.now(UTC)
    before = [now - timedelta(days=n) for n in range(1, 5)]
    after = [now + timedelta(days=n) for n in range(1, 5)]
    between = [now - timedelta(minutes=n) for n in range(1, 60)]

    fire(liveness, queued, (*before, *between, *after))

    runs = liveness.schedules.list_runs(queued, 100)
    # four fit into the time; where one is cut off is not worth a finer look
    assert 1 <= len(runs) <= 5
    assert {run.scheduled_at for run in runs} <= set(between)


def test_a_worker_does_not_fire_the_same_hours_again_and_again(
    liveness: LivenessRecords, queued: str
) -> None:
    now = datetime.now(UTC)
    for attempt in range(20):
        late = [late for late in look(liveness).due_schedules if late.name == queued]
        if not late:
            break
        first = late[0].due_at
        due = (first, *(now - timedelta(seconds=n + 60 * attempt) for n in range(9)))
        crept = first + timedelta(microseconds=1)
        liveness.schedules.fire(late[0], Firing(due, None, crept))

    assert len(liveness.schedules.list_runs(queued, 100)) <= 5


def test_one_that_makes_up_for_the_last_time_alone_has_one(
    engine: ExecutionEngine, liveness: LivenessRecords, queued: str
) -> None:
    engine.update_schedule(queued, catch_up="last")
    now = datetime.now(UTC)

    fire(liveness, queued, tuple(now - timedelta(minutes=n) for n in range(1, 9)))

    assert len(liveness.schedules.list_runs(queued, 100)) == 1


def test_a_worker_begins_no_other_plan_for_a_schedule(
    engine: ExecutionEngine, liveness: LivenessRecords, queued: str, urls: Urls
) -> None:
    engine.submit(Plan("another", steps=[nothing("a")]))
    (other,) = run(urls[Role.WORKER], "SELECT id FROM plans WHERE name = 'another'")[0]
    fire(liveness, queued, (datetime.now(UTC) - timedelta(hours=1),))
    honest = liveness.schedules.next_run(queued)
    assert honest is not None

    (forged,) = run(
        urls[Role.WORKER],
        f"SELECT outcome FROM begin_run('{honest.run_id}', '{other}', '{{}}', NULL)",
    )

    assert forged == ("over",)
    begun = liveness.schedules.begin_run(honest, "{}", None)
    assert begun.outcome is RunOutcome.STARTED
    assert begun.execution_id is not None
    assert engine.get_status(begun.execution_id).plan == "scheduled"


def test_a_run_whose_plan_is_published_anew_meanwhile_begins_the_new_one(
    engine: ExecutionEngine, liveness: LivenessRecords, queued: str
) -> None:
    fire(liveness, queued, (datetime.now(UTC) - timedelta(hours=1),))
    before = liveness.schedules.next_run(queued)
    assert before is not None
    engine.publish(Plan("scheduled", steps=[nothing("a"), nothing("b")]))

    assert liveness.schedules.begin_run(before, "{}", None).outcome is None
    again = liveness.schedules.next_run(queued)

    assert again is not None
    assert again.plan_id != before.plan_id
    begun = liveness.schedules.begin_run(again, "{}", None)
    assert begun.outcome is RunOutcome.STARTED


@pytest.fixture
def held(engine: ExecutionEngine, records: StepRecords, worker_id: str) -> Claim:
    """A claimed step that runs the plan `inner`, the second version of it."""
    for version in ("1", "2"):
        engine.publish(Plan("inner", version=version, steps=[nothing(f"in{version}")]))
    outer = Plan("outer", steps=[Step("inside", plan="inner@2")])
    return claim(records, worker_id, engine.submit(outer), 0)


@pytest.mark.parametrize(
    "wanted", ["name = 'unpublished'", "name = 'outer'", "version = '1'"]
)
def test_a_worker_begins_no_other_plan_within_another(
    engine: ExecutionEngine,
    records: StepRecords,
    held: Claim,
    urls: Urls,
    wanted: str,
) -> None:
    engine.submit(Plan("unpublished", steps=[nothing("a")]))
    rows = run(urls[Role.WORKER], f"SELECT id FROM plans WHERE {wanted}")

    def begin(subplan: Subplan) -> Begun:
        answer = records.children.begin(
            held.held,
            subplan,
            child_id=str(uuid.uuid4()),
            parameters="{}",
            recorded_input="{}",
        )
        return answer.outcome

    with pytest.raises(DatabaseError, match="step inside does not run this plan"):
        begin(Subplan(str(rows[0][0]), {}))
    meant = records.children.find_subplan("inner@2")
    assert meant is not None
    assert begin(meant) is Begun.BEGUN


# what a producer says of an execution


@pytest.fixture
def waiting(engine: ExecutionEngine, records: StepRecords, worker_id: str) -> str:
    """An execution that waits for a signal, and makes its result of that."""
    plan = Plan(
        "waiting",
        steps=[Step("approve", wait_for="approval")],
        result={"by": "${steps.approve.result}"},
    )
    execution_id = engine.submit(plan)
    held = claim(records, worker_id, execution_id, 0).held
    records.signals.begin_wait(held, recorded_input="{}", name="approval", seconds=None)
    return execution_id


def test_a_producer_does_not_say_what_the_result_is(
    engine: ExecutionEngine, records: StepRecords, waiting: str, urls: Urls
) -> None:
    engine.signal(waiting, "approval", "ann")

    with pytest.raises(errors.InsufficientPrivilege):
        run(
            urls[Role.PRODUCER],
            f"SELECT finish_execution('{waiting}', 'completed', '\"forged\"', NULL)",
        )
    run(urls[Role.PRODUCER], f"SELECT finish_stopped('{waiting}')")
    assert engine.get_status(waiting).status is ExecutionStatus.ENDING

    assert finish_execution(records, QUIET, waiting)
    assert engine.get_result(waiting).value == {"by": "ann"}


def test_what_has_a_result_that_is_to_be_made_is_told_to_reconcilers(
    engine: ExecutionEngine, waiting: str, urls: Urls
) -> None:
    engine.signal(waiting, "approval", "ann")
    with closing(psycopg2.connect(urls[Role.WORKER])) as listening:
        listening.autocommit = True
        with listening.cursor() as cursor:
            cursor.execute("LISTEN plans_ready")
            run(urls[Role.PRODUCER], f"SELECT finish_stopped('{waiting}')")

            def is_told() -> bool:
                cursor.execute("SELECT 1")
                listening.poll()
                return SCHEMA in [notice.payload for notice in listening.notifies]

            wait_until(is_told, what="the word for reconcilers")


def test_who_is_told_makes_the_result_at_once(
    engine: ExecutionEngine,
    settings: Settings,
    liveness: LivenessRecords,
    records: StepRecords,
    waiting: str,
) -> None:
    reconciler = Reconciler(
        liveness, records, ExecutionDispatcher(create_app(settings)), QUIET, settings
    )
    engine.signal(waiting, "approval", "ann")

    assert reconciler.answer_notice().finished_executions > 0
    assert engine.get_result(waiting).value == {"by": "ann"}


def test_nobody_gives_a_result_to_what_was_stopped(
    engine: ExecutionEngine, urls: Urls
) -> None:
    execution_id = engine.submit(Plan("stopped", steps=[nothing("a")]))
    run(
        urls[Role.PRODUCER], f"SELECT cancel_execution('{execution_id}', 'ann', 'late')"
    )

    ((landed,),) = run(
        urls[Role.WORKER],
        "SELECT landed FROM finish_execution"
        f"('{execution_id}', 'cancelled', '\"forged\"', NULL)",
    )

    assert landed is False
    assert run(
        urls[Role.PRODUCER], f"SELECT landed FROM finish_stopped('{execution_id}')"
    ) == [(True,)]


def test_who_cancels_is_named_in_the_error(engine: ExecutionEngine) -> None:
    said, silent = (
        engine.submit(Plan("cancelled", steps=[nothing("a")])) for _ in range(2)
    )

    engine.cancel(said, by="ann", reason="too late")
    engine.cancel(silent)

    messages = []
    for execution_id in (said, silent):
        error = engine.get_result(execution_id).error
        assert error is not None
        messages.append(error.message)
    assert messages == ["cancelled by ann: too late", "cancelled on request"]


def test_a_producer_deletes_nothing_that_runs(
    engine: ExecutionEngine, urls: Urls
) -> None:
    execution_id = engine.submit(Plan("living", steps=[nothing("a")]))

    for table in ("executions", "submissions", "execution_events"):
        with pytest.raises(errors.InsufficientPrivilege):
            run(urls[Role.PRODUCER], f"DELETE FROM {table}")
    rows = run(urls[Role.PRODUCER], f"SELECT delete_execution('{execution_id}')")

    assert rows == [([],)]
    assert not engine.delete_execution(execution_id)
    engine.cancel(execution_id)
    assert engine.delete_execution(execution_id)


def test_a_producer_says_whom_a_batch_is_for_and_not_what_came_of_it(
    urls: Urls,
) -> None:
    batch = uuid.uuid4()
    run(
        urls[Role.PRODUCER],
        f"SELECT begin_batch('{batch}', 'pause', '{{}}', '{{}}', NULL, NULL, NULL)",
    )
    columns = "batch_id, position, execution_id"
    item = f"'{batch}', 0, '{uuid.uuid4()}'"

    with pytest.raises(errors.InsufficientPrivilege):
        run(
            urls[Role.PRODUCER],
            f"INSERT INTO batch_items ({columns}, status, at)"
            f" VALUES ({item}, 'done', now())",
        )
    run(urls[Role.PRODUCER], f"INSERT INTO batch_items ({columns}) VALUES ({item})")


# what PostgreSQL leaves to everybody


@pytest.mark.parametrize("role", OTHERS)
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT pg_advisory_lock(hashtext('celery-plans'))",
        "SELECT pg_try_advisory_lock_shared(1, 2)",
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT pg_advisory_unlock_all()",
        "SELECT lo_create(0)",
        "SELECT lo_creat(-1)",
        "SELECT lo_from_bytea(0, 'x')",
        "LOCK TABLE executions IN ACCESS EXCLUSIVE MODE",
        "LOCK TABLE batch_items IN SHARE MODE",
        "SELECT FROM executions FOR UPDATE",
        "SELECT FROM executions FOR KEY SHARE",
        "ALTER ROLE plans_worker_b NOLOGIN",
        "GRANT plans_migrator TO CURRENT_USER",
        "ALTER FUNCTION plans_now() OWNER TO CURRENT_USER",
        "SET session_replication_role = replica",
        "SELECT pg_reload_conf()",
    ],
)
def test_no_login_has_what_it_needs_not(urls: Urls, role: Role, statement: str) -> None:
    with pytest.raises(
        (
            errors.InsufficientPrivilege,
            errors.UndefinedObject,
            errors.InvalidGrantOperation,
        )
    ):
        run(urls[role], statement)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_no_login_enters_another_database_of_the_server(
    urls: Urls, role: Role, database: str
) -> None:
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        run(urls[role].replace(f"/{SCHEMA}?", f"/{database}?"), "SELECT 1")
