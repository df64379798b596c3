"""What steps tell, from the attempt into the database and back to whoever reads it."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from execution import ExecutionEngine, ExecutionNotFoundError, Plan, Settings, Step
from execution.answers import Claim
from execution.context import Context
from execution.database import Database
from execution.installation import Installation
from execution.lines import MOST_LINES
from execution.liveness import LivenessRecords
from execution.observations import LineLevel, LogLine
from execution.patience import Patience
from execution.records import StepRecords
from execution.secrets import NO_SECRETS
from execution.service import ExecutionService
from execution.states import StepStatus
from execution.telling import LineWriter
from tests.integration.test_protocol import claim, register
from tests.polling import wait_until
from tests.rows import committed

PLAN = Plan("told", steps=[Step("first", "test.nothing"), Step("last", "test.nothing")])


@dataclass
class Teller:
    """An execution whose steps are played by hand."""

    engine: ExecutionEngine
    records: StepRecords
    worker_id: str
    execution_id: str

    def claim(self, position: int) -> Claim:
        return claim(self.records, self.worker_id, self.execution_id, position)

    def begin(self, position: int = 0, writer: LineWriter | None = None) -> Context:
        """Claim a step and return what its action would see."""
        return Context(
            self.claim(position),
            self.records,
            lambda _: None,
            Patience(),
            NO_SECRETS,
            writer,
        )

    def end(self, ctx: Context) -> None:
        ctx.end_attempt()
        self.records.complete(ctx._held, StepStatus.COMPLETED, epoch=1)

    def read(self, **wanted: Any) -> list[str]:
        return [
            line.message for line in self.engine.list_logs(self.execution_id, **wanted)
        ]


@pytest.fixture
def teller(
    engine: ExecutionEngine,
    settings: Settings,
    records: StepRecords,
    liveness: LivenessRecords,
) -> Teller:
    worker_id = register(liveness, settings)
    return Teller(engine, records, worker_id, engine.submit(PLAN))


def test_a_line_says_where_it_comes_from(teller: Teller) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    ctx = teller.begin()

    ctx.log.warning("%d left", 3)
    ctx.lines.write(LineLevel.INFO, "stdout", "printed\n")
    ctx.end_attempt()

    told, printed = teller.engine.list_logs(teller.execution_id)
    assert told == LogLine(
        id=told.id,
        execution_id=teller.execution_id,
        step="first",
        attempt=1,
        number=1,
        level=LineLevel.WARNING,
        source="ctx.log",
        message="3 left",
        at=told.at,
    )
    assert before < told.at <= printed.at < datetime.now(UTC) + timedelta(seconds=1)
    assert (printed.source, printed.number) == ("stdout", 2)
    assert printed.id > told.id


def test_lines_are_chosen_by_step_and_level(teller: Teller) -> None:
    first = teller.begin()
    first.log.info("one")
    first.log.error("two")
    teller.end(first)
    last = teller.begin(1)
    last.log.warning("three")
    teller.end(last)

    assert teller.read() == ["one", "two", "three"]
    assert teller.read(step="first") == ["one", "two"]
    assert teller.read(level="warning") == ["two", "three"]
    assert teller.read(level=LineLevel.ERROR, step="last") == []
    assert teller.read(step="no such step") == []


def test_lines_of_items_are_those_of_their_step(
    engine: ExecutionEngine,
    settings: Settings,
    records: StepRecords,
    liveness: LivenessRecords,
) -> None:
    plan = Plan("many", steps=[Step("each", "test.echo", for_each="${['a', 'b']}")])
    teller = Teller(engine, records, register(liveness, settings), engine.submit(plan))
    held = teller.claim(0).held
    records.expand(held, attempt=1, items='["a", "b"]')
    for position in (1, 2):
        ctx = teller.begin(position)
        ctx.log.info("item %d", position)
        teller.end(ctx)

    assert teller.read(step="each") == ["item 1", "item 2"]
    assert teller.read(step="each[1]") == ["item 2"]


def test_pages_follow_each_other(teller: Teller) -> None:
    ctx = teller.begin()
    for number in range(5):
        ctx.log.info("%d", number)
    ctx.end_attempt()

    first = teller.engine.list_logs(teller.execution_id, limit=3)
    second = teller.engine.list_logs(teller.execution_id, after=first[-1].id, limit=3)

    assert [line.message for line in first + second] == ["0", "1", "2", "3", "4"]


def test_an_attempt_may_tell_much(teller: Teller) -> None:
    ctx = teller.begin()
    for number in range(MOST_LINES + 5):
        ctx.log.info("%d", number)
    ctx.end_attempt()

    *_, last_kept, said = teller.engine.list_logs(
        teller.execution_id, limit=2 * MOST_LINES
    )
    assert (last_kept.message, last_kept.number) == (str(MOST_LINES - 1), MOST_LINES)
    assert said.message.startswith("5 more lines are not kept")
    assert (said.source, said.number) == ("plans", MOST_LINES + 1)


@pytest.mark.parametrize(
    "execution_id", ["no id", "019f0000-0000-7000-8000-000000000000"]
)
def test_nobody_told_in_an_execution_that_is_not_there(
    engine: ExecutionEngine, execution_id: str
) -> None:
    for ask in (
        engine.list_logs,
        engine.list_metrics,
        lambda one: next(engine.follow_logs(one)),
    ):
        with pytest.raises(ExecutionNotFoundError):
            ask(execution_id)


def test_metrics_are_read_in_their_order(teller: Teller) -> None:
    ctx = teller.begin()
    ctx.metric("quality", 0.5)
    ctx.metric("rows", 3)
    ctx.end_attempt()

    found = teller.engine.list_metrics(teller.execution_id)
    assert [(m.step, m.attempt, m.name, m.value) for m in found] == [
        ("first", 1, "quality", 0.5),
        ("first", 1, "rows", 3.0),
    ]


def test_lines_are_there_while_the_step_runs(teller: Teller) -> None:
    ctx = teller.begin(writer=LineWriter(pause_seconds=0.01))

    ctx.log.info("begun")
    wait_until(lambda: teller.read() == ["begun"], what="the first line")
    ctx.log.info("half")

    wait_until(lambda: teller.read() == ["begun", "half"], what="the second line")


def test_much_that_is_told_at_once_is_there_while_the_step_runs(
    teller: Teller,
) -> None:
    ctx = teller.begin(writer=LineWriter(pause_seconds=0.01))

    # in one piece, so that all of it waits when the thread begins
    ctx.lines.write(LineLevel.INFO, "stdout", "line\n" * 1_200)

    wait_until(lambda: len(teller.read(limit=2_000)) == 1_200, what="all lines")


def test_the_thread_that_writes_ends_and_comes_again(teller: Teller) -> None:
    writer = LineWriter(pause_seconds=0.01, linger_seconds=0.05)
    ctx = teller.begin(writer=writer)
    for word in ("one", "two"):
        ctx.log.info(word)
        wait_until(lambda w=word: w in teller.read(), what="the line")  # type: ignore[misc]  # bound to this round
        wait_until(lambda: writer._thread is None, what="the thread to end")


def test_short_steps_are_written_once(teller: Teller) -> None:
    writer = LineWriter(pause_seconds=0.05, linger_seconds=0.05)
    ctx = teller.begin(writer=writer)
    ctx.log.info("short")

    ctx.end_attempt()
    wait_until(lambda: writer._thread is None, what="the thread to end")

    assert teller.read() == ["short"]


def test_lines_wait_for_the_database(teller: Teller, settings: Settings) -> None:
    # where there are no functions, as while they are installed anew
    away = Database(str(settings.database_url), "public")
    ctx = teller.begin(writer=LineWriter(pause_seconds=0.01))
    there, ctx._telling._records = ctx._telling._records, StepRecords(away)
    ctx.log.info("patient")
    wait_until(lambda: away._statements, what="a try")

    ctx._telling._records = there

    wait_until(lambda: teller.read() == ["patient"], what="the line")


def test_what_was_written_is_not_written_again(teller: Teller) -> None:
    ctx = teller.begin()
    ctx.log.info("one")
    ctx.log.info("two")
    held, told = ctx._held, ctx.lines.look(9)
    as_json = json.dumps([line.to_json(line.told_at) for line in told])

    # as after a commit whose answer was lost
    teller.records.append_observations(held, as_json, "[]")
    ctx.log.info("three")
    ctx.end_attempt()

    assert teller.read() == ["one", "two", "three"]


def test_the_next_attempt_counts_anew(teller: Teller) -> None:
    ctx = teller.begin()
    ctx.log.info("one")
    ctx.end_attempt()
    answer = teller.records.retry(
        ctx._held,
        attempt=1,
        recorded_input="{}",
        error='{"code": "E003"}',
        wait_seconds=0,
        parks=False,
    )
    ctx.begin_attempt(answer.attempt)
    ctx.log.info("two")
    ctx.end_attempt()

    found = teller.engine.list_logs(teller.execution_id)
    assert [(line.attempt, line.number) for line in found] == [(1, 1), (2, 1)]


def test_nothing_more_is_told_of_a_step_that_is_lost(teller: Teller) -> None:
    ctx = teller.begin(writer=LineWriter(pause_seconds=0.01))
    ctx.log.info("early")
    wait_until(lambda: teller.read() == ["early"], what="the first line")
    teller.records.complete(ctx._held, StepStatus.COMPLETED, epoch=1)

    ctx.log.info("late")
    wait_until(lambda: not ctx.lines.has_any, what="the line to be given up")
    ctx.log.info("later")

    assert not ctx.lines.has_any
    assert teller.read() == ["early"]


def test_lines_go_with_their_execution(teller: Teller, database: Database) -> None:
    ctx = teller.begin()
    ctx.log.info("gone")
    ctx.metric("gone", 1)
    teller.end(ctx)
    teller.end(teller.begin(1))
    teller.engine._finish(teller.execution_id)

    assert teller.engine.delete_execution(teller.execution_id)

    for table in ("execution_logs", "execution_metrics"):
        statement = (
            f"SELECT count(*) AS n FROM {{schema}}.{table} WHERE execution_id = %s"  # noqa: S608  # ours
        )
        assert database.query(statement, (teller.execution_id,)) == [{"n": 0}]


def test_who_follows_reads_every_line_once(teller: Teller) -> None:
    writer = LineWriter(pause_seconds=0.01)
    begun = teller.begin(writer=writer)
    begun.log.info("early")
    begun.flush()

    with ThreadPoolExecutor(1) as pool:
        followed = pool.submit(
            lambda: [*teller.engine.follow_logs(teller.execution_id)]
        )
        for number in range(50):
            begun.log.info("%d", number)
        teller.end(begun)
        ctx = teller.begin(1, writer)
        ctx.log.info("late")
        teller.end(ctx)
        teller.engine._finish(teller.execution_id)
        lines = followed.result(timeout=60)

    assert [line.message for line in lines] == ["early", *map(str, range(50)), "late"]


def test_who_follows_sits_out_an_outage(
    settings: Settings, teller: Teller, database: Database
) -> None:
    away = replace(settings, redis_url="redis://127.0.0.1:1/0")
    ctx = teller.begin()
    ctx.log.info("before")
    ctx.flush()

    with ExecutionEngine(Installation(away, None)) as engine:
        lines = engine.follow_logs(teller.execution_id)
        assert next(lines).message == "before"
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'celery-plans' AND pid <> pg_backend_pid()"
        )
        ctx.log.info("after")
        teller.end(ctx)
        teller.end(teller.begin(1))
        teller.engine._finish(teller.execution_id)

        assert [line.message for line in lines] == ["after"]


def test_who_follows_what_is_deleted_is_told(teller: Teller) -> None:
    ctx = teller.begin()
    ctx.log.info("one")
    teller.end(ctx)
    teller.end(teller.begin(1))
    lines = teller.engine.follow_logs(teller.execution_id)
    next(lines)

    teller.engine._finish(teller.execution_id)
    teller.engine.delete_execution(teller.execution_id)

    with pytest.raises(ExecutionNotFoundError):
        next(lines)


@pytest.mark.anyio
async def test_a_service_follows_as_an_engine_does(
    settings: Settings, teller: Teller
) -> None:
    ctx = teller.begin()
    ctx.log.info("early")
    ctx.flush()

    def tell_the_rest() -> None:
        ctx.log.info("late")
        teller.end(ctx)
        teller.end(teller.begin(1))
        teller.engine._finish(teller.execution_id)

    async with ExecutionService.connect(settings) as service:
        lines = service.follow_logs(teller.execution_id)
        assert (await anext(lines)).message == "early"
        late = asyncio.ensure_future(anext(lines))
        await asyncio.to_thread(tell_the_rest)

        assert (await late).message == "late"
        assert [line async for line in lines] == []


def test_who_follows_an_ended_execution_reads_and_ends(teller: Teller) -> None:
    for position, word in enumerate(("one", "two")):
        ctx = teller.begin(position)
        ctx.log.info(word)
        teller.end(ctx)
    teller.engine._finish(teller.execution_id)

    (first, second) = teller.engine.follow_logs(teller.execution_id)
    (rest,) = teller.engine.follow_logs(teller.execution_id, after=first.id)

    assert (first.message, second.message, rest) == ("one", "two", second)
    assert not [*teller.engine.follow_logs(teller.execution_id, level="error")]


def test_a_line_is_never_seen_before_one_with_a_lower_id(
    settings: Settings, teller: Teller, database: Database
) -> None:
    held = teller.begin()._held
    call = "SELECT landed FROM append_observations(%s, %s, %s, %s, '[]')"

    def is_waited() -> bool:
        waiting = "SELECT count(*) AS n FROM pg_locks WHERE NOT granted"
        return bool(database.query(waiting)[0]["n"])

    with ThreadPoolExecutor(1) as pool:
        with committed(str(settings.database_url), settings.schema) as cursor:
            arguments = held.execution_id, held.position, held.token, describe_line(1)
            cursor.execute(call, arguments)
            later = pool.submit(
                teller.records.append_observations, held, describe_line(2), "[]"
            )
            wait_until(is_waited, what="the other to wait")
            assert teller.read() == []
        assert later.result(timeout=60)

    assert teller.read() == ["1", "2"]


def describe_line(number: int) -> str:
    line = {"number": number, "level": "info", "source": "x", "message": str(number)}
    return json.dumps([{**line, "age": 0}])
