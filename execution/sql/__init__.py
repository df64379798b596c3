"""The functions of the database, as readable SQL, and how their text is put together.

The files are installed in the order of their names, into whichever schema the
connection's search path begins with. The guard of the moves is generated from the
tables in `states`, so that the database refuses exactly what they lack. This module
reads text; `schema` installs it.
"""

import hashlib
from functools import cache
from pathlib import Path

from execution.states import list_execution_edges, list_step_edges
from execution.windows import WINDOW_LINKS

SCHEMA_REVISION = "0003"
"""The migration that these functions need; a test compares it with the newest."""

_CONSTANTS = f"""
-- Generated: the most links that the message of a chain carries.
CREATE FUNCTION window_links() RETURNS int
LANGUAGE sql IMMUTABLE AS $$ SELECT {WINDOW_LINKS} $$;
"""

_GUARD = """
-- Generated from the move tables: a change of state that is not in them is refused.
CREATE FUNCTION refuse_move() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'celery-plans: % cannot go from % to %', TG_TABLE_NAME,
        OLD.status, NEW.status;
END $$;
"""


def _guard(table: str, edges: tuple[tuple[str, str], ...]) -> str:
    pairs = ", ".join(f"('{before}', '{after}')" for before, after in edges)
    return (
        f"CREATE TRIGGER guard_moves BEFORE UPDATE OF status ON {table} FOR EACH ROW\n"
        "WHEN (OLD.status <> NEW.status AND (OLD.status, NEW.status) NOT IN\n"
        f"    ({pairs}))\n"
        "EXECUTE FUNCTION refuse_move();\n"
    )


@cache
def read_functions() -> str:
    """Return the text of every function, view, type and guard, in order."""
    files = sorted(Path(__file__).parent.glob("*.sql"))
    guards = (
        _guard("executions", list_execution_edges()),
        _guard("execution_steps", list_step_edges()),
    )
    heading = f"-- for the tables of revision {SCHEMA_REVISION}"
    texts = [f.read_text("utf-8") for f in files]
    return "\n\n".join([heading, _CONSTANTS, *texts, _GUARD, *guards])


@cache
def functions_digest() -> str:
    """Return the SHA-256 of that text: which functions a database has installed."""
    return hashlib.sha256(read_functions().encode()).hexdigest()
