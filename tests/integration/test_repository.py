"""Executions as their owners change them: submitted, moved, finished, deleted."""

import uuid
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from execution import (
    ExecutionRepository,
    ExecutionStatus,
    Plan,
    Settings,
    Step,
    StepStatus,
)
from execution.database import Database
from execution.errors import DatabaseError, ErrorCode, SubmissionConflictError
from execution.filters import ExecutionFilter
from execution.identity import draw_execution_id
from execution.liveness import LivenessRecords
from execution.receipts import Submitted
from execution.records import StepRecords
from execution.results import ErrorRecord
from tests.integration.test_protocol import claim, register
from tests.racing import run_at_once
from tests.rows import connect

PLAN = Plan(
    "kept",
    steps=[Step("first", action="test.nothing"), Step("second", action="test.nothing")],
)


@pytest.fixture(scope="module")
def worker_id(database: Database, settings: Settings) -> str:
    return register(LivenessRecords(database), settings)


def submit(repository: ExecutionRepository, **options: object) -> Submitted:
    return repository.submit(PLAN, {}, queue="by-hand", **options)  # type: ignore[arg-type]  # what a test is about


def begin(repository: ExecutionRepository, status: ExecutionStatus) -> str:
    """Return a new execution that was brought to `status` by its own moves."""
    execution_id = submit(repository).execution_id
    match status:
        case ExecutionStatus.PAUSED:
            repository.update_state(execution_id, ExecutionStatus.PAUSED)
        case ExecutionStatus.RUNNING:
            repository.update_state(execution_id, ExecutionStatus.PAUSED)
            repository.update_state(execution_id, ExecutionStatus.RUNNING)
        case ExecutionStatus.ENDING | ExecutionStatus.CANCELLED:
            repository.update_state(execution_id, ExecutionStatus.ENDING)
        case _:
            pass
    if status is ExecutionStatus.CANCELLED:
        repository.update_result(execution_id, ExecutionStatus.CANCELLED)
    return execution_id


def test_an_unknown_id_is_none(repository: ExecutionRepository) -> None:
    assert repository.get_by_id(str(uuid.uuid4())) is None


def test_a_key_submitted_again_answers_the_same_execution(
    repository: ExecutionRepository,
) -> None:
    first = submit(repository, key="again")

    second = submit(repository, key="again")

    assert (second.execution_id, second.is_new) == (first.execution_id, False)
    assert second.windows == ()


def test_a_key_with_another_body_is_a_conflict(repository: ExecutionRepository) -> None:
    first = submit(repository, key="taken")

    with pytest.raises(SubmissionConflictError, match=first.execution_id):
        submit(repository, key="taken", tags=["other"])


def test_an_id_submitted_again_answers_the_same_execution(
    repository: ExecutionRepository,
) -> None:
    execution_id = draw_execution_id()

    answers = [submit(repository, execution_id=execution_id) for _ in range(2)]

    assert [a.execution_id for a in answers] == [execution_id] * 2
    assert [a.is_new for a in answers] == [True, False]


def test_one_of_many_submits_of_a_key_at_once_wins(
    repository: ExecutionRepository,
) -> None:
    for number in range(10):
        answers = run_at_once([partial(submit, repository, key=f"race-{number}")] * 4)

        assert len({a.execution_id for a in answers}) == 1
        assert sum(a.is_new for a in answers) == 1


@pytest.mark.parametrize(
    ("target", "allowed_from"),
    [
        (ExecutionStatus.PAUSED, {"pending", "running"}),
        (ExecutionStatus.RUNNING, {"paused"}),
        (ExecutionStatus.ENDING, {"pending", "running", "paused"}),
        # what is ending here was cancelled, and ends as that
        (ExecutionStatus.CANCELLED, {"ending"}),
        (ExecutionStatus.COMPLETED, set()),
        (ExecutionStatus.FAILED, set()),
        (ExecutionStatus.TIMED_OUT, set()),
    ],
)
@pytest.mark.parametrize(
    "status",
    [
        ExecutionStatus.PENDING,
        ExecutionStatus.RUNNING,
        ExecutionStatus.PAUSED,
        ExecutionStatus.ENDING,
        ExecutionStatus.CANCELLED,
    ],
)
def test_a_move_lands_only_where_the_table_allows_it(
    repository: ExecutionRepository,
    status: ExecutionStatus,
    target: ExecutionStatus,
    allowed_from: set[str],
) -> None:
    execution_id = begin(repository, status)

    move = repository.update_state(execution_id, target, by="ann", reason="test")

    assert move.landed is (status in allowed_from)
    assert move.status is (target if move.landed else status)
    found = repository.get_by_id(execution_id)
    assert found is not None
    assert found.status is move.status


def test_nothing_goes_back_to_pending(repository: ExecutionRepository) -> None:
    with pytest.raises(ValueError, match="none goes back"):
        repository.update_state(str(uuid.uuid4()), ExecutionStatus.PENDING)


def test_a_move_of_an_unknown_execution_has_no_state(
    repository: ExecutionRepository,
) -> None:
    move = repository.update_state(str(uuid.uuid4()), ExecutionStatus.PAUSED)

    assert (move.landed, move.status) == (False, None)


def test_the_history_keeps_who_and_why(repository: ExecutionRepository) -> None:
    execution_id = begin(repository, ExecutionStatus.PENDING)
    repository.update_state(
        execution_id, ExecutionStatus.PAUSED, by="ann", reason="lunch"
    )
    assert repository.create_state_history(
        execution_id, by="bob", reason="still eating"
    )

    history = repository.get_state_history(execution_id)

    assert [(h.to_status.value, h.by, h.reason) for h in history] == [
        ("pending", None, "submitted"),
        ("paused", "ann", "lunch"),
        ("paused", "bob", "still eating"),
    ]


def test_a_remark_on_an_unknown_execution_does_not_land(
    repository: ExecutionRepository,
) -> None:
    assert not repository.create_state_history(str(uuid.uuid4()), by=None, reason="x")


def test_a_result_is_given_once(repository: ExecutionRepository) -> None:
    execution_id = begin(repository, ExecutionStatus.ENDING)
    error = ErrorRecord(
        ErrorCode.EXECUTION, "no", None, datetime.now(UTC), recoverable=False
    )

    calls = [
        repository.update_result(execution_id, ExecutionStatus.CANCELLED, error=error)
        for _ in range(2)
    ]

    assert [call.landed for call in calls] == [True, False]
    found = repository.get_by_id(execution_id)
    assert found is not None
    assert found.status is ExecutionStatus.CANCELLED
    assert found.error == error


def test_progress_needs_the_lease(
    repository: ExecutionRepository,
    records: StepRecords,
    settings: Settings,
    worker_id: str,
) -> None:
    execution_id = repository.submit(PLAN, {}, queue=settings.queue).execution_id
    token = claim(records, worker_id, execution_id, 0).held.token

    landed = repository.update_progress(
        execution_id, 0, token, 40.0, message="on", records=9
    )
    refused = repository.update_progress(execution_id, 0, str(uuid.uuid4()), 90.0)

    assert (landed, refused) == (True, False)
    step = repository.list_steps(execution_id)[0]
    assert (step.status, step.progress, step.progress_message) == (
        StepStatus.RUNNING,
        40.0,
        "on",
    )


def test_lists_are_filtered_and_counted(repository: ExecutionRepository) -> None:
    tag = str(uuid.uuid4())
    ids = [submit(repository, tags=[tag]).execution_id for _ in range(5)]
    repository.update_state(ids[0], ExecutionStatus.PAUSED)

    tagged = repository.list_executions(ExecutionFilter(tag=tag))
    paused = repository.list_executions(
        ExecutionFilter(tag=tag, status=ExecutionStatus.PAUSED, plan="kept")
    )

    assert [e.id for e in tagged.items] == ids[::-1]
    assert repository.count_executions(ExecutionFilter(tag=tag)) == 5
    assert [e.id for e in paused.items] == [ids[0]]


@pytest.mark.parametrize(
    ("wanted", "is_found"),
    [
        (ExecutionFilter(plan="kept"), True),
        (ExecutionFilter(plan="another"), False),
        (ExecutionFilter(since=datetime.now(UTC) - timedelta(hours=1)), True),
        (ExecutionFilter(since=datetime.now(UTC) + timedelta(hours=1)), False),
    ],
)
def test_a_filter_says_what_is_listed(
    repository: ExecutionRepository, wanted: ExecutionFilter, is_found: bool
) -> None:
    submit(repository)

    assert bool(repository.count_executions(wanted)) is is_found


@pytest.mark.parametrize("page_size", [0, 501])
def test_a_page_that_cannot_be_is_refused(
    repository: ExecutionRepository, page_size: int
) -> None:
    with pytest.raises(ValueError, match="page_size counts from 1"):
        repository.list_executions(page_size=page_size)


@pytest.mark.parametrize("status", [ExecutionStatus.RUNNING, ExecutionStatus.ENDING])
def test_what_has_not_ended_is_not_deleted(
    repository: ExecutionRepository, status: ExecutionStatus
) -> None:
    execution_id = begin(repository, status)

    assert not repository.delete_execution(execution_id)
    assert repository.get_by_id(execution_id) is not None


def test_a_deleted_execution_leaves_no_row_and_frees_its_key(
    repository: ExecutionRepository, settings: Settings
) -> None:
    key = str(uuid.uuid4())
    execution_id = submit(repository, key=key).execution_id
    repository.update_state(execution_id, ExecutionStatus.ENDING)
    repository.update_result(execution_id, ExecutionStatus.CANCELLED)

    assert repository.delete_execution(execution_id)

    assert count_rows(settings, execution_id) == 0
    assert submit(repository, key=key).is_new


def count_rows(settings: Settings, execution_id: str) -> int:
    """Return how many rows of every table still name the execution."""
    connection = connect(str(settings.database_url), settings.schema)
    with connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.columns"
            " WHERE table_schema = %s AND column_name = 'execution_id'",
            (settings.schema,),
        )
        tables = [name for (name,) in cursor if name != "lost_steps"]
        total = 0
        for table in tables:
            cursor.execute(
                f"SELECT count(*) FROM {table} WHERE execution_id = %s",  # noqa: S608  # our own tables
                (execution_id,),
            )
            total += cursor.fetchone()[0]  # type: ignore[index]  # a count has a row
    connection.close()
    return total


def test_a_missing_schema_is_one_line_that_says_what_to_run(settings: Settings) -> None:
    assert settings.database_url is not None
    repository = ExecutionRepository(settings.database_url, "nowhere")

    with pytest.raises(DatabaseError, match="plans db upgrade") as refusal:
        repository.list_executions()

    assert "\n" not in str(refusal.value)
    repository.close()


def test_a_key_is_not_bound_to_an_execution_that_another_submit_began(
    repository: ExecutionRepository,
) -> None:
    taken = submit(repository).execution_id
    key = str(uuid.uuid4())

    with pytest.raises(SubmissionConflictError):
        submit(repository, execution_id=taken, key=key, tags=["other"])

    assert submit(repository, key=key, tags=["other"]).is_new
