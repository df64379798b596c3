"""What the migrations do to rows that are there."""

import json
import uuid
from datetime import timedelta

import pytest

from execution import revisions, schema
from execution.local import LocalStack
from execution.retry import RetryPolicy
from tests.rows import (
    NOW,
    committed,
    insert,
    insert_execution,
    insert_plan,
    insert_plan_step,
    insert_step,
)


@pytest.fixture
def url(stack: LocalStack) -> str:
    """The database of this run."""
    assert stack.urls.database_url is not None
    return stack.urls.database_url


def install_tables(url: str, name: str, revision: str) -> None:
    """Make the tables of an older release, without the functions of any."""
    with committed(url, "public") as cursor:
        cursor.execute(f"CREATE SCHEMA {name}")
    with schema._connection(url, name) as connection:
        revisions.go_forward(connection, revision)


def test_steps_of_older_plans_keep_their_attempts_and_waits(url: str) -> None:
    install_tables(url, "attempts_kept", "0001")
    with committed(url, "attempts_kept") as cursor:
        insert(
            cursor,
            "plan_steps",
            plan_id=insert_plan(cursor),
            position=0,
            name="a",
            action="test.nothing",
            priority=0,
            needs=[],
            successors=[],
            reads=[],
            survives_skips=False,
            on_failure="abort",
            max_attempts=5,
            max_lost=3,
            inputs={},
        )

    schema.upgrade(url, "attempts_kept")

    with committed(url, "attempts_kept") as cursor:
        cursor.execute("SELECT retry::text FROM plan_steps")
        policy = RetryPolicy.from_json(json.loads(cursor.fetchall()[0][0]))
    assert policy == RetryPolicy(
        max_attempts=5, initial_seconds=0.1, max_seconds=2.0, jitter_seconds=0.1
    )


def test_an_execution_that_was_paused_before_can_be_resumed(url: str) -> None:
    install_tables(url, "paused_kept", "0001")
    with committed(url, "paused_kept") as cursor:
        execution_id = str(uuid.uuid4())
        insert(
            cursor,
            "executions",
            id=execution_id,
            plan_id=insert_plan(cursor),
            status="paused",
            open_steps=1,
            total_steps=1,
            digest="",
            parameters={},
            created_at=NOW,
        )

    schema.upgrade(url, "paused_kept")

    with committed(url, "paused_kept") as cursor:
        cursor.execute(
            "SELECT landed FROM resume_execution(%s, NULL, NULL)", (execution_id,)
        )
        assert cursor.fetchall() == [(True,)]


def test_an_execution_that_had_only_to_be_finished_can_be_finished(url: str) -> None:
    install_tables(url, "finish_kept", "0003")
    with committed(url, "finish_kept") as cursor:
        execution_id = str(uuid.uuid4())
        insert(
            cursor,
            "executions",
            id=execution_id,
            plan_id=insert_plan(cursor),
            status="ending",
            reason="cancel",
            open_steps=0,
            total_steps=1,
            digest="",
            parameters={},
            created_at=NOW,
        )

    schema.upgrade(url, "finish_kept")

    with committed(url, "finish_kept") as cursor:
        cursor.execute(
            "SELECT landed FROM finish_execution(%s, 'cancelled', NULL, NULL)",
            (execution_id,),
        )
        assert cursor.fetchall() == [(True,)]


def test_of_two_bodies_of_a_version_the_last_published_keeps_it(url: str) -> None:
    install_tables(url, "versions_kept", "0007")
    with committed(url, "versions_kept") as cursor:
        for index, (digest, version) in enumerate(
            [("old", "1"), ("new", "1"), ("other", "2"), ("a", None), ("b", None)]
        ):
            insert(
                cursor,
                "plans",
                id=str(uuid.uuid4()),
                name="p",
                version=version,
                digest=digest,
                definition={},
                result_reads=[],
                published_at=NOW + timedelta(seconds=index),
                default_queue="q",
            )

    schema.upgrade(url, "versions_kept")

    with committed(url, "versions_kept") as cursor:
        cursor.execute("SELECT digest FROM plans WHERE published_at IS NULL")
        assert cursor.fetchall() == [("old",)]
        cursor.execute("SELECT (published_plan('p@1')).digest")
        assert cursor.fetchall() == [("new",)]


def test_what_waits_is_ready_for_a_release_that_knows_no_waiting(url: str) -> None:
    schema.upgrade(url, "woken")
    with committed(url, "woken") as cursor:
        insert_step(cursor, insert_execution(cursor), "waiting")

    schema.downgrade(url, "woken", revision="0001")

    with committed(url, "woken") as cursor:
        cursor.execute("SELECT status, wake_at, ready_at IS NULL FROM execution_steps")
        assert cursor.fetchall() == [("ready", None, False)]


def test_signatures_of_another_release_are_forgotten_and_names_are_not(
    url: str,
) -> None:
    schema.upgrade(url, "catalogue_kept")
    with committed(url, "catalogue_kept") as cursor:
        insert(
            cursor, "actions", name="a", signature={"parameters": []}, published_at=NOW
        )

    schema.downgrade(url, "catalogue_kept", revision="0004")
    with committed(url, "catalogue_kept") as cursor:
        cursor.execute("SELECT name, signature FROM actions")
        assert cursor.fetchall() == [("a", None)]
        cursor.execute("""UPDATE actions SET signature = '{"parameters": ["x"]}'""")
    schema.upgrade(url, "catalogue_kept")

    with committed(url, "catalogue_kept") as cursor:
        cursor.execute("SELECT name, signature, published_by FROM actions")
        assert cursor.fetchall() == [("a", None, None)]


def test_what_an_older_release_cannot_finish_is_not_taken_back(url: str) -> None:
    schema.upgrade(url, "stranded")
    with committed(url, "stranded") as cursor:
        execution_id = insert_execution(cursor, "ending")
        cursor.execute(
            "UPDATE executions SET section = 'end' WHERE id = %s", (execution_id,)
        )

    with pytest.raises(Exception, match="which the older release cannot finish"):
        schema.downgrade(url, "stranded", revision="0003")


def test_what_waits_for_its_key_is_not_left_waiting_for_ever(url: str) -> None:
    schema.upgrade(url, "held")
    with committed(url, "held") as cursor:
        insert_execution(cursor, "pending", concurrency_key="p:k")

    with pytest.raises(Exception, match="which the older release cannot finish"):
        schema.downgrade(url, "held", revision="0010")


def test_who_has_its_key_goes_on_without(url: str) -> None:
    schema.upgrade(url, "admitted")
    with committed(url, "admitted") as cursor:
        insert_execution(cursor, concurrency_key="p:k", admitted_at=NOW)

    schema.downgrade(url, "admitted", revision="0010")

    with committed(url, "admitted") as cursor:
        cursor.execute("SELECT status FROM executions")
        assert cursor.fetchall() == [("running",)]


def test_a_loop_is_not_left_to_a_release_that_knows_none(url: str) -> None:
    schema.upgrade(url, "looping")
    with committed(url, "looping") as cursor:
        plan_id = insert_plan(cursor)
        insert_plan_step(cursor, plan_id, repeat={"times": 2})
        insert_step(cursor, insert_execution(cursor, plan_id=plan_id))

    with pytest.raises(Exception, match="which the older release cannot finish"):
        schema.downgrade(url, "looping", revision="0011")


def test_lines_of_before_are_kept_with_a_level_that_is_known(url: str) -> None:
    install_tables(url, "lines_kept", "0013")
    with committed(url, "lines_kept") as cursor:
        execution_id = insert_execution(cursor)
        insert_step(cursor, execution_id)
        for level in ("error", "level 15"):
            insert(
                cursor,
                "execution_logs",
                execution_id=execution_id,
                position=0,
                attempt=1,
                level=level,
                message=f"an {level}",
                at=NOW,
            )

    schema.upgrade(url, "lines_kept")

    with committed(url, "lines_kept") as cursor:
        cursor.execute(
            "SELECT number, level, source, message FROM execution_logs ORDER BY id"
        )
        assert cursor.fetchall() == [
            (0, "error", "ctx.log", "an error"),
            (0, "info", "ctx.log", "an level 15"),
        ]
