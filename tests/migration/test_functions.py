"""Functions are installed anew with each upgrade: ours, all of ours, and no others."""

import re

import pytest

from execution import schema
from execution.local import LocalStack
from execution.sql import read_functions
from tests.catalog import contents
from tests.rows import committed


@pytest.fixture
def url(stack: LocalStack) -> str:
    """The database of this run."""
    assert stack.urls.database_url is not None
    return stack.urls.database_url


def id_of_a_function(url: str, name: str) -> int:
    """Return what changes when the functions are installed anew."""
    with committed(url, name) as cursor:
        cursor.execute("SELECT 'begin_write()'::regprocedure::oid::int")
        return int(cursor.fetchall()[0][0])


def test_functions_of_others_in_the_schema_are_left_alone(url: str) -> None:
    with committed(url, "shared") as cursor:
        cursor.execute(
            "CREATE SCHEMA shared; CREATE FUNCTION shared.mine() RETURNS int"
            " LANGUAGE sql AS 'SELECT 1'"
        )

    schema.upgrade(url, "shared")
    schema.upgrade(url, "shared")
    schema.downgrade(url, "shared", revision="base")

    assert contents(url, "shared") == {"routine mine"}


def test_functions_of_another_release_are_dropped(url: str) -> None:
    schema.upgrade(url, "renamed")
    before = contents(url, "renamed")
    with committed(url, "renamed") as cursor:
        cursor.execute("ALTER FUNCTION plans_now() RENAME TO plans_then")

    schema.upgrade(url, "renamed")

    assert contents(url, "renamed") == before


def test_an_upgrade_that_is_not_needed_installs_nothing_anew(url: str) -> None:
    schema.upgrade_if_needed(url, "needed")
    before = id_of_a_function(url, "needed")

    schema.upgrade_if_needed(url, "needed")

    assert id_of_a_function(url, "needed") == before


def test_an_upgrade_that_is_needed_is_made(url: str) -> None:
    schema.upgrade_if_needed(url, "stale")
    with committed(url, "stale") as cursor:
        cursor.execute("UPDATE installation SET functions_digest = NULL")

    schema.upgrade_if_needed(url, "stale")

    assert schema.check(url, "stale") == ()


def test_no_json_is_cast_that_may_be_null() -> None:
    """Before PostgreSQL 18 a null of JSON is no number: its text is NULL in all."""
    casts = re.findall(r"\([^()]*->\s*(?:'\w+'|\w+)\)::\w+", read_functions())
    assert not casts, "write ->>"
