"""Words that a shell is offered while a command is typed: ids and names, newest first.

Reads only, and loads little: a key was pressed, and somebody waits for the answer.
"""

from .database import Database

_MOST_WORDS = 50
_STATEMENTS = {
    "executions": """
        SELECT e.id::text AS word, p.name || ', ' || e.status AS meaning
          FROM {schema}.executions e JOIN {schema}.plans p ON p.id = e.plan_id
         ORDER BY e.created_at DESC LIMIT %s
    """,
    "plans": """
        SELECT p.name AS word,
               coalesce('version ' || max(p.version), 'published') AS meaning
          FROM {schema}.plans p WHERE p.published_at IS NOT NULL
         GROUP BY p.name ORDER BY max(p.published_at) DESC LIMIT %s
    """,
    "actions": """
        SELECT a.name AS word, split_part(coalesce(a.doc, ''), E'\\n', 1) AS meaning
          FROM {schema}.actions a ORDER BY a.name LIMIT %s
    """,
}


def list_words(database: Database, kind: str) -> list[tuple[str, str]]:
    """Return words with what each means: `executions`, `plans` or `actions`."""
    rows = database.query(_STATEMENTS[kind], (_MOST_WORDS,))
    return [(row["word"], row["meaning"]) for row in rows]
