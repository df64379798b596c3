"""Long and wide plans: what is asked of them costs by what is new, or by their length.

Compared are five hundred steps and five thousand, in the same run, and what statements
read; the bounds leave room for a busy machine.
"""

import gc
import statistics
import time
import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg2.extensions import cursor as Cursor  # noqa: N812  # a class with a small name
from typer.testing import CliRunner

from execution import ExecutionEngine, ExecutionRepository, Plan, Settings, Step
from execution.cli.app import app
from execution.database import Database
from tests.rows import committed, rolled_back

pytestmark = pytest.mark.usefixtures("untraced")

FEW, MANY = 500, 5_000
LINEAR = 2.5 * MANY / FEW
"""What grows with the square would be a hundred times slower."""


def build_chain(count: int) -> Plan:
    return Plan(
        f"chain-{count}", steps=[Step(f"s{n}", "test.nothing") for n in range(count)]
    )


def build_fan(count: int) -> Plan:
    middle = [f"s{n}" for n in range(count - 2)]
    return Plan(
        f"fan-{count}",
        steps=[
            Step("first", "test.nothing", needs=[]),
            *(Step(name, "test.nothing", needs=["first"]) for name in middle),
            Step("last", "test.nothing", needs=middle),
        ],
    )


def build_layers(count: int) -> Plan:
    width = round(count**0.5)
    return Plan(
        f"layers-{count}",
        steps=[
            Step(
                f"s{layer}_{n}",
                "test.nothing",
                needs=[f"s{layer - 1}_{(n + k) % width}" for k in range(3)]
                if layer
                else [],
            )
            for layer in range(width)
            for n in range(width)
        ],
    )


BUILDERS = (build_chain, build_fan, build_layers)
Begun = dict[tuple[str, int], str]


@pytest.fixture(scope="module")
def begun(engine: ExecutionEngine) -> Begun:
    """One execution of each plan."""
    return {
        (build.__name__, count): engine.submit(build(count))
        for build in BUILDERS
        for count in (FEW, MANY)
    }


def time_of(act: Callable[[], object]) -> float:
    """Return the processor time of this process for an act, the median of three."""

    def measure() -> float:
        gc.collect()
        begun = time.process_time()
        act()
        return time.process_time() - begun

    return statistics.median(measure() for _ in range(3))


@pytest.mark.parametrize("build", BUILDERS)
def test_compiling_grows_with_the_steps(build: Callable[[int], Plan]) -> None:
    few, many = (
        time_of(partial(Plan.from_mapping, build(count).definition))
        for count in (FEW, MANY)
    )

    assert many < LINEAR * few


@pytest.mark.parametrize("build", BUILDERS)
def test_listing_grows_with_the_steps(
    engine: ExecutionEngine, begun: Begun, build: Callable[[int], Plan]
) -> None:
    few, many = (
        time_of(partial(engine.list_steps, begun[build.__name__, count]))
        for count in (FEW, MANY)
    )

    assert many < LINEAR * few


def memory_of(act: Callable[[], object]) -> int:
    """Return how many bytes an act holds at most."""
    gc.collect()
    tracemalloc.start()
    act()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


@pytest.mark.parametrize("build", BUILDERS)
def test_memory_grows_with_the_steps(
    engine: ExecutionEngine, build: Callable[[int], Plan]
) -> None:
    few, many = (build(count) for count in (FEW, MANY))
    acts: list[Callable[[Plan], object]] = [
        lambda plan: Plan.from_mapping(plan.definition),
        engine.submit,
        lambda plan: engine.list_steps(engine.submit(plan)),
    ]

    for act in acts:
        assert memory_of(partial(act, many)) < LINEAR / 2 * memory_of(partial(act, few))


@contextmanager
def counted(repository: ExecutionRepository) -> Iterator[list[int]]:
    """Collect how many rows each statement of the repository answers."""
    rows: list[int] = []

    def collect(*details: Any) -> None:
        rows.append(details[1].rowcount)

    sa.event.listen(repository._engine, "after_cursor_execute", collect)
    yield rows
    sa.event.remove(repository._engine, "after_cursor_execute", collect)


@pytest.mark.parametrize("build", BUILDERS)
def test_an_update_of_a_watcher_costs_what_is_new(
    engine: ExecutionEngine, begun: Begun, build: Callable[[int], Plan]
) -> None:
    execution_id = begun[build.__name__, MANY]
    last_seq = engine.get_status(execution_id).last_seq

    with counted(engine._repository) as rows:
        update, _ = engine.look(execution_id, last_seq - 1)

    # the execution with what runs, and the event that is new behind the one before it
    assert rows == [1, 2]
    assert len(update.events) == 1
    assert update.progress.total_steps == len(build(MANY).steps)


def test_progress_names_some_of_what_runs_and_counts_all(
    engine: ExecutionEngine, settings: Settings
) -> None:
    execution_id = engine.submit(build_fan(1_000))
    with committed(str(settings.database_url), settings.schema) as cursor:
        cursor.execute(
            "UPDATE execution_steps SET status = 'ready', ready_at = now(),"
            " pending_deps = 0"
            " WHERE execution_id = %s AND status = 'pending' AND position < 999;"
            "UPDATE execution_steps SET status = 'running', attempt = 1, progress = 50,"
            " lease_token = gen_random_uuid(), worker_id = gen_random_uuid(),"
            " delivery = 'd', claimed_at = now(),"
            " progress_message = CASE WHEN position < 500 THEN 'at ' || position END"
            " WHERE execution_id = %s AND position BETWEEN 1 AND 800",
            (execution_id, execution_id),
        )

    progress = engine.look(execution_id, 0)[0].progress

    assert progress.running_steps == 800
    assert progress.current_steps == tuple(f"s{n}" for n in range(100))
    assert progress.message == "at 499"
    assert progress.percentage == 40.0


@pytest.fixture
def cursor(settings: Settings) -> Iterator[Cursor]:
    """A transaction that leaves nothing behind."""
    with rolled_back(str(settings.database_url), settings.schema) as opened:
        yield opened


def touched(cursor: Cursor, call: str, table: str = "execution_steps") -> int:
    """Return how many rows a call fetches, by this transaction's counters."""

    def read() -> int:
        cursor.execute(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables"
            " WHERE relname = %s AND schemaname = current_schema",
            (table,),
        )
        return int(cursor.fetchall()[0][0])

    before = read()
    cursor.execute(f"SELECT {call}")  # names of our own
    return read() - before


def release_fan(cursor: Cursor, execution_id: str) -> None:
    cursor.execute(
        "UPDATE execution_steps"
        " SET status = 'ready', ready_at = now(), pending_deps = 0"
        " WHERE execution_id = %s AND status = 'pending' AND cardinality(needs) = 1",
        (execution_id,),
    )


@pytest.mark.parametrize("is_analysed", [False, True])
@pytest.mark.parametrize(
    "call",
    [
        "publish_ready('{}')",
        "publish_next('{}', '{}')",
        "publish_steps('{}', '{{7}}')",
        "chain_window('{}', 7)",
    ],
)
def test_sending_of_a_fan_out_reads_what_it_sends(
    cursor: Cursor, begun: Begun, settings: Settings, call: str, is_analysed: bool
) -> None:
    if is_analysed:
        cursor.execute("ANALYZE execution_steps")
    costs = []
    for count in (FEW, MANY):
        execution_id = begun["build_fan", count]
        release_fan(cursor, execution_id)
        costs.append(touched(cursor, call.format(execution_id, settings.queue)))

    assert costs[1] <= costs[0] + 10
    assert costs[1] < 200


def test_a_ride_in_a_fan_out_reads_what_it_goes_on_with(
    cursor: Cursor, begun: Begun, settings: Settings
) -> None:
    token, worker_id = str(uuid.uuid4()), str(uuid.uuid4())
    cursor.execute(
        "SELECT register_worker(%s, 'by-hand', 1, 'none', 8, %s,"
        """ '[{"name": "test.nothing"}]')""",
        (worker_id, [settings.queue]),
    )
    # as it mostly is: analysed, but before there was this execution
    cursor.execute("ANALYZE execution_steps")
    cursor.execute(
        "SELECT (submit_execution(gen_random_uuid(), plan_id, '{}', NULL, 0, '{}', %s,"
        " true)).execution_id FROM executions WHERE id = %s",
        (settings.queue, begun["build_fan", MANY]),
    )
    ((execution_id,),) = cursor.fetchall()
    release_fan(cursor, execution_id)
    cursor.execute(
        "UPDATE executions SET status = 'running' WHERE id = %s", (execution_id,)
    )
    cursor.execute(
        "UPDATE execution_steps SET status = 'running', attempt = 1, delivery = 'd',"
        " lease_token = %s, worker_id = %s, claimed_at = now()"
        ' WHERE execution_id = %s AND "position" = 1',
        (token, worker_id, execution_id),
    )

    cost = touched(
        cursor,
        f"complete_step('{execution_id}', 1, '{token}', 'completed', '1', '{{}}', NULL,"
        f" '{{}}', NULL, 1, gen_random_uuid(), '{worker_id}', 'd')",
    )

    assert cost < 200


def test_the_rest_of_a_fan_out_waits_for_room(cursor: Cursor, begun: Begun) -> None:
    execution_id = begun["build_fan", FEW]
    release_fan(cursor, execution_id)

    cursor.execute("SELECT jsonb_array_length(publish_ready(%s))", (execution_id,))
    ((first,),) = cursor.fetchall()
    cursor.execute("SELECT jsonb_array_length(publish_ready(%s))", (execution_id,))
    ((second,),) = cursor.fetchall()

    # its root was sent before, and is not claimed
    assert (first, second) == (15, 0)


def test_every_queue_of_a_fan_out_gets_its_share(
    engine: ExecutionEngine, database: Database
) -> None:
    plan = Plan(
        "queues",
        steps=[
            Step(
                f"s{n}", "test.nothing", needs=[], queue=f"lane-{n % 3}", priority=n % 4
            )
            for n in range(90)
        ],
    )
    execution_id = engine.submit(plan)

    sent = database.query(
        "SELECT queue, count(*) AS n, min(priority) AS least"
        " FROM {schema}.execution_steps WHERE execution_id = %s"
        " AND published_at IS NOT NULL GROUP BY queue ORDER BY queue",
        (execution_id,),
    )

    assert [(row["queue"], row["n"], row["least"]) for row in sent] == [
        (f"lane-{n}", 16, 1) for n in range(3)
    ]


def test_what_people_are_shown_of_it_is_bounded(
    settings: Settings, begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANS_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("PLANS_BROKER_URL", str(settings.broker_url))
    monkeypatch.setenv("PLANS_SCHEMA", settings.schema)
    execution_id = begun["build_fan", MANY]

    shown = CliRunner().invoke(app, ["show", execution_id])
    whole = CliRunner().invoke(app, ["show", execution_id, "--json"])

    assert len(shown.stdout.splitlines()) < 150
    assert f"100 of {MANY:,} steps: {MANY - 1:,} pending, 1 ready" in shown.stdout
    assert whole.stdout.count('"position"') == MANY


def complete_roots(cursor: Cursor, execution_id: str) -> None:
    cursor.execute(
        "UPDATE execution_steps SET status = 'running', attempt = 1, delivery = 'd',"
        " lease_token = gen_random_uuid(), worker_id = gen_random_uuid(),"
        " claimed_at = now() WHERE execution_id = %s AND status = 'ready'",
        (execution_id,),
    )
    cursor.execute(
        "UPDATE execution_steps SET status = 'completed', ended_at = now()"
        " WHERE execution_id = %s AND status = 'running'",
        (execution_id,),
    )
    cursor.execute(
        "INSERT INTO execution_events (execution_id, seq, type, position, data, at)"
        " SELECT execution_id, 100000 + position, 'step.completed', position, '{}',"
        " now() FROM execution_steps WHERE execution_id = %s",
        (execution_id,),
    )


def test_what_is_undone_is_looked_for_once(
    cursor: Cursor, engine: ExecutionEngine
) -> None:
    undo = {"action": "test.nothing"}
    steps = [Step(f"s{n}", "test.nothing", needs=[], undo=undo) for n in range(FEW)]
    execution_id = engine.submit(Plan("undone", steps=steps, rollback="on_failure"))
    complete_roots(cursor, execution_id)

    call = f"plan_rollback(e) FROM executions e WHERE id = '{execution_id}'"

    assert touched(cursor, call, "execution_events") < 5 * FEW
