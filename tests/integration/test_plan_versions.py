"""Plans by name and version: what a version promises, and which one a name means."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg2 import errors

from execution import ExecutionEngine, Plan, Settings, Step
from execution.errors import (
    ExecutionNotFoundError,
    PlanNotFoundError,
    PlanVersionConflictError,
)
from execution.installation import Installation
from tests.rows import committed


def build(name: str, version: str | None, action: str = "test.nothing") -> Plan:
    return Plan(name, version=version, steps=[Step("a", action=action)])


def list_shown(engine: ExecutionEngine, name: str) -> list[tuple[str | None, bool]]:
    return [(v.version, v.is_current) for v in engine.list_versions(name)]


def test_versions_are_listed_with_the_current_one_first(
    engine: ExecutionEngine,
) -> None:
    first, second = build("listed", "1"), build("listed", "2", "test.echo")
    engine.publish(first)
    engine.publish(second)

    found = engine.list_versions("listed")

    assert [(v.name, v.version, v.digest, v.is_current) for v in found] == [
        ("listed", "2", second.digest, True),
        ("listed", "1", first.digest, False),
    ]
    assert found[0].published_at > found[1].published_at


def test_an_older_version_that_is_published_again_is_current_again(
    engine: ExecutionEngine,
) -> None:
    first, second = build("rolled", "1"), build("rolled", "2")
    for plan in (first, second, first):
        engine.publish(plan)

    assert engine.get_plan("rolled") == first
    assert list_shown(engine, "rolled") == [("1", True), ("2", False)]


def test_a_version_with_another_body_is_refused_and_nothing_changes(
    engine: ExecutionEngine,
) -> None:
    kept, other = build("kept", "1"), build("kept", "1", "test.echo")
    engine.publish(kept)
    engine.publish(build("kept", "2"))

    with pytest.raises(PlanVersionConflictError) as refusal:
        engine.publish(other)

    for part in ("version 1", "kept", kept.digest[:12], other.digest[:12]):
        assert part in str(refusal.value)
    assert engine.get_plan("kept", "1") == kept
    assert list_shown(engine, "kept") == [("2", True), ("1", False)]


def test_a_plan_without_a_version_may_change(engine: ExecutionEngine) -> None:
    engine.publish(build("free", None))
    engine.publish(build("free", None, "test.echo"))

    assert list_shown(engine, "free") == [(None, True), (None, False)]


def test_what_was_only_submitted_takes_no_version(engine: ExecutionEngine) -> None:
    engine.submit(build("submitted", "1"))

    engine.publish(build("submitted", "1", "test.echo"))

    assert list_shown(engine, "submitted") == [("1", True)]


def test_a_version_of_another_name_is_another(engine: ExecutionEngine) -> None:
    engine.publish(build("mine", "1"))
    engine.publish(build("yours", "1", "test.echo"))

    assert engine.get_plan("mine").name == "mine"


def test_a_certain_version_is_submitted_from_python_and_by_sql(
    engine: ExecutionEngine, settings: Settings
) -> None:
    assert settings.database_url is not None
    engine.publish(build("certain", "1@a"))
    engine.publish(build("certain", "2"))

    by_python = [engine.submit(source) for source in ("certain@1@a", "certain")]
    with committed(settings.database_url, settings.schema) as cursor:
        cursor.execute("SELECT submit('certain@1@a')::text, submit('certain')::text")
        (by_sql,) = cursor.fetchall()

    for ids in (by_python, by_sql):
        assert [engine.get_status(i).version for i in ids] == ["1@a", "2"]
    many = engine.submit_many("certain@1@a", [{}, {}])
    assert {engine.get_status(i).version for i in many} == {"1@a"}


def test_a_plan_is_found_by_its_version(engine: ExecutionEngine) -> None:
    first = build("found", "1")
    engine.publish(first)
    engine.publish(build("found", "2"))

    assert engine.get_plan("found", "1") == engine.get_plan("found@1") == first


def test_an_execution_keeps_the_plan_that_it_began_with(
    engine: ExecutionEngine,
) -> None:
    first = build("begun", "1")
    engine.publish(first)
    execution_id = engine.submit("begun")
    engine.publish(build("begun", "2", "test.echo"))

    assert engine.get_plan_of(execution_id) == first


@pytest.mark.parametrize(
    "execution_id", ["nonsense", "01a1fc5f-ecfd-7f66-aad4-cad5b7662969"]
)
def test_what_was_never_begun_has_no_plan(
    engine: ExecutionEngine, execution_id: str
) -> None:
    with pytest.raises(ExecutionNotFoundError, match=execution_id):
        engine.get_plan_of(execution_id)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda e: e.get_plan("nobodys"), "no plan 'nobodys' is published"),
        (lambda e: e.list_versions("nobodys"), "plans publish FILE"),
        (lambda e: e.submit("known@9"), "in version '9'; .*plans versions known"),
        (lambda e: e.submit("known@"), "in version ''"),
        (lambda e: e.get_plan("known", version="9"), "in version '9'"),
    ],
)
def test_what_is_not_published_says_so(
    engine: ExecutionEngine, ask: Callable[[ExecutionEngine], object], message: str
) -> None:
    engine.publish(build("known", "1"))

    with pytest.raises(PlanNotFoundError, match=message):
        ask(engine)


def test_a_version_that_sql_does_not_find_is_named(
    engine: ExecutionEngine, settings: Settings
) -> None:
    assert settings.database_url is not None
    engine.publish(build("known", "1"))

    with (
        committed(settings.database_url, settings.schema) as cursor,
        pytest.raises(errors.NoDataFound, match="no plan 'known@9' is published"),
    ):
        cursor.execute("SELECT submit('known@9')")


def test_of_two_bodies_published_at_once_one_gets_the_version(
    settings: Settings,
) -> None:
    def publish(plan: Plan) -> bool:
        with ExecutionEngine(Installation(settings, None)) as engine:
            try:
                engine.publish(plan)
            except PlanVersionConflictError:
                return False
            return True

    for version in range(5):
        plans = [build("raced", str(version), f"test.a{i}") for i in range(4)]
        with ThreadPoolExecutor(len(plans)) as pool:
            outcomes = list(pool.map(publish, plans))

        assert sorted(outcomes) == [False, False, False, True]
