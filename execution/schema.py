"""Makes the database what this release needs: tables by Alembic, functions from `sql/`.

Tables are migrated step by step; functions, views, types and guards are dropped and
installed anew each time, in the same transaction, and their digest is written down.
So a database is either wholly of one release or visibly not.

A schema that belongs to the role `plans_migrator` is made and changed as that role, by
whichever of its members; the other roles are then granted what they need, in the same
transaction (see `sql.grants`). Every other schema is for its owner alone.

Nothing here runs by itself: the local stack and `plans db upgrade` call it. `revisions`
and Alembic are loaded when tables are to be changed or compared: each command
on a local stack looks whether all is current, and it nearly always is.
"""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg2
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from .database import name_driver
from .errors import DatabaseError
from .sql import SCHEMA_REVISION, functions_digest, read_functions
from .sql.grants import WRITTEN_GRANTS, Role, list_lacking, write_grants

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
    DROP TYPE IF EXISTS {types} CASCADE;
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
        _begin_change(connection, schema)
        _upgrade(connection, schema, revision)


def upgrade_if_needed(url: str, schema: str) -> None:
    """Bring the schema to this release; change nothing if it is there already.

    For databases that others may be using: to install a function anew breaks the calls
    of it that are under way. Raises DatabaseError when the server refuses.
    """
    with _connection(url, schema) as connection:
        if _is_current(connection):
            return
        _begin_change(connection, schema)
        # another one may have done it meanwhile
        if not _is_current(connection):
            _upgrade(connection, schema, "head")


def install(connection: sa.Connection, schema: str) -> None:
    """Make a schema of this release in a transaction that the caller has begun.

    For one of the caller's alone: nothing keeps others from making the same. The search
    path begins with it until the transaction ends.
    """
    _enter(connection, schema)
    _upgrade(connection, schema, "head")


def _upgrade(connection: sa.Connection, schema: str, revision: str) -> None:
    from .revisions import go_forward  # see above

    owner = _find_owner(connection, schema)
    if owner is None:
        connection.execute(sa.schema.CreateSchema(schema))
    _drop_functions(connection)
    go_forward(connection, revision)
    _run_script(connection, read_functions())
    _run_script(connection, _with_names(_MARK_FUNCTIONS))
    connection.execute(
        sa.text("UPDATE installation SET functions_digest = :digest"),
        {"digest": functions_digest()},
    )
    if owner == Role.MIGRATOR:
        _run_script(connection, write_grants(_quote(connection, schema)))


def _is_current(connection: sa.Connection) -> bool:
    if not _has_tables(connection):
        return False
    found = connection.scalar(sa.text("SELECT version_num FROM alembic_version"))
    installed = connection.scalar(sa.text("SELECT functions_digest FROM installation"))
    return bool(found == SCHEMA_REVISION and installed == functions_digest())


def downgrade(url: str, schema: str, *, revision: str) -> None:
    """Take the schema back to `revision` (`base`: nothing is left in it).

    The functions are removed: the release that `revision` belongs to installs its
    own with its `plans db upgrade`.
    """
    from .revisions import find_revision, go_back  # see above

    with _connection(url, schema) as connection:
        _begin_change(connection, schema)
        if _has_tables(connection):
            _drop_functions(connection)
            connection.execute(
                sa.text("UPDATE installation SET functions_digest = NULL")
            )
        go_back(connection, revision)
        if find_revision(connection) is None:
            # empty now, and all that Alembic leaves behind
            connection.execute(sa.text("DROP TABLE alembic_version"))


def check(url: str, schema: str) -> tuple[str, ...]:
    """Return what separates the database from this release; nothing, when it fits."""
    from .revisions import find_revision, list_differences  # see above

    with _connection(url, schema) as connection:
        if schema not in sa.inspect(connection).get_schema_names():
            return (f"there is no schema {schema}",)
        found = find_revision(connection)
        if found != SCHEMA_REVISION:
            return (f"the tables are at revision {found}, not {SCHEMA_REVISION}",)
        installed = connection.scalar(
            sa.text("SELECT functions_digest FROM installation")
        )
        functions = () if installed == functions_digest() else ("the functions differ",)
        differences = list_differences(connection)
        return (
            *functions,
            *(str(difference) for difference in differences),
            *_list_lacking_roles(connection, schema),
        )


def _list_lacking_roles(connection: sa.Connection, schema: str) -> Iterator[str]:
    """Yield what to say of each role that may not call what is meant for it.

    As after a restore from a backup without rights. Where there are no roles, none
    lacks anything.
    """
    if _find_owner(connection, schema) != Role.MIGRATOR:
        return
    granted = connection.scalars(sa.text(WRITTEN_GRANTS), {"schema": schema})
    lacking = list_lacking(set(granted))
    if lacking:
        yield (
            f"rights are missing for {', '.join(lacking)}; `plans db upgrade` grants"
            " them"
        )


@contextmanager
def _connection(url: str, schema: str) -> Iterator[sa.Connection]:
    engine = sa.create_engine(name_driver(url), poolclass=sa.NullPool)
    try:
        with engine.begin() as connection:
            _enter(connection, schema)
            yield connection
    except (SQLAlchemyError, psycopg2.Error) as error:
        raise DatabaseError(
            f"PostgreSQL refused: {str(error).splitlines()[0]}"
        ) from error
    finally:
        engine.dispose()


def _enter(connection: sa.Connection, schema: str) -> None:
    """Let the rest of a transaction find what lies in `schema` without its name."""
    # a caller's temporary tables must not hide ours
    quoted = _quote(connection, schema)
    connection.exec_driver_sql(f"SET search_path TO {quoted}, pg_temp")
    # Alembic then finds its own table, and ours
    connection.dialect.default_schema_name = schema


def _quote(connection: sa.Connection, schema: str) -> str:
    return connection.dialect.identifier_preparer.quote(schema)


def _find_owner(connection: sa.Connection, schema: str) -> str | None:
    """Return the role that owns the schema; None when there is no such schema."""
    asking = sa.text(
        "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = :name"
    )
    found: str | None = connection.scalar(asking, {"name": schema})
    return found


def _begin_change(connection: sa.Connection, schema: str) -> None:
    """Become who may change the schema, alone, until the transaction ends."""
    _act_as_owner(connection, schema)
    # two upgrades at once would drop each other's functions
    connection.execute(
        sa.text("SELECT pg_advisory_xact_lock(hashtext('celery-plans'))")
    )


def _act_as_owner(connection: sa.Connection, schema: str) -> None:
    """Become the migrator until the transaction ends, if the schema is the migrator's.

    What is made then belongs to the role, and not to the one who logged in: the next
    upgrade may come from another login.
    """
    if _find_owner(connection, schema) != Role.MIGRATOR:
        return
    asking = sa.text("SELECT pg_has_role(:role, 'MEMBER')")
    if not connection.scalar(asking, {"role": Role.MIGRATOR.value}):
        raise DatabaseError(
            f"schema {schema} belongs to the role {Role.MIGRATOR}; log in as a member"
            " of it (PLANS_DATABASE_URL)"
        )
    connection.exec_driver_sql(f"SET LOCAL ROLE {Role.MIGRATOR}")


def _has_tables(connection: sa.Connection) -> bool:
    found = connection.scalar(sa.text("SELECT to_regclass('executions')"))
    return found is not None


def _drop_functions(connection: sa.Connection) -> None:
    if _has_tables(connection):
        _run_script(connection, _with_names(_DROP_FUNCTIONS))


def _with_names(script: str) -> str:
    names = re.findall(r"CREATE FUNCTION (\w+)", read_functions())
    views = re.findall(r"CREATE VIEW (\w+)", read_functions())
    types = re.findall(r"CREATE TYPE (\w+)", read_functions())
    script = script.replace("{views}", ", ".join(views))
    script = script.replace("{types}", ", ".join(types))
    return script.replace("{names}", f"{{{','.join(names)}}}")


def _run_script(connection: sa.Connection, script: str) -> None:
    # past SQLAlchemy, which would take each per cent sign for a parameter
    with closing(connection.connection.cursor()) as cursor:
        cursor.execute(script)
