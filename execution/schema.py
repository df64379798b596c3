"""Makes the database what this release needs: tables by Alembic, functions from `sql/`.

Tables are migrated step by step; functions, views, types and guards are dropped and
installed anew each time, in the same transaction, and their digest is written down.
So a database is either wholly of one release or visibly not.

Nothing here runs by itself: the local stack and `plans db upgrade` call it.
"""

import io
import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.exc import SQLAlchemyError

from execution.assets import find_asset
from execution.database import name_driver
from execution.errors import DatabaseError
from execution.models import Base
from execution.sql import functions_digest, read_functions

# Ours are known by their comment: the schema may hold routines of others, even of the
# same name. Where nothing is marked, they are of a release that did not yet mark them.
_DROP_FUNCTIONS = """
DO $$
DECLARE
    statement text;
    is_marked bool := EXISTS (
        SELECT FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace
           AND obj_description(p.oid, 'pg_proc') = 'celery-plans');
BEGIN
    DROP TRIGGER IF EXISTS guard_moves ON executions;
    DROP TRIGGER IF EXISTS guard_moves ON execution_steps;
    FOR statement IN
        SELECT format('DROP ROUTINE %s CASCADE', p.oid::regprocedure)
          FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace
           AND (obj_description(p.oid, 'pg_proc') = 'celery-plans'
                OR p.proname = ANY ('{names}') AND NOT is_marked)
    LOOP
        -- one that another one's end took with it is gone already
        BEGIN
            EXECUTE statement;
        EXCEPTION WHEN undefined_function THEN
            NULL;
        END;
    END LOOP;
    DROP VIEW IF EXISTS {views};
    DROP TYPE IF EXISTS event_draft, plan_outline CASCADE;
END $$
"""
_MARK_FUNCTIONS = """
DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format(
                   'COMMENT ON ROUTINE %s IS %L', p.oid::regprocedure, 'celery-plans')
          FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace
           AND p.proname = ANY ('{names}')
    LOOP
        EXECUTE statement;
    END LOOP;
END $$
"""


def upgrade(url: str, schema: str, *, revision: str = "head") -> None:
    """Bring the schema to `revision` and install the functions of this release.

    Raises DatabaseError when the server refuses; nothing is changed then.
    """
    with _connection(url, schema) as connection:
        _upgrade(connection, schema, revision)


def upgrade_if_needed(url: str, schema: str) -> None:
    """Bring the schema to this release; change nothing if it is there already.

    For databases that others may be using: to install a function anew breaks the calls
    of it that are under way. Raises DatabaseError when the server refuses.
    """
    with _connection(url, schema) as connection:
        if not _is_current(connection):
            _upgrade(connection, schema, "head")


def _upgrade(connection: sa.Connection, schema: str, revision: str) -> None:
    connection.execute(sa.schema.CreateSchema(schema, if_not_exists=True))
    _drop_functions(connection)
    command.upgrade(_config(connection), revision)
    _run_script(connection, read_functions())
    _run_script(connection, _with_names(_MARK_FUNCTIONS))
    connection.execute(
        sa.text("UPDATE installation SET functions_digest = :digest"),
        {"digest": functions_digest()},
    )


def _is_current(connection: sa.Connection) -> bool:
    if not _has_tables(connection):
        return False
    head = ScriptDirectory.from_config(_config(connection)).get_current_head()
    found = MigrationContext.configure(connection).get_current_revision()
    installed = connection.scalar(sa.text("SELECT functions_digest FROM installation"))
    return found == head and installed == functions_digest()


def downgrade(url: str, schema: str, *, revision: str) -> None:
    """Take the schema back to `revision` (`base`: nothing is left in it).

    The functions are removed: the release that `revision` belongs to installs its
    own with its `plans db upgrade`.
    """
    with _connection(url, schema) as connection:
        if _has_tables(connection):
            _drop_functions(connection)
            connection.execute(
                sa.text("UPDATE installation SET functions_digest = NULL")
            )
        command.downgrade(_config(connection), revision)
        if MigrationContext.configure(connection).get_current_revision() is None:
            # empty now, and all that Alembic leaves behind
            connection.execute(sa.text("DROP TABLE alembic_version"))


def check(url: str, schema: str) -> tuple[str, ...]:
    """Return what separates the database from this release; nothing, when it fits."""
    with _connection(url, schema) as connection:
        if schema not in sa.inspect(connection).get_schema_names():
            return (f"there is no schema {schema}",)
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        head = ScriptDirectory.from_config(_config(connection)).get_current_head()
        found = context.get_current_revision()
        if found != head:
            return (f"the tables are at revision {found}, not {head}",)
        installed = connection.scalar(
            sa.text("SELECT functions_digest FROM installation")
        )
        functions = () if installed == functions_digest() else ("the functions differ",)
        differences = compare_metadata(context, Base.metadata)
        return functions + tuple(str(difference) for difference in differences)


@contextmanager
def _connection(url: str, schema: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(name_driver(url), poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            quoted = engine.dialect.identifier_preparer.quote(schema)
            # a caller's temporary tables must not hide ours
            connection.exec_driver_sql(f"SET search_path TO {quoted}, pg_temp")
            # two upgrades at once would drop each other's functions
            connection.execute(
                sa.text("SELECT pg_advisory_xact_lock(hashtext('celery-plans'))")
            )
            # Alembic then finds its own table, and ours, without a schema's name
            engine.dialect.default_schema_name = schema
            yield connection
    except (SQLAlchemyError, psycopg2.Error) as error:
        raise DatabaseError(
            f"PostgreSQL refused: {str(error).splitlines()[0]}"
        ) from error
    finally:
        engine.dispose()


def _has_tables(connection: sa.Connection) -> bool:
    found = connection.scalar(sa.text("SELECT to_regclass('executions')"))
    return found is not None


def _drop_functions(connection: sa.Connection) -> None:
    if _has_tables(connection):
        _run_script(connection, _with_names(_DROP_FUNCTIONS))


def _with_names(script: str) -> str:
    names = re.findall(r"CREATE FUNCTION (\w+)", read_functions())
    views = re.findall(r"CREATE VIEW (\w+)", read_functions())
    script = script.replace("{views}", ", ".join(views))
    return script.replace("{names}", f"{{{','.join(names)}}}")


def _run_script(connection: sa.Connection, script: str) -> None:
    # past SQLAlchemy, which would take each per cent sign for a parameter
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(script)


def _config(connection: sa.Connection) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option(
        "script_location", str(find_asset("migrations")).replace("%", "%%")
    )
    config.attributes["connection"] = connection
    return config
