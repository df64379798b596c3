"""What lies in a schema, as the catalogue of PostgreSQL has it."""

from tests.rows import committed

CONTENTS = """
    SELECT 'relation ' || relname FROM pg_class
     WHERE relnamespace = to_regnamespace(%(schema)s)
    UNION ALL
    SELECT 'routine ' || proname FROM pg_proc
     WHERE pronamespace = to_regnamespace(%(schema)s)
    UNION ALL
    SELECT 'type ' || typname FROM pg_type
     WHERE typnamespace = to_regnamespace(%(schema)s)
"""
DEFINITIONS = """
    SELECT 'column', c.relname, a.attname,
           concat_ws(' ', format_type(a.atttypid, a.atttypmod),
                     a.attnotnull::text, a.attidentity, a.attgenerated,
                     pg_get_expr(d.adbin, d.adrelid))
      FROM pg_attribute a
      JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
      LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
     WHERE c.relnamespace = to_regnamespace(%(schema)s)
       AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
      FROM pg_constraint WHERE connamespace = to_regnamespace(%(schema)s)
    UNION ALL
    SELECT 'index', tablename, indexname, indexdef FROM pg_indexes
     WHERE schemaname = %(schema)s
    UNION ALL
    SELECT 'options', relname, '', reloptions::text FROM pg_class
     WHERE relnamespace = to_regnamespace(%(schema)s) AND relkind = 'r'
"""


def contents(url: str, name: str) -> set[str]:
    """Return the relations, routines and types in a schema."""
    with committed(url, name) as cursor:
        cursor.execute(CONTENTS, {"schema": name})
        return {row[0] for row in cursor.fetchall()}


def has_schema(url: str, name: str) -> bool:
    with committed(url, name) as cursor:
        cursor.execute("SELECT to_regnamespace(%s) IS NOT NULL", (name,))
        return bool(cursor.fetchall()[0][0])


def definitions(url: str, name: str) -> set[tuple[str, ...]]:
    """Return how every column, constraint and index of our tables is defined."""
    with committed(url, name) as cursor:
        cursor.execute(DEFINITIONS, {"schema": name})
        return {
            tuple(str(value).replace(f"{name}.", "") for value in row)
            for row in cursor.fetchall()
            if row[1] != "alembic_version"
        }
