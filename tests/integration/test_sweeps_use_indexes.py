"""Among many rows, nothing that runs all the time reads a whole table.

Two thousand executions of ten steps, most of them over. What a query would do is
asked of the planner; what a function did, of the counters of its own transaction.
"""

import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class with a small name

from execution import ExecutionRepository, ExecutionStatus, Settings
from execution.cursors import Horizon, count_ticks
from execution.filters import ExecutionFilter, PageCursor
from execution.log_queries import _LINES, _METRICS
from execution.pool import DatabasePool
from execution.sql import read_functions
from tests.crowd import TOKEN, WORKER, find_execution, load_crowd
from tests.rows import rolled_back

BIG_TABLES = {
    "executions",
    "execution_steps",
    "execution_events",
    "cached_results",
    "execution_logs",
    "execution_metrics",
    "batch_items",
}
BATCH = "md5('batch2')::uuid"
NOW = datetime.now(UTC)
LATER = count_ticks(NOW + timedelta(hours=1))
HALF_AN_HOUR = timedelta(minutes=30)


@pytest.fixture(scope="module", autouse=True)
def _load(settings: Settings) -> None:
    load_crowd(str(settings.database_url), settings.schema)


@pytest.fixture
def cursor(settings: Settings) -> Iterator[Cursor]:
    """A transaction that leaves nothing behind."""
    with rolled_back(str(settings.database_url), settings.schema) as opened:
        yield opened


def whole_reads(node: dict[str, Any]) -> set[str]:
    """Return the big tables that a plan, or a part of it, reads from end to end."""
    found = {str(node["Relation Name"])} if node["Node Type"] == "Seq Scan" else set()
    return (found & BIG_TABLES).union(*map(whole_reads, node.get("Plans", ())))


def explain(cursor: Cursor, statement: str, arguments: Any = None) -> set[str]:
    cursor.execute(f"EXPLAIN (FORMAT JSON) {statement}", arguments)
    ((plans,),) = cursor.fetchall()
    return whole_reads(plans[0]["Plan"])


def write_plan(cursor: Cursor, statement: str, arguments: Any = None) -> str:
    """Return what the planner means to do, as people read it."""
    cursor.execute(f"EXPLAIN {statement}", arguments)
    return "\n".join(line for (line,) in cursor.fetchall())


def body_of(function: str, **arguments: str) -> str:
    """Return the query of a function, with these texts for its parameters."""
    found = re.search(
        rf"CREATE FUNCTION {function}\(.*?AS \$\$(.*?)\$\$;",
        read_functions(),
        re.DOTALL,
    )
    assert found is not None
    query = found[1]
    for name, text in arguments.items():
        query = re.sub(rf"\b{name}\b", text, query)
    assert "p_" not in query
    return query


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("lost_steps_of_all", {"p_most": "200"}),
        (
            "overdue_steps",
            {"p_worker": f"'{WORKER}'::uuid", "p_grace": "30.0::float"},
        ),
        ("unsent_steps", {"p_beat": "5.0::float", "p_most": "200"}),
        ("unsent_executions", {"p_most": "200"}),
        ("due_executions", {"p_most": "200"}),
        ("expired_executions", {"p_most": "200"}),
        ("expired_steps", {"p_most": "200"}),
        ("unfinished_executions", {"p_most": "200"}),
        ("due_keys", {"p_most": "200"}),
        ("delayed_executions", {"p_most": "200"}),
        ("due_dependencies", {"p_most": "200"}),
        ("passing_executions", {}),
        ("passable_steps", {"p_name": "'stripe'", "p_most": "8"}),
        ("count_parked", {"p_name": "'stripe'"}),
        ("due_batches", {"p_most": "200"}),
        ("first_pending", {"p_batch": BATCH, "p_position": "7"}),
        ("has_failed", {"b": "(SELECT b FROM batches AS b LIMIT 1)"}),
        ("live_under", {"p_key": "'plan 5:k'"}),
        ("comes_soon", {"p_tick": "2.5::float", "p_beat": "5.0::float"}),
        ("expired_results", {"p_most": "10"}),
        (
            "find_result",
            {"p_digest": "'d7'", "p_ttl_seconds": "9::float", "p_anyway": "false"},
        ),
    ],
)
def test_a_sweep_reads_what_it_looks_for(
    cursor: Cursor, function: str, arguments: dict[str, str]
) -> None:
    assert explain(cursor, body_of(function, **arguments)) == set()


def test_the_sweeps_have_something_to_find(cursor: Cursor) -> None:
    found = {}
    for call in (
        "lost_steps_of_all(200)",
        f"overdue_steps('{WORKER}', 30)",
        "unsent_steps(5, 200)",
        "unsent_executions(200)",
        "due_executions(200)",
        "expired_executions(200)",
        "expired_steps(200)",
        "unfinished_executions(200)",
        "due_keys(200)",
        "delayed_executions(200)",
    ):
        cursor.execute(f"SELECT count(*) FROM {call}")  # noqa: S608  # names of our own
        found[call.partition("(")[0]] = cursor.fetchall()[0][0]

    assert found == {
        "lost_steps_of_all": 0,  # their worker lives, and nothing was sampled since
        "overdue_steps": 20,
        "unsent_steps": 14,
        "unsent_executions": 13,
        "due_executions": 19,
        "expired_executions": 20,
        "expired_steps": 10,
        "unfinished_executions": 20,
        "due_keys": 4,
        "delayed_executions": 5,
    }


@pytest.mark.parametrize(
    ("index", "query"),
    [
        (
            "ix_executions_held",
            (
                "SELECT id FROM executions WHERE concurrency_key = 'plan 5:k'"
                " AND admitted_at IS NULL AND ended_at IS NULL AND status = 'pending'"
                " ORDER BY concurrency_key, priority DESC,"
                " coalesce(starts_at, created_at), id LIMIT 1"
            ),
        ),
        (
            "ix_executions_held",
            (
                "SELECT concurrency_key FROM executions"
                " WHERE concurrency_key > 'plan 5:k' AND admitted_at IS NULL"
                " AND ended_at IS NULL"
                " ORDER BY concurrency_key, priority DESC,"
                " coalesce(starts_at, created_at), id LIMIT 1"
            ),
        ),
        (
            "ix_executions_admitted",
            (
                "SELECT FROM executions WHERE concurrency_key = 'plan 5:k'"
                " AND admitted_at IS NOT NULL AND ended_at IS NULL LIMIT 1"
            ),
        ),
    ],
    ids=["next", "awaited", "admitted"],
)
def test_keys_have_indexes_of_their_own(cursor: Cursor, index: str, query: str) -> None:
    cursor.execute("SET LOCAL enable_sort = off")
    cursor.execute(f"EXPLAIN {query}")

    assert any(index in line for (line,) in cursor.fetchall())


PARKED = {
    "name": (
        "SELECT s.waits_for FROM execution_steps s"
        " WHERE s.parked_at IS NOT NULL AND s.waits_for > 'queue:a'"
        " ORDER BY s.waits_for, s.execution_id LIMIT 1"
    ),
    "execution": (
        "SELECT s.execution_id FROM execution_steps s"
        " WHERE s.parked_at IS NOT NULL AND s.waits_for = 'queue:a'"
        " AND s.execution_id > '00000000-0000-0000-0000-000000000000'"
        " ORDER BY s.waits_for, s.execution_id LIMIT 1"
    ),
}


@pytest.mark.parametrize("query", PARKED.values(), ids=list(PARKED))
def test_what_is_parked_has_an_index_of_its_own(cursor: Cursor, query: str) -> None:
    cursor.execute("SET LOCAL enable_sort = off")

    assert "ix_execution_steps_parked" in write_plan(cursor, query)


def test_a_look_for_what_goes_on_reads_no_more_than_it_takes(cursor: Cursor) -> None:
    cursor.execute(
        "UPDATE execution_steps SET status = 'waiting', wake_at = NULL,"
        " waits_for = 'queue:gone', parked_at = now() WHERE status = 'ready'"
    )
    parked = cursor.rowcount
    looks = "SELECT pg_stat_get_xact_numscans('ix_execution_steps_parked'::regclass)"
    cursor.execute(looks)
    ((before,),) = cursor.fetchall()

    cursor.execute("SELECT resumable_executions(5)")
    found = len(cursor.fetchall())

    cursor.execute(looks)
    ((after,),) = cursor.fetchall()
    assert parked > 40
    assert found == 5
    assert after - before < 20


def test_one_look_finds_what_its_parts_find(cursor: Cursor) -> None:
    cursor.execute("UPDATE workers SET ended_at = now(), end_reason = 'stopped'")
    parts = {
        "lost": "lost_steps_of_all(7)",
        "expired_executions": "expired_executions(7)",
        "expired_steps": "expired_steps(7)",
        "due": "due_executions(7)",
        "unsent_steps": "unsent_steps(5, 7)",
        "unsent_executions": "unsent_executions(7)",
        "unfinished": "unfinished_executions(7)",
        "due_keys": "due_keys(7)",
        "batches": "due_batches(7)",
        "overdue": f"overdue_steps('{WORKER}', 1e9)",
    }
    counts = {}
    for name, call in parts.items():
        cursor.execute(f"SELECT count(*) FROM {call}")  # noqa: S608  # names of our own
        counts[name] = cursor.fetchall()[0][0]
    names = ", ".join(parts)
    cursor.execute(f"SELECT {names} FROM sweep('{WORKER}', 2.5, 1e9, 5, 7)")  # noqa: S608  # likewise

    (found,) = cursor.fetchall()

    assert {n: len(f or ()) for n, f in zip(parts, found, strict=True)} == counts
    assert counts["lost"] == counts["due"] == 7


@contextmanager
def captured(
    repository: ExecutionRepository, execution_id: str
) -> Iterator[list[tuple[str, object]]]:
    """Collect the statements that the repository sends, and their arguments."""
    sent: list[tuple[str, object]] = []

    def collect(*details: Any) -> None:
        sent.append((details[2], details[3]))

    class Collecting(DatabasePool):
        def _complete(self, statement: str, cursor: Cursor) -> str:
            sent.append((super()._complete(statement, cursor), (execution_id,)))
            return str(sent[-1][0])

    pool = repository._database
    repository._database = Collecting(pool._dsn, pool._schema)
    sa.event.listen(repository._engine, "before_cursor_execute", collect)
    yield sent
    sa.event.remove(repository._engine, "before_cursor_execute", collect)
    repository._database.close()
    repository._database = pool


@pytest.mark.parametrize(
    "ask",
    [
        lambda r, _: r.list_executions(),
        lambda r, e: r.list_executions(after=str(PageCursor(NOW, e))),
        lambda r, e: r.list_executions(
            ExecutionFilter(status=ExecutionStatus.PAUSED),
            after=str(PageCursor(NOW, e)),
        ),
        lambda r, _: r.list_executions(
            ExecutionFilter(since=NOW - HALF_AN_HOUR, where="parameters.n == 3")
        ),
        lambda r, _: r.list_executions(ExecutionFilter(status=ExecutionStatus.PAUSED)),
        lambda r, _: r.list_executions(ExecutionFilter(plan="plan 3")),
        lambda r, _: r.list_executions(ExecutionFilter(since=NOW - HALF_AN_HOUR)),
        lambda r, e: r.get_by_id(e),
        lambda r, e: r.get_standing(e),
        lambda r, e: r.list_steps(e),
        lambda r, e: r.list_events(e),
        lambda r, e: r.get_state_history(e),
    ],
    ids=[
        "all",
        "next_page",
        "next_page_by_state",
        "by_expression_since",
        "by_state",
        "by_plan",
        "by_time",
        "one",
        "standing",
        "steps",
        "events",
        "history",
    ],
)
def test_what_is_shown_is_read_by_an_index(
    cursor: Cursor,
    repository: ExecutionRepository,
    ask: Callable[[ExecutionRepository, str], object],
) -> None:
    execution_id = find_execution(cursor, "running")
    with captured(repository, execution_id) as sent:
        ask(repository, execution_id)

    assert explain(cursor, *sent[0]) == set()


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        (_LINES, (0, None, None, None, ["info"], 1000)),
        (_LINES, (7, "s4", "s4", "s4", ["error"], 1000)),
        (_METRICS, ()),
    ],
    ids=["lines", "lines_of_a_step", "metrics"],
)
def test_what_steps_told_is_read_by_an_index(
    cursor: Cursor, query: str, wanted: tuple[object, ...]
) -> None:
    arguments = (*wanted, find_execution(cursor, "running"))

    assert explain(cursor, query.replace("{schema}.", ""), arguments) == set()


@pytest.mark.parametrize(
    ("wanted", "ended"),
    [
        (ExecutionFilter(), 0),
        (ExecutionFilter(status=ExecutionStatus.COMPLETED), 0),
        (ExecutionFilter(), LATER),
        (ExecutionFilter(status=ExecutionStatus.COMPLETED), LATER),
        (ExecutionFilter(plan="plan 3"), LATER),
        (ExecutionFilter(tag="tag 7"), LATER),
        (ExecutionFilter(where="parameters.n == 3"), LATER),
    ],
    ids=[
        "all",
        "by_state",
        "all_later",
        "by_state_later",
        "by_plan",
        "by_tag",
        "by_expression",
    ],
)
def test_who_watches_all_reads_what_is_open_and_what_has_ended_since(
    cursor: Cursor, repository: ExecutionRepository, wanted: ExecutionFilter, ended: int
) -> None:
    with captured(repository, "") as sent:
        repository.list_moving(wanted, Horizon("0" * 8, ended).place, limit=100)

    assert explain(cursor, *sent[0]) == set()
    plan = write_plan(cursor, *sent[0])
    assert "ix_executions_ended_at" in plan
    assert "ix_executions_status_created_at" in plan


CALLS = [
    ("running", "ready", "claim_step(%(e)s, '{4,5,6}', 1, %(new)s, %(w)s, 'd')"),
    (
        "running",
        "running",
        "complete_step(%(e)s, 4, %(t)s, 'completed', '1', '{}', NULL, '{}', NULL, 1)",
    ),
    (
        "running",
        "running",
        "complete_step(%(e)s, 4, %(t)s, 'skipped', NULL, '{}', NULL, '{}', NULL, 1)",
    ),
    (
        "running",
        "running",
        "complete_step(%(e)s, 4, %(t)s, 'failed', NULL, '{}', '{}', '{}', NULL, 1)",
    ),
    ("running", "running", "retry_step(%(e)s, 4, %(t)s, 1, '{}', '{}', 0, false)"),
    ("running", "running", "reuse_result(%(e)s, 4, %(t)s, 'd7', 3600)"),
    (
        "running",
        "running",
        (
            "complete_step(%(e)s, 4, %(t)s, 'completed', '1', '{}', NULL, '{}', NULL,"
            " 1, NULL, NULL, NULL, 'd', 60)"
        ),
    ),
    ("running", "running", "retry_step(%(e)s, 4, %(t)s, 1, '{}', '{}', 9, true)"),
    ("running", "running", "report_progress(%(e)s, 4, %(t)s, 40, 'on', 1, 1)"),
    ("running", "running", "save_checkpoint(%(e)s, 4, %(t)s, '{}')"),
    ("running", "running", "append_observations(%(e)s, 4, %(t)s, '[]', '[]')"),
    ("running", "running", "is_unwanted(%(e)s, 4, %(t)s)"),
    ("running", "running", "take_step(%(e)s, 4, %(t)s, 'timeout', 9, true)"),
    (
        "running",
        "running",
        "end_worker(%(w)s); take_step(%(e)s, 4, %(t)s, 'lost', 0, true)",
    ),
    ("running", "ready", "resend_step(%(e)s, 4, 0)"),
    ("running", "ready", "pause_execution(%(e)s, NULL, NULL)"),
    ("running", "running", "cancel_execution(%(e)s, NULL, NULL)"),
    ("paused", "ready", "resume_execution(%(e)s, NULL, NULL)"),
    ("ending", None, "read_ending(%(e)s)"),
    ("ending", None, "finish_execution(%(e)s, 'completed', '1', NULL)"),
    ("running", None, "lost_steps_of_all(200)"),
    ("running", "ready", "send_steps(%(e)s)"),
    ("running", "waiting", "wake_steps(%(e)s)"),
    ("pending", None, "expire_execution(%(e)s)"),
    ("running", "ready", "expire_step(%(e)s, 4)"),
    ("running", None, "overdue_steps(%(w)s, 30)"),
    ("running", None, "unsent_steps(5, 200)"),
    ("running", None, "unsent_executions(200)"),
    ("running", None, "due_executions(200)"),
    ("running", None, "expired_executions(200)"),
    ("running", None, "expired_steps(200)"),
    ("running", None, "unfinished_executions(200)"),
    ("running", None, "due_keys(200)"),
    ("running", None, "admit_next('plan 5:k')"),
    ("running", None, "admit_next('plan 0:k')"),
    ("pending", None, "supersede_execution(%(e)s)"),
    ("running", None, "find_holders('plan 0:k', %(new)s, 2)"),
    ("running", None, "resumable_executions(200)"),
    ("running", None, "running_under('queue', 'q', 100)"),
    ("running", "waiting", "unpark_steps(%(e)s)"),
    ("running", None, "sweep(%(w)s, 2.5, 1e9, 5, 200)"),
    ("running", None, f"hand_out_items({BATCH}, 20, 30, true)"),
    ("running", None, f"act_on_item({BATCH}, 1950)"),
]


def count_whole_reads(cursor: Cursor) -> dict[str, int]:
    """Return how often this transaction has read each big table from end to end."""
    cursor.execute(
        "SELECT relname, seq_scan FROM pg_stat_xact_user_tables"
        " WHERE schemaname = current_schema() AND relname = ANY (%s)",
        (sorted(BIG_TABLES),),
    )
    return dict(cursor.fetchall())


def test_the_counters_see_what_a_function_reads(cursor: Cursor) -> None:
    cursor.execute("DO $$ BEGIN PERFORM count(*) FROM execution_steps; END $$")

    assert count_whole_reads(cursor)["execution_steps"] == 1


@pytest.mark.parametrize(("status", "step_status", "calls"), CALLS)
def test_a_function_reads_no_whole_table(
    settings: Settings, status: str, step_status: str | None, calls: str
) -> None:
    url, schema = str(settings.database_url), settings.schema
    with rolled_back(url, schema) as looking:
        execution_id = find_execution(looking, status, step_status)
    # in a session of its own: the counters are those of the whole transaction
    with rolled_back(url, schema) as cursor:
        values = {"e": execution_id, "t": TOKEN, "w": WORKER, "new": str(uuid.uuid4())}
        for call in calls.split("; "):
            cursor.execute(f"SELECT * FROM {call}", values)  # noqa: S608  # calls of our own

        assert count_whole_reads(cursor) == dict.fromkeys(BIG_TABLES, 0)
