"""Submits: what counts as the same body, who wins, and what is there afterwards."""

import uuid
from functools import partial
from typing import Any

import pytest

from execution import (
    ExecutionEngine,
    ExecutionFilter,
    ExecutionRepository,
    ExecutionStatus,
    Plan,
    Settings,
    Step,
)
from execution.errors import DatabaseError, SubmissionConflictError
from execution.identity import draw_execution_id
from execution.receipts import Submitted
from tests.backups import back_up
from tests.racing import run_at_once
from tests.rows import committed


def build_plan() -> Plan:
    return Plan(
        "submitted",
        steps=[
            Step("root", action="test.nothing", needs=[], priority=2),
            Step("other", action="test.echo", needs=[], queue="io"),
            Step("join", action="test.nothing", needs=["root", "other"]),
        ],
    )


PLAN = build_plan()
OTHER = Plan("submitted", steps=[Step("root", action="test.echo")])
BODY: dict[str, Any] = {
    "plan": PLAN,
    "parameters": {"a": 1, "b": [1, 2]},
    "queue": "q",
    "tags": ["x", "y"],
    "priority": 3,
}


def submit(repository: ExecutionRepository, **changes: Any) -> Submitted:
    body = {**BODY, **changes}
    return repository.submit(body.pop("plan"), body.pop("parameters"), **body)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"parameters": {"b": [1, 2], "a": 1}},
        {"tags": ["y", "x"]},
        {"queue": "another"},
        {"plan": build_plan()},
    ],
    ids=["same", "parameters_in_order", "tags_in_order", "queue", "plan_built_again"],
)
def test_the_same_body_answers_the_same_execution(
    repository: ExecutionRepository, changes: dict[str, Any]
) -> None:
    key = str(uuid.uuid4())
    first = submit(repository, key=key)

    again = submit(repository, key=key, **changes)

    assert (again.execution_id, again.is_new) == (first.execution_id, False)


@pytest.mark.parametrize(
    "changes",
    [
        {"parameters": {"a": 1, "b": [2, 1]}},
        {"parameters": {"a": 1}},
        {"parameters": {"a": "1", "b": [1, 2]}},
        {"tags": ["x"]},
        {"priority": 4},
        {"plan": OTHER},
    ],
    ids=["order_in_a_list", "fewer", "type", "tags", "priority", "plan"],
)
@pytest.mark.parametrize("repeated", ["key", "execution_id"])
def test_another_body_is_a_conflict_that_names_the_execution(
    repository: ExecutionRepository, repeated: str, changes: dict[str, Any]
) -> None:
    same = {repeated: draw_execution_id()}
    first = submit(repository, **same)

    with pytest.raises(SubmissionConflictError) as refusal:
        submit(repository, **same, **changes)

    what = f"the idempotency key {same['key']!r}" if repeated == "key" else "the id"
    assert str(refusal.value).startswith(
        f"{what} belongs to execution {first.execution_id}"
    )


def test_a_key_and_an_id_may_both_be_repeated(repository: ExecutionRepository) -> None:
    both = {"key": str(uuid.uuid4()), "execution_id": draw_execution_id()}

    answers = [submit(repository, **both) for _ in range(2)]

    assert [(a.execution_id, a.is_new) for a in answers] == [
        (both["execution_id"], True),
        (both["execution_id"], False),
    ]


def test_the_first_id_under_a_key_wins(repository: ExecutionRepository) -> None:
    key, other_id = str(uuid.uuid4()), draw_execution_id()
    first = submit(repository, key=key)

    again = submit(repository, key=key, execution_id=other_id)

    assert again.execution_id == first.execution_id
    assert repository.get_by_id(other_id) is None


def test_submits_without_a_key_are_executions_of_their_own(
    repository: ExecutionRepository,
) -> None:
    first, second = submit(repository), submit(repository)

    assert first.execution_id != second.execution_id
    assert first.is_new
    assert second.is_new


@pytest.mark.parametrize("repeated", ["key", "execution_id"])
def test_one_of_many_bodies_at_once_wins(
    repository: ExecutionRepository, repeated: str
) -> None:
    same = {repeated: draw_execution_id()}

    def try_submit(priority: int) -> Submitted | None:
        try:
            return submit(repository, **same, priority=priority)
        except SubmissionConflictError:
            return None

    answers = run_at_once([partial(try_submit, n % 2) for n in range(6)])

    landed = [answer for answer in answers if answer is not None]
    assert len(landed) == 3
    assert sum(answer.is_new for answer in landed) == 1
    assert len({answer.execution_id for answer in landed}) == 1


def test_a_new_plan_is_stored_once_by_many_at_once(settings: Settings) -> None:
    plan = Plan("raced", steps=[Step("only", action="test.nothing")])
    repositories = [
        ExecutionRepository(str(settings.database_url), settings.schema)
        for _ in range(4)
    ]

    run_at_once([partial(submit, each, plan=plan) for each in repositories])

    for each in repositories:
        each.close()
    with committed(str(settings.database_url), settings.schema) as cursor:
        cursor.execute("SELECT count(*) FROM plans WHERE digest = %s", (plan.digest,))
        assert cursor.fetchall() == [(1,)]


def test_an_execution_begins_as_it_was_submitted(
    repository: ExecutionRepository,
) -> None:
    execution_id = submit(repository).execution_id

    found = repository.get_by_id(execution_id)

    assert found is not None
    assert (found.plan, found.status) == ("submitted", ExecutionStatus.PENDING)
    assert found.parameters == BODY["parameters"]
    assert found.tags == ("x", "y")
    assert (found.open_steps, found.total_steps, found.epoch) == (3, 3, 1)
    assert (found.result, found.error, found.started_at, found.ended_at) == (None,) * 4


def test_the_steps_begin_as_the_plan_says(repository: ExecutionRepository) -> None:
    execution_id = submit(repository).execution_id

    steps = repository.list_steps(execution_id)

    assert [(s.position, s.name, s.action, s.queue, s.status.value) for s in steps] == [
        (0, "root", "test.nothing", "q", "ready"),
        (1, "other", "test.echo", "io", "ready"),
        (2, "join", "test.nothing", "q", "pending"),
    ]


def test_the_timeline_begins_with_the_submit(repository: ExecutionRepository) -> None:
    submitted = submit(repository)

    events = repository.list_events(submitted.execution_id)

    assert [(e.seq, e.type, e.step) for e in events] == [
        (1, "execution.state_changed", None),
        (2, "step.ready", "root"),
        (3, "step.ready", "other"),
    ]
    assert submitted.last_seq == 3


def test_events_are_read_from_where_the_reader_is(
    repository: ExecutionRepository,
) -> None:
    execution_id = submit(repository).execution_id

    later = repository.list_events(execution_id, after=1)
    first = repository.list_events(execution_id, limit=1)

    assert [e.seq for e in later] == [2, 3]
    assert [e.seq for e in first] == [1]


@pytest.mark.parametrize(
    "value",
    [
        {"é😀": ["a", None, True, 2**53, {"": []}]},
        # jsonb writes large numbers out, digit by digit
        [0.1, 1.0, 1e15, 1e16, 1e23, -1e16, 1.7e308, 5e-324, 2.0**53, 2.0**70],
        {"quoted": "'; DROP TABLE executions; -- %s {schema} :a0"},
    ],
)
def test_parameters_come_back_as_they_were(
    repository: ExecutionRepository, value: object
) -> None:
    execution_id = submit(repository, parameters={"p": value}).execution_id

    found = repository.get_by_id(execution_id)

    assert found is not None
    # the representation tells 1 from 1.0
    assert repr(found.parameters) == repr({"p": value})


@pytest.mark.parametrize("key", ["", "'; --", "é😀", "%s", "x" * 1_000])
def test_any_text_may_be_a_key(repository: ExecutionRepository, key: str) -> None:
    first = submit(repository, key=key)

    assert submit(repository, key=key).execution_id == first.execution_id


def test_a_refused_submit_leaves_nothing(repository: ExecutionRepository) -> None:
    execution_id = draw_execution_id()

    with pytest.raises(DatabaseError, match="PostgreSQL refused") as refusal:
        submit(repository, execution_id=execution_id, key="k", priority=10**6)

    assert "\n" not in str(refusal.value)
    assert repository.get_by_id(execution_id) is None
    assert submit(repository, key="k").is_new


@pytest.mark.parametrize("way", ["one", "many", "within", "published"])
def test_a_plan_that_a_restored_backup_lacks_is_stored_again(
    engine: ExecutionEngine, settings: Settings, way: str
) -> None:
    plan = Plan(f"younger-{way}", steps=[Step("only", action="test.nothing")])
    restore = back_up(settings)
    engine.submit(plan)
    restore()

    match way:
        case "one":
            engine.submit(plan)
        case "many":
            engine.submit_many(plan, [{}, {}])
        case "within":
            with committed(str(settings.database_url), settings.schema) as cursor:
                engine.submit(plan, transaction=cursor.connection)
        case _:
            engine.publish(plan)
            engine.submit(plan.name)

    wanted = ExecutionFilter(plan=plan.name)
    assert engine.count_executions(wanted) == (2 if way == "many" else 1)
