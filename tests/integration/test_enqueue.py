"""Submits inside a caller's own transaction, by Python and by SQL."""

import asyncio
import json
import re
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import psycopg2
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg.rows import dict_row, tuple_row
from psycopg2 import errors
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class with a small name
from psycopg2.extras import (
    DictCursor,
    NamedTupleCursor,
    RealDictCursor,
    register_default_jsonb,
    register_uuid,
)
from sqlalchemy.orm import Session

from execution import ExecutionEngine, ExecutionStatus, Plan, Settings, Step
from execution.database import DatabaseUnavailableError
from execution.errors import (
    DatabaseError,
    ExecutionNotFoundError,
    ParameterError,
    PlanNotFoundError,
    SubmissionConflictError,
)
from execution.identity import is_execution_id
from execution.liveness import LivenessRecords
from tests.integration.test_protocol import register
from tests.rows import committed, rolled_back
from tests.timeline import heads

PARAMETERS: dict[str, Any] = {
    "day": {"type": "string", "required": True, "min": 1, "max": 10},
    "count": {"type": "integer", "default": 3, "min": 0, "max": 9},
    "ratio": {"type": "number", "min": -1.5, "max": 1.5},
    "mode": {"type": "string", "enum": ["fast", "slow"]},
    "parts": {"type": "array", "max": 2},
    "more": {"type": "object"},
    "dry": {"type": "boolean", "default": False},
}
PLAN = Plan(
    "nightly-etl",
    tags=["etl"],
    parameters=PARAMETERS,
    steps=[
        Step("only", action="test.echo", with_={"value": "${parameters.day}"}),
    ],
)


@pytest.fixture
def alchemy(settings: Settings) -> Iterator[sa.Engine]:
    """A caller's own engine on the same database."""
    assert settings.database_url is not None
    opened = sa.create_engine(settings.database_url)
    yield opened
    opened.dispose()


@pytest.fixture(scope="module", autouse=True)
def published(engine: ExecutionEngine) -> None:
    """The plan, under its name."""
    engine.publish(PLAN)


def submit_by_sql(cursor: Cursor, *arguments: object) -> str:
    places = ", ".join(["%s"] * len(arguments))
    cursor.execute(f"SELECT submit({places})", arguments)
    return str(cursor.fetchall()[0][0])


# a caller's transaction


def test_a_submit_in_a_transaction_is_there_once_it_commits(
    engine: ExecutionEngine, alchemy: sa.Engine, liveness: LivenessRecords
) -> None:
    with alchemy.connect() as connection:
        execution_id = engine.submit(PLAN, {"day": "1"}, transaction=connection)
        with pytest.raises(ExecutionNotFoundError):
            engine.get_status(execution_id)

        connection.commit()

    assert engine.get_status(execution_id).status is ExecutionStatus.PENDING
    assert execution_id in liveness.find_unsent_executions(100)
    assert heads(liveness.mark_sent(execution_id)) == ["only"]
    assert liveness.mark_sent(execution_id) == ()
    assert execution_id not in liveness.find_unsent_executions(100)


def test_a_submit_in_a_transaction_that_is_rolled_back_never_was(
    engine: ExecutionEngine, alchemy: sa.Engine
) -> None:
    key = str(uuid.uuid4())
    with Session(alchemy) as session:
        execution_id = engine.submit(
            PLAN, {"day": "1"}, idempotency_key=key, transaction=session
        )
        session.rollback()

    with pytest.raises(ExecutionNotFoundError):
        engine.get_status(execution_id)
    other_id = engine.submit(PLAN, {"day": "2"}, idempotency_key=key)
    assert other_id != execution_id


@pytest.fixture(params=[None, RealDictCursor, DictCursor, NamedTupleCursor])
def driver(
    settings: Settings, request: pytest.FixtureRequest
) -> Iterator[psycopg2.extensions.connection]:
    """A caller's own connection of psycopg2, whatever it makes of rows."""
    assert settings.database_url is not None
    connection = psycopg2.connect(
        settings.database_url.replace("+psycopg2", ""), cursor_factory=request.param
    )
    register_uuid(conn_or_curs=connection)  # type: ignore[no-untyped-call]  # its stubs lack them
    # as Django has it
    register_default_jsonb(connection, loads=lambda text: text)
    yield connection
    connection.close()


def test_a_submit_joins_the_transaction_of_a_driver(
    engine: ExecutionEngine, driver: psycopg2.extensions.connection
) -> None:
    options: Any = {"tags": ["one", "two"], "priority": 3, "transaction": driver}

    lost = engine.submit(PLAN, {"day": "1"}, **options)
    driver.rollback()
    kept = engine.submit(PLAN, {"day": "1"}, **options)
    with pytest.raises(ExecutionNotFoundError):
        engine.get_status(kept)
    driver.commit()

    with pytest.raises(ExecutionNotFoundError):
        engine.get_status(lost)
    assert engine.get_status(kept).tags == ("etl", "one", "two")


def test_a_key_is_answered_within_the_transaction_of_a_driver(
    engine: ExecutionEngine, driver: psycopg2.extensions.connection
) -> None:
    key = str(uuid.uuid4())
    known = engine.submit(PLAN, {"day": "1"}, idempotency_key=key)

    again = engine.submit(PLAN, {"day": "1"}, idempotency_key=key, transaction=driver)
    with pytest.raises(SubmissionConflictError, match=known):
        engine.submit(PLAN, {"day": "2"}, idempotency_key=key, transaction=driver)

    assert again == known


def test_what_a_driver_raises_comes_out_as_ours(
    engine: ExecutionEngine, driver: psycopg2.extensions.connection
) -> None:
    driver.set_session(isolation_level="REPEATABLE READ")
    with pytest.raises(DatabaseError, match="READ COMMITTED only"):
        engine.submit(PLAN, {"day": "1"}, transaction=driver)
    driver.close()
    with pytest.raises(DatabaseUnavailableError, match="connection already closed"):
        engine.submit(PLAN, {"day": "1"}, transaction=driver)


@pytest.mark.parametrize("rows", [tuple_row, dict_row])
def test_a_submit_joins_a_transaction_of_psycopg(
    engine: ExecutionEngine, settings: Settings, rows: Any
) -> None:
    url = str(settings.database_url).replace("+psycopg2", "")
    with closing(psycopg.connect(url, row_factory=rows)) as connection:
        lost = engine.submit(PLAN, {"day": "1"}, transaction=connection)
        connection.rollback()
        kept = engine.submit(PLAN, {"day": "1"}, tags=["a"], transaction=connection)
        connection.commit()
        connection.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
        with pytest.raises(DatabaseError, match="READ COMMITTED only"):
            engine.submit(PLAN, {"day": "1"}, transaction=connection)

    with pytest.raises(ExecutionNotFoundError):
        engine.get_status(lost)
    assert engine.get_status(kept).tags == ("etl", "a")


def test_what_is_no_transaction_is_refused(
    engine: ExecutionEngine, alchemy: sa.Engine
) -> None:
    with pytest.raises(TypeError, match="connection of Django, psycopg2 or psycopg"):
        engine.submit(PLAN, {"day": "1"}, transaction=alchemy)  # type: ignore[arg-type]  # what is tested


def test_an_async_connection_is_refused(
    engine: ExecutionEngine, settings: Settings
) -> None:
    url = str(settings.database_url).replace("+psycopg2", "")

    async def submit() -> None:
        async with await psycopg.AsyncConnection.connect(url) as connection:
            with pytest.raises(TypeError, match="not AsyncConnection"):
                engine.submit(PLAN, {"day": "1"}, transaction=connection)

    asyncio.run(submit())


def test_an_error_of_no_database_passes_through(engine: ExecutionEngine) -> None:
    class Broken:
        def cursor(self) -> Any:
            raise LookupError("no cursor here")

    with pytest.raises(LookupError):
        engine.submit(PLAN, {"day": "1"}, transaction=Broken())


def test_a_transaction_of_a_stricter_isolation_is_refused(
    engine: ExecutionEngine, alchemy: sa.Engine
) -> None:
    strict = alchemy.execution_options(isolation_level="REPEATABLE READ")

    with (
        strict.connect() as connection,
        pytest.raises(DatabaseError, match="READ COMMITTED only"),
    ):
        engine.submit(PLAN, {"day": "1"}, transaction=connection)


def test_an_open_transaction_does_not_hold_up_other_submits_of_a_new_plan(
    engine: ExecutionEngine, alchemy: sa.Engine
) -> None:
    plan = Plan("new", steps=[Step("a", action="test.nothing")])
    with alchemy.connect() as connection:
        engine.submit(plan, transaction=connection)

        other_id = engine.submit(plan)

        assert engine.get_status(other_id).plan == "new"
        connection.rollback()


# names


def test_a_published_plan_is_submitted_by_its_name(engine: ExecutionEngine) -> None:
    execution_id = engine.submit("nightly-etl", {"day": "1"})

    assert engine.get_status(execution_id).plan == "nightly-etl"


def test_a_name_stands_for_what_was_published_last(engine: ExecutionEngine) -> None:
    first = Plan("twice", version="1", steps=[Step("a", action="test.nothing")])
    second = Plan("twice", version="2", steps=[Step("b", action="test.nothing")])

    engine.publish(first)
    engine.publish(second)
    assert engine.get_plan("twice") == second

    engine.publish(first)
    assert engine.get_plan("twice") == first


def test_a_plan_that_was_only_submitted_has_no_name_yet(
    engine: ExecutionEngine,
) -> None:
    engine.submit(Plan("unnamed", steps=[Step("a", action="test.nothing")]))

    with pytest.raises(PlanNotFoundError, match="plans publish FILE"):
        engine.submit("unnamed")


def test_a_file_in_the_place_of_a_name_is_told_apart(engine: ExecutionEngine) -> None:
    with pytest.raises(PlanNotFoundError, match=r"Plan\.from_file\('hello\.yaml'\)"):
        engine.submit("hello.yaml")


@pytest.mark.parametrize("plan", [{"name": "hello"}, Path("hello.yaml"), None])
def test_what_is_no_plan_is_refused_by_its_kind(
    engine: ExecutionEngine, plan: Any
) -> None:
    with pytest.raises(ParameterError, match=r"plan: is a .*, not a plan"):
        engine.submit(plan)
    with pytest.raises(ParameterError, match=r"plan: is a .*, not a plan"):
        engine.submit_many(plan, [{}])


# SQL


def test_sql_submits_inside_its_transaction(
    engine: ExecutionEngine, settings: Settings, liveness: LivenessRecords
) -> None:
    assert settings.database_url is not None
    with rolled_back(settings.database_url, settings.schema) as cursor:
        gone = submit_by_sql(cursor, "nightly-etl", '{"day": "1"}')
    with committed(settings.database_url, settings.schema) as cursor:
        kept = submit_by_sql(cursor, "nightly-etl", '{"day": "1"}', None, ["by-sql"], 7)

    with pytest.raises(ExecutionNotFoundError):
        engine.get_status(gone)
    execution = engine.get_status(kept)
    assert execution.tags == ("etl", "by-sql")
    assert execution.parameters == PLAN.bind({"day": "1"})
    assert engine.list_steps(kept)[0].queue == settings.queue
    assert heads(liveness.mark_sent(kept)) == ["only"]


def test_sql_draws_ids_of_version_7_in_the_order_of_time(settings: Settings) -> None:
    assert settings.database_url is not None
    with rolled_back(settings.database_url, settings.schema) as cursor:
        cursor.execute(
            "SELECT draw_execution_id()::text, pg_sleep(0.002)"
            " FROM generate_series(1, 50)"
        )
        ids = [row[0] for row in cursor.fetchall()]

    assert ids == sorted(ids)
    assert all(is_execution_id(i) and i[14] == "7" and i[19] in "89ab" for i in ids)


def test_a_key_means_the_same_in_sql_and_in_python(
    engine: ExecutionEngine, settings: Settings
) -> None:
    assert settings.database_url is not None
    key = str(uuid.uuid4())
    values = {"day": "1", "ratio": 1e-7, "more": {"b": [1, 2.50], "a": "é"}}
    with committed(settings.database_url, settings.schema) as cursor:
        by_sql = submit_by_sql(cursor, "nightly-etl", json.dumps(values), key)

        assert submit_by_sql(cursor, "nightly-etl", json.dumps(values), key) == by_sql

    assert engine.submit(PLAN, values, idempotency_key=key) == by_sql
    with pytest.raises(SubmissionConflictError):
        engine.submit(PLAN, {"day": "2"}, idempotency_key=key)


@pytest.mark.parametrize(
    ("arguments", "refusal", "message"),
    [
        (("nobodys", "{}"), errors.NoDataFound, "no plan 'nobodys' is published"),
        ((None, "{}"), errors.NoDataFound, "no plan"),
        (
            ("nightly-etl", "{}"),
            errors.InvalidParameterValue,
            "parameters.day: is required, and was not given",
        ),
        (
            ("nightly-etl", '{"day": "1", "dya": 1}'),
            errors.InvalidParameterValue,
            "parameters.dya: the plan has no such parameter",
        ),
        (
            ("nightly-etl", "[]"),
            errors.InvalidParameterValue,
            "the parameters must be a JSON object",
        ),
        (
            ("nightly-etl", '{"day": "1"}', None, [], 10),
            errors.CheckViolation,
            "the priority must be from 0 to 9, and is 10",
        ),
    ],
)
def test_a_submit_by_sql_that_cannot_be_says_why(
    settings: Settings,
    arguments: tuple[object, ...],
    refusal: type[Exception],
    message: str,
) -> None:
    assert settings.database_url is not None
    with (
        rolled_back(settings.database_url, settings.schema) as cursor,
        pytest.raises(refusal, match=re.escape(message)),
    ):
        submit_by_sql(cursor, *arguments)


def test_a_key_with_another_body_is_a_conflict_in_sql(settings: Settings) -> None:
    assert settings.database_url is not None
    with rolled_back(settings.database_url, settings.schema) as cursor:
        submit_by_sql(cursor, "nightly-etl", '{"day": "1"}', "k")
        with pytest.raises(errors.UniqueViolation, match="has another body"):
            submit_by_sql(cursor, "nightly-etl", '{"day": "2"}', "k")


def test_what_only_python_can_check_is_refused_in_sql(
    engine: ExecutionEngine, settings: Settings
) -> None:
    engine.publish(
        Plan(
            "patterned",
            parameters={"code": {"type": "string", "pattern": "[a-z]+"}},
            steps=[Step("a", action="test.nothing")],
        )
    )
    assert settings.database_url is not None
    with rolled_back(settings.database_url, settings.schema) as cursor:
        assert submit_by_sql(cursor, "patterned")
        with pytest.raises(errors.InvalidParameterValue, match="submit from Python"):
            submit_by_sql(cursor, "patterned", '{"code": "abc"}')


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53) - 2, 2**53 + 2),
    st.integers(-3, 12),
    st.floats(-2, 2, allow_nan=False),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12),
    st.sampled_from(["fast", "slow"]),
    st.lists(st.integers(0, 3), max_size=4),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 3)),
)


@pytest.fixture(scope="module")
def sql_cursor(settings: Settings) -> Iterator[Cursor]:
    """A connection on which every statement is a transaction."""
    assert settings.database_url is not None
    url = settings.database_url.replace("+psycopg2", "", 1)
    with closing(psycopg2.connect(url)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path TO {settings.schema}")
            yield cursor


@hypothesis_settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.dictionaries(st.sampled_from([*PARAMETERS, "unknown"]), VALUES))
def test_sql_binds_parameters_as_python_does(
    sql_cursor: Cursor, values: dict[str, object]
) -> None:
    try:
        expected: object = PLAN.bind(values)
    except ParameterError as error:
        expected = sorted({fault.place.partition("[")[0] for fault in error.faults})
    try:
        sql_cursor.execute(
            "SELECT bind_parameters(%s, %s)",
            (json.dumps(PARAMETERS), json.dumps(values)),
        )
        bound: object = sql_cursor.fetchall()[0][0]
    except errors.InvalidParameterValue as error:
        lines = str(error.diag.message_primary).split("\n")
        bound = sorted(line.partition(":")[0] for line in lines)

    assert bound == expected


def test_a_submit_by_sql_is_told_to_those_who_listen(
    settings: Settings, liveness: LivenessRecords
) -> None:
    register(liveness, settings)
    assert settings.database_url is not None
    assert not liveness.wait_for_unsent(0)

    with committed(settings.database_url, settings.schema) as cursor:
        submit_by_sql(cursor, "nightly-etl", '{"day": "1"}')

    assert liveness.wait_for_unsent(5)
    assert not liveness.wait_for_unsent(0)


@pytest.mark.parametrize("table", ["execution_steps", "submissions", "plans"])
def test_a_callers_temporary_table_hides_none_of_ours(
    engine: ExecutionEngine, alchemy: sa.Engine, settings: Settings, table: str
) -> None:
    with alchemy.begin() as connection:
        connection.exec_driver_sql(f"CREATE TEMP TABLE {table} (id int) ON COMMIT DROP")
        execution_id = engine.submit(
            PLAN, {"day": "1"}, idempotency_key=f"temp-{table}", transaction=connection
        )
        connection.exec_driver_sql(
            f"""SELECT {settings.schema}.submit('nightly-etl', '{{"day": "1"}}')"""
        )

    assert len(engine.list_steps(execution_id)) == 1


@pytest.mark.parametrize(
    ("declared", "value", "fault"),
    [
        ({"type": "object", "enum": [{"a": 1}]}, '{"a": 1}', None),
        ({"type": "object", "enum": [{"a": 1}]}, "{}", "must be one of"),
        ({"type": "array", "enum": [[1, 2]]}, "[1, 2]", None),
        ({"type": "number"}, "1e400", "is beyond what a number can hold"),
        ({"type": "number"}, "1e300", None),
        ({"type": "integer"}, "9007199254740993", "is beyond 2^53"),
    ],
)
def test_values_are_judged_in_sql(
    sql_cursor: Cursor, declared: dict[str, object], value: str, fault: str | None
) -> None:
    sql_cursor.execute("SELECT parameter_fault(%s, %s)", (json.dumps(declared), value))
    answer = sql_cursor.fetchall()[0][0]

    assert answer is None if fault is None else fault in answer
