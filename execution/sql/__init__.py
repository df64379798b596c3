"""The functions of the database, as readable SQL, and how their text is put together.

The files are installed in the order of their names, into whichever schema the
connection's search path begins with. The guards of executions and steps are generated
(see `guards`), so that the database refuses exactly what the tables in `states` lack.
This module reads text; `schema` installs it.
"""

import hashlib
from functools import cache
from pathlib import Path

from ..recovery import MOST_RECOVERIES
from ..windows import WINDOW_LINKS
from .guards import write_guards

SCHEMA_REVISION = "0024"
"""The migration that these functions need; a test compares it with the newest."""

_CONSTANTS = f"""
-- Generated: the most links that the message of a chain carries.
CREATE FUNCTION window_links() RETURNS int
LANGUAGE sql IMMUTABLE AS $$ SELECT {WINDOW_LINKS} $$;


-- Generated: how often a strategy can let an execution go back for one step.
CREATE FUNCTION most_recoveries() RETURNS int
LANGUAGE sql IMMUTABLE AS $$ SELECT {MOST_RECOVERIES} $$;
"""


@cache
def read_functions() -> str:
    """Return the text of every function, view, type and guard, in order."""
    files = sorted(Path(__file__).parent.glob("*.sql"))
    heading = f"-- for the tables of revision {SCHEMA_REVISION}"
    texts = [f.read_text("utf-8") for f in files]
    return "\n\n".join([heading, _CONSTANTS, *texts, write_guards()])


@cache
def functions_digest() -> str:
    """Return the SHA-256 of that text: which functions a database has installed."""
    return hashlib.sha256(read_functions().encode()).hexdigest()
