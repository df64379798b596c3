"""A database that goes back: every row as it was when the backup was made."""

from collections.abc import Callable

from psycopg2 import sql
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class with a small name

from execution import Settings
from tests.rows import committed


def back_up(settings: Settings) -> Callable[[], None]:
    """Copy all rows of the schema, and return what puts them back."""
    url, schema = str(settings.database_url), settings.schema
    copy = f"{schema}_copy"
    with committed(url, schema) as cursor:
        tables = _list_tables(cursor)
        cursor.execute(
            sql.SQL("DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0}").format(
                sql.Identifier(copy)
            )
        )
        for table in tables:
            cursor.execute(
                sql.SQL("CREATE TABLE {}.{} AS TABLE {}").format(
                    *map(sql.Identifier, (copy, table, table))
                )
            )

    def restore() -> None:
        with committed(url, schema) as cursor:
            # a restore asks no trigger and no foreign key either
            cursor.execute("SET LOCAL session_replication_role = replica")
            listed = sql.SQL(", ").join(map(sql.Identifier, tables))
            cursor.execute(sql.SQL("TRUNCATE {}").format(listed))
            for table in tables:
                cursor.execute(
                    sql.SQL(
                        "INSERT INTO {0} OVERRIDING SYSTEM VALUE TABLE {1}.{0}"
                    ).format(*map(sql.Identifier, (table, copy)))
                )

    return restore


def _list_tables(cursor: Cursor) -> list[str]:
    cursor.execute(
        "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
        " ORDER BY tablename"
    )
    return [name for (name,) in cursor.fetchall()]
